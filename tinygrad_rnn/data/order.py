"""In which order the samples come: a pure function of (seed, epoch).

In: sizes or lengths. Out: index arrays. The same on every machine and with every NumPy version:
only Philox's raw bits are used, never NumPy's distributions, which may change.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError

Array = np.ndarray[Any, np.dtype[Any]]
_BATCH_STREAM = 1 << 63  # the order of batches must not repeat the order of samples


def permutation(n: int, seed: int, epoch: int, stream: int = 0) -> Array:
    """A random order of 0, ..., n - 1: random 64-bit keys, sorted.

    >>> permutation(5, seed=0, epoch=0)
    array([...])
    >>> bool((permutation(9, 1, 2) == permutation(9, 1, 2)).all())
    True
    """
    if not (0 <= seed < 2**63 and 0 <= epoch < 2**63):
        raise ArgumentError(f"data: seed={seed} and epoch={epoch} must lie in 0 to 2**63 - 1.")
    bits = np.random.Philox(key=np.array([seed, epoch | stream], np.uint64))
    return np.argsort(bits.random_raw(n), kind="stable")


def batches(
    n: int, batch_size: int, *, shuffle: bool, seed: int, epoch: int, drop_last: bool
) -> list[Array]:
    """Indices 0, ..., n - 1 cut into batches; the last one may be smaller, or is dropped."""
    order = permutation(n, seed, epoch) if shuffle else np.arange(n)
    return _cut(order, batch_size, drop_last)


def batches_by_length(
    lengths: Array, batch_size: int, *, shuffle: bool, seed: int, epoch: int, drop_last: bool
) -> list[Array]:
    """Batches of samples of similar length: shuffled, sorted by length (stably), cut, shuffled."""
    n = len(lengths)
    order = permutation(n, seed, epoch) if shuffle else np.arange(n)
    order = order[np.argsort(lengths[order], kind="stable")]
    cut = _cut(order, batch_size, drop_last)
    if not shuffle:
        return cut
    return [cut[i] for i in permutation(len(cut), seed, epoch, _BATCH_STREAM)]


def _cut(order: Array, batch_size: int, drop_last: bool) -> list[Array]:
    stop = len(order) - len(order) % batch_size if drop_last else len(order)
    return [order[i : min(i + batch_size, stop)] for i in range(0, stop, batch_size)]
