"""Level 2: gradients of every primitive, by every road, at singular points and ties too."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import checkpoint, grad, jit, log, maximum, ones, sqrt, take, tanh, vjp, where, zeros_like
from ... import max as max_
from ...backend import use_backend
from ...extend import DType, Elementwise, Primitive, bind_all, primitives
from ...tensor import Tensor
from ...types import kind_of
from ..calls import PrimitiveCall, callable_primitives
from ..gradients import check_grads
from .calls import Host, seeded
from .compare import close, same
from .edges import edges
from .graphs import widest
from .registry import Level, check
from .subject import Subject
from .values import some


def differentiable(subject: Subject) -> list[str]:
    """Primitives through which gradients flow."""
    return [name for name in callable_primitives() if primitives[name].vjp is not None]


def smooth_calls(subject: Subject, name: str, dtype: str) -> list[PrimitiveCall]:
    """Applications with a floating operand and a floating result that keeps its precision (and can
    be computed in another one too)."""
    return [
        call
        for call in subject.calls(name, (dtype, "int64", "bool"))
        if any(a.dtype == dtype for a in call.args)
        and all(t.dtype.name == dtype for t in call.types())
        and (dtype == "float64" or not any(isinstance(v, DType) for v in call.attrs.values()))
    ]


def applied(call: PrimitiveCall) -> Callable[..., Any]:
    """The application as a function of its floating operands; those that are not are fixed."""

    def f(*floats: Tensor) -> Any:
        rest = iter(floats)
        backend = floats[0].backend
        fixed = [a if kind_of(a.dtype) == "f" else _fixed(a, backend) for a in call.args]
        args = [next(rest) if isinstance(a, np.ndarray) else a for a in fixed]
        return bind_all(call.op, *args, **call.attrs)

    return f


def _fixed(a: Host, backend: Any) -> Tensor:
    from ... import tensor

    return tensor(a, backend=backend)


def floats_of(call: PrimitiveCall) -> list[Host]:
    return [a for a in call.args if kind_of(a.dtype) == "f"]


@check("A3", Level.GRADIENTS, differentiable)
def first_order(subject: Subject, name: str) -> None:
    subject.need("float64")
    for call in some(smooth_calls(subject, name, "float64"), "floating sample"):
        check_grads(applied(call), floats_of(call), order=1, backend=subject.backend)


def pulled_back(f: Callable[..., Any], n: int) -> Callable[..., Any]:
    """Operands and cotangents -> gradients, by vjp."""
    return lambda *args: vjp(f, *args[:n])[1](tuple(args[n:]))


def by_backward(f: Callable[..., Any], n: int) -> Callable[..., Any]:
    """The same by `backward()`."""

    def gradients(*args: Tensor) -> list[Tensor]:
        leaves = [_leaf(x) for x in args[:n]]
        total: Any = sum((y * g).sum() for y, g in zip(several(f(*leaves)), args[n:]))
        total.backward()
        return [zeros_like(x) if x.grad is None else x.grad for x in leaves]

    return gradients


@check("A26", Level.GRADIENTS, differentiable)
def roads(subject: Subject, name: str) -> None:
    """vjp and backward(), eager and compiled, are as near to float64 as NumPy's gradients are;
    every gradient has the type of its input (B1)."""
    for dtype in [d.name for d in subject.floats]:
        for call in smooth_calls(subject, name, dtype):
            f, xs = applied(call), floats_of(call)
            rng = seeded(f"cotangents {call!r}")
            given = [*xs, *[np.asarray(rng.normal(size=t.shape), dtype) for t in call.types()]]
            pull, back = pulled_back(f, len(xs)), by_backward(f, len(xs))
            want = numpy().eager(pull, *given)
            exact = numpy().eager(pull, *[h.astype("f8") for h in given])
            found = {"vjp": subject.eager(pull, *given),
                     "backward": subject.eager(back, *given),
                     "compiled vjp": subject.compiled(pull, *given),
                     "compiled backward": subject.compiled(back, *given)}  # fmt: skip
            for road, got in found.items():
                for x, y, z, right in zip(xs, got, want, exact, strict=True):
                    what = f"{call!r}: gradient by {road}"
                    assert (y.shape, y.dtype) == (x.shape, x.dtype), f"{what}: {y.dtype}{y.shape}"
                    close(y, z, subject.claims, what, right, terms=16)


def as_numpy_does(subject: Subject, f: Callable[..., Any], hosts: list[Host], what: str) -> None:
    """f, eager and compiled, is about as near to float64 as NumPy's backend is."""
    want, exact = numpy().eager(f, *hosts), numpy().eager(f, *[h.astype("f8") for h in hosts])
    for run in (subject.eager, subject.compiled):
        for y, z, right in zip(run(f, *hosts), want, exact, strict=True):
            close(y, z, subject.claims, f"{what}, {run.__name__}", right, terms=64)


@functools.cache
def numpy() -> Subject:
    """NumPy's backend, whose gradients are checked by the complex step."""
    return Subject("numpy")


@check("B4", Level.GRADIENTS, differentiable)
def cotangents_stay(subject: Subject, name: str) -> None:
    """Neither operands nor cotangents are changed by a backward pass, eager or compiled."""
    for call in some(smooth_calls(subject, name, widest(subject).name), "floating sample"):
        f, xs = applied(call), floats_of(call)
        cotangents = [np.full(t.shape, 0.5, t.dtype.np) for t in call.types()]

        pulled = pulled_back(f, len(xs))
        for run in (pulled, jit(pulled)):
            with use_backend(subject.backend):
                ts = [subject.tensor(h) for h in (*xs, *cotangents)]
                run(*ts)
            for i, (t, h) in enumerate(zip(ts, (*xs, *cotangents))):
                what = f"operand {i}" if i < len(xs) else f"cotangent {i - len(xs)}"
                same(subject.host(t), h, f"{call!r}: {what} after its gradient")


def several(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, tuple | list) else (x,)


def _leaf(x: Tensor) -> Tensor:
    leaf = x.detach().__copy__()
    leaf.requires_grad = True
    return leaf


@check("A2", Level.GRADIENTS, lambda subject: [n for n in differentiable(subject) if _free(n)])
def zero_cotangents(subject: Subject, name: str) -> None:
    """At every pair of special values where the result is finite."""
    op = primitives[name]
    subject.op(name)
    for dtype in subject.floats:
        known = edges(dtype)
        known = known[np.isfinite(known)]
        n = len(op.samples[0].args)
        args = np.broadcast_arrays(*[known.reshape(-1, *(1,) * (n - 1 - i)) for i in range(n)])
        call = PrimitiveCall(name, tuple(a.copy() for a in args), {})
        if subject.refusal(call) is not None:
            continue
        fine, zero = np.isfinite(call.reference()[0]), np.zeros_like(args[0])
        pull = pulled_back(applied(call), n)
        for run in (subject.eager, subject.compiled):
            for g in run(pull, *call.args, zero):
                assert not g[fine].any(), (
                    f"{name}, {dtype}: a zero cotangent gives {g[fine][g[fine] != 0][0]}"
                )


def _free(name: str) -> bool:
    op: type[Primitive] = primitives[name]
    return (
        issubclass(op, Elementwise)
        and "f" in op.kinds
        and all(a.dtype is None for a in op.samples[0].args)
    )


# --- what every gradient must do -----------------------------------------------------------------


@check("A8", Level.GRADIENTS)
def unused_inputs(subject: Subject) -> None:
    for dtype in [d.np for d in subject.floats]:
        x, y = np.ones((2, 3), dtype), np.ones((0, 4), dtype)
        f = grad(lambda x, y: (x[:1] * 2.0).sum(), (0, 1))
        for got in (subject.eager(f, x, y), subject.compiled(f, x, y)):
            want = np.array([[2.0] * 3, [0.0] * 3], dtype)
            same(got[0], want, f"gradient of a slice in {dtype}")
            same(got[1], np.zeros_like(y), f"gradient of what is not used in {dtype}")


@check("A9", Level.GRADIENTS)
def again_and_in_part(subject: Subject) -> None:
    rng, dtype = seeded("again"), widest(subject)
    hosts = [rng.normal(size=s).astype(dtype) for s in ((3, 4), (4, 2), (2,))]

    def f(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return (tanh(x @ w + b) * (x.sum() + b)).sum()

    whole = subject.eager(grad(f, (0, 1, 2)), *hosts)
    for i in range(3):
        (part,) = subject.eager(grad(f, i), *hosts)
        close(part, whole[i], subject.claims, f"gradient of input {i} alone", terms=4)
    for y, z in zip(subject.eager(grad(f, (0, 1, 2)), *hosts), whole, strict=True):
        same(y, z, "the same gradient again")
    with use_backend(subject.backend):
        x, w, b = (subject.tensor(h, requires_grad=True) for h in hosts)
        loss = f(x, w, b)
        loss.backward(retain_graph=True)
        loss.backward()
        for t, g in zip((x, w, b), whole):
            assert t.grad is not None
            close(subject.host(t.grad), g * 2, subject.claims, "gradients of two passes", terms=4)


@check("B1", Level.GRADIENTS)
def broadcasting(subject: Subject) -> None:
    """Broadcast operands get the sum over what was broadcast, in their own shape."""
    rng, dtype = seeded("broadcasting"), widest(subject)
    for a, b in (((3, 1), (4,)), ((), (2, 3)), ((1, 1), (2, 3)), ((2, 1, 4), (3, 1)), ((0,), (1,))):
        hosts = [rng.normal(size=s).astype(dtype) for s in (a, b)]
        g = rng.normal(size=np.broadcast_shapes(a, b)).astype(dtype)
        f: Any = lambda x, y, g: vjp(lambda x, y: x * y, x, y)[1](g)  # noqa: E731
        want = [_summed(g * h, s) for h, s in zip(reversed(hosts), (a, b))]
        for got in (subject.eager(f, *hosts, g), subject.compiled(f, *hosts, g)):
            for y, z in zip(got, want, strict=True):
                close(y, z.astype(dtype), subject.claims, f"gradients of {a} * {b}", terms=8)


def _summed(g: Host, shape: tuple[int, ...]) -> Host:
    g = g.sum(tuple(range(g.ndim - len(shape))))
    ones = tuple(i for i, n in enumerate(shape) if n == 1)
    return np.asarray(g.sum(ones, keepdims=True)).reshape(shape)


@check("B11", Level.GRADIENTS)
def shared_ties(subject: Subject) -> None:
    for dtype in [d.np for d in subject.floats]:
        x = np.array([[1, 3, 3], [3, 0, 1]], dtype)
        third = np.array([[0, 1 / 3, 1 / 3], [1 / 3, 0, 0]], dtype)
        half = np.full((2, 3), 0.5, dtype)
        over: Any = lambda x: max_(x)  # noqa: E731
        both: Any = lambda x, y: maximum(x, y).sum()  # noqa: E731
        for run in (subject.eager, subject.compiled):
            (g,) = run(grad(over), x)
            close(g, third, subject.claims, f"max of three equal elements in {dtype}", terms=2)
            for g in run(grad(both, (0, 1)), x, x):
                same(g, half, f"maximum of equal operands in {dtype}")


@check("B7", Level.GRADIENTS)
def repeated_rows(subject: Subject) -> None:
    """The gradient of reading rows several times = that of the product with the one-hot matrix."""
    rng, dtype = seeded("rows"), widest(subject)
    table, index = rng.normal(size=(5, 3)).astype(dtype), np.array([0, 4, 4, 1, 4, 0])
    g = rng.normal(size=(6, 3)).astype(dtype)
    want = np.eye(5, dtype=dtype)[index].T @ g

    def f(table: Tensor, g: Tensor) -> Any:
        return vjp(lambda t: take(t, index, 0), table)[1](g)

    for got in (subject.eager(f, table, g), subject.compiled(f, table, g)):
        close(got[0], want, subject.claims, "gradient of rows read repeatedly", terms=6)


@check("B12", Level.GRADIENTS)
def dead_branches(subject: Subject) -> None:
    """Infinite and undefined slopes of the branch that is not taken reach no gradient."""
    for dtype in [d.np for d in subject.floats]:
        x = np.array([0.0, 4.0, -1.0], dtype)

        def f(x: Tensor) -> Tensor:
            return where(x > 1, sqrt(x) + log(x), x * 2.0).sum()

        slope = 0.25 + 0.25
        want = np.array([2.0, slope, 2.0], dtype)
        for got in (subject.eager(grad(f), x), subject.compiled(grad(f), x)):
            close(
                got[0], want, subject.claims, f"gradient beside a dead branch in {dtype}", terms=4
            )


@check("A22", Level.GRADIENTS)
def recomputed(subject: Subject) -> None:
    from ... import Generator

    rng, dtype = seeded("recomputed"), widest(subject)
    x, w = rng.normal(size=(4, 3)).astype(dtype), rng.normal(size=(3, 3)).astype(dtype)

    def loss(way: Any) -> Any:
        def f(x: Tensor, w: Tensor) -> Any:
            g = Generator(3, backend=subject.backend)

            def inner(x: Tensor, w: Tensor) -> Tensor:
                return tanh(x @ w) * (g.uniform(x.shape, dtype=x.dtype) < 0.5).astype(x.dtype)

            return grad(lambda x, w: (way(inner)(x, w) ** 2).sum(), (0, 1))(x, w)

        return f

    kept = subject.eager(loss(lambda f: f), x, w)
    for got in (subject.eager(loss(checkpoint), x, w), subject.compiled(loss(checkpoint), x, w)):
        for y, z in zip(got, kept, strict=True):
            close(y, z, subject.claims, "gradient through a recomputed function", terms=8)


@check("A28", Level.GRADIENTS)
def single_precision(subject: Subject) -> None:
    """Gradients in float32 are about as far from those in float64 as NumPy's own are."""
    subject.need("float32")

    def f(x: Tensor, w: Tensor, v: Tensor) -> Tensor:
        h = tanh(x @ w)
        for _ in range(5):
            h = tanh(h @ w + x) * (1.0 + h)
        return ((h @ v).sum(-1) ** 2).mean()

    rng = seeded("single")
    hosts = [rng.normal(size=s) * 0.7 for s in ((4, 5), (5, 5), (5, 2))]
    slope, single = grad(f, (0, 1, 2)), [h.astype(np.float32) for h in hosts]
    as_numpy_does(subject, slope, single, "gradient in float32")


@check("F15", Level.GRADIENTS)
def released_graphs(subject: Subject) -> None:
    """A second backward through a released graph is an error, never a number."""
    from ...errors import GradientError

    with use_backend(subject.backend):
        x = subject.tensor(np.ones(3, widest(subject)), requires_grad=True)
        y = tanh(x * ones((3,), x.dtype)).sum()
        y.backward()
        try:
            y.backward()
        except GradientError as error:
            assert "retain_graph" in str(error)
        else:
            raise AssertionError("backward twice without retain_graph gave a gradient")
