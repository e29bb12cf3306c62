"""Sequences of different lengths as rectangular arrays.

In: arrays that differ in their first axis. Out: one padded array and the lengths. On the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError

Array = np.ndarray[Any, np.dtype[Any]]


def pad_sequences(
    sequences: Sequence[Any],
    *,
    value: float = 0,
    batch_first: bool = False,
    length: int | None = None,
    multiple: int = 1,
    dtype: Any = None,
) -> tuple[Array, Array]:
    """Arrays [T_b, ...] -> (padded [T, B, ...], lengths int64 [B]); [B, T, ...] with `batch_first`.

    T is `length`, or the greatest length, rounded up to a multiple of `multiple` so that compiled
    functions see few shapes. The padding is `value`; layers that get `lengths=` never look at it.
    Sequences of length 0 are allowed.

    Errors: ArgumentError (no sequences, longer than `length`), ShapeError (other axes differ).

    >>> pad_sequences([[1, 2, 3], [4]])
    (array([[1, 4],
           [2, 0],
           [3, 0]]), array([3, 1]))
    """
    if len(sequences) == 0:
        raise ArgumentError("pad_sequences: there are no sequences.")
    arrays = [np.asarray(s) for s in sequences]
    if flat := [i for i, a in enumerate(arrays) if a.ndim == 0]:
        raise ShapeError(f"pad_sequences: element {flat[0]} is a single number, not a sequence.")
    # An empty list has neither element shape nor dtype of its own: the others decide.
    full = [a for a in arrays if a.size or a.ndim > 1] or arrays
    rest = full[0].shape[1:]
    for i, a in enumerate(arrays):
        if a.shape[1:] != rest and not (a.size == 0 and a.ndim == 1):
            raise ShapeError(
                f"pad_sequences: element {i} has shape {a.shape}, the first {full[0].shape}; "
                "they may differ in the first axis only."
            )
    lengths = np.array([len(a) for a in arrays], np.int64)
    longest = int(lengths.max())
    if multiple < 1:
        raise ArgumentError(f"pad_sequences: multiple is {multiple}, expected at least 1.")
    if length is not None and longest > length:
        raise ArgumentError(
            f"pad_sequences: element {int(lengths.argmax())} has {longest} steps, length={length}."
        )
    kind = np.result_type(*full) if dtype is None else dtype
    steps = -(-longest // multiple) * multiple if length is None else length
    padded = np.full((len(arrays), steps, *rest), value, kind)
    for row, a in zip(padded, arrays, strict=True):
        row[: len(a)] = a.reshape(len(a), *rest)
    return (padded if batch_first else np.ascontiguousarray(padded.swapaxes(0, 1))), lengths
