"""A group of elementwise work outside of loops as a compiled function: a loop of one step.

In: a fused node. Out: a function on buffers. A group is called more often than a loop and does
less, so what a call needs beside the addresses is worked out once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tinygrad_rnn_numpy import pool

from tinygrad_rnn.graph import Node

from . import runtime
from .loops import Loop


class Group(Loop):
    """Arrays keep their own shapes: the code sees rows of them, one after another in memory."""

    def __init__(self, node: Node):
        super().__init__(node)
        self.made = [(v.type.shape, v.type.dtype.np) for v in node.outputs]
        inputs = {v: i for i, v in enumerate(self.program.body.inputs)}
        outputs = {v: len(inputs) + j for j, v in enumerate(self.program.ys)}
        places = {**inputs, **outputs}
        self.local = [v for v, kind in self.program.kept.items() if kind == "scratch"]
        places |= {v: len(inputs) + len(self.made) + k for k, v in enumerate(self.local)}
        self.slots = np.array([i for i, _ in self.bases], np.intp)
        self.order = [places[v] for _, v in self.bases]

    def __call__(self, *buffers: Any) -> tuple[Any, ...]:
        self._compile()
        blocks = self._blocks()
        made = tuple([pool.empty(shape, dtype) for shape, dtype in self.made])
        arrays = [runtime.contiguous(b) for b in buffers]
        arrays += made
        arrays += [self._allocate(v, "scratch", blocks) for v in self.local]
        if self.constant is None:
            self.constant = np.array([self._value(key) for key in self.numbers], np.int64)
        numbers = self.constant.copy()
        numbers[self.numbers["blocks",]] = blocks
        at = [a.__array_interface__["data"][0] for a in arrays]
        numbers[self.slots] = [at[i] for i in self.order]
        runtime.drive(self.run, numbers, blocks)
        return made
