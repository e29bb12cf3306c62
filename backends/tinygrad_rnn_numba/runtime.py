"""Compiling and running: addresses, threads over blocks of rows, compiled loops by structure.

A loop is a function `(numbers, block)`: `numbers` is the address of an array of integers, `block`
says which rows. Numba is imported only when something must be compiled.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from . import cache
from .threads import count as threads
from .threads import drive as _drive
from .threads import drive_gang as _drive_gang
from .threads import gangs

__all__ = ["address", "compiled", "contiguous", "drive", "drive_gang", "gangs", "threads"]

_compiled: dict[str, int] = {}


def compiled(structure: str, make: Callable[[], Callable[[int, int], None]]) -> int:
    """The address of the compiled loop, one per structure; `make` gives the loop in Python.

    `structure` says everything that the code depends on beside the source of this package.
    """
    found = _compiled.get(structure)
    if found is None:
        found = _compiled[structure] = cache.address(structure, make)
    return found


def drive(function: int, numbers: np.ndarray, blocks: int) -> None:
    """Run a compiled loop on all blocks of rows, in threads of their own."""
    _drive(function, address(numbers), blocks)


def drive_gang(function: int, numbers: np.ndarray, gang: int) -> None:
    """Run a compiled loop whose threads wait for each other; see `threads.drive_gang`."""
    _drive_gang(function, address(numbers), gang)


def address(a: np.ndarray) -> int:
    """Where an array's elements begin."""
    return _pointer(id(a) + _HEAD).value  # type: ignore[return-value]


def _slow_address(a: np.ndarray) -> int:
    return a.__array_interface__["data"][0]  # type: ignore[no-any-return]


# NumPy's array begins with Python's head of an object and the address of the data. Reading it there
# takes a fifth of the time of asking, and loops ask for dozens; where it isn't so, we ask.
_HEAD, _pointer = object.__basicsize__, ctypes.c_size_t.from_address
_probes = [np.empty(3), np.empty((2, 3), np.float32)[1:], np.zeros(())]
if any(address(a) != _slow_address(a) for a in _probes):  # pragma: no cover
    address = _slow_address


def contiguous(a: Any) -> np.ndarray:
    return np.ascontiguousarray(a)
