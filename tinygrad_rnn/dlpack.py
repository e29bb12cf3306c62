"""bfloat16 across DLPack, for NumPy, which cannot name it there.

In: arrays and capsules. Out: the same memory, in which bfloat16 is called unsigned integers of
16 bits, or the other way round.

https://dmlc.github.io/dlpack/latest/c_api.html
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from .types import DType, bfloat16

#: DLPack's name of the host's memory, which NumPy reads.
CPU = (1, 0)
#: DLPack's codes of kinds of dtypes.
_UNSIGNED, _BFLOAT = 1, 4
_POINTER = ctypes.sizeof(ctypes.c_void_p)
#: Where a struct holds that code: after the address, device and rank of the tensor, which comes
#: first of all, or after version, context, deleter and flags.
_PLACES = {b"dltensor": _POINTER + 12, b"dltensor_versioned": 3 * _POINTER + 28}

_name = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(
    ("PyCapsule_GetName", ctypes.pythonapi)
)
_address = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


def _code(capsule: Any) -> ctypes.c_uint8:
    """The byte in a capsule's struct that says of which kind the elements are."""
    name = _name(capsule)
    return ctypes.c_uint8.from_address(_address(capsule, name) + _PLACES[name])


def export(array: np.ndarray, dtype: DType, **how: Any) -> Any:
    """A capsule with the array's memory."""
    if dtype is not bfloat16:
        return array.__dlpack__(**how)
    capsule = array.view(np.uint16).__dlpack__(**how)
    _code(capsule).value = _BFLOAT
    return capsule


class _AsBits:
    """An array of another library, whose bfloat16 is handed out as unsigned integers."""

    def __init__(self, array: Any):
        self.array, self.is_bfloat16 = array, False

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def __dlpack__(self, **how: Any) -> Any:
        capsule = self.array.__dlpack__(**how)
        code = _code(capsule)
        if code.value == _BFLOAT:
            code.value, self.is_bfloat16 = _UNSIGNED, True
        return capsule


def host_of(array: Any) -> np.ndarray:
    """An array of another library as NumPy's: as NumPy reads it, else, on the CPU, by DLPack."""
    try:
        return np.asarray(array)
    except TypeError:  # PyTorch's bfloat16
        if tuple(map(int, array.__dlpack_device__())) != CPU:
            raise
        return receive(array)


def receive(array: Any, **how: Any) -> np.ndarray:
    """The memory of another library's array, read by NumPy."""
    given = _AsBits(array)
    found: np.ndarray = np.from_dlpack(given, **how)
    return found.view(bfloat16.np) if given.is_bfloat16 else found
