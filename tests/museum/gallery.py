"""How exhibits are shown: gradients found in three ways that must agree bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_rnn as tg


def host(x: Any) -> np.ndarray:
    return x.detach().numpy() if isinstance(x, tg.Tensor) else np.asarray(x)


def slopes(f: Callable[..., Any], *arrays: Any) -> list[np.ndarray]:
    """d sum(f) / d argument, for all: by `backward`, by `grad`, and by `grad` under `jit`."""
    leaves = [tg.tensor(np.asarray(a), requires_grad=True) for a in arrays]
    f(*leaves).sum().backward()
    nums = tuple(range(len(arrays)))
    g = tg.grad(lambda *xs: f(*xs).sum(), nums)
    plain = [tg.tensor(np.asarray(a)) for a in arrays]
    ways = [[host(x.grad) for x in leaves], list(map(host, g(*plain)))]
    ways.append(list(map(host, tg.jit(g)(*plain))))
    for other in ways[1:]:
        for a, b in zip(ways[0], other, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-6 if a.dtype != "f8" else 1e-13, atol=1e-30)
    return ways[0]


def slope(f: Callable[..., Any], x: Any) -> Any:
    """`slopes` of one argument, as nested lists."""
    (g,) = slopes(f, x)
    return g.tolist()


def close(a: Any, b: Any, tol: float = 1e-12) -> None:
    np.testing.assert_allclose(host(a), host(b), rtol=tol, atol=tol)


def randomize(module: tg.nn.Module, rng: np.random.Generator) -> tg.nn.Module:
    """Random weights and biases: zeros hide faults."""
    for p in module.parameters():
        p.assign_(rng.normal(size=p.shape).astype(p.dtype.np) * 0.7)
    return module
