"""Memory of the fake device: what is in use, and running out of it."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np


class OutOfMemoryError(MemoryError):
    pass


class Pool:
    """Counts bytes; `limit` makes allocations fail."""

    def __init__(self) -> None:
        self.used, self.held, self.limit = 0, 0, 1 << 40

    def used_bytes(self) -> int:
        return self.used

    def total_bytes(self) -> int:
        return max(self.held, self.used)

    def free_all_blocks(self) -> None:
        self.held = self.used

    def take(self, shape: Any, dtype: Any) -> np.ndarray:
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if self.used + size > self.limit:
            raise OutOfMemoryError(f"out of memory allocating {size} bytes")
        whole = np.full(size + 2 * GUARD, 0xFF, np.uint8)  # a float reads NaN until it is written
        out = whole[GUARD : GUARD + size].view(dtype).reshape(shape)
        self.used += size
        self.held = max(self.held, self.used)
        weakref.finalize(out, self.give, whole, f"{np.dtype(dtype)}{shape}")
        return out

    def give(self, whole: np.ndarray, what: str) -> None:
        self.used -= whole.size - 2 * GUARD
        if not ((whole[:GUARD] == 0xFF).all() and (whole[-GUARD:] == 0xFF).all()):
            written_beyond.append(what)


#: bytes before and after every array that nobody may write
GUARD = 256
#: arrays around which somebody wrote
written_beyond: list[str] = []
_pool = Pool()


def get_default_memory_pool() -> Pool:
    return _pool
