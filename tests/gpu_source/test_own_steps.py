"""Steps that users write: attention over a memory, nested loops, loops over single examples, and
what no code is made for."""

from __future__ import annotations

from typing import Any

import pytest

import tinygrad_rnn as tg

from .compare import distance
from .test_groups import run


def attention(x: Any, memory: Any, W: Any) -> Any:
    """Every row has matrices of its own."""

    def step(h: Any, x: Any) -> Any:
        scores = tg.einsum("bh,bmh->bm", h @ W, memory)
        weights = tg.softmax(scores, axis=-1)
        h = tg.tanh(x + tg.einsum("bm,bmh->bh", weights, memory))
        return h, weights

    h, y = tg.scan(step, tg.tanh(x[0]), x)
    return h, y


def linear(x: Any, memory: Any, W: Any) -> Any:
    """The carry is the product itself."""
    h, y = tg.scan(lambda h, x: (h @ W, h * x), x[0] + memory.sum(1), x)
    return h, y


def two_products(x: Any, memory: Any, W: Any) -> Any:
    """A product of what another product made, and of the new state."""

    def step(carry: Any, x: Any) -> Any:
        h, c = carry
        a = (h @ W) @ W.T
        h = tg.tanh(a + x)
        c = c * 0.5 + h @ W
        return (h, c), (a, c)

    (h, c), (a, b) = tg.scan(step, (x[0], memory[:, 0]), x)
    return h, c, a, b


def single_example(x: Any, memory: Any, W: Any) -> Any:
    """A carry without an axis of rows."""
    h, y = tg.scan(lambda h, x: (tg.tanh(W @ h + x), h), x[0, 0], x[:, 0])
    return h, y


def nested(x: Any, memory: Any, W: Any) -> Any:
    """A loop in a loop."""

    def outer(h: Any, x: Any) -> Any:
        h, inner = tg.scan(lambda h, m: (tg.tanh(h @ W + m), h), h, tg.swapaxes(memory, 0, 1))
        return h + x, inner.sum(0)

    h, y = tg.scan(outer, x[0], x)
    return h, y


@pytest.mark.parametrize(
    "function", [attention, linear, two_products, single_example, nested], ids=lambda f: f.__name__
)
def test_steps(backend, function, rng, small_graphs):
    x, memory, W = (rng.normal(size=s) * 0.5 for s in ((5, 3, 4), (3, 6, 4), (4, 4)))
    for _ in range(2):
        here, there = (run(b, function, x, memory, W) for b in (backend, "numpy"))
        for a, b in zip(here, there, strict=True):
            assert distance(a, b) <= 1e-12


def test_what_is_not_compiled_says_so(backend):
    def step(h: Any, x: Any) -> Any:
        return tg.cumsum(h + x, axis=1), h

    with tg.use_backend(backend):
        found = tg.explain(lambda x: tg.scan(step, x[0], x)[1])(tg.ones((3, 2, 4)))
        (how,) = [how for name, how in backend.report(found.graph) if name == "scan"]
    assert how.startswith("loop over CuPy kernels: ") and "cumsum" in how
