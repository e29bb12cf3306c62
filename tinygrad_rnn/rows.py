"""Loops over single examples get an axis of one row, so that they are loops over a batch.

In: an optimised graph. Out: a graph in which scans whose carries are vectors or numbers carry
matrices [1, n] instead, where a loop program can be made of that. The rule by which `vmap` batches
a scan does it.
"""

from __future__ import annotations

from collections.abc import Sequence

from .graph import Graph, Node
from .lower import Unsupported, lower
from .ops.movement import reshape
from .passes.rewriting import rebuild
from .tensor import Tensor


def with_rows(graph: Graph) -> Graph:
    """The graph with an axis of rows in the carries of its loops, where there is none."""
    single = {n for n in graph.nodes if n.op.name == "scan" and _is_single(n)}
    single = {n for n in single if _becomes_a_program(n)}
    if not single:
        return graph

    def rewrite(node: Node, args: list[Tensor]) -> Sequence[Tensor] | None:
        return _one_row(node, args) if node in single else None

    return rebuild(graph, rewrite)


def _is_single(node: Node) -> bool:
    body, n_const, n_carry = (node.attrs[k] for k in ("body", "n_const", "n_carry"))
    carry = body.inputs[n_const : n_const + n_carry]
    return node.attrs["length"] > 0 and n_carry > 0 and all(v.type.ndim < 2 for v in carry)


def _becomes_a_program(node: Node) -> bool:
    alone = Graph(node.inputs, [node], node.outputs)
    batched = rebuild(alone, lambda n, args: _one_row(n, args))
    try:
        return all(lower(n, halves=True) is not None for n in batched.nodes if n.op.name == "scan")
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
