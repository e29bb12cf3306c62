"""Elementwise work outside of loops, and loops without products, as single kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim
from tinygrad_rnn.nn import functional as F

from . import fake
from .compare import distance

OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "adamw": lambda p: optim.AdamW(p, lr=0.01),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1),
}


def trained(backend: Any, optimizer: str, dtype: str, rng: Any) -> list[np.ndarray]:
    """Parameters after three compiled steps of training with gradients clipped."""
    with tg.use_backend(backend):
        layer, head = nn.LSTM(3, 6, rng=0), nn.Linear(6, 2, rng=1)
        layer.to(backend, dtype)
        head.to(backend, dtype)
        parameters = [*layer.parameters(), *head.parameters()]
        opt = OPTIMIZERS[optimizer](parameters)

        @tg.jit
        def step(x: Any, target: Any) -> Any:
            y, _ = layer(x)
            loss = F.cross_entropy(head(y).reshape(-1, 2), target)
            opt.zero_grad()
            loss.backward()
            optim.clip_grad_norm_(parameters, 0.5)
            opt.step()
            return loss

        losses = []
        for _ in range(3):
            x = rng.normal(size=(4, 5, 3)).astype(dtype)
            losses.append(step(tg.tensor(x), tg.tensor(rng.integers(0, 2, 20))))
        with fake.allowed_to_wait():
            return [v.detach().numpy() for v in (*losses, *parameters)]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(backend, name):
    for dtype, limit in (("float64", 1e-12), ("float32", 5e-6)):
        here, there = (
            trained(b, name, dtype, np.random.default_rng(3)) for b in (backend, "numpy")
        )
        for i, (a, b) in enumerate(zip(here, there, strict=True)):
            assert distance(a, b) <= limit, f"{dtype}, result {i}: {distance(a, b):.3g}"


def test_training_is_groups_and_graphs(backend):
    """No elementwise operation on matrices is left to itself."""
    with tg.use_backend(backend):
        layer = nn.LSTM(3, 6, rng=0)
        opt = optim.Adam(layer.parameters())

        def step(x: Any) -> Any:
            y, _ = layer(x)
            loss = (y * y).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            return loss

        found = tg.explain(step)(tg.ones((4, 5, 3)))
        rows = backend.report(found.graph)
    alone = [name for name, how in rows if how == "CuPy kernel"]
    moving = {"reshape", "transpose", "slice", "concat", "full", "broadcast_to", "sum", "cast"}
    assert len([n for n in alone if n not in moving]) <= 12, alone
    assert sum(how == "fused kernel" for _, how in rows) > 60
    loops = [how for name, how in rows if name == "scan"]
    assert len(loops) == 2
    assert all("per step 1 cuBLAS products and 1 fused kernels" in how for how in loops)


def run(backend: Any, function: Any, *arrays: Any) -> list[np.ndarray]:
    with tg.use_backend(backend):
        given = [tg.tensor(a) for a in arrays]
        for t in given:
            if t.dtype.is_float:
                t.requires_grad = True
        outs = function(*given)
        weights = np.random.default_rng(5)
        total = sum((y * tg.tensor(weights.normal(size=y.shape))).sum() for y in outs)
        total.backward()
        grads = [tg.zeros_like(t) if t.grad is None else t.grad for t in given if t.dtype.is_float]
        with fake.allowed_to_wait():
            return [t.detach().numpy() for t in (*outs, *grads)]


def averages(x: Any, a: Any) -> Any:
    """A moving average, and the largest so far."""

    def step(carry: Any, x: Any) -> Any:
        mean, top = carry
        mean = (1 - a) * mean + a * x
        top = tg.maximum(top, mean)
        return (mean, top), mean * top

    carry, y = tg.scan(step, (tg.zeros_like(x[0]), x[0]), x)
    return (*carry, y)


def normed(x: Any, a: Any) -> Any:
    """Every step needs sums over its rows: blocks have whole rows."""

    def step(h: Any, x: Any) -> Any:
        h = tg.tanh(h + a * x)
        h = h / tg.sqrt((h * h).sum(axis=-1, keepdims=True) + 1.0)
        return h, tg.exp(h - h.max(axis=-1, keepdims=True))

    h, y = tg.scan(step, tg.zeros_like(x[0]), x, reverse=True)
    return h, y


def crossed(x: Any, a: Any) -> Any:
    """A column reads what another one wrote a step before."""

    def step(h: Any, x: Any) -> Any:
        n = h.shape[-1] // 2
        turned = tg.concat([h[:, n:], h[:, :n]], axis=1)
        h = tg.sin(turned * 0.7 + x + a)
        return h, h

    h, y = tg.scan(step, tg.zeros_like(x[0]), x)
    return h, y


@pytest.mark.parametrize("function", [averages, normed, crossed])
@pytest.mark.parametrize("shape", [(6, 5, 8), (1, 3, 2), (7, 1, 70), (3, 40, 6)])
def test_loops_without_products(backend, function, shape, rng):
    x, a = rng.normal(size=shape), rng.normal(size=shape[-1:])
    for p, q in zip(run(backend, function, x, a), run("numpy", function, x, a), strict=True):
        assert distance(p, q) <= 1e-12


def test_a_loop_without_products_is_one_launch(backend, rng):
    with tg.use_backend(backend), tg.no_grad():
        x, a = tg.tensor(rng.normal(size=(9, 4, 6))), tg.tensor(rng.normal(size=6))
        averages(x, a)
        before = fake.modules.launches
        averages(x, a)
    assert fake.modules.launches == before + 1


def test_wide_arrays_fit_into_a_grid(backend: Any) -> None:
    """A grid's second axis has at most 65,535 blocks; threads then take several columns."""
    steps, rows = (fake.submodule(backend, name) for name in ("steps", "rows"))
    wide = rows.Kernel("wide")
    wide.width = 20_000_000
    (across, down), block, _ = steps.geometry(wide, 1)
    assert (across, down, block) == (1, 65535, (128, 1))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_cast_inside_a_group_rounds(backend: Any, dtype: str, rng: Any) -> None:
    """What a kernel computes in float32 loses the digits that the dtype of the value lacks."""
    x = rng.normal(size=(5, 9)).astype("f4")

    def rounded(x: Any) -> Any:
        y = (x * 3.0).astype(dtype)
        return tg.tanh(y.astype("float32") - x * 3.0), y * y

    found = []
    for where in (backend, "numpy"):
        with tg.use_backend(where):
            ys = tg.jit(rounded)(tg.tensor(x))
            with fake.allowed_to_wait():
                found.append([y.numpy() for y in ys])
    with tg.use_backend(backend):
        graph = tg.explain(rounded)(tg.tensor(x)).graph
    casts = [how for name, how in backend.report(graph) if name == "cast"]
    assert casts and set(casts) == {"fused kernel"}
    (lost, square), (expected, other) = found
    assert np.abs(expected).max() > tg.finfo(dtype).eps / 4
    assert np.abs(lost - expected).max() < 1e-6
    assert square.dtype == other.dtype == dtype and distance(square, other) < tg.finfo(dtype).eps
