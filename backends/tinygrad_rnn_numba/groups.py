"""A group of elementwise work outside of loops as a compiled function: a loop of one step.

In: a fused node. Out: a function on buffers. Arrays keep their own shapes: the code sees rows of
them, one after another in memory.
"""

from __future__ import annotations

from tinygrad_rnn.graph import Node, Var

from .calls import Call
from .loops import Loop


class Group(Loop):
    """A loop of one step whose results have the shapes that the node says."""

    def __init__(self, node: Node):
        super().__init__(node)
        self.shapes = {v: out.type.shape for v, out in zip(self.program.ys, node.outputs)}

    def prepare(self, threads: int) -> Call:
        return _GroupCall(self, threads)


class _GroupCall(Call):
    loop: Group
    leading = 0

    def _shape(self, v: Var, kind: str) -> tuple[int, ...]:
        return self.loop.shapes[v] if v in self.loop.shapes else super()._shape(v, kind)
