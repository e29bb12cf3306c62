"""What the tests of nn share: randomness, comparisons, and one way to collect all gradients."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg


@pytest.fixture
def rng(request) -> np.random.Generator:
    """A generator seeded by the test's name: random everything, and still repeatable."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


def _host(a: Any) -> np.ndarray:
    return a.detach().numpy() if hasattr(a, "detach") else np.asarray(a)


@pytest.fixture(scope="session")
def close():
    """close(a, b, tol): equal shapes, and equal up to tol relative to the larger of 1 and |b|."""

    def check(a: Any, b: Any, tol: float = 1e-10, what: str = "") -> None:
        a, b = _host(a), _host(b)
        assert a.shape == b.shape, f"{what}: {a.shape} != {b.shape}"
        assert np.array_equal(np.isnan(a), np.isnan(b)), f"{what}: NaN in different places"
        if a.size:
            scale = max(1.0, float(np.nanmax(np.abs(b), initial=0.0)))
            worst = float(np.nanmax(np.abs(a - b), initial=0.0))
            assert worst <= tol * scale, f"{what}: differs by {worst:.3g} (scale {scale:.3g})"

    return check


@pytest.fixture(scope="session")
def randomize():
    """Give every parameter of a module random values: zeros and symmetric weights hide faults."""

    def run(module: tg.nn.Module, rng: np.random.Generator, scale: float = 0.5) -> tg.nn.Module:
        for p in module.parameters():
            p.assign_(tg.tensor(rng.normal(size=p.shape).astype(p.dtype.np) * scale))
        return module

    return run


@pytest.fixture(scope="session")
def gradients():
    """gradients(module, x, state, lengths): outputs, and all gradients of one number.

    The number is a random linear function of outputs and final states, or with `separable` a sum
    of equal nonlinear terms, which does not change when samples are permuted or run alone.
    Returns (y, final, {name: gradient}); the names are 'x', 'state0', ... and the parameters'.
    """

    def run(module, x, state=None, lengths=None, *, seed=0, call=None, separable=False, **kwargs):
        weights = np.random.default_rng(seed)
        x = tg.tree.tree_map(lambda a: leaf(a), x)
        state = tg.tree.tree_map(lambda a: leaf(a), state)
        module.zero_grad()
        y, final = (call or module)(x, state, lengths, **kwargs)
        total = 0.0
        for out in tg.tree.flatten((y, final))[0]:
            factor = tg.sin(3.0 * out) if separable else tg.tensor(weights.normal(size=out.shape))
            total = total + (out * factor).sum()
        total.backward()
        found = {}
        for i, a in enumerate(tg.tree.flatten(x)[0]):
            if a.requires_grad:
                found["x" if i == 0 else f"x{i}"] = gradient(a)
        for i, a in enumerate(tg.tree.flatten(state)[0]):
            found[f"state{i}"] = gradient(a)
        found.update({name: gradient(p) for name, p in module.named_parameters()})
        return y, final, found

    return run


def leaf(a: Any) -> tg.Tensor:
    t = tg.tensor(a)
    if t.dtype.is_float:
        t.requires_grad = True
    return t


def gradient(a: tg.Tensor) -> np.ndarray:
    return np.zeros(a.shape) if a.grad is None else a.grad.detach().numpy()
