"""Kernels that need NumPy itself: gathering, random bits, erf."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_rnn.extend import index_error, philox, wide


def take(x: Any, indices: Any, axis: int) -> Any:
    try:
        if np.size(indices) and np.min(indices) < 0:
            raise IndexError
        return np.take(x, indices, axis)
    except IndexError:
        raise index_error("take", np.asarray(indices), x.shape[axis]) from None


def scatter_add(updates: Any, indices: Any, axis: int, size: int) -> Any:
    """Sums of equal indices by sorting: deterministic, and fast for rows."""
    indices = np.asarray(indices)
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        raise index_error("scatter_add", indices, size)
    rank = indices.ndim
    before, after = updates.shape[:axis], updates.shape[axis + rank :]
    rows = np.moveaxis(updates.reshape(*before, indices.size, *after), axis, 0)
    out = np.zeros((size, *before, *after), wide(updates.dtype))
    if indices.size:
        flat = indices.reshape(-1)
        order = np.argsort(flat, kind="stable")
        there = flat[order]
        starts = np.flatnonzero(np.concatenate(([True], there[1:] != there[:-1])))
        ordered = rows[order].astype(out.dtype, copy=False)
        out[there[starts]] = np.add.reduceat(ordered, starts, axis=0)
    return np.ascontiguousarray(np.moveaxis(out, 0, axis)).astype(updates.dtype, copy=False)


def random_bits(state: Any, shape: Any) -> Any:
    return philox(state, shape)


_erf = np.frompyfunc(math.erf, 1, 1)


def erf(x: Any) -> Any:
    return np.asarray(_erf(x)).astype(x.dtype)
