"""Memory for large arrays, used again when nobody holds an array on it any more.

The operating system hands out large blocks page by page, at a cost that is felt in every training
step. Here a block stays in a list; it is free when the list is the only one to refer to it. Arrays
begin at the border of a cache line, so that no vector of theirs lies across two.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np

#: Smaller arrays come from the C library quickly enough.
SMALLEST = 1 << 12
#: Bytes of a cache line, and of the longest vector.
LINE = 64
#: Bytes of free blocks that a thread may hold on to.
LARGEST = 1 << 30


def _count_of_a_free_block() -> int:
    """What getrefcount says of a block that only its list holds: 3, since Python 3.14 fewer."""
    count = 0
    for block, _ in [(np.empty(1, np.uint8), 0)]:
        count = sys.getrefcount(block)
    return count


FREE = _count_of_a_free_block()
Block = tuple[np.ndarray, int]  # memory, and where in it the first cache line begins


class _Blocks(threading.local):
    def __init__(self) -> None:
        self.by_size: dict[int, list[Block]] = {}
        self.held = 0


_blocks = _Blocks()


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An uninitialised array in C order."""
    n = np.dtype(dtype).itemsize
    for d in shape:
        n *= d
    if n < SMALLEST:
        return np.empty(shape, dtype)
    block, start = _block(n)
    return np.ndarray(shape, dtype, block, start)


def _block(n: int) -> Block:
    for block, start in _blocks.by_size.setdefault(n, []):
        if sys.getrefcount(block) == FREE:
            return block, start
    if _blocks.held + n > LARGEST:
        _release()
    made = np.empty(n + LINE, np.uint8)
    fresh = made, -made.__array_interface__["data"][0] % LINE
    if _blocks.held + n <= LARGEST:
        _blocks.held += n
        _blocks.by_size.setdefault(n, []).append(fresh)
    return fresh


def _release() -> None:
    """Give back every block that nobody uses."""
    for n in list(_blocks.by_size):
        used = [(b, at) for b, at in _blocks.by_size[n] if sys.getrefcount(b) > FREE]
        _blocks.held -= n * (len(_blocks.by_size[n]) - len(used))
        if used:
            _blocks.by_size[n] = used
        else:
            del _blocks.by_size[n]
