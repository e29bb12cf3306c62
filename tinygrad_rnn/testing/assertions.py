"""Comparisons of results: equal to rounding, and equal to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor
from ..types import kind_of


def host(x: Any) -> np.ndarray:
    """A tensor (detached), an array or a number as a NumPy array."""
    return x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x)


def assert_close(a: Any, b: Any, tolerance: float = 1e-9, what: str = "") -> None:
    """Equal shapes, NaN and infinities in the same places, the rest within tolerance * max(1, |b|).

    Integers and booleans must be equal.

    >>> assert_close([1.0, 2.0], [1.0, 2.0 + 1e-12])
    """
    problem = difference(host(a), host(b), tolerance)
    assert problem is None, f"{what}: {problem}" if what else problem


def difference(a: np.ndarray, b: np.ndarray, tolerance: float) -> str | None:
    """What keeps `a` from being as good as `b`, in words; None if nothing does."""
    if a.shape != b.shape:
        return f"shape {a.shape}, expected {b.shape}"
    if kind_of(a.dtype) in "biu" and kind_of(b.dtype) in "biu":
        return None if np.array_equal(a, b) else f"got {a}, expected {b}"
    fine = np.isfinite(b)
    if not np.array_equal(a[~fine], b[~fine], equal_nan=True):
        return f"NaN or infinity: got {a}, expected {b}"
    if not fine.any():
        return None
    scale = max(1.0, float(np.abs(b[fine]).max()))
    worst = float(np.abs(a[fine] - b[fine]).max())
    return None if worst <= tolerance * scale else f"differs by {worst:.3g} at scale {scale:.3g}"


def assert_same(a: Any, b: Any, what: str = "") -> None:
    """Bitwise the same values (any NaN equals any NaN), shapes and dtypes.

    >>> assert_same(np.float32([1, np.nan]), np.float32([1, np.nan]))
    """
    a, b = host(a), host(b)
    assert (a.shape, a.dtype) == (b.shape, b.dtype), (
        f"{what}: {a.dtype}{a.shape} != {b.dtype}{b.shape}"
    )
    assert np.array_equal(a, b, equal_nan=kind_of(a.dtype) in "fc"), f"{what}: {a} != {b}"
