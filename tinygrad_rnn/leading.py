"""Loops over batches of batches become loops over one batch: two leading axes are rows together.

In: a scan whose carries are all [a, b, ...]. Out: the same loop with carries [a * b, ...], or
Unsupported if something in the step looks at the two axes apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .graph import Graph, Node, Var
from .lower import ELEMENTWISE, Unsupported
from .ops.movement import reshape
from .passes.rewriting import perform, placeholder
from .residuals import NOWHERE
from .tensor import Tensor
from .trace import Tracer
from .types import Shape


def has_two(carry: Sequence[Var]) -> bool:
    """Whether all carries have the same two axes in front, and features behind them."""
    leads = {v.type.shape[:2] for v in carry}
    return len(leads) == 1 and any(v.type.ndim > 2 for v in carry) and 0 not in leads.pop()


def as_one_batch(node: Node, args: list[Tensor]) -> list[Tensor]:
    """The loop with the two leading axes of its carries, and of what else has them, as one."""
    attrs = node.attrs
    merging = _Merging(attrs["body"], attrs["n_const"], attrs["n_carry"])
    body = merging.run()
    given = merging.operands(args)
    outs = perform(node.op, given, {**attrs, "body": body, "n_const": merging.n_const})
    return [reshape(y, v.type.shape) for y, v in zip(outs, node.outputs)]


class _Merging:
    """`merged`: the variables of the old body whose two leading axes are one in the new body;
    `consts`: the consts that are read so too."""

    def __init__(self, body: Graph, n_const: int, n_carry: int):
        self.body, self.n_const, self.n_carry = body, n_const, n_carry
        self.lead = body.inputs[n_const].type.shape[:2]
        self.merged = {v for v in body.inputs[n_const:] if v.type.shape[:2] == self.lead}
        self.consts: dict[Var, Tensor] = {}

    @staticmethod
    def shape(shape: Shape) -> Shape:
        return (math.prod(shape[:2]), *shape[2:])

    def operands(self, args: Sequence[Tensor]) -> list[Tensor]:
        """The operands of the new loop; of an x, the two axes come after that of the steps."""
        given = dict(zip(self.body.inputs, args))
        out = [
            reshape(t, (*t.shape[: t.ndim - v.type.ndim], *self.shape(v.type.shape)))
            if v in self.merged else t
            for v, t in given.items()
        ]  # fmt: skip
        n = self.n_const - len(self.consts)
        more = [reshape(given[v], self.shape(v.type.shape)) for v in self.consts]
        return [*out[:n], *more, *out[n:]]

    def run(self) -> Graph:
        """The new body, which has `consts` as further consts."""
        env: dict[Var, Tensor] = {}
        with Tracer("a pass", NOWHERE, share=True) as tracer:
            for v in self.body.inputs:
                shape = self.shape(v.type.shape) if v in self.merged else v.type.shape
                env[v] = placeholder(tracer, v.type.with_shape(shape))
            inputs = list(tracer.inputs)
            for n in self.body.nodes:
                self.node(n, env, tracer)
            if not self.merged.issuperset(self.body.outputs[: self.n_carry]):
                raise Unsupported("a carry that does not depend on what is carried")
            outputs = [tracer.lift(env[v]._value, env[v]) for v in self.body.outputs]
            graph = tracer.finish(outputs)
        more = [t._value.data for t in self.consts.values()]
        order = [*inputs[: self.n_const], *more, *inputs[self.n_const :]]
        self.n_const += len(more)
        return Graph(order, graph.nodes, graph.outputs)

    def node(self, n: Node, env: dict[Var, Tensor], tracer: Tracer) -> None:
        if self.merged.isdisjoint(n.inputs):
            env.update(zip(n.outputs, perform(n.op, [env[v] for v in n.inputs], n.attrs)))
            return
        out = n.outputs[0]
        changed = _ATTRS.get(n.op.name, _unknown)
        if n.op.name in ELEMENTWISE:
            given, attrs = [self.element(v, out.type.ndim, env, tracer) for v in n.inputs], n.attrs
        else:
            given, attrs = [env[v] for v in n.inputs], changed(self, n)
        result = perform(n.op, given, attrs)[0]
        if out.type.shape[:2] != self.lead or result.shape != self.shape(out.type.shape):
            raise _apart(n)
        env[out] = result
        self.merged.add(out)

    def element(self, v: Var, ndim: int, env: dict[Var, Tensor], tracer: Tracer) -> Tensor:
        """An operand of an operation element by element, whose result has `ndim` axes."""
        shape = v.type.shape
        if (v in self.merged and len(shape) == ndim) or len(shape) <= max(ndim - 2, 0):
            return env[v]
        if v in self.merged or len(shape) != ndim or shape[:2] not in (self.lead, (1, 1)):
            raise Unsupported(f"{v.type} is spread over two leading axes")
        if v not in self.body.inputs:
            return reshape(env[v], self.shape(shape))
        if v not in self.consts:
            self.consts[v] = placeholder(tracer, v.type.with_shape(self.shape(shape)))
        return self.consts[v]


def _apart(n: Node) -> Unsupported:
    return Unsupported(f"'{n.op.name}' of {n.inputs[0].type} looks at two leading axes apart")


def _unknown(m: _Merging, n: Node) -> dict[str, Any]:
    raise _apart(n)


def _labels(m: _Merging, n: Node) -> dict[str, Any]:
    labels = [n.attrs["a"], n.attrs["b"]]
    first = next(ls[:2] for v, ls in zip(n.inputs, labels) if v in m.merged)
    for v, ls in zip(n.inputs, labels):
        if (ls[:2] == first) if v not in m.merged else (ls[:2] != first):
            raise _apart(n)
    labels = [tuple(i for i in ls if i != first[1]) for ls in (*labels, n.attrs["out"])]
    if n.attrs["out"][:2] != first or any(first[0] in ls for v, ls in zip(n.inputs, labels)
                                          if v not in m.merged):  # fmt: skip
        raise _apart(n)
    return dict(zip(("a", "b", "out"), labels))


def _axes(m: _Merging, n: Node) -> dict[str, Any]:
    if min(n.attrs["axes"], default=2) < 2:
        raise _apart(n)
    return {**n.attrs, "axes": tuple(a - 1 for a in n.attrs["axes"])}


def _axis(m: _Merging, n: Node) -> dict[str, Any]:
    if n.attrs["axis"] < 2 or not m.merged.issuperset(n.inputs):
        raise _apart(n)
    return {**n.attrs, "axis": n.attrs["axis"] - 1}


def _new_shape(m: _Merging, n: Node) -> dict[str, Any]:
    if n.op.name == "broadcast_to" and n.inputs[0].type.ndim != n.output.type.ndim:
        raise _apart(n)
    return {**n.attrs, "shape": m.shape(n.attrs["shape"])}


def _slice(m: _Merging, n: Node) -> dict[str, Any]:
    start, stop, step = (n.attrs[k] for k in ("start", "stop", "step"))
    if (start[:2], stop[:2], step[:2]) != ((0, 0), m.lead, (1, 1)):
        raise _apart(n)
    return {
        **n.attrs, "start": start[1:], "stop": m.shape(stop), "step": step[1:],
    }  # fmt: skip


def _pad(m: _Merging, n: Node) -> dict[str, Any]:
    if any(any(n.attrs[k][:2]) for k in ("low", "high", "interior")):
        raise _apart(n)
    return {**n.attrs, **{k: n.attrs[k][1:] for k in ("low", "high", "interior")}}


_ATTRS: dict[str, Callable[[_Merging, Node], dict[str, Any]]] = {
    "contract": _labels, "sum": _axes, "max": _axes, "concat": _axis, "reshape": _new_shape,
    "broadcast_to": _new_shape, "slice": _slice, "pad": _pad,
}  # fmt: skip
