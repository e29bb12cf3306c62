"""How close results must be, and what is said when they are not.

A result may be off by some units in the last place of the exact one, and by eight times what
NumPy's own result in the same precision is off by: recurrences and sums amplify rounding, and a
backend that rounds otherwise than NumPy is not wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...array_api import finfo
from ...extend import Capabilities, Elementwise, Type
from ...types import kind_of
from ..calls import PrimitiveCall
from .calls import Host, exact

#: Units in the last place that a backend may be off by, unless its capabilities say otherwise.
ULPS = 16.0
#: How many times less accurate than NumPy it may be.
RATIO = 8.0


def same_type(got: Host, want: Type, what: str) -> None:
    """Shape and dtype are what the type rule says."""
    assert (got.shape, got.dtype) == (want.shape, want.dtype.np), (
        f"{what}: the result is {got.dtype}{list(got.shape)}, the type rule says {want}"
    )


def same(got: Any, want: Any, what: str) -> None:
    """The same shape, dtype and bits; any NaN is as good as any other."""
    got, want = np.asarray(got), np.asarray(want)
    assert (got.shape, got.dtype) == (want.shape, want.dtype), (
        f"{what}: {got.dtype}{list(got.shape)}, expected {want.dtype}{list(want.shape)}"
    )
    if kind_of(got.dtype) == "c":
        same(got.real, want.real, f"{what}, real part")
        same(got.imag, want.imag, f"{what}, imaginary part")
        return
    if kind_of(got.dtype) != "f":
        equal = got == want
    else:
        bits = np.dtype(f"u{got.dtype.itemsize}")
        equal = np.ascontiguousarray(got).view(bits) == np.ascontiguousarray(want).view(bits)
        equal = equal.reshape(got.shape) | (np.isnan(got) & np.isnan(want))
    assert equal.all(), f"{what}: {_worst(got, want, ~equal)}"


def agree(call: PrimitiveCall, results: Sequence[Host], claims: Capabilities, what: str) -> None:
    """The results of an application have the right types and are close to the reference."""
    truth = exact(call)
    wanted = call.reference()
    for i, (got, want, rule) in enumerate(zip(results, wanted, call.types(), strict=True)):
        where = f"{what}{f', result {i}' if len(wanted) > 1 else ''}"
        same_type(got, rule, where)
        elementwise = issubclass(call.op, Elementwise)
        longest = 1 if elementwise else max([n for a in call.args for n in a.shape], default=1)
        close(got, want, claims, where, truth[i] if truth else None, longest, elementwise)


def close(
    got: Host,
    want: Host,
    claims: Capabilities,
    what: str,
    truth: Host | None = None,
    terms: int = 1,
    elementwise: bool = False,
) -> None:
    """NaN and infinities where `want` has them, the rest close to `truth` (if given, else `want`).

    `terms`: how many roundings an element has been through; `elementwise`: errors count relative to
    every element alone, not to the largest.
    """
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    if kind_of(want.dtype) not in "fc":
        assert np.array_equal(got, want), f"{what}: {_worst(got, want, got != want)}"
        return
    fine = np.isfinite(want)
    odd = fine != np.isfinite(got)
    if kind_of(want.dtype) == "f":  # which part of a complex number is infinite is left open
        odd |= ~fine & ~((got == want) | (np.isnan(got) & np.isnan(want)))
    assert not odd.any(), f"{what}: {_worst(got, want, odd)}"
    if not fine.any():
        return
    limits = finfo(want.dtype)
    eps = limits.eps * claims.ulps.get(want.dtype.name, ULPS)
    wide = np.result_type(want, np.float64)
    near = np.where(fine, want, 0.0).astype(wide)
    right = near if truth is None else np.where(fine & np.isfinite(truth), truth, near)
    size = np.abs(right)
    scale = min(1.0, size.max()) if elementwise else max(1.0, size.max()) * terms
    allowed = eps * (size + scale) + limits.smallest_subnormal
    theirs = np.abs(near - right)
    allowed = allowed + RATIO * (theirs if elementwise else theirs.max())
    bad = fine & (np.abs(np.where(fine, got, 0.0).astype(wide) - right) > allowed)
    assert not bad.any(), f"{what}: {_worst(got, want, bad)}"


def _worst(got: Host, want: Host, bad: Any) -> str:
    """One element that is wrong, and how many there are."""
    bad = np.asarray(bad)
    at = tuple(int(i) for i in np.argwhere(bad)[0])
    found, right = got[at], want[at]
    away = ""
    if kind_of(want.dtype) in "fc" and np.isfinite(found) and np.isfinite(right):
        away = f" (off by {abs(complex(found) - complex(right)):.3g})"
    return (
        f"element {list(at)} is {found!r}, expected {right!r}{away}; "
        f"{int(bad.sum())} of {bad.size} differ"
    )
