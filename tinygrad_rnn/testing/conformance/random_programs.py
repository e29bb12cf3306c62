"""Level 3: random programs with loops, and their gradients, beside NumPy's backend."""

from __future__ import annotations

import numpy as np

from ...extend import Graph, subgraphs
from ..comparison import compare_backends
from ..fuzz.check import unsteady
from ..fuzz.levels import Level as Order
from ..programs import Program
from ..strategies import programs
from .registry import Level, check
from .subject import Subject


def dtypes_of(graph: Graph) -> set[str]:
    """Names of the dtypes of all values in a graph and in the bodies of its loops."""
    found = {v.type.dtype.name for v in graph.inputs}
    for node in graph.nodes:
        found |= {v.type.dtype.name for v in node.outputs}
        for _, body in subgraphs(node):
            found |= dtypes_of(body)
    return found


def primitives_in(graph: Graph) -> set[str]:
    inside = [body for node in graph.nodes for _, body in subgraphs(node)]
    return {node.op.name for node in graph.nodes}.union(*map(primitives_in, inside))


@check("F1", Level.LOOPS, lambda subject: ["of single operations", "with a loop over rows"])
def random_programs(subject: Subject, name: str) -> None:
    """Values and gradients; a failure names the first operation that differs, and prints all."""
    claims = subject.claims
    backends = ("numpy", subject.backend)
    without = set(claims.lacks) | {r.op for r in claims.refuses}

    def holds(program: Program) -> None:
        level: Order | None = Order(program.graph, program.arrays())
        for _ in range(2):
            if level is None or not dtypes_of(level.graph) <= set(claims.dtypes):
                return
            if without & primitives_in(level.graph):
                return
            found = compare_backends(level.graph, *level.arrays, backends=backends)
            assert found or unsteady(level), f"{found}\n{program.script()}"
            level = level.above(np.random.default_rng(0))

    floats = "float64" if "float64" in claims.dtypes else "float32"
    rows = name.endswith("rows")
    drawn = programs(floats=floats, min_lines=4, max_lines=9, rows=rows, loops=rows or None)
    subject.forall(drawn, holds)
