"""Compiled programs write in place and use memory again: nobody may notice."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import BACKENDS, same, seeded

import tinygrad_rnn as tg

#: Large enough for memory that is used again (one side of a square of float64).
N = 96


def big(seed: str) -> tg.Tensor:
    return tg.tensor(seeded(seed).normal(size=(N, N)))


FUNCTIONS = {
    "chain": lambda a, b: tg.tanh(tg.exp(a * 0.1) + b) * a,
    "result read later": lambda a, b: ((c := tg.tanh(a)), tg.exp(c), c + b),
    "view of a result": lambda a, b: ((c := a + b).T, c * 2.0, tg.flip(c, 0)),
    "view read after": lambda a, b: ((c := a + b), (d := c.reshape(-1)), tg.tanh(c), d * 2.0)[2:],
    "view of a dead value": lambda a, b: (tg.tanh(c := a * b) + c.T, c[::2] + 1.0),
    "same operand twice": lambda a, b: (c := a + b) * c - tg.minimum(c, b),
    "max and min": lambda a, b: tg.maximum(tg.minimum(a + 1.0, b), a * b),
    "transposed": lambda a, b: tg.tanh((a + b).T + a),
    "broadcast": lambda a, b: (c := a.sum(0)) + b * c + tg.broadcast_to(c, (N, N)),
    "products": lambda a, b: ((c := tg.tanh(a @ b)) @ c.T + c, c * a),
    "input returned": lambda a, b: (a, tg.tanh(a), b.T),
    "constant returned": lambda a, b: (tg.ones((N, N), "float64"), tg.ones((N, N), "float64") * a),
    "gradient": lambda a, b: tg.grad(lambda a, b: (tg.tanh(a @ b) * tg.exp(b * 0.1)).sum(), (0, 1))(
        a, b
    ),
    "loop": lambda a, b: tg.scan(
        lambda c, x: ((d := tg.tanh(c * x) + c), (d, d * 2.0, c)), a[0], b
    ),
    "loop carry swap": lambda a, b: tg.scan(
        lambda c, x: ((c[1] + x, c[0] * x), c[0]), (a[0], a[1]), b
    ),
    "loop hands on a const": lambda a, b: (
        (d := a * 2.0),
        (e := tg.scan(lambda c, x: (d, c), b, b[:2])[0]),
        (g := d + b),
        tg.tanh(e),
        g,
    )[3:],
    "large carry": lambda a, b: tg.scan(lambda c, x: ((d := tg.tanh(c + x)), d[0]), a, b[:5]),
    "large carry read twice": lambda a, b: tg.scan(
        lambda c, x: (tg.tanh(c) * x + c, (c.T[0], c)), a, b[:5]
    ),
    "loop of products": lambda a, b: tg.scan(
        lambda c, x: ((d := tg.tanh(c @ b + x)), (d, c)), a, b[:5]
    ),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_memory_is_never_shared_by_mistake(name, backend):
    f = FUNCTIONS[name]
    with tg.use_backend(backend):
        a, b, c = big("a"), big("b"), big("c")
        copies = [t.numpy().copy() for t in (a, b, c)]
        run = tg.jit(f)
        eager = [[y.numpy().copy() for y in _leaves(f(*args))] for args in ((a, b), (b, c), (c, a))]
        # results of earlier calls stay what they were while later calls use the memory again
        kept = [_leaves(run(*args)) for args in ((a, b), (b, c), (c, a))]
        views = [[y.numpy()[1:] for y in ys if y.ndim] for ys in kept]
        for _ in range(3):
            run(a, a)
        for ys, want in zip(kept, eager, strict=True):
            for y, z in zip(ys, want, strict=True):
                if backend == "numpy":
                    same(y, z)
                else:
                    assert np.abs(y.numpy() - z).max(initial=0) < 1e-10
        for ys, held in zip(kept, views):
            for y, v in zip([y for y in ys if y.ndim], held):
                same(y.numpy()[1:], v)
        for t, copy in zip((a, b, c), copies):
            same(t, copy)


def _leaves(out):
    from tinygrad_rnn.tree import flatten

    return flatten(out)[0]


def test_arrays_outlive_their_tensors():
    run = tg.jit(lambda a: tg.tanh(a) + a)
    a = big("a")
    first = run(a).numpy()
    row = run(a).numpy()[3]
    want = first.copy()
    for k in range(5):
        run(a * float(k))
    same(first, want)
    same(row, want[3])
