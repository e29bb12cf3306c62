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
        out = np.empty(shape, dtype)
        out.reshape(-1).view(np.uint8)[:] = 0xFF  # a float reads NaN until it is written
        self.used += size
        self.held = max(self.held, self.used)
        weakref.finalize(out, self.give, size)
        return out

    def give(self, size: int) -> None:
        self.used -= size


_pool = Pool()


def get_default_memory_pool() -> Pool:
    return _pool
