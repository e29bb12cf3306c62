"""Loops over single examples get an axis of one row, so that they are loops over a batch.

In: an optimised graph. Out: a graph in which scans whose carries are vectors or numbers carry
matrices [1, n] instead, where a loop program can be made of that; the rule by which `vmap` batches
a scan does it. A number that is carried beside matrices becomes a column, equal in all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .graph import Graph, Node, Var
from .lower import ELEMENTWISE, Unsupported, lower
from .ops.movement import broadcast_to, narrow, reshape
from .passes.rewriting import perform, placeholder, rebuild
from .residuals import NOWHERE
from .tensor import Tensor
from .trace import Tracer

Way = Callable[[Node, list[Tensor]], list[Tensor]]


def with_rows(graph: Graph) -> Graph:
    """The graph with an axis of rows in the carries of its loops, where there is none."""
    ways: dict[Node, Way] = {}
    for n in graph.nodes:
        if n.op.name == "scan" and n.attrs["length"] > 0:
            way = _one_row if _is_single(n) else _in_columns if _has_numbers(n) else None
            if way is not None and _becomes_a_program(n, way):
                ways[n] = way
    if not ways:
        return graph

    def rewrite(node: Node, args: list[Tensor]) -> Sequence[Tensor] | None:
        return ways[node](node, args) if node in ways else None

    return rebuild(graph, rewrite)


def _carry(node: Node) -> Sequence[Var]:
    body, n_const, n_carry = (node.attrs[k] for k in ("body", "n_const", "n_carry"))
    carry: Sequence[Var] = body.inputs[n_const : n_const + n_carry]
    return carry


def _is_single(node: Node) -> bool:
    carry = _carry(node)
    return bool(carry) and all(v.type.ndim < 2 for v in carry)


def _has_numbers(node: Node) -> bool:
    """Whether numbers (a counter, a temperature) are carried beside matrices."""
    kinds = {v.type.ndim for v in _carry(node)}
    return 0 in kinds and 2 in kinds and kinds <= {0, 1, 2}


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


# --- numbers that are carried beside matrices ----------------------------------------------------


def _in_columns(node: Node, args: list[Tensor]) -> list[Tensor]:
    """The loop with a column, the same in every row, for every number that is carried."""
    attrs, numbers = node.attrs, [v for v in _carry(node) if not v.type.shape]
    rows = next(v.type.shape[0] for v in _carry(node) if v.type.shape)
    body, spread = _body_in_columns(attrs["body"], attrs["n_carry"], set(numbers), rows)
    given = [
        broadcast_to(reshape(t, (1, 1)), (rows, 1)) if v in numbers else t
        for v, t in zip(attrs["body"].inputs, args)
    ]
    outs = perform(node.op, given, {**attrs, "body": body})
    first = [narrow(y, y.ndim - 2, 0, 1) if i in spread else y for i, y in enumerate(outs)]
    return [reshape(y, v.type.shape) for y, v in zip(first, node.outputs)]


def _body_in_columns(
    body: Graph, n_carry: int, numbers: set[Var], rows: int
) -> tuple[Graph, set[int]]:
    """The body in which `numbers` are columns, and which of its outputs have become columns."""
    column = (rows, 1)
    env: dict[Var, Tensor] = {}
    with Tracer("a pass", NOWHERE, share=True) as tracer:
        for v in body.inputs:
            kind = v.type.with_shape(column) if v in numbers else v.type
            env[v] = placeholder(tracer, kind)
        for n in body.nodes:
            given = [env[v] for v in n.inputs]
            if any(t.type is not v.type for t, v in zip(given, n.inputs)):
                given = _fitting(n, given, rows)
            outs = perform(n.op, given, n.attrs)
            env.update(zip(n.outputs, outs))
            shape = n.outputs[0].type.shape
            if outs[0].shape not in ((column, ()) if shape == () else (shape,)):
                raise Unsupported(f"'{n.op.name}' of a number that is carried")
        outputs = [env[v] for v in body.outputs]
        for i, v in enumerate(body.outputs[:n_carry]):
            if not v.type.shape and not outputs[i].shape:
                outputs[i] = broadcast_to(outputs[i], column)
        spread = {i for i, v in enumerate(body.outputs) if outputs[i].type is not v.type}
        return tracer.finish([tracer.lift(t._value, t) for t in outputs]), spread


def _fitting(node: Node, given: list[Tensor], rows: int) -> list[Tensor]:
    """The operands of a node, columns among them, such that its rule for types takes them."""
    if node.op.name not in ELEMENTWISE and node.op.name != "broadcast_to":
        raise Unsupported(f"'{node.op.name}' of a number that is carried")
    if node.output.type.shape != (rows,):
        return given
    return [reshape(t, (rows,)) if t.type is not v.type else t for t, v in zip(given, node.inputs)]
