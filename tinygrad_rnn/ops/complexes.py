"""bitcast, and what it makes of complex numbers: their parts and conjugates.

A cotangent `g` of a complex value z stands for the linear form dz -> Re(g dz): then the rule of
every analytic function is the one of calculus, without conjugates. `autodiff` turns cotangents that
people give and get into their conjugates, which are PyTorch's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError
from ..primitive import Arg, Flags, Operands, Primitive, Sample, bind, literal
from ..tensor import Tensor
from ..types import DType, Type, complex64, float64, int64, uint32
from .creation import iota
from .movement import narrow, reshape


def _bitcast(x: Any, dtype: DType) -> Any:
    x = np.asarray(x)
    if x.dtype.kind == "c" and dtype.is_float:
        return np.stack([x.real, x.imag], -1)
    if dtype.is_complex and x.dtype.kind == "f":
        return np.ascontiguousarray(x).view(dtype.np).reshape(x.shape[:-1])
    return x.view(dtype.np)


class Bitcast(Primitive, name="bitcast"):
    """The same bytes under another dtype of their size; the parts of complex numbers are a new last
    axis of size 2."""

    analytic = False
    reference = staticmethod(_bitcast)
    samples = (
        Sample((Arg((2, 3), dtype="float64"),), {"dtype": int64}),
        Sample((Arg((), dtype="float32"),), {"dtype": uint32}),
        Sample((Arg((3, 2), dtype="float32"),), {"dtype": complex64}),
        Sample((Arg((2, 0), dtype="complex128"),), {"dtype": float64}),
        Sample((Arg((), dtype="complex128"),), {"dtype": float64}),
    )
    vjp = (lambda g, y, x, dtype: _recast(g, x.dtype),)

    @staticmethod
    def type(x: Type, *, dtype: DType) -> Type:
        old = x.dtype
        if old.is_complex and dtype is old.real:
            return Type((*x.shape, 2), dtype)
        if dtype.is_complex and old is dtype.real and x.shape[-1:] == (2,):
            return Type(x.shape[:-1], dtype)
        plain = not (old.is_complex or dtype.is_complex or dtype.is_bool)
        if old is dtype or (plain and old.itemsize == dtype.itemsize):
            return Type(x.shape, dtype)
        raise DTypeError(
            f"bitcast: {x} cannot be read as {dtype}; expected numbers of the same size, or the "
            "two parts of complex numbers as last axis."
        )

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, *, dtype: DType) -> Any:
        return bind(cls, *args, dtype=dtype)


def _recast(g: Tensor, dtype: DType) -> Tensor:
    """Re(g dz) = Re(g) dx - Im(g) dy, read forwards or backwards."""
    if g.dtype is dtype:
        return g
    if dtype.is_complex:
        return bitcast(_flip_second(g), dtype)
    return _flip_second(bitcast(g, dtype))


def _flip_second(parts: Tensor) -> Tensor:
    signs = iota(2, parts.dtype, parts.backend) * -2 + literal(1, parts.dtype, parts.backend)
    return parts * signs


def bitcast(x: Tensor, dtype: DType) -> Tensor:
    out: Tensor = x if x.dtype is dtype else bind(Bitcast, x, dtype=dtype)
    return out


def real(z: Tensor) -> Tensor:
    """The real parts; of a real tensor itself."""
    return _part(z, 0) if z.dtype.is_complex else z


def imag(z: Tensor) -> Tensor:
    """The imaginary parts of a complex tensor."""
    return _part(z, 1)


def _part(z: Tensor, which: int) -> Tensor:
    parts = bitcast(z, z.dtype.real)
    return reshape(narrow(parts, z.ndim, which, which + 1), z.shape)


def conj(z: Tensor) -> Tensor:
    """Imaginary parts with the other sign; a real tensor itself."""
    if not z.dtype.is_complex:
        return z
    return bitcast(_flip_second(bitcast(z, z.dtype.real)), z.dtype)
