"""The step of a loop by itself: a function `(carry, x) -> (carry, y)` with values to run it on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...backend import use_backend
from ...extend import Graph, Node
from ...ops.creation import tensor
from ...residuals import NOWHERE
from ...tensor import Tensor
from ...trace import Tracer
from ...vectorize import replay
from . import structures
from .builder import RANGES, Builder
from .digits import Digits
from .generate import FLOATS, PALETTES, ROWS, body_of
from .program import Program


class ScanBody:
    """`body(carry, x)` is one step; `carry`, `xs`, `consts` are arrays for it; prints as code.

    `program` is the whole scan as a program of all its operands.
    """

    def __init__(self, program: Program, node: Node):
        self.program, self.graph = program, node.attrs["body"]
        self.length: int = node.attrs["length"]
        self.reverse: bool = node.attrs["reverse"]
        # some operands are computed before the loop: what is the same in every step
        before = Graph(program.graph.inputs, program.graph.nodes[:-1], node.inputs)
        with np.errstate(all="ignore"):
            arrays = [np.asarray(a) for a in before.interpret(*program.arrays())]
        c, k = node.attrs["n_const"], node.attrs["n_const"] + node.attrs["n_carry"]
        self.consts, self.carry, self.xs = arrays[:c], arrays[c:k], arrays[k:]

    def __call__(
        self, carry: Sequence[Tensor], x: Sequence[Tensor] | None, consts: Any = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The new carry and the outputs of one step; `consts` are arrays unless given."""
        captured = [tensor(a) for a in self.consts] if consts is None else list(consts)
        out = replay(self.graph, [*captured, *carry, *(x or [])])
        return out[: len(carry)], out[len(carry) :]

    def __repr__(self) -> str:
        return self.program.source


def scan_body(numbers: Sequence[int], *, floats: str = "float64", rows: bool = False) -> ScanBody:
    """The step that `numbers` describe: two for its operands, then one per line."""
    head = Digits(numbers[0] if numbers else 0)
    tail = Digits(numbers[1] if len(numbers) > 1 else 0)
    with use_backend(NOWHERE), Tracer("a random loop", NOWHERE) as tracer:
        b = Builder(tracer, FLOATS[floats], head.pick(ROWS if rows else PALETTES), rows)
        for _ in range(1 + head.below(2)):
            b.keep(*b.leaf(head.pick(b.floats), b.shape(head, 1, 2), *head.pick(RANGES)))
        lines = iter(numbers[2:])
        structures.loop(b, tail, lines, body_of([], None), count=max(1, len(numbers) - 2))
        at = max(k for k, n in enumerate(tracer.nodes) if n.op.name == "scan")
        node = tracer.nodes[at]
        graph = Graph(tracer.inputs, tracer.nodes[: at + 1], node.outputs)
    return ScanBody(Program(graph, tuple(b.leaves), tail.below(2**31)), node)

