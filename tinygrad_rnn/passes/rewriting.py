"""What passes share: replaying a graph into a new one, with a say in every node.

In: a Graph and a function that rewrites one application. Out: a Graph in which equal applications
appear once and dead ones are gone. Nobody differentiates a graph after the passes, so whether a
node was recorded under `no_grad` no longer matters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..graph import Graph, Node, Var
from ..primitive import apply
from ..residuals import NOWHERE
from ..tensor import Tensor, Value, wrap
from ..trace import Tracer, state
from ..types import Type

Rewrite = Callable[[Node, list[Tensor]], Sequence[Tensor] | None]


def rebuild(graph: Graph, rewrite: Rewrite, env: dict[Var, Tensor] | None = None) -> Graph:
    """`graph` with every node replaced by what `rewrite(node, operands)` returns (None: itself).

    `env`, if given, is filled with what stands for every variable of `graph` so far.
    """
    env = {} if env is None else env
    with Tracer("a pass", NOWHERE, share=True) as tracer:
        env.update({v: placeholder(tracer, v.type) for v in graph.inputs})
        for node in graph.nodes:
            args = [env[v] for v in node.inputs]
            outs = rewrite(node, args)
            if outs is None:
                outs = perform(node.op, args, node.attrs)
            env.update(zip(node.outputs, outs, strict=True))
        return tracer.finish([var(env[v]) for v in graph.outputs])


def placeholder(tracer: Tracer, t: Type) -> Tensor:
    return wrap(Value(t, tracer.input(t), NOWHERE))


def perform(op: Any, args: Sequence[Tensor], attrs: Any) -> tuple[Tensor, ...]:
    """One application with all its outputs."""
    out = apply(op, tuple(args), dict(attrs))
    return out if isinstance(out, tuple) else (out,)


def var(t: Tensor) -> Var:
    data: Var = t._value.data
    return data


def producer(t: Tensor, name: str | None = None) -> Node | None:
    """The node of the graph under construction that made `t` (if it is of that name)."""
    assert state.tracer is not None
    node = state.tracer.producers.get(var(t))
    return node if node is not None and (name is None or node.op.name == name) else None


def tensor_of(v: Var) -> Tensor:
    """A variable of the graph under construction as an operand."""
    return wrap(Value(v.type, v, NOWHERE))


def uses(graph: Graph) -> dict[Var, int]:
    """How often every variable is read, outputs of the graph included."""
    count: dict[Var, int] = {}
    for node in graph.nodes:
        for v in node.inputs:
            count[v] = count.get(v, 0) + 1
    for v in graph.outputs:
        count[v] = count.get(v, 0) + 1
    return count


def has_product(node: Node) -> bool:
    """Whether a node is a contraction or a loop with one inside: work worth moving."""
    if node.op.name == "contract":
        return True
    body = node.attrs.get("body")
    return isinstance(body, Graph) and any(map(has_product, body.nodes))
