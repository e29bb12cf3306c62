"""Loops over single examples get an axis of one row, so that they are loops over a batch.

In: an optimised graph. Out: a graph in which scans whose carries are vectors or numbers carry
matrices [1, n] instead, where a loop program can be made of that. The rule by which `vmap` batches
a scan does it. The two leading axes of a batch of batches become one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .graph import Graph, Node
from .leading import as_one_batch, has_two
from .lower import Unsupported, lower
from .ops.movement import reshape
from .passes.rewriting import rebuild
from .tensor import Tensor

Way = Callable[[Node, list[Tensor]], list[Tensor]]


def with_rows(graph: Graph) -> Graph:
    """The graph with one axis of rows in the carries of its loops, where there is none, or two."""
    ways: dict[Node, Way] = {}
    for node in graph.nodes:
        way = _way(node)
        if way is not None and _becomes_a_program(node, way):
            ways[node] = way
    if not ways:
        return graph

    def rewrite(node: Node, args: list[Tensor]) -> Sequence[Tensor] | None:
        return ways[node](node, args) if node in ways else None

    return rebuild(graph, rewrite)


def _way(node: Node) -> Way | None:
    if node.op.name != "scan" or not node.attrs["length"]:
        return None
    body, n_const, n_carry = (node.attrs[k] for k in ("body", "n_const", "n_carry"))
    carry = body.inputs[n_const : n_const + n_carry]
    if carry and all(v.type.ndim < 2 for v in carry):
        return _one_row
    return as_one_batch if has_two(carry) else None


def _becomes_a_program(node: Node, way: Way) -> bool:
    alone = Graph(node.inputs, [node], node.outputs)
    try:
        changed = rebuild(alone, way)
        return all(lower(n, halves=True) is not None for n in changed.nodes if n.op.name == "scan")
    except Unsupported:
        return False


def _one_row(node: Node, args: list[Tensor]) -> list[Tensor]:
    """The loop with one row: operands gain a leading axis, results lose it."""
    n_const = node.attrs["n_const"]
    flags = tuple(i >= n_const for i in range(len(args)))
    rows = [reshape(t, (1, *t.shape)) if flag else t for t, flag in zip(args, flags)]
    outs = node.op.batch(1, tuple(rows), flags, **node.attrs)
    outs = outs if isinstance(outs, tuple) else (outs,)
    return [reshape(y, v.type.shape) for y, v in zip(outs, node.outputs)]
