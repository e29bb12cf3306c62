"""Runs the same layer on NumPy's backend and on Numba's, and says how far apart they are."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.tree import flatten, tree_map


def leaf(a: Any, backend: str, dtype: str) -> Any:
    if a is None:
        return None
    with tg.use_backend(backend):
        t = tg.tensor(a.astype(dtype) if a.dtype.kind == "f" else a)
    if t.dtype.is_float:
        t.requires_grad = True
    return t


def results(make, backend, dtype, x, state=None, lengths=None, second=False) -> list[np.ndarray]:
    """Outputs and gradients (for all parameters, inputs and states) of a layer, then, where asked,
    the gradients of the squared norm of these gradients."""
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
        found = [y.detach().numpy() for y in outputs]
        first = [p.grad for p in leaves]
        found += [
            np.zeros(p.shape) if g is None else g.detach().numpy() for p, g in zip(leaves, first)
        ]
        if second:
            for p in leaves:
                p.grad = None
            sum((g * g).sum() for g in first if g is not None).backward()
            found += [
                np.zeros(p.shape) if p.grad is None else p.grad.detach().numpy() for p in leaves
            ]
    return found


def agree(make, x, state=None, lengths=None, second=False, single=False) -> None:
    """float64 to 1e-9; float32 about as close to float64's results as NumPy's float32 is."""
    run = functools.partial(results, make, x=x, state=state, lengths=lengths, second=second)
    truth = run("numpy", "f8")
    for i, (a, b) in enumerate(zip(run("numba", "f8"), truth, strict=True)):
        assert a.shape == b.shape, f"result {i}: {a.shape}, expected {b.shape}"
        assert distance(a, b) <= 1e-9, f"result {i} {a.shape}: differs by {distance(a, b):.3g}"
    if single:
        for i, (a, c, b) in enumerate(
            zip(run("numba", "f4"), run("numpy", "f4"), truth, strict=True)
        ):
            assert a.dtype == c.dtype, f"result {i}: {a.dtype}, expected {c.dtype}"
            allowed = 4 * distance(c, b) + 2e-6
            assert distance(a, b) <= allowed, f"result {i}: {distance(a, b):.3g} > {allowed:.3g}"


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, relative to the larger of 1 and the largest |b|; NaN must match."""
    if not b.size:
        return 0.0
    a, b = a.astype("f8"), b.astype("f8")
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return np.inf
    scale = max(1.0, float(np.nanmax(np.abs(b), initial=0.0)))
    return float(np.nanmax(np.abs(a - b), initial=0.0)) / scale
