"""Loops without products, and groups of elementwise work outside of loops, as one kernel each.

In: a scan or a fused node. Out: a function on CuPy arrays. Rows do not depend on each other, so a
kernel goes through all steps by itself.
"""

from __future__ import annotations

import threading
from typing import Any

import cupy
import numpy as np

from tinygrad_rnn.extend import Node, Var
from tinygrad_rnn.loop_program import LoopProgram

from . import compiler
from .arrays import LoopArrays, contiguous
from .places import Places
from .rows import Part, kernel
from .source import module_source
from .steps import geometry


class SingleKernel(LoopArrays):
    """One node, lowered."""

    def __init__(self, node: Node, program: LoopProgram):
        super().__init__(node, program)
        self.places = Places(program, direct=True)
        parts = [Part(range(len(program.levels)), 0)]
        self.kernel = kernel("rows_0", self.places, parts, looped=True)
        self.source = module_source(["rows"], [self.kernel.source])
        self.shapes = [(v.type.shape, v.type.dtype.np) for v in node.outputs]
        self.is_group = "rows" in node.attrs
        moving = ("external", "static")
        self.args = [
            key if key[0] in moving else np.int64(self.value(key)) for key in self.kernel.keys
        ]
        self.grid, self.block, self.shared = geometry(self.kernel, program.rows)
        self.functions: dict[int, Any] = {}
        self.lock = threading.Lock()

    def __call__(self, *buffers: Any) -> tuple[Any, ...]:
        operands = [contiguous(b) for b in buffers]
        if self.is_group:
            return self._group(operands)
        if self.empty:
            return self.nothing(operands)
        arrays = self.given(operands)
        own = self._launch(arrays)
        return self.results(
            arrays, {v: own[v][self.T & 1] for _, v in self.program.carry if v in own}
        )

    def _group(self, operands: list[Any]) -> tuple[Any, ...]:
        """The arrays keep their own shapes: the kernel sees rows of them, one after another."""
        made = tuple([cupy.empty(shape, dtype) for shape, dtype in self.shapes])
        arrays = dict(zip(self.program.body.inputs, operands))
        self._launch({**arrays, **dict(zip(self.program.ys, made))})
        return made

    def _launch(self, arrays: dict[Any, Any]) -> dict[Var, Any]:
        """Run the kernel; gives the memory of variables that are not outputs."""
        own = {
            key[1]: cupy.empty(shape, key[1].type.dtype.np)
            for key, shape in self.places.static.items()
        }
        args: list[Any] = [np.int64(0), np.int64(0)]
        for a in self.args:
            if isinstance(a, tuple):
                a = np.int64((arrays[a[1]] if a[0] == "external" else own[a[2]]).data.ptr)
            args.append(a)
        self._function()(self.grid, self.block, tuple(args), self.shared)
        return own

    def _function(self) -> Any:
        device = cupy.cuda.Device().id
        found = self.functions.get(device)
        if found is None:
            with self.lock:
                module = compiler.module(self.source)
                found = self.functions[device] = module.get_function(self.kernel.name)
        return found
