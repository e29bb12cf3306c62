"""Level 1: whole graphs. Their odd forms, how they are told apart, what they do with memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import broadcast_to, exp, flip, grad, jit, maximum, minimum, ones, scan, tanh, trace
from ...extend import Graph, Type, Var
from ...tensor import Tensor
from ...tree import flatten
from ...types import as_dtype
from .calls import Host, seeded
from .compare import close, same
from .registry import Level, check
from .subject import Subject

#: Side of the squares of float64: large enough for memory that is used again.
N = 96


def interpreted(graph: Graph, hosts: Any) -> list[Host]:
    with np.errstate(all="ignore"):
        return [np.asarray(y) for y in graph.interpret(*hosts)]


def widest(subject: Subject) -> np.dtype[Any]:
    """The floating dtype that the backend holds with most precision."""
    return max(subject.floats, key=lambda d: d.itemsize).np


# --- odd forms -----------------------------------------------------------------------------------

FORMS: dict[str, Callable[..., Any]] = {
    "input returned": lambda x, y: x,
    "inputs returned the other way round": lambda x, y: (y, x),
    "the same result twice": lambda x, y: (z := x + y, z),
    "an input that nobody reads": lambda x, y: tanh(y),
    "a constant": lambda x, y: (ones((2, 3), x.dtype), x),
    "a constant and a sum with it": lambda x, y: (c := ones(x.shape, x.dtype), c + x, c),
    "a scalar": lambda x, y: (x * y).sum(),
    "empty": lambda x, y: (x[:0] * 2.0, x[:0].sum(0)),
    "a long sum of one value": lambda x, y: x + x + x + x + (y - x) + x,
}


@check("F1", Level.FORWARD, lambda subject: list(FORMS))
def forms(subject: Subject, name: str) -> None:
    rng, dtype = seeded("forms"), widest(subject)
    a, b = (rng.normal(size=(3, 4)).astype(dtype) for _ in range(2))
    ts = [subject.tensor(h) for h in (a, b)]
    graph = trace(FORMS[name])(*ts)
    want = interpreted(graph, (a, b))
    for got in (subject.compile(graph)(a, b), subject.compiled(FORMS[name], a, b)):
        for y, z in zip(got, want, strict=True):
            close(y, z, subject.claims, name, terms=16)


@check("F1", Level.FORWARD)
def no_nodes(subject: Subject) -> None:
    """A graph that only hands its inputs on, and one without inputs and outputs."""
    x = Var(Type((3,), as_dtype(widest(subject))))
    host = np.arange(3.0).astype(widest(subject))
    for got in subject.compile(Graph([x], [], [x, x]))(host):
        same(got, host, "an input handed on")
    assert subject.compile(Graph([], [], []))() == []


# --- which program is which ----------------------------------------------------------------------


def family(subject: Subject) -> list[tuple[str, Callable[..., Any], tuple[Host, ...]]]:
    """Functions that look alike, with operands."""
    dtype = widest(subject)
    rng = seeded("family")
    x, y = (rng.normal(size=(4, 4)).astype(dtype) for _ in range(2))
    found: list[tuple[str, Callable[..., Any], tuple[Host, ...]]] = []
    for k in (2.0, 3.0, 0.0, -0.0, 1.0, -1.0, 1e-3, float("inf"), float("nan")):
        found.append((f"times {k}", lambda x, k=k: x * k, (x,)))
        found.append(
            (f"loop times {k}", lambda x, k=k: scan(lambda c, r: (c * k + r, c), x[0], x), (x,))
        )
    for shape in ((16,), (4, 4), (2, 8), (8, 2), (1, 16), (16, 1), (2, 2, 4)):
        found.append((f"sum of rows of {shape}", lambda x: x * 2.0 + x.sum(0), (x.reshape(shape),)))
    for other in subject.dtypes:
        if not other.is_bool:
            ints = np.arange(-4, 4).astype(other.np)
            found.append((f"squares of {other}", lambda x: x * x + x, (ints,)))
    found += [
        ("x - y", lambda x, y: x - y, (x, y)),
        ("y - x", lambda x, y: y - x, (x, y)),
        ("(x - y) - x", lambda x, y: (x - y) - x, (x, y)),
        ("x - (y - x)", lambda x, y: x - (y - x), (x, y)),
        ("results in order", lambda x, y: (a := x + y, b := x * y, (a, b))[2], (x, y)),
        ("in the other order", lambda x, y: (a := x + y, b := x * y, (b, a))[2], (x, y)),
        ("the first of them twice", lambda x, y: (a := x + y, x * y, (a, a))[2], (x, y)),
        ("x @ y", lambda x, y: x @ y, (x, y)),
        ("x.T @ y", lambda x, y: x.T @ y, (x, y)),
        ("x @ y.T", lambda x, y: x @ y.T, (x, y)),
    ]
    for length in (0, 1, 3, 4):
        for reverse in (False, True):
            found.append((f"loop of {length}{' reversed' * reverse}", _loop(length, reverse), (x,)))
    return found


def _loop(length: int, reverse: bool) -> Callable[..., Any]:
    return lambda x: scan(lambda c, s: (c * 0.5 + s, c), x[0], x[:length], reverse=reverse)


def _layer(w: Tensor) -> Callable[..., Any]:
    return jit(lambda x: tanh(x @ w))


@check("F3", Level.FORWARD)
def alike(subject: Subject) -> None:
    """Functions that look alike are all compiled, then all run, twice, last first."""
    found = family(subject)
    graphs = [trace(f)(*map(subject.tensor, hosts)) for _, f, hosts in found]
    programs = [subject.compile(g) for g in graphs]
    jitted = [jit(f) for _, f, _ in found]
    for turn in range(2):
        for k in reversed(range(len(found))):
            name, _, hosts = found[k]
            hosts = tuple([np.roll(h, turn) for h in hosts])
            want = interpreted(graphs[k], hosts)
            for got in (programs[k](*hosts), subject.eager(jitted[k], *hosts)):
                for y, z in zip(got, want, strict=True):
                    close(y, z, subject.claims, name, terms=64)


@check("F3", Level.FORWARD)
def equal_graphs(subject: Subject) -> None:
    """Two graphs of one structure may be one program: of other values all the same."""
    rng, dtype = seeded("equal"), widest(subject)
    w = [rng.normal(size=(3, 3)).astype(dtype) for _ in range(2)]
    x = rng.normal(size=(2, 3)).astype(dtype)
    steps = [_layer(subject.tensor(a)) for a in w]
    for turn in range(2):
        for step, a in zip(steps, w):
            (got,) = subject.eager(step, x)
            close(got, np.tanh(x @ a), subject.claims, f"captured weights, turn {turn}", terms=4)


# --- memory --------------------------------------------------------------------------------------

MEMORY: dict[str, Callable[..., Any]] = {
    "chain": lambda a, b: tanh(exp(a * 0.1) + b) * a,
    "result read later": lambda a, b: ((c := tanh(a)), exp(c), c + b),
    "view of a result": lambda a, b: ((c := a + b).T, c * 2.0, flip(c, 0)),
    "view read after": lambda a, b: ((c := a + b), (d := c.reshape(-1)), tanh(c), d * 2.0)[2:],
    "view of a dead value": lambda a, b: (tanh(c := a * b) + c.T, c[::2] + 1.0),
    "same operand twice": lambda a, b: (c := a + b) * c - minimum(c, b),
    "max and min": lambda a, b: maximum(minimum(a + 1.0, b), a * b),
    "transposed": lambda a, b: tanh((a + b).T + a),
    "broadcast": lambda a, b: (c := a.sum(0)) + b * c + broadcast_to(c, (N, N)),
    "products": lambda a, b: ((c := tanh(a @ b)) @ c.T + c, c * a),
    "input returned": lambda a, b: (a, tanh(a), b.T),
    "constant returned": lambda a, b: (ones((N, N), a.dtype), ones((N, N), a.dtype) * a),
    "gradient": lambda a, b: grad(lambda a, b: (tanh(a @ b) * exp(b * 0.1)).sum(), (0, 1))(a, b),
    "loop": lambda a, b: scan(lambda c, x: ((d := tanh(c * x) + c), (d, d * 2.0, c)), a[0], b),
    "loop carry swap": lambda a, b: scan(
        lambda c, x: ((c[1] + x, c[0] * x), c[0]), (a[0], a[1]), b
    ),
    "loop hands on a const": lambda a, b: (
        (d := a * 2.0),
        (e := scan(lambda c, x: (d, c), b, b[:2])[0]),
        (g := d + b),
        tanh(e),
        g,
    )[3:],
    "large carry": lambda a, b: scan(lambda c, x: ((d := tanh(c + x)), d[0]), a, b[:5]),
    "large carry read twice": lambda a, b: scan(
        lambda c, x: (tanh(c) * x + c, (c.T[0], c)), a, b[:5]
    ),
    "loop of products": lambda a, b: scan(
        lambda c, x: ((d := tanh(c @ b * 0.1 + x)), (d, c)), a, b[:5]
    ),
}


@check("B5", Level.FORWARD, lambda subject: list(MEMORY))
def memory(subject: Subject, name: str) -> None:
    """Programs write in place and use memory again: earlier results and inputs stay as they are."""
    f, dtype = MEMORY[name], widest(subject)
    hosts = [seeded(s).normal(size=(N, N)).astype(dtype) for s in "abc"]
    ts = [subject.tensor(h) for h in hosts]
    pairs = ((0, 1), (1, 2), (2, 0))
    run, graph = jit(f), trace(f)(ts[0], ts[1])
    want = [interpreted(graph, [hosts[i] for i in pair]) for pair in pairs]
    kept = [_leaves(run(*[ts[i] for i in pair])) for pair in pairs]
    views = [[subject.host(y)[1:] for y in ys if y.ndim] for ys in kept]
    for _ in range(3):
        run(ts[0], ts[0])
    for ys, right, held in zip(kept, want, views, strict=True):
        for y, z in zip(ys, right, strict=True):
            close(subject.host(y), z, subject.claims, f"{name}: an earlier result", terms=N * 8)
        for y, v in zip([y for y in ys if y.ndim], held, strict=True):
            same(subject.host(y)[1:], v, f"{name}: an array of an earlier result")
    for t, host in zip(ts, hosts):
        same(subject.host(t), host, f"{name}: an input")


def _leaves(tree: Any) -> list[Tensor]:
    return list(flatten(tree)[0])
