"""Functions as one operation: checkpoint (recompute instead of save) and custom_vjp.

In: a function of tensors. Out: a function whose application is one node of the graph, with a body.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .backend import Backend, compiled, get_backend, run
from .errors import ArgumentError, DTypeError, GradientError, ShapeError
from .graph import Graph, Var
from .ops.complexes import conj
from .ops.reductions import sum as sum_
from .primitive import Flags, Operands, Primitive, bind_all, item
from .residuals import derive, inner, with_residuals
from .tensor import Tensor, Value, wrap
from .trace import Tracer, state
from .tree import flatten, unflatten
from .types import Type
from .vectorize import batch_graph, replay


class Inlined(Primitive):
    """An application of a body graph; its outputs are the body's."""

    @staticmethod
    def type(*types: Type, body: Graph, **_: Any) -> tuple[Type, ...]:
        want = tuple(v.type for v in body.inputs)
        if types != want:
            raise ShapeError(f"call: operands {types} where the body takes {want}.")
        return tuple(v.type for v in body.outputs)

    @classmethod
    def execute(cls, backend: Backend, types: Any, attrs: dict[str, Any], buffers: Any) -> Any:
        return tuple(run(compiled(backend, attrs["body"]), buffers))


class Call(Inlined, name="call"):
    """A function as one node. `save` "auto" keeps what its derivative reads, "carry" nothing."""

    reference = staticmethod(lambda *xs, body, **_: tuple(body.interpret(*xs)))
    vjp = ()

    @classmethod
    def visible(cls, attrs: dict[str, Any]) -> int:
        shown: int = attrs["shown"]
        return shown

    @classmethod
    def prepare(cls, values: tuple[Value, ...], attrs: dict[str, Any]) -> dict[str, Any]:
        needs = tuple([v.tracked for v in values])
        return {
            **attrs,
            "body": with_residuals(attrs["body"], 0, 0, needs, attrs["shown"], attrs["save"]),
        }

    @classmethod
    def pullback(cls, needs: Any, g: Any, y: Any, inputs: Any, attrs: Any) -> Any:
        body, record = attrs["body"], y._value
        index = {v: i for i, v in enumerate(inner(body))}
        available = {index[v]: at for at, v in enumerate(body.outputs) if v in index}
        if attrs["save"] == "carry":
            available = {}
        g_ys = tuple(i in g for i in range(len(body.outputs)))
        back = derive(body, 0, 0, tuple(needs), g_ys, frozenset(available))
        reads = [wrap(item(record, available[i])) for i in back.reads]
        cts = [g[i] for i, has in enumerate(g_ys) if has]
        outs = bind_all(
            cls, *inputs, *reads, *cts,
            body=back.graph, shown=len(back.graph.outputs), save=attrs["save"],
        )  # fmt: skip
        result: list[Tensor | None] = [None] * len(inputs)
        for i, ct in zip(back.xs, outs):
            result[i] = ct
        return result

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, **attrs: Any) -> Any:
        return tuple(batch_graph(attrs["body"], size, args, batched))


class Rule(NamedTuple):
    """A rule as a graph `cotangents, results, operands -> cotangents of operands`.

    `gives`: the numbers of the operands that get one.
    """

    graph: Graph
    gives: tuple[int, ...]


class Custom(Inlined, name="custom"):
    """A function with a derivative rule of the user's; what the rule captures is an operand too."""

    reference = staticmethod(lambda *xs, body, **_: tuple(body.interpret(*xs)))
    vjp = ()

    @classmethod
    def pullback(cls, needs: Any, g: Any, y: Any, inputs: Any, attrs: Any) -> Any:
        from .ops.creation import zeros

        record = y._value
        outs = [wrap(item(record, i)) for i in range(len(record.type))]
        cts = [g[i] if i in g else zeros(o.shape, o.dtype, o.backend) for i, o in enumerate(outs)]
        rule: Rule = attrs["rule"]
        given = replay(rule.graph, [*map(conj, cts), *outs, *inputs])
        found = dict(zip(rule.gives, map(conj, given)))
        return [found.get(i) for i in range(len(inputs))]

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, **attrs: Any) -> Any:
        body, rule = attrs["body"], attrs["rule"]
        if rule is not None:
            flags = (*(True,) * (2 * len(body.outputs)), *batched)
            sums = [not batched[i] for i in rule.gives]
            rule = Rule(_batched(rule.graph, size, flags, sums), rule.gives)
        body = _batched(body, size, batched, [False] * len(body.outputs))
        return bind_all(cls, *args, body=body, rule=rule)


def _batched(graph: Graph, size: int, flags: Flags, sums: Sequence[bool]) -> Graph:
    """The graph for `size` rows at once; outputs in `sums` are added up over the rows."""
    from .residuals import NOWHERE

    with Tracer("vmap", NOWHERE) as tracer:
        types = [
            v.type.with_shape((size, *v.type.shape)) if b else v.type
            for v, b in zip(graph.inputs, flags)
        ]
        xs = [wrap(Value(t, tracer.input(t), NOWHERE)) for t in types]
        outs = batch_graph(graph, size, xs, flags)
        outs = [sum_(t, 0) if add else t for t, add in zip(outs, sums)]
        return tracer.finish([t._value.data for t in outs])


class Traced(NamedTuple):
    """A function of tensors as a graph of its leaves and of what it captures.

    The outputs are its results, then the values of the tensors that it assigns to: (the tensor,
    whether gradients flow through its new value).
    """

    graph: Graph
    captured: list[Tensor]
    results: int
    treedef: Any
    assigned: list[tuple[Tensor, bool]]


def trace_call(
    what: str,
    f: Callable[..., Any],
    leaves: Sequence[Tensor],
    treedef: Any,
    assigns: bool = False,
) -> Traced:
    """f as a graph; what it assigns to is left as it was."""
    backend = leaves[0].backend if leaves else get_backend()
    with Tracer(what, backend, assigns=assigns) as tracer:
        fresh = [wrap(Value(t.type, tracer.input(t.type), backend)) for t in leaves]
        before = [t._value for t in fresh]
        try:
            outputs, out_def = flatten(f(*unflatten(treedef, fresh)))
            for y in outputs:
                if not isinstance(y, Tensor):
                    raise DTypeError(
                        f"{what}: the function returned a {type(y).__name__}, expected tensors."
                    )
            # (where to assign, the tensor inside); arguments have a stand-in inside
            places = [(handle, handle) for handle, _ in tracer.assigned.values()]
            places += [(x, t) for x, t, v in zip(leaves, fresh, before) if t._value is not v]
            inside = [*outputs, *(t for _, t in places)]
            graph = tracer.finish([tracer.lift(t._value, t) for t in inside])
        finally:
            for handle, original in tracer.assigned.values():
                handle._value = original
    captured = [c.handle for c in tracer.captures.values()]
    assigned = [(x, id(t) in tracer.rebound) for x, t in places]
    return Traced(graph, captured, len(outputs), out_def, assigned)


def _tensors(what: str, args: tuple[Any, ...]) -> tuple[list[Tensor], Any]:
    leaves, treedef = flatten(args)
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise DTypeError(f"{what}: an argument is a {type(leaf).__name__}, expected tensors.")
    return leaves, treedef


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f`, of which the backward pass recomputes the inside instead of saving it.

    Arguments and results are trees of tensors. Costs one more evaluation of `f`, saves its memory.
    What `f` assigns to (the state of a generator, say) is assigned once, not by the recomputation.

    >>> from tinygrad_rnn import grad, tensor
    >>> grad(checkpoint(lambda x: (x * x).tanh()))(tensor(0.0)).item()
    0.0
    """

    @functools.wraps(f)
    def wrapped(*args: Any) -> Any:
        leaves, treedef = _tensors("checkpoint", args)
        traced = trace_call("checkpoint", f, leaves, treedef, assigns=True)
        outs = bind_all(
            Call,
            *leaves,
            *traced.captured,
            body=traced.graph,
            shown=len(traced.graph.outputs),
            save="carry",
        )
        for (handle, recorded), new in zip(traced.assigned, outs[traced.results :]):
            if recorded:
                handle._rebind(new)
            else:
                handle.assign_(new)
        return unflatten(traced.treedef, outs[: traced.results])

    return wrapped


def custom_vjp(f: Callable[..., Any], rule: Callable[..., Any]) -> Callable[..., Any]:
    """`f` with a derivative rule of your own: `rule(g, y, *args)` returns a cotangent per argument.

    `g` and `y` are the cotangent and the value of the result. Return None for arguments without a
    gradient. The rule is written in tensor operations, so it can be differentiated again.

    >>> from tinygrad_rnn import grad, tensor
    >>> straight_through = custom_vjp(lambda x: x.round(), lambda g, y, x: g)
    >>> grad(straight_through)(tensor(0.7)).item()
    1.0
    """

    @functools.wraps(f)
    def wrapped(*args: Any) -> Any:
        leaves, treedef = _tensors("custom_vjp", args)
        graph, captured, _, out_def, _ = trace_call("custom_vjp", f, leaves, treedef)
        if any(t.requires_grad for t in captured):
            raise GradientError(
                "custom_vjp: the function captures a tensor that requires a gradient; make it an "
                "argument, so that the rule can return its cotangent."
            )

        def on_leaves(g: list[Tensor], y: list[Tensor], inputs: Sequence[Tensor]) -> list[Any]:
            given = unflatten(treedef, inputs[: len(leaves)])
            out = rule(unflatten(out_def, g), unflatten(out_def, y), *given)
            out = out if isinstance(out, tuple) else (out,)
            if len(out) != len(args):
                raise ArgumentError(
                    f"custom_vjp: the rule returned {len(out)} cotangents for {len(args)} "
                    "arguments."
                )
            flat: list[Any] = []
            for ct, arg in zip(out, args):
                here, arg_def = flatten(arg)
                found, ct_def = flatten(ct)
                if ct is None:
                    found = [None] * len(here)
                elif ct_def != arg_def:
                    raise ArgumentError(
                        f"custom_vjp: a cotangent has structure {ct_def}, its argument {arg_def}."
                    )
                flat += found
            for ct, x in zip(flat, inputs):
                if ct is not None and ct.type is not x.type:
                    raise ShapeError(
                        f"custom_vjp: a cotangent is {ct.type}, its argument is {x.type}."
                    )
            return flat + [None] * (len(inputs) - len(leaves))

        operands, made = [*leaves, *captured], None
        if state.tracer is not None or (state.grad and any(t.requires_grad for t in leaves)):
            made, more = _trace_rule(graph, operands, on_leaves)
            extra = [Var(t.type) for t in more]
            graph = Graph([*graph.inputs, *extra], graph.nodes, graph.outputs)
            operands += more
        outs = bind_all(Custom, *operands, body=graph, rule=made)
        return unflatten(out_def, outs)

    return wrapped


def _trace_rule(
    graph: Graph, operands: Sequence[Tensor], rule: Callable[..., list[Any]]
) -> tuple[Rule, list[Tensor]]:
    """The rule as a graph, and what it captures."""
    backend = operands[0].backend if operands else get_backend()
    with Tracer("the rule of custom_vjp", backend) as tracer:

        def fresh(types: Sequence[Type]) -> list[Tensor]:
            return [wrap(Value(t, tracer.input(t), backend)) for t in types]

        results = [v.type for v in graph.outputs]
        found = rule(fresh(results), fresh(results), fresh([t.type for t in operands]))
        gives = tuple(i for i, ct in enumerate(found) if ct is not None)
        made = tracer.finish([tracer.lift(found[i]._value, found[i]) for i in gives])
    return Rule(made, gives), [c.handle for c in tracer.captures.values()]
