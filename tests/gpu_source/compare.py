"""Runs a layer on NumPy's backend and on the fake device's, and says how far apart they are."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.tree import flatten, tree_map

from . import fake


def leaf(a: Any, backend: Any, dtype: str) -> Any:
    if a is None:
        return None
    with tg.use_backend(backend):
        t = tg.tensor(a.astype(dtype) if a.dtype.kind == "f" else a)
    if t.dtype.is_float:
        t.requires_grad = True
    return t


def results(make, backend, dtype, x, state=None, lengths=None, second=False) -> list[np.ndarray]:
    """Outputs and gradients (for all parameters, inputs and states) of a layer, then, where asked,
    the gradients of the squared norm of these gradients. Nothing waits before all is computed."""
    module = make().to(backend, tg.types.as_dtype({"f4": "float32", "f8": "float64"}[dtype]))
    x, state = leaf(x, backend, dtype), tree_map(lambda a: leaf(a, backend, dtype), state)
    with tg.use_backend(backend):
        outputs, _ = flatten(module(x, state, lengths))
        weights = np.random.default_rng(7)
        total = 0.0
        for y in outputs:
            total = total + (y * tg.tensor(weights.normal(size=y.shape).astype(dtype))).sum()
        leaves = [*module.parameters(), x, *flatten(state)[0]]
        total.backward(create_graph=second)
        first = [p.grad for p in leaves]
        found = [y.detach() for y in outputs] + first
        if second:
            for p in leaves:
                p.grad = None
            sum((g * g).sum() for g in first if g is not None).backward()
            found += [p.grad for p in leaves]
        with fake.allowed_to_wait():
            return [np.zeros(()) if g is None else g.detach().numpy() for g in found]


def agree(backend, make, x, state=None, lengths=None, second=False, dtypes=("f8", "f4")) -> None:
    """float64 to 1e-12; float32 to 1e-6, or to what NumPy's own rounding comes to."""
    run = functools.partial(results, make, x=x, state=state, lengths=lengths, second=second)
    truth = run("numpy", "f8")
    for dtype in dtypes:
        found = run(backend, dtype)
        allowed = [1e-12] * len(truth)
        if dtype == "f4":
            allowed = [max(1e-6, 4 * distance(a, b)) for a, b in zip(run("numpy", "f4"), truth)]
        for i, (a, b, limit) in enumerate(zip(found, truth, allowed, strict=True)):
            assert a.shape == b.shape, f"{dtype}, result {i}: {a.shape}, expected {b.shape}"
            off = distance(a, b)
            assert off <= limit, f"{dtype}, result {i} {a.shape}: {off:.3g} > {limit:.3g}"


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, relative to the larger of 1 and the largest |b|; NaN must match."""
    if not b.size:
        return 0.0
    a, b = a.astype("f8"), b.astype("f8")
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return np.inf
    scale = max(1.0, float(np.nanmax(np.abs(b), initial=0.0)))
    return float(np.nanmax(np.abs(a - b), initial=0.0)) / scale
