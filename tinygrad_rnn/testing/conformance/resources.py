"""Level 4: the same bits every time, threads, memory, errors, and the rest of the process."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import exp, get_backend, grad, jit, list_backends, nn, scan, sigmoid, tanh
from ...backend import use_backend
from ...errors import IndexRangeError, TinygradRnnError
from ...extend import bind, bind_all, primitives
from ...tensor import Tensor
from ..calls import callable_primitives
from .calls import Host, graph_of, seeded
from .compare import close, same
from .edges import edge_calls, taking
from .graphs import widest
from .registry import Level, Skip, check
from .subject import Subject, missing


def _loop(w: Tensor, u: Tensor, xs: Tensor) -> Any:
    def step(h: Tensor, x: Tensor) -> Any:
        h = tanh(h @ w + x @ u)
        return h, sigmoid(h)

    h, ys = scan(step, xs[0] @ u, xs)
    return (ys * ys).sum() + (h * exp(h)).sum()


def work(dtype: Any, seed: str = "work") -> dict[str, tuple[Callable[..., Any], list[Host]]]:
    """Functions in which sums, products, sorted indices and loops could come out otherwise."""
    rng = seeded(seed)
    x, w = rng.normal(size=(67, 33)).astype(dtype), rng.normal(size=(33, 33)).astype(dtype) * 0.3
    xs, u = rng.normal(size=(9, 5, 7)).astype(dtype), rng.normal(size=(7, 33)).astype(dtype) * 0.3
    rows, at = rng.normal(size=(400, 3)).astype(dtype), rng.integers(0, 5, 400)

    def scattered(rows: Tensor, at: Tensor) -> Any:
        return bind(primitives["scatter_add"], rows, at, axis=0, size=5)

    return {
        "sums": (lambda x: (x.sum(), x.sum(0), x.sum(1), x.mean()), [rng.permuted(x)]),
        "products": (lambda x, w: (x @ w, (x @ w).T @ x), [x, w]),
        "functions": (lambda x: (tanh(x), exp(x), sigmoid(x)), [x]),
        "rows added up": (scattered, [rows, at]),
        "gradient of a loop": (grad(_loop, (0, 1, 2)), [w, u, xs]),
    }


@check("F5", Level.RESOURCES, lambda subject: list(work(np.float64)))
def the_same_bits(subject: Subject, name: str) -> None:
    """Six times each: computed at once, compiled once, compiled anew, beside other work."""
    subject.promise("determinism")
    for dtype in [d.np for d in subject.floats if d.itemsize > 2]:
        f, hosts = work(dtype)[name]
        program = jit(f)
        first = [subject.eager(f, *hosts), subject.eager(program, *hosts)]
        held = []
        for k in range(5):
            held.append(
                subject.tensor(np.zeros(1000 + 77 * k, dtype))
            )  # other addresses, other alignment
            again = [subject.eager(f, *hosts), subject.eager(program, *hosts)]
            fresh = subject.compiled(f, *hosts)
            for way, ys, zs in zip(
                ("eager", "compiled", "anew"), (*again, fresh), (*first, first[1])
            ):
                for y, z in zip(ys, zs, strict=True):
                    same(y, z, f"{name} in {np.dtype(dtype)}, {way}, run {k + 2}")


@check("F9", Level.RESOURCES)
def threads(subject: Subject) -> None:
    """Four threads with work of their own: what each computes is what one alone computes."""
    subject.promise("threads")
    dtype = widest(subject)
    jobs = [work(dtype, f"thread {k}") for k in range(4)]
    alone = [{n: subject.eager(f, *hosts) for n, (f, hosts) in job.items()} for job in jobs]
    programs = {n: jit(f) for n, (f, _) in jobs[0].items()}
    problems: list[str] = []
    together = threading.Barrier(4)

    def run(k: int) -> None:
        try:
            together.wait()
            for _ in range(4):
                for name, (f, hosts) in jobs[k].items():
                    for g in (f, programs[name]):
                        for y, z in zip(subject.eager(g, *hosts), alone[k][name], strict=True):
                            close(y, z, subject.claims, f"{name}, thread {k} of 4", terms=256)
        except (AssertionError, TinygradRnnError, LookupError, TypeError, ValueError) as error:
            problems.append(f"{type(error).__name__}: {error}")

    team = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()
    assert not problems, problems[0]


# --- memory --------------------------------------------------------------------------------------


@check("F10", Level.RESOURCES)
def dropped_buffers(subject: Subject) -> None:
    """Without the garbage collector: a result that nobody holds is gone, its graph with it."""
    hosts = [seeded("dropped").normal(size=(40, 40)).astype(widest(subject)) for _ in range(2)]
    jobs: dict[str, Callable[..., Any]] = {
        "an operation": lambda a, b: tanh(a),
        "a product": lambda a, b: a @ b,
        "a compiled function": jit(lambda a, b: tanh(a @ b) * a),
        "a gradient": grad(lambda a, b: tanh(a @ b).sum()),
        "a loop": lambda a, b: scan(lambda c, x: (tanh(c + x), c), a[0], b)[1],
    }
    gc.collect()
    gc.disable()
    try:
        with use_backend(subject.backend):
            for name, f in jobs.items():
                for needs in (False, True):
                    a, b = (subject.tensor(h, requires_grad=needs) for h in hosts)
                    y = f(a, b)
                    try:
                        gone = weakref.ref(y._value.data)
                    except TypeError:
                        raise Skip("its buffers take no weak references") from None
                    del y
                    assert gone() is None, f"{name}: the buffer of a dropped result is held"
    finally:
        gc.enable()


def resident() -> int | None:
    """Bytes of memory that the process uses; None where that is not known."""
    try:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


@check("F11", Level.RESOURCES)
def steady_memory(subject: Subject) -> None:
    """120 training steps, eager and compiled, on arrays of 200 kB: memory stays where it was."""
    dtype = widest(subject)
    with use_backend(subject.backend):
        w = subject.tensor(seeded("steady").normal(size=(160, 160)).astype(dtype) * 0.05)
        x = subject.tensor(seeded("steps").normal(size=(160, 160)).astype(dtype))

        def step(w: Tensor, x: Tensor) -> Any:
            return w - grad(lambda w: (tanh(x @ w) ** 2).mean())(w) * 0.1

        for name, f in (("eager", step), ("compiled", jit(step))):
            sizes, objects = [], []
            for k in range(120):
                w = f(w, x)
                subject.host(w)
                if k in (39, 119):
                    gc.collect()
                    sizes.append(resident())
                    objects.append(len(gc.get_objects()))
            more = objects[1] - objects[0]
            assert more < 80, f"{name}: {more} more Python objects after 80 more steps"
            if sizes[0] is not None and sizes[1] is not None:
                grown = (sizes[1] - sizes[0]) / 2**20
                assert grown < 8, f"{name}: {grown:.1f} MiB more after 80 steps on 0.2 MiB each"


@check("F13", Level.RESOURCES)
def long_chains(subject: Subject) -> None:
    x = np.linspace(-1, 1, 5).astype(widest(subject))

    def f(x: Tensor) -> Tensor:
        y = x
        for _ in range(2000):
            y = y * 0.5 + x
        return y

    for run in (subject.eager, subject.compiled):
        close(run(f, x)[0], x * 2, subject.claims, "4000 operations in a row", terms=16)
        (g,) = run(grad(lambda x: f(x).sum()), x)
        close(g, np.full_like(x, 2), subject.claims, "their gradient", terms=16)


# --- errors --------------------------------------------------------------------------------------


@check("F12", Level.RESOURCES)
def after_an_error(subject: Subject) -> None:
    """Work goes on after an error in the middle of a program, of a loop, of a recording."""
    from ...trace import state

    subject.promise("index errors")
    dtype = widest(subject)
    table = seeded("errors").normal(size=(4, 3)).astype(dtype)
    good, bad = np.array([[0, 3], [1, 2]]), np.array([[0, 3], [1, 4]])

    def rows(t: Tensor, i: Tensor) -> Any:
        return bind(primitives["take"], t, i, axis=0)

    def program(t: Tensor, i: Tensor) -> Any:
        u = tanh(t)
        return rows(u, i) * 2.0, u

    def in_a_loop(t: Tensor, i: Tensor) -> Any:
        return scan(lambda c, k: (tanh(c + rows(t, k).sum(0)), c), t[0], i)

    for name, f in {"a program": program, "a loop": in_a_loop}.items():
        compiled = jit(f)
        for run in (f, compiled):
            want = subject.eager(f, table, good)
            t = subject.tensor(table)
            try:
                subject.eager(run, table, bad)
                with use_backend(subject.backend):
                    run(t, subject.tensor(bad))
            except IndexRangeError:
                pass
            else:
                raise AssertionError(f"{name}: an index of 4 in 4 rows raised nothing")
            assert state.tracer is None and state.grad, f"{name}: left in the middle of a recording"
            same(subject.host(t), table, f"{name}: an operand after an error")
            for y, z in zip(subject.eager(run, table, good), want, strict=True):
                close(y, z, subject.claims, f"{name}: after an error", terms=16)


@check("F15", Level.RESOURCES)
def a_backend_of_the_same_kind(subject: Subject) -> None:
    """Tensors of two backends do not mix, and the error names both."""
    from .loopback import Loopback

    if isinstance(subject.backend, Loopback):
        raise Skip("the other backend is the loopback")
    here, there = subject.tensor(np.ones(3, widest(subject))), Subject(Loopback).tensor(
        np.ones(3, widest(subject)))  # fmt: skip
    for f in (lambda: here + there, lambda: jit(lambda x: x * there)(here)):
        try:
            f()
        except TinygradRnnError as error:
            assert "'loopback'" in str(error), f"the error does not name both: {error}"
        else:
            raise AssertionError("tensors of two backends were added")


# --- the rest of the process ---------------------------------------------------------------------


def surroundings() -> dict[str, Any]:
    """What a backend has no business to change."""
    kind, keys, *rest = np.random.get_state()  # the legacy generator that users may have seeded
    return {
        "np.geterr()": np.geterr(),
        "np.random": (kind, bytes(np.asarray(keys)), *rest),
        "os.environ": dict(os.environ),
        "the recursion limit": sys.getrecursionlimit(),
        "warnings.filters": list(map(str, warnings.filters)),
        "the working directory": os.getcwd(),
        "np.get_printoptions()": np.get_printoptions(),
        "the backend in use": get_backend(),
    }


@check("F14", Level.RESOURCES)
def surroundings_stay(subject: Subject) -> None:
    before = surroundings()
    for f, hosts in work(widest(subject)).values():
        subject.eager(f, *hosts)
        subject.compiled(f, *hosts)
    with use_backend(subject.backend):
        layer = nn.LSTM(3, 4)
        layer(subject.tensor(np.ones((2, 1, 3), np.float32)).astype(layer.weight_ih_l0.dtype))
    for what, found in surroundings().items():
        assert found == before[what], f"{what} changed: {before[what]} became {found}"


IMPORT = """
import os, sys, warnings, numpy as np
before = np.geterr(), dict(os.environ), list(map(str, warnings.filters)), sys.getrecursionlimit()
import tinygrad_rnn as tg
tg.get_backend({name!r})
after = np.geterr(), dict(os.environ), list(map(str, warnings.filters)), sys.getrecursionlimit()
names = 'np.geterr()', 'os.environ', 'warnings.filters', 'the recursion limit'
print([n for n, a, b in zip(names, before, after) if a != b])
"""


@check("F14", Level.RESOURCES)
def import_changes_nothing(subject: Subject) -> None:
    """In a process of its own: no output, no warning, no setting changed."""
    name = subject.backend.name
    if name not in {info.name for info in list_backends()} or missing(name) is not None:
        raise Skip(f"'{name}' is not registered as an entry point")
    code = IMPORT.format(name=name)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-400:]
    assert done.stdout.strip() == "[]", (
        f"importing '{name}' changes or prints {done.stdout.strip()}"
    )
    assert not done.stderr.strip(), f"importing '{name}' writes: {done.stderr[-400:]}"


@check("F18", Level.RESOURCES, lambda subject: callable_primitives())
def no_warnings(subject: Subject, name: str) -> None:
    """Infinities, NaN and overflowing integers are values: nothing warns of them."""
    calls = subject.calls(name, subject.plain)[:4]
    for kind in "fi":
        if name in taking(kind):
            calls += edge_calls(subject, name, kind)[:6]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for call in calls:
            try:
                subject.apply(call)
                subject.compile(graph_of(call))(*call.args)
                subject.eager(jit(lambda *xs, c=call: bind_all(c.op, *xs, **c.attrs)), *call.args)
            except Warning as warning:
                raise AssertionError(f"{call!r}: {type(warning).__name__}: {warning}") from warning
