"""Numbers that a loop carries for itself run in a loop of their own.

In: a graph with loops. Out: a graph in which carries without axes that depend on no other carry (a
count of the steps, say) are the carry of a loop before, whose stack the loop reads: what such
numbers decide is then known for all steps, and every carry that is left has rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graph import Graph, Node, Var
from ..tensor import Tensor
from .prune import prune
from .rewriting import perform, rebuild
from .simplify import simplify


def clocks(graph: Graph) -> Graph:
    """The graph with such carries in loops of their own; loops inside loops first."""
    return rebuild(graph, _rewrite)


def _rewrite(node: Node, args: list[Tensor]) -> Sequence[Tensor] | None:
    body = node.attrs.get("body")
    if not isinstance(body, Graph):
        return None
    attrs = {**node.attrs, "body": clocks(body)}
    if node.op.name == "scan":
        alone = _alone(attrs["body"], attrs["n_const"], attrs["n_carry"])
        if 0 < len(alone) < attrs["n_carry"]:
            return _split(node.op, attrs, args, alone)
    return perform(node.op, args, attrs)


def _alone(body: Graph, n_const: int, n_carry: int) -> list[int]:
    """The carries without axes that depend on none but each other."""
    bit = {v: 1 << i for i, v in enumerate(body.inputs[n_const : n_const + n_carry])}
    for node in body.nodes:
        bits = 0
        for v in node.inputs:
            bits |= bit.get(v, 0)
        bit.update(dict.fromkeys(node.outputs, bits))
    reads = [bit.get(v, 0) for v in body.outputs[:n_carry]]
    found = {i for i, v in enumerate(body.outputs[:n_carry]) if v.type.ndim == 0}
    while True:
        open_ = {i for i in found if reads[i] & ~sum(1 << j for j in found)}
        if not open_:
            return sorted(found)
        found -= open_


def _split(
    op: Any, attrs: dict[str, Any], args: list[Tensor], alone: list[int]
) -> Sequence[Tensor]:
    """The results of the two loops in the order of the one."""
    body, n_const, n_carry = attrs["body"], attrs["n_const"], attrs["n_carry"]
    end, rest = n_const + n_carry, [i for i in range(n_carry) if i not in alone]
    before = [body.inputs[n_const + i] for i in alone]

    def loop(carry: list[int], xs: Sequence[Var], more: Sequence[Tensor], ys: Sequence[Var]) -> Any:
        places = [*range(n_const), *[n_const + i for i in carry], *range(end, len(args))]
        outputs = [*[body.outputs[i] for i in carry], *ys]
        new = Graph([*[body.inputs[i] for i in places], *xs], body.nodes, outputs)
        return perform(
            op, [*[args[i] for i in places], *more],
            {**attrs, "body": simplify(prune(new)), "n_carry": len(carry), "shown": len(outputs)},
        )  # fmt: skip

    first = loop(alone, [], [], before)
    stacks = first[len(alone) :]
    second = loop(rest, before, stacks, body.outputs[n_carry:])
    ends = dict(zip(alone, first)) | dict(zip(rest, second))
    return [*[ends[i] for i in range(n_carry)], *second[len(rest) :]]
