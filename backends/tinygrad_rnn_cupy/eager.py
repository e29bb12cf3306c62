"""Kernels that differ from NumPy's: gathering without looking at values, random bits, and what
CuPy has no code for in bfloat16, or computes in halves with more than one rounding.

In: CuPy arrays (any module with CuPy's interface, so that the code runs in tests without a GPU).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tinygrad_rnn.extend import wide

Kernel = Callable[..., Any]


def table(xp: Any, erf: Kernel, scatter_add: Kernel) -> dict[str, Kernel]:
    again = {"mod": xp.remainder, "floordiv": xp.floor_divide, "erf": erf,
             "argmax": lambda x, axis: xp.argmax(x, axis),
             "argsort": lambda x, axis: xp.argsort(x, axis, kind="stable")}  # fmt: skip
    return {name: _in_float32(kernel) for name, kernel in again.items()} | {
        "where": functools.partial(_where, xp),
        "take": functools.partial(_take, xp),
        "scatter_add": scatter_add,
        "random_bits": functools.partial(_philox, xp),
        "zmul": functools.partial(_zero_wins, xp, xp.multiply),
        "zdiv": functools.partial(_zero_wins, xp, xp.divide),
    }


def _zero_wins(xp: Any, op: Kernel, a: Any, b: Any) -> Any:
    """op(a, b), 0 where a is 0: without the look at the values that would wait for the device."""
    return _where(xp, a == 0, xp.zeros((), a.dtype), op(a, b))


def _in_float32(kernel: Kernel) -> Kernel:
    """The kernel, for halves in float32 and rounded once."""

    def run(*arrays: Any, **attrs: Any) -> Any:
        dtype = arrays[0].dtype
        sums = wide(dtype)
        if sums == dtype:
            return kernel(*arrays, **attrs)
        found = kernel(*[a.astype(sums) for a in arrays], **attrs)
        return found.astype(dtype) if found.dtype == sums else found

    return run


def _where(xp: Any, condition: Any, a: Any, b: Any) -> Any:
    """Halves are chosen by their bits: CuPy's own makes float32 of bfloat16."""
    dtype = a.dtype
    if wide(dtype) == dtype:
        return xp.where(condition, a, b)
    return xp.where(condition, a.view(xp.uint16), b.view(xp.uint16)).view(dtype)


def _take(xp: Any, x: Any, indices: Any, axis: int) -> Any:
    """Indices out of range are clipped: raising would mean waiting for the device."""
    return xp.take(x, xp.clip(indices, 0, x.shape[axis] - 1), axis)


def _philox(xp: Any, state: Any, shape: Any) -> Any:
    """Philox4x32-10 on device words; see tinygrad_rnn.ops.bits for the definition."""
    n = 1
    for d in shape:
        n *= d
    u64 = xp.uint64
    low, half = u64(0xFFFFFFFF), u64(32)
    words = state.astype(u64)
    block = xp.arange(-(-n // 4), dtype=u64)
    c0, c1 = block & low, block >> half
    c2, c3 = xp.zeros_like(block) + words[2], xp.zeros_like(block) + words[3]
    k0, k1 = words[0:1], words[1:2]
    for _ in range(10):
        p0, p1 = c0 * u64(0xD2511F53), c2 * u64(0xCD9E8D57)
        c0, c1, c2, c3 = (p1 >> half) ^ c1 ^ k0, p1 & low, (p0 >> half) ^ c3 ^ k1, p0 & low
        k0, k1 = (k0 + u64(0x9E3779B9)) & low, (k1 + u64(0xBB67AE85)) & low
    out = xp.stack([c0, c1, c2, c3], axis=1).astype(xp.uint32)
    return out.reshape(-1)[:n].reshape(shape)
