"""Element types in generated code: their names in memory and in registers, and exact literals."""

from __future__ import annotations

import struct
from typing import Any

from tinygrad_rnn.extend import DType


def stored(dtype: DType) -> str:
    """The name of an element in memory."""
    return "b8" if dtype.is_bool else dtype.short


def working(dtype: DType) -> str:
    """The name of the type that an element is computed in."""
    return "bool" if dtype.is_bool else dtype.wide.short


def bits(value: Any, dtype: DType) -> int:
    """The value as `dtype` holds it, in its working type, as an integer of 64 bits."""
    if working(dtype) == "f32":
        exact = float(dtype.np.type(value))
        return int.from_bytes(struct.pack("<f", exact), "little")
    if dtype.is_float:
        return int.from_bytes(struct.pack("<d", float(value)), "little", signed=True)
    return int(value)


def literal(value: Any, dtype: DType) -> str:
    """Source text of a constant, the same to the last bit."""
    kind = working(dtype)
    if kind == "bool":
        return "true" if value else "false"
    if dtype.is_float:
        return f"{kind}_from_bits((i64){bits(value, dtype) % (1 << 64):#x}ULL)"
    return f"({kind}){int(value) % (1 << 64):#x}ULL"
