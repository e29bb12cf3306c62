"""scan: a loop over time as one differentiable operation. Check, type, derivative, residuals.

In: a step `(carry, x) -> (carry, y)`. Out: the final carry and the stacked ys. The step is traced
once; what it captures becomes a const. The derivative of a scan is a scan in the other direction:
carry <-> carry, xs <-> ys, a const that is read <-> a gradient that is summed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .backend import Backend, ProgramCache, compiled, get_backend, run
from .errors import ArgumentError, DTypeError, ShapeError
from .graph import Graph, Node, Var
from .invariants import hoist
from .ops.contraction import contract
from .ops.creation import zeros_like
from .ops.movement import Concat, moveaxis, narrow, reshape
from .ops.transcendental import Tanh
from .primitive import Arg, Flags, Operands, Primitive, Sample, apply, bind, bind_all, item
from .residuals import NOWHERE, derive, inner, with_residuals
from .scan_arguments import check_carry, length_of, tensors
from .tensor import Tensor, Tracked, Value, wrap
from .trace import Tracer, state
from .tree import paths, unflatten
from .types import Type, float64
from .vectorize import batch_graph, lead, replay

SAVE = ("auto", "carry")


class Parts:
    """The four kinds of operands of a scan, cut out of any list that is in their order."""

    def __init__(self, attrs: Any):
        self.body: Graph = attrs["body"]
        self.n_const: int = attrs["n_const"]
        self.n_carry: int = attrs["n_carry"]

    def consts(self, items: Sequence[Any]) -> list[Any]:
        return list(items[: self.n_const])

    def carry(self, items: Sequence[Any]) -> list[Any]:
        return list(items[self.n_const : self.n_const + self.n_carry])

    def xs(self, items: Sequence[Any]) -> list[Any]:
        return list(items[self.n_const + self.n_carry :])


def _reference(
    *arrays: Any, body: Graph, n_const: int, n_carry: int, length: int, reverse: bool, **_: Any
) -> Any:
    """ys = []; for x in xs: carry, y = step(carry, x); ys.append(y)"""
    consts, carry, xs = (
        arrays[:n_const],
        list(arrays[n_const : n_const + n_carry]),
        arrays[n_const + n_carry :],
    )
    complex_ = any(np.iscomplexobj(a) for a in arrays)
    ys = [
        np.zeros(
            (length, *v.type.shape),
            complex if complex_ and v.type.dtype.is_float else v.type.dtype.np,
        )
        for v in body.outputs[n_carry:]
    ]
    for t in range(length)[:: -1 if reverse else 1]:
        out = body.interpret(*consts, *carry, *[x[t] for x in xs])
        carry = out[:n_carry]
        for stack, y in zip(ys, out[n_carry:]):
            stack[t] = y
    return (*carry, *ys)


class _Samples:
    """Made when somebody looks: importing should not trace anything."""

    def __get__(self, instance: object, owner: type) -> tuple[Sample, ...]:
        """h' = tanh(x + h @ W), y = h' * x, with W captured."""
        types = (Type((3, 3), float64), Type((2, 3), float64), Type((2, 3), float64))
        with Tracer("an example", NOWHERE) as tracer:
            w, h, x = (wrap(Value(t, tracer.input(t), NOWHERE)) for t in types)
            new = bind(Tanh, x + contract(h, w, (0, 1), (1, 2), (0, 2)))
            body = tracer.finish([new._value.data, (new * x)._value.data])
        arg = functools.partial(Arg, low=-1, high=1, dtype="float64")
        rest = {"body": body, "n_const": 1, "n_carry": 1, "shown": 2, "save": "auto"}
        return tuple(
            Sample((arg((3, 3)), arg((2, 3)), arg((t, 2, 3))), {**rest, "length": t, "reverse": r})
            for t, r in ((0, False), (1, True), (4, False), (4, True))
        )


class Scan(Primitive, name="scan"):
    """carry and ys of a loop whose body is a graph `consts, carry, x -> carry, y`.

    `shown`: how many outputs the user asked for; the rest are residuals for the backward loop.
    """

    samples = _Samples()
    reference = staticmethod(_reference)
    vjp = ()

    @staticmethod
    def type(
        *types: Type,
        body: Graph,
        n_const: int,
        n_carry: int,
        length: int,
        reverse: bool,
        shown: int,
        save: str,
    ) -> tuple[Type, ...]:
        parts = Parts({"body": body, "n_const": n_const, "n_carry": n_carry})
        for given, v in zip((*types[: n_const + n_carry],), body.inputs):
            if given is not v.type:
                raise ShapeError(f"scan: operand {given} where the body takes {v.type}.")
        for given, v in zip(parts.xs(types), parts.xs(body.inputs), strict=True):
            if given is not v.type.with_shape((length, *v.type.shape)):
                raise ShapeError(
                    f"scan: stacked operand {given}, the body takes rows {v.type} x {length}."
                )
        for before, after in zip(parts.carry(body.inputs), body.outputs):
            if before.type is not after.type:
                raise ShapeError(f"scan: carry enters as {before.type} and leaves as {after.type}.")
        ys = [v.type.with_shape((length, *v.type.shape)) for v in body.outputs[n_carry:]]
        return (*[v.type for v in body.outputs[:n_carry]], *ys)

    @classmethod
    def visible(cls, attrs: dict[str, Any]) -> int:
        shown: int = attrs["shown"]
        return shown

    @classmethod
    def prepare(cls, values: tuple[Value, ...], attrs: dict[str, Any]) -> dict[str, Any]:
        needs = tuple([v.tracked for v in values])
        n_const, n_carry, shown, save = (attrs[k] for k in ("n_const", "n_carry", "shown", "save"))
        return {
            **attrs,
            "body": with_residuals(attrs["body"], n_const, n_carry, needs, shown, save),
        }

    @classmethod
    def execute(cls, backend: Backend, types: Any, attrs: dict[str, Any], buffers: Any) -> Any:
        return tuple(run(compiled(backend, single(cls, attrs, types)), buffers))

    @classmethod
    def pullback(cls, needs: Any, g: Any, y: Any, inputs: tuple[Tensor, ...], attrs: Any) -> Any:
        return backward_scan(tuple(needs), g, y._value, inputs, attrs)

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, **attrs: Any) -> Any:
        return _batch(size, args, batched, attrs)


def single(op: type[Primitive], attrs: dict[str, Any], types: tuple[Type, ...]) -> Graph:
    """A graph of one application, for operations that run as compiled programs."""
    key = (
        op.name,
        attrs["body"].digest,
        *[v for v in attrs.values() if not isinstance(v, Graph)],
        types,
    )

    def make() -> Graph:
        body: Graph = attrs["body"]
        parts = Parts(attrs) if op is Scan else None
        inputs = []
        for i, v in enumerate(body.inputs):
            rows = parts is not None and i >= parts.n_const + parts.n_carry
            inputs.append(
                Var(v.type.with_shape((attrs["length"], *v.type.shape)) if rows else v.type)
            )
        outputs = tuple(Var(t) for t in types)
        return Graph(inputs, [Node(op, tuple(inputs), attrs, outputs)], outputs)

    graph: Graph = _singles.get(key, make)
    return graph


_singles = ProgramCache()


#: Operations of a loop inside a loop's step, in all its steps, up to which it is written out there.
WRITTEN_OUT = 100
STEP = "the step of scan"


# --- the function --------------------------------------------------------------------------------


def scan(
    step: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    xs: Any,
    length: int | None = None,
    reverse: bool = False,
    save: str = "auto",
) -> tuple[Any, Any]:
    """scan : ((c, x) -> (c, y)) -> c -> [x] -> (c, [y])

    Meaning::

        ys = []
        for x in xs:                # from the last to the first if reverse
            carry, y = step(carry, x)
            ys.append(y)
        return carry, stack(ys)     # ys in the order of xs

    carry, x and y are trees of tensors; xs has leaves [T, ...] and may be None when `length` is
    given. Tensors that `step` captures (weights) get gradients too. Random numbers that it draws
    (dropout) are drawn before the loop, for all steps. `save`: what the forward loop
    keeps for the backward loop, "auto" (what its derivative reads) or "carry" (recompute the rest).
    A short loop without xs and ys in the step of another one (the stages of a solver, say) is
    written out there, so that the outer loop is one program.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([1.0, 2.0, 3.0])
    >>> total, sums = tg.scan(lambda c, x: (c + x, c + x), tg.tensor(0.0), x)
    >>> total.item(), sums.tolist()
    (6.0, [1.0, 3.0, 6.0])
    """
    if save not in SAVE:
        raise ArgumentError(f"scan: save={save!r}, expected one of {SAVE}.")
    if not callable(step):
        raise ArgumentError(
            f"scan: step is a {type(step).__name__}, expected a function (carry, x) -> (carry, y)."
        )
    carry_leaves, carry_def = tensors("scan: carry", carry)
    x_leaves, x_def = tensors("scan: xs", xs)
    T = length_of(x_leaves, paths(xs, "xs"), length)
    operands = carry_leaves + x_leaves
    backend = operands[0].backend if operands else get_backend()
    body, captured, drawn, out_def, y_def = _trace_step(
        step, backend, T, carry_leaves, carry_def, x_leaves, x_def
    )
    x_leaves += drawn
    body, captured = hoist(body, captured)
    attrs = {
        "body": body, "n_const": len(captured), "n_carry": len(carry_leaves), "length": T,
        "reverse": bool(reverse), "shown": len(body.outputs), "save": save,
    }  # fmt: skip
    if not body.outputs:
        return carry, unflatten(y_def, [])
    states_only = not x_leaves and len(body.outputs) == len(carry_leaves)
    in_a_step = state.tracer is not None and state.tracer.what == STEP
    if in_a_step and states_only and save == "auto" and T * len(body.nodes) <= WRITTEN_OUT:
        for _ in range(T):
            carry_leaves = replay(body, [*captured, *carry_leaves])
        return unflatten(out_def, carry_leaves), unflatten(y_def, [])
    outs = bind_all(Scan, *captured, *carry_leaves, *x_leaves, **attrs)
    n = len(carry_leaves)
    return unflatten(out_def, outs[:n]), unflatten(y_def, outs[n:])


def _trace_step(
    step: Callable[[Any, Any], Any],
    backend: Backend,
    length: int,
    carry: Sequence[Tensor],
    carry_def: Any,
    xs: Sequence[Tensor],
    x_def: Any,
) -> tuple[Graph, list[Tensor], list[Tensor], Any, Any]:
    """The body `consts, carry, x, drawn -> carry, y`, the captured tensors, the random numbers that
    were drawn for it, the trees of both results."""
    with Tracer(STEP, backend) as tracer:
        tracer.length = length

        def fresh(t: Type) -> Tensor:
            return wrap(Value(t, tracer.input(t), backend))

        c = [fresh(t.type) for t in carry]
        x = [fresh(t.type.with_shape(t.shape[1:])) for t in xs]
        result = step(unflatten(carry_def, c), unflatten(x_def, x))
        if not (isinstance(result, tuple) and len(result) == 2):
            raise DTypeError(
                f"scan: the step must return (carry, y), got {type(result).__name__}; "
                "return (carry, None) if there is nothing to stack."
            )
        new, out_def = tensors("scan: the new carry", result[0])
        check_carry(step, carry, carry_def, new, out_def)
        ys, y_def = tensors("scan: y", result[1])
        outputs = [tracer.lift(t._value, t) for t in (*new, *ys)]
        graph = tracer.finish(outputs, captured=False)
    captures = list(tracer.captures.values())
    body = Graph([*(cap.var for cap in captures), *graph.inputs], graph.nodes, graph.outputs)
    return body, [cap.handle for cap in captures], tracer.drawn, out_def, y_def


# --- the derivative ------------------------------------------------------------------------------


def backward_scan(
    needs: tuple[bool, ...],
    g: dict[int, Tensor],
    record: Tracked,
    inputs: tuple[Tensor, ...],
    attrs: Any,
) -> list[Tensor | None]:
    """Cotangents of consts, carry and xs: one scan in the other direction."""
    parts = Parts(attrs)
    body, n_const, n_carry, T = parts.body, parts.n_const, parts.n_carry, attrs["length"]
    index = {v: i for i, v in enumerate(inner(body))}
    stacks = {v: n_carry + j for j, v in enumerate(body.outputs[n_carry:])}
    available = {index[v]: at for v, at in stacks.items() if v in index}
    g_ys = tuple(n_carry + j in g for j in range(len(body.outputs) - n_carry))
    back = derive(body, n_const, n_carry, needs, g_ys, frozenset(available))

    def stack(at: int) -> Tensor:
        return wrap(item(record, at))

    consts, carry, xs = parts.consts(inputs), parts.carry(inputs), parts.xs(inputs)
    still = [i for i in range(n_carry) if body.outputs[i] is body.inputs[n_const + i]]
    moving = [i for i in range(n_carry) if i not in still]
    rows: dict[int, Tensor] = {}
    for i in moving:
        if n_const + i not in back.uses:
            continue
        at = stacks.get(body.outputs[i])
        after = _carry_stack(i, inputs, attrs) if at is None else stack(at)
        rows[i] = before(carry[i], after, attrs["reverse"])
    cotangents = [g[i] if i in g else zeros_like(carry[i]) for i in back.carry]
    sums = [zeros_like(consts[i]) for i in back.consts]
    reads = [stack(available[i]) for i in back.reads]
    g_stacks = [g[n_carry + j] for j, has in enumerate(g_ys) if has]

    # reorder the inputs of the derived body into consts, carry, xs of the backward scan
    of_body = list(back.graph.inputs[: len(body.inputs)])
    rest = list(back.graph.inputs[len(body.inputs) :])
    n_reads, n_state = len(reads), len(cotangents) + len(sums)
    b_carry = parts.carry(of_body)
    order = [
        *parts.consts(of_body), *[b_carry[i] for i in still],
        *rest[n_reads : n_reads + n_state],
        *[b_carry[i] for i in rows], *parts.xs(of_body),
        *rest[:n_reads], *rest[n_reads + n_state :],
    ]  # fmt: skip
    unread = [b_carry[i] for i in moving if i not in rows]
    graph = Graph([v for v in order], back.graph.nodes, back.graph.outputs)
    assert len(graph.inputs) + len(unread) == len(back.graph.inputs)
    outs = bind_all(
        Scan, *consts, *[carry[i] for i in still], *cotangents, *sums,
        *rows.values(), *xs, *reads, *g_stacks,
        body=graph, n_const=n_const + len(still), n_carry=n_state, length=T,
        reverse=not attrs["reverse"], shown=len(graph.outputs), save=attrs["save"],
    )  # fmt: skip
    result: list[Tensor | None] = [None] * len(inputs)
    n = len(cotangents)
    for at, i in enumerate(back.carry):
        result[n_const + i] = outs[at]
    for at, i in enumerate(back.consts):
        result[i] = outs[n + at]
    for at, i in enumerate(back.xs):
        result[n_const + n_carry + i] = outs[n_state + at]
    return [r if need else None for r, need in zip(result, needs)]


def _carry_stack(i: int, inputs: tuple[Tensor, ...], attrs: Any) -> Tensor:
    """Carry `i` after every step, by running the loop again: nobody foresaw that it is read."""
    body, n_carry = attrs["body"], attrs["n_carry"]
    again = Graph(body.inputs, body.nodes, [*body.outputs[:n_carry], body.outputs[i]])
    *_, stack = bind_all(Scan, *inputs, **{**attrs, "body": again, "shown": n_carry + 1})
    return stack


def before(first: Tensor, after: Tensor, reverse: bool) -> Tensor:
    """The carry before every step, from the first one and the stack of those after every step."""
    T = after.shape[0]
    if T == 0:
        return after
    row = reshape(first, (1, *first.shape))
    if reverse:
        out = bind(Concat, narrow(after, 0, 1, T), row, axis=0)
    else:
        out = bind(Concat, row, narrow(after, 0, 0, T - 1), axis=0)
    return out


def _batch(
    size: int, args: tuple[Tensor, ...], batched: tuple[bool, ...], attrs: dict[str, Any]
) -> Any:
    """The scan of the batched body: every carry is batched, consts and xs as they are."""
    parts = Parts(attrs)
    body, n_const, n_carry = parts.body, parts.n_const, parts.n_carry
    flags = [b or n_const <= i < n_const + n_carry for i, b in enumerate(batched)]
    operands = []
    for i, (a, b) in enumerate(zip(args, batched)):
        if flags[i] and not b:
            a = lead(a, size)
        elif b and i >= n_const + n_carry:
            a = moveaxis(a, 1, 0)
        operands.append(a)
    with Tracer(STEP, NOWHERE) as tracer:
        types = [
            v.type.with_shape((size, *v.type.shape)) if b else v.type
            for v, b in zip(body.inputs, flags)
        ]
        inputs = [wrap(Value(t, tracer.input(t), NOWHERE)) for t in types]
        outs = batch_graph(body, size, inputs, flags)
        graph = tracer.finish([tracer.lift(t._value, t) for t in outs])
    results = apply(Scan, tuple(operands), {**attrs, "body": graph})
    ys = [moveaxis(y, 1, 0) for y in results[n_carry:]]
    return (*results[:n_carry], *ys)
