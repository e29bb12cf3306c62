"""scatter_add in a fixed order: the same bits at every run, unlike atomic additions."""

from __future__ import annotations

import functools
import math
from typing import Any

import cupy
import numpy as np
from tinygrad_rnn_numpy.kernels import bitcast

from tinygrad_rnn.types import as_dtype

from . import compiler, elements
from .source import module_source


@functools.cache
def _source(dtype: str) -> str:
    d = as_dtype(dtype)
    memory, sums = elements.stored(d), elements.working(d)
    function = (
        'extern "C" __global__ void scatter(i64 out, i64 updates, i64 order, i64 first, i64 size, '
        "i64 n, i64 width) {\n"
        f"    add_rows<{memory}, {sums}>(({memory} *)out, (const {memory} *)updates, "
        "(const i64 *)order, (const i64 *)first, size, n, width);\n}"
    )
    return module_source(["scatter"], [function])


def scatter_add(updates: Any, indices: Any, axis: int, size: int) -> Any:
    """Zeros of `size` along `axis` to which `updates` are added at `indices`, halves in float32.

    Indices out of range are clipped: raising would mean waiting for the device.
    """
    if updates.dtype.kind == "c":  # part by part
        dtype = as_dtype(updates.dtype)
        parts = scatter_add(bitcast(cupy, updates, dtype.real), indices, axis, size)
        return bitcast(cupy, parts, dtype)
    rank = indices.ndim
    before, after = updates.shape[:axis], updates.shape[axis + rank :]
    out = cupy.empty((*before, size, *after), updates.dtype)
    if not out.size:
        return out
    n, width = indices.size, math.prod(after)
    flat = cupy.clip(indices.reshape(-1).astype(np.int64), 0, size - 1)
    order = cupy.argsort(flat, kind="stable").astype(np.int64)
    first = cupy.searchsorted(flat[order], cupy.arange(size + 1)).astype(np.int64)
    across = min(32, 1 << (width - 1).bit_length())
    down = max(1, min(256 // across, 1 << (max(n, 1) - 1).bit_length()))
    arrays = out, cupy.ascontiguousarray(updates), order, first
    args = [*[a.data.ptr for a in arrays], size, n, width]
    function = compiler.module(_source(updates.dtype.name)).get_function("scatter")
    grid = math.prod(before) * size, -(-width // across)
    function(grid, (across, down), tuple(map(np.int64, args)), 8 * across * down)
    return out
