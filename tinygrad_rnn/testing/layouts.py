"""The same values in every way that NumPy can lay them out in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..types import kind_of

#: Names that `lay_out` knows, the plainest first.
LAYOUTS = (
    "C", "F", "strided", "negative", "broadcast", "readonly", "unaligned", "big-endian",
)  # fmt: skip


def lay_out(values: np.ndarray, layout: str) -> np.ndarray:
    """`values` laid out as one of `LAYOUTS`.

    C, F: contiguous in that order. strided: every second element of a larger array, whose others
    are poison. negative: strides below zero. broadcast: stride zero along the first axis, whose
    rows all have the values of the first. readonly, unaligned, big-endian: as NumPy says.

    >>> lay_out(np.arange(6.0).reshape(2, 3), "negative").strides
    (-24, -8)
    """
    if layout == "C":
        return np.array(values, order="C")
    if layout == "F":
        return np.array(values, order="F")
    if layout == "strided":
        wide = np.full([2 * n + 1 for n in values.shape], _poison(values.dtype), values.dtype)
        inside: tuple[Any, ...] = tuple([slice(1, 2 * n + 1, 2) for n in values.shape])
        view = wide[(*inside, ...)]
        view[...] = values
        return view
    if layout == "negative":
        return np.asarray(np.flip(np.array(np.flip(values))))
    if layout == "broadcast":
        row = np.array(values[:1]) if values.ndim and values.size else np.array(values)
        return np.broadcast_to(row, values.shape)
    if layout == "readonly":
        out = np.array(values)
        out.flags.writeable = False
        return out
    if layout == "unaligned":
        memory = np.empty(values.nbytes + 1, np.uint8)
        out = memory[1 : 1 + values.nbytes].view(values.dtype).reshape(values.shape)
        out[...] = values
        return out
    if layout == "big-endian":
        return values.astype(values.dtype.newbyteorder(">"))
    raise ArgumentError(f"there is no layout {layout!r}; expected one of {LAYOUTS}.")


def _poison(dtype: np.dtype) -> object:
    kind = kind_of(dtype)
    return np.nan if kind in "fc" else True if kind == "b" else np.iinfo(dtype).max
