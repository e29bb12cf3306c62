"""The discrete Fourier transform of complex numbers, of which `tinygrad_rnn.fft` is made."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..primitive import Arg, Flags, Operands, Primitive, Sample, bind
from ..types import Type


class FFT(Primitive, name="fft"):
    """y[k] = sum over j of x[j] exp(-2 pi i j k / n) along an axis (+ if inverse), unscaled."""

    reference = staticmethod(
        lambda x, axis, inverse: (
            np.fft.ifft(x, axis=axis, norm="forward") if inverse else np.fft.fft(x, axis=axis)
        )
    )
    samples = (
        Sample((Arg((2, 5), dtype="complex128"),), {"axis": 1, "inverse": False}),
        Sample((Arg((4,), dtype="complex64"),), {"axis": 0, "inverse": True}),
        Sample((Arg((0, 3), dtype="complex128"),), {"axis": 1, "inverse": True}),
    )
    # the matrix exp(...) is symmetric
    vjp = (lambda g, y, x, axis, inverse: bind(FFT, g, axis=axis, inverse=inverse),)

    @staticmethod
    def type(x: Type, *, axis: int, inverse: bool) -> Type:
        if not x.dtype.is_complex:
            raise DTypeError(f"fft of {x}: expected complex numbers.")
        if x.shape[axis] == 0:
            raise ShapeError(f"fft of {x}: axis {axis} is empty.")
        return x

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, *, axis: int, inverse: bool) -> Any:
        return bind(cls, *args, axis=axis + 1, inverse=inverse)
