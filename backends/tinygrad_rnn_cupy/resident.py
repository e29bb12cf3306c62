"""A persistent kernel with what it works on, and its launch: see `persistent`.

In: a loop program with a `Body`, and a shape. Out: a function on CuPy arrays.
"""

from __future__ import annotations

import threading
from typing import Any

import cupy
import numpy as np

from tinygrad_rnn.extend import Node
from tinygrad_rnn.loop_program import LoopProgram

from . import compiler
from .arrays import LoopArrays, contiguous
from .choice import Problem, Room
from .persistent import Body, Shape
from .persistent_source import PersistentSource


class PersistentLoop(LoopArrays):
    """One scan node, lowered, as one cooperative launch."""

    def __init__(
        self, node: Node, program: LoopProgram, body: Body, problem: Problem, shape: Shape
    ):
        super().__init__(node, program)
        self.shape = shape
        room = Room.of(problem, shape)
        self.shared = room.bytes
        self.printed = PersistentSource(body, shape, self.shared)
        self.exchange_bytes = shape.groups * 2 * room.rows * room.pitch * problem.dtype.itemsize
        self.finals = [v for _, v in program.carry if v not in self.stacked]
        self.functions: dict[int, Any] = {}
        self.lock = threading.Lock()

    def __call__(self, *buffers: Any) -> tuple[Any, ...]:
        operands = [contiguous(b) for b in buffers]
        if self.empty:
            return self.nothing(operands)
        function, exchange, flags = self._ready()
        arrays = self.given(operands)
        final = {v: cupy.empty(v.type.shape, v.type.dtype.np) for v in self.finals}
        args = []
        for key in self.printed.keys:
            kind = key[0]
            if kind in ("external", "final"):
                value = (arrays if kind == "external" else final)[key[1]].data.ptr
            elif kind in ("exchange", "flags"):
                value = (exchange if kind == "exchange" else flags).data.ptr
            else:
                value = self.value(key)
            args.append(np.int64(value))
        shape = self.shape
        function(
            (shape.groups * shape.blocks,), (shape.threads,), tuple(args), self.shared,
            enable_cooperative_groups=True,
        )  # fmt: skip
        return self.results(arrays, final)

    def _ready(self) -> tuple[Any, Any, Any]:
        """The kernel on this device, and memory of its own for this call: padding and flags 0."""
        device = cupy.cuda.Device().id
        with self.lock:
            if device not in self.functions:
                module = compiler.module(self.printed.source)
                function = module.get_function("persistent")
                compiler.allow_shared_memory(function, self.shared)
                blocks = self.shape.groups * self.shape.blocks
                compiler.check_resident(function, blocks, self.shape.threads, self.shared)
                self.functions[device] = function
        exchange = cupy.zeros(self.exchange_bytes, np.uint8)
        flags = cupy.zeros(self.shape.groups * self.shape.blocks, np.uint32)
        return self.functions[device], exchange, flags
