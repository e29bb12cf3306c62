"""Level 3: second derivatives, loops, nested ones, ragged batches with poison in their padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import (
    Generator,
    concat,
    flip,
    grad,
    manual_seed,
    nn,
    scan,
    tanh,
    tensor,
    trace,
    where,
)
from ...backend import use_backend
from ...tensor import Tensor
from ..gradients import check_grads
from .bodies import BODIES, Body, loop
from .calls import Host, seeded
from .compare import close, same
from .gradients import (
    applied,
    as_numpy_does,
    differentiable,
    floats_of,
    numpy,
    pulled_back,
    smooth_calls,
)
from .graphs import interpreted, widest
from .registry import Level, check
from .subject import Subject
from .values import some

LENGTHS = (0, 1, 2, 7)


def bodies(subject: Subject) -> list[str]:
    return list(BODIES)


@check("A10", Level.LOOPS, differentiable)
def second_order(subject: Subject, name: str) -> None:
    """By complex step in float64; where that is not claimed, beside NumPy's backend."""
    dtype = widest(subject)
    for k, call in enumerate(some(smooth_calls(subject, name, dtype.name), "floating sample")):
        _second(subject, applied(call), floats_of(call), dtype, f"{name}, sample {k}", call.types())


def _second(subject: Subject, f: Any, hosts: list[Host], dtype: Any, what: str, types: Any) -> None:
    if dtype == np.float64:
        check_grads(f, hosts, order=2, backend=subject.backend)
        return
    rng = seeded(what)
    given = [*hosts, *[np.asarray(rng.normal(size=t.shape), dtype) for t in types]]
    twice = [*given, *[np.asarray(rng.normal(size=h.shape), dtype) for h in hosts]]
    second = pulled_back(pulled_back(f, len(hosts)), len(given))
    as_numpy_does(subject, second, twice, f"{what}: second derivative")


@check("D1", Level.LOOPS, bodies)
def loop_values(subject: Subject, name: str) -> None:
    """Eager and compiled, forwards and backwards, for 0, 1, 2 and 7 steps (D2, D6)."""
    body = BODIES[name]
    for dtype in subject.floats:
        for length in LENGTHS:
            hosts = body.hosts(name, length, dtype.np)
            for reverse in (False, True):
                f = body.run(scan, reverse=reverse)
                what = f"{name}, {length} steps{' in reverse' * reverse}, {dtype}"
                want = interpreted(trace(f)(*map(subject.tensor, hosts)), hosts)
                wide = [h.astype(np.float64) for h in hosts]
                exact = interpreted(trace(f)(*map(tensor, wide)), wide)
                runs = {"eager": subject.eager(f, *hosts), "compiled": subject.compiled(f, *hosts)}
                if length:
                    by_python = body.run(loop, reverse=reverse)
                    runs["a Python loop"] = subject.eager(by_python, *hosts)
                for way, got in runs.items():
                    for y, z, right in zip(got, want, exact, strict=True):
                        close(y, z, subject.claims, f"{what}: {way}", right, terms=8 * length + 8)


@check("D1", Level.LOOPS, bodies)
def loop_gradients(subject: Subject, name: str) -> None:
    subject.need("float64")
    body = BODIES[name]
    for length, reverse in ((0, False), (1, True), (3, False), (3, True)):
        f = body.run(scan, reverse=reverse)
        check_grads(f, body.hosts(name, length), order=1, backend=subject.backend)


@check("D1", Level.LOOPS, bodies)
def compiled_loop_gradients(subject: Subject, name: str) -> None:
    """The derived loop, eager and compiled: as near to float64 as a Python loop's in NumPy is."""
    body = BODIES[name]
    rng = seeded(f"cotangents {name}")
    for dtype in [d.np for d in subject.floats]:
        hosts = body.hosts(name, 5, dtype)
        results = numpy().eager(body.run(loop), *hosts)
        given = [*hosts, *[np.asarray(rng.normal(size=y.shape), dtype) for y in results]]
        wide = [h.astype(np.float64) for h in given]
        by_loop, by_scan = (pulled_back(_flat(body, way), len(hosts)) for way in (loop, scan))
        want, exact = numpy().eager(by_loop, *given), numpy().eager(by_loop, *wide)
        for run in (subject.eager, subject.compiled):
            for g, z, right in zip(run(by_scan, *given), want, exact, strict=True):
                what = f"{name}, {np.dtype(dtype)}: gradient by {run.__name__}"
                close(g, z, subject.claims, what, right, terms=64)


def _flat(body: Body, way: Any) -> Callable[..., tuple[Tensor, ...]]:
    """The loop as a function with a flat tuple of results."""

    def f(*xs: Tensor) -> tuple[Tensor, ...]:
        carry, ys = body.run(way)(*xs)
        return (*carry, *ys)

    return f


@check("A10", Level.LOOPS, lambda subject: ["rnn", "swapped carries", "accumulator", "masked"])
def loop_second_order(subject: Subject, name: str) -> None:
    body, dtype = BODIES[name], widest(subject)
    f, hosts = _flat(body, scan), body.hosts(name, 2, dtype)
    _second(subject, f, hosts, dtype, name, numpy().eager(f, *hosts))


@check("D2", Level.LOOPS, bodies)
def no_steps(subject: Subject, name: str) -> None:
    """The carry comes back as it went in; stacks are empty and of the right type."""
    body, dtype = BODIES[name], widest(subject)
    hosts = body.hosts(name, 0, dtype)
    n, m = len(body.weights), len(body.weights) + len(body.carry)
    for run in (subject.eager, subject.compiled):
        got = run(body.run(scan), *hosts)
        for y, c in zip(got, hosts[n:m]):
            same(y, c, f"{name}: the carry after no steps")
        for y in got[m - n :]:
            assert y.shape[0] == 0 and y.dtype == dtype, f"{name}: stack {y.dtype}{y.shape}"


@check("D3", Level.LOOPS, bodies)
def in_two_parts(subject: Subject, name: str) -> None:
    body = BODIES[name]
    hosts = body.hosts(name, 5, widest(subject))
    n, m = len(body.weights), len(body.weights) + len(body.carry)

    def parts(*args: Tensor, k: int = 0) -> Any:
        first = body.run(scan)
        carry, head = first(*args[:m], *[x[:k] for x in args[m:]])
        carry, tail = first(*args[:n], *carry, *[x[k:] for x in args[m:]])
        return carry, tuple(concat([a, b]) for a, b in zip(head, tail))

    want = subject.eager(body.run(scan), *hosts)
    for k in (0, 1, 3, 5):
        for y, z in zip(subject.eager(lambda *a, k=k: parts(*a, k=k), *hosts), want, strict=True):
            close(y, z, subject.claims, f"{name}: split after {k} of 5 steps", terms=16)


@check("D4", Level.LOOPS, bodies)
def reversed_loops(subject: Subject, name: str) -> None:
    body = BODIES[name]
    m = len(body.weights) + len(body.carry)

    def flipped(*args: Tensor) -> Any:
        carry, ys = body.run(scan)(*args[:m], *[flip(x, 0) for x in args[m:]])
        return carry, tuple(flip(y, 0) for y in ys)

    for length in (1, 2, 5):
        hosts = body.hosts(name, length, widest(subject))
        for run in (subject.eager, subject.compiled):
            want = run(flipped, *hosts)
            for y, z in zip(run(body.run(scan, reverse=True), *hosts), want, strict=True):
                close(y, z, subject.claims, f"{name}: {length} steps in reverse", terms=64)


# --- what a loop may hold ------------------------------------------------------------------------


@check("D6", Level.LOOPS)
def other_dtypes_in_carries(subject: Subject) -> None:
    """A counter, a flag, a minimum of integers beside a floating carry."""
    subject.need("int64", "bool")
    dtype = widest(subject)
    xs = seeded("carries").normal(size=(6, 3)).astype(dtype)

    def f(x: Tensor) -> Any:
        def step(c: Any, r: Tensor) -> Any:
            n, seen, low, h = c
            big = r > 0.5
            low = where(big, n * 2, low)
            return (n + 1, seen | big, low, h + r * n.astype(r.dtype)), (n, big, h)

        start = (tensor(0, backend=x.backend), tensor(np.zeros(3, bool), backend=x.backend),
                 tensor(np.full(3, 99), backend=x.backend), x[0] * 0.0)  # fmt: skip
        return scan(step, start, x)

    want = interpreted(trace(f)(subject.tensor(xs)), [xs, *_captured(f, subject, xs)])
    for run in (subject.eager, subject.compiled):
        for y, z in zip(run(f, xs), want, strict=True):
            close(y, z, subject.claims, "a carry of several dtypes", terms=8)


def _captured(f: Any, subject: Subject, x: Host) -> list[Host]:
    from ...jit import record

    recording = record(f, (subject.tensor(x),), {})
    return [subject.host(source([subject.tensor(x)])) for source in recording.sources]


@check("D6", Level.LOOPS)
def without_xs(subject: Subject) -> None:
    x = np.linspace(-1, 1, 3).astype(widest(subject))
    for run in (subject.eager, subject.compiled):
        (end,) = run(lambda c: scan(lambda c, _: (tanh(c * 2.0), None), c, None, length=4)[0], x)
        want = x
        for _ in range(4):
            want = np.tanh(want * 2)
        close(end, want, subject.claims, "a loop without xs", terms=16)


@check("D5", Level.LOOPS)
def random_bits_inside(subject: Subject) -> None:
    """A generator inside of a loop draws what it draws outside of one."""
    subject.need("uint32")
    x = np.zeros((5, 4), widest(subject))

    def f(x: Tensor) -> Any:
        g = Generator(11, backend=x.backend)
        state = g.state

        def step(c: Any, r: Tensor) -> Any:
            from ...random import bits_from_state

            bits, c = bits_from_state(c, (3,))
            return c, bits

        return scan(step, state, x)[1]

    g = Generator(11, backend="numpy")
    want = np.stack([g.bits((3,)).numpy() for _ in range(5)])
    for run in (subject.eager, subject.compiled):
        same(run(f, x)[0], want, "random bits drawn in a loop")


LAYERS: dict[str, Any] = {
    "RNN": lambda: nn.RNN(3, 4),
    "LSTM": lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True),
    "GRU": lambda: nn.GRU(3, 4, bidirectional=True),
}


def _layer(
    subject: Subject, name: str, x: Host, lengths: Any, weights: Host, compiled: bool = False
) -> list[Host]:
    """Outputs, final states and all gradients of a seeded layer."""

    def run(x: Tensor, weights: Tensor) -> Any:
        leaf = x.detach().__copy__()
        leaf.requires_grad = True
        y, state = layer(leaf, lengths=lengths)
        (y * weights).sum().backward()
        return y.detach(), state, leaf.grad, [p.grad for p in layer.parameters()]

    with use_backend(subject.backend):
        manual_seed(5)
        layer = LAYERS[name]().to("float64" if x.dtype == np.float64 else "float32")
    return (subject.compiled if compiled else subject.eager)(run, x, weights)


@check("D14", Level.LOOPS, lambda subject: list(LAYERS))
def padding(subject: Subject, name: str) -> None:
    """Whatever is in the padding, and however much of it: no value, no gradient is moved by it."""
    rng, dtype = seeded("padding"), widest(subject)
    if np.dtype(dtype).itemsize == 2:
        subject.need("float32")
    lengths = [5, 0, 3, 1]
    clean = rng.normal(size=(5, 4, 3)).astype(dtype)
    directions = 1 if name == "RNN" else 2
    weights = rng.normal(size=(5, 4, 4 * directions)).astype(dtype)
    for i, n in enumerate(lengths):
        clean[n:, i] = 0
    want = _layer(subject, name, clean, lengths, weights)
    assert all(np.isfinite(w).all() for w in want)
    for bad in (np.nan, np.inf, 1e30):
        x = clean.copy()
        for i, n in enumerate(lengths):
            x[n:, i] = bad
        for k, (y, z) in enumerate(zip(_layer(subject, name, x, lengths, weights), want)):
            same(y, z, f"{name}, {bad} in the padding, result {k}")
        found = _layer(subject, name, x, lengths, weights, compiled=True)
        for k, (y, z) in enumerate(zip(found, want, strict=True)):
            close(y, z, subject.claims, f"{name}, compiled, {bad} in the padding, result {k}",
                  terms=64)  # fmt: skip
    grown = np.concatenate([clean, np.full((2, 4, 3), np.nan, dtype)])
    more = np.concatenate([weights, rng.normal(size=(2, 4, 4 * directions)).astype(dtype)])
    got = _layer(subject, name, grown, lengths, more)
    for k, (y, z) in enumerate(zip(got, want, strict=True)):
        close(y[: len(z)] if y.shape != z.shape else y, z, subject.claims,
              f"{name}, two more steps of padding, result {k}", terms=64)  # fmt: skip


@check("D14", Level.LOOPS)
def alone_in_the_batch(subject: Subject) -> None:
    """A sample of a ragged batch = the same sample by itself, not padded."""
    rng, dtype = seeded("alone"), widest(subject)
    lengths, x = [4, 1, 3], rng.normal(size=(4, 3, 3)).astype(dtype)
    for name in LAYERS:
        width = 4 if name == "RNN" else 8
        ones = np.ones((4, 3, width), dtype)
        batch = _layer(subject, name, x, lengths, ones)[0]
        for i, n in enumerate(lengths):
            one = _layer(subject, name, x[:n, i : i + 1], [n], ones[:n, :1])[0]
            close(batch[:n, i : i + 1], one, subject.claims, f"{name}: sample {i}", terms=64)


@check("A28", Level.LOOPS)
def single_precision_loop(subject: Subject) -> None:
    """The gradient of a long loop in float32 is about as far from the truth as NumPy's own."""
    subject.need("float32")
    rng = seeded("long")
    hosts = [rng.normal(size=s) * 0.5 for s in ((4, 4), (3, 4), (2, 4), (50, 2, 3))]

    def f(w: Tensor, u: Tensor, h: Tensor, xs: Tensor) -> Any:
        h, ys = scan(lambda h, x: ((n := tanh(h @ w + x @ u)), n), h, xs)
        return (ys * ys).sum() + h.sum()

    slope, single = grad(f, (0, 1, 2, 3)), [h.astype(np.float32) for h in hosts]
    as_numpy_does(subject, slope, single, "gradient of 50 steps in float32")
