"""Sequences of unequal lengths in one padded array, whose padding is poison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

#: What padding may hold: nothing of it may reach a result.
POISON = (float("nan"), float("inf"), float("-inf"), 1e30)


class RaggedBatch(NamedTuple):
    """`x` [T, B, I] (or [B, T, I]) with `lengths` [B]; `sequences` are its rows, one by one."""

    x: np.ndarray
    lengths: np.ndarray
    sequences: tuple[np.ndarray, ...]
    poison: float
    batch_first: bool = False

    def __repr__(self) -> str:
        return (
            f"ragged_batch(sequences={[s.tolist() for s in self.sequences]}, "
            f"steps={self.x.shape[self.batch_first]}, poison={self.poison}, "
            f"batch_first={self.batch_first}, dtype={self.x.dtype.name!r})"
        )


def ragged_batch(
    sequences: Sequence[np.ndarray],
    steps: int | None = None,
    poison: float = float("nan"),
    batch_first: bool = False,
    features: int | None = None,
) -> RaggedBatch:
    """The sequences [length, I], padded with `poison` to `steps` (the longest length).

    >>> batch = ragged_batch([np.ones((2, 1)), np.ones((1, 1))], poison=9.0)
    >>> batch.x[:, :, 0].tolist(), batch.lengths.tolist()
    ([[1.0, 1.0], [1.0, 9.0]], [2, 1])
    """
    rows = [np.asarray(s) for s in sequences]
    lengths = np.array([len(s) for s in rows], np.int64)
    T = max([steps or 0, *lengths.tolist()])
    width = features if features is not None else rows[0].shape[1]
    x = np.full((T, len(rows), width), poison, rows[0].dtype if rows else np.float64)
    for b, s in enumerate(rows):
        x[: len(s), b] = s
    if batch_first:
        x = np.ascontiguousarray(x.swapaxes(0, 1))
    return RaggedBatch(x, lengths, tuple(rows), poison, batch_first)
