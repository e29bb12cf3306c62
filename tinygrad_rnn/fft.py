"""Fourier transforms, by the names of the Array API standard, all made of one primitive.

`n` (`s` for several axes): the size to which an axis is cut or filled with zeros first. `norm`
says which way is divided by n: "backward" the inverse, "forward" the other, "ortho" both by its
root. Transforms of real signals keep the half that says all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .errors import ArgumentError, DTypeError, ShapeError
from .ops.complexes import conj
from .ops.complexes import real as real_part
from .ops.creation import Where, place, tensor
from .ops.fourier import FFT
from .ops.functions import as_tensor, astype, by_parts, floating
from .ops.movement import narrow
from .ops.shaping import concat, flip, pad, roll
from .primitive import bind
from .tensor import Tensor
from .types import as_dtype, complex_of, normalize_axis

__all__ = [
    "fft", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifftn", "ifftshift", "ihfft", "irfft",
    "irfftn", "rfft", "rfftfreq", "rfftn",
]  # fmt: skip

Sizes = Sequence[int] | None


def _complex(name: str, x: Any) -> Tensor:
    t = floating(name, x)
    return t if t.dtype.is_complex else astype(t, complex_of(t.dtype))


def _real(name: str, x: Any) -> Tensor:
    t = floating(name, x)
    if t.dtype.is_complex:
        raise DTypeError(f"{name} of {t.type}: expected real numbers.")
    return t


def _sized(t: Tensor, axis: int, n: int | None, name: str) -> Tensor:
    """An axis cut, or filled with zeros, to n elements."""
    have = t.shape[axis]
    want = have if n is None else n
    if want < 1:
        raise ShapeError(f"{name} of {t.type}: axis {axis} would have {want} elements.")
    if want > have:
        return pad(t, [(0, want - have if a == axis else 0) for a in range(t.ndim)])
    return narrow(t, axis, 0, want)


def _scale(t: Tensor, n: int, norm: str, inverse: bool) -> Tensor:
    """Divided by n, or its root, or not at all."""
    if norm not in ("backward", "ortho", "forward"):
        raise ArgumentError(f"norm must be 'backward', 'ortho' or 'forward', got {norm!r}.")
    if norm == "ortho":
        by = 1 / math.sqrt(n)
    elif inverse is (norm == "backward"):
        by = 1 / n
    else:
        return t
    return by_parts(lambda x: x * by, t) if t.dtype.is_complex else t * by


def _along(name: str, x: Tensor, n: int | None, axis: int, norm: str, inverse: bool) -> Tensor:
    t = _sized(x, axis, n, name)
    y = bind(FFT, t, axis=axis, inverse=inverse)
    return _scale(y, t.shape[axis], norm, inverse)


def fft(x: Any, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """y[k] = sum over j of x[j] exp(-2 pi i j k / n).

    >>> fft(tensor([1.0, 2.0])).tolist()
    [(3+0j), (-1+0j)]
    """
    t = _complex("fft", x)
    return _along("fft", t, n, normalize_axis(axis, t.ndim, "fft"), norm, False)


def ifft(x: Any, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """x[j] = 1/n sum over k of y[k] exp(2 pi i j k / n): undoes `fft`."""
    t = _complex("ifft", x)
    return _along("ifft", t, n, normalize_axis(axis, t.ndim, "ifft"), norm, True)


def _axes(name: str, x: Tensor, s: Sizes, axes: Sizes) -> list[tuple[int, int | None]]:
    """The axes to transform and their sizes."""
    if axes is None:
        axes = range(x.ndim) if s is None else range(x.ndim - len(s), x.ndim)
    if s is not None and len(s) != len(axes):
        raise ArgumentError(f"{name}: {len(s)} sizes for {len(axes)} axes.")
    sizes = [None] * len(axes) if s is None else s
    return [(normalize_axis(a, x.ndim, name), n) for a, n in zip(axes, sizes)]


def _several(name: str, x: Tensor, pairs: Any, norm: str, inverse: bool) -> Tensor:
    for axis, n in pairs:
        x = _along(name, x, n, axis, norm, inverse)
    return x


def fftn(x: Any, s: Sizes = None, axes: Sizes = None, norm: str = "backward") -> Tensor:
    """`fft` along several axes (all by default)."""
    t = _complex("fftn", x)
    return _several("fftn", t, _axes("fftn", t, s, axes), norm, False)


def ifftn(x: Any, s: Sizes = None, axes: Sizes = None, norm: str = "backward") -> Tensor:
    """`ifft` along several axes (all by default)."""
    t = _complex("ifftn", x)
    return _several("ifftn", t, _axes("ifftn", t, s, axes), norm, True)


# --- signals that are real on one side -----------------------------------------------------------


def _half(name: str, x: Tensor, n: int | None, axis: int, norm: str) -> Tensor:
    y = _along(name, _complex(name, x), n, axis, norm, False)
    return narrow(y, axis, 0, y.shape[axis] // 2 + 1)


def _whole(name: str, x: Tensor, n: int | None, axis: int, norm: str) -> Tensor:
    """The real signal of n elements whose transform begins with x: the rest are conjugates."""
    size = 2 * (x.shape[axis] - 1) if n is None else n
    if size < 1:
        raise ShapeError(f"{name} of {x.type}: the result would have {size} elements.")
    first = _sized(x, axis, size // 2 + 1, name)
    rest = narrow(first, axis, 1, (size + 1) // 2)
    full = concat([first, conj(flip(rest, axis))], axis)
    return real_part(_along(name, full, None, axis, norm, True))


def rfft(x: Any, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The first n // 2 + 1 elements of the transform of a real signal.

    >>> rfft(tensor([1.0, 2.0, 3.0])).shape
    (2,)
    """
    t = _real("rfft", x)
    return _half("rfft", t, n, normalize_axis(axis, t.ndim, "rfft"), norm)


def irfft(x: Any, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The real signal of n elements (2 (m - 1) by default, of m given): undoes `rfft`.

    >>> irfft(rfft(tensor([1.0, 2.0, 3.0])), n=3).tolist()
    [1.0, 2.0, 3.0]
    """
    t = _complex("irfft", x)
    return _whole("irfft", t, n, normalize_axis(axis, t.ndim, "irfft"), norm)


def rfftn(x: Any, s: Sizes = None, axes: Sizes = None, norm: str = "backward") -> Tensor:
    """`rfft` along the last of several axes (all by default), `fft` along the others."""
    t = _real("rfftn", x)
    *others, (axis, n) = _axes("rfftn", t, s, axes)
    return _several("rfftn", _half("rfftn", t, n, axis, norm), others, norm, False)


def irfftn(x: Any, s: Sizes = None, axes: Sizes = None, norm: str = "backward") -> Tensor:
    """`ifft` along all of several axes but the last, then `irfft` along that: undoes `rfftn`."""
    t = _complex("irfftn", x)
    *others, (axis, n) = _axes("irfftn", t, s, axes)
    return _whole("irfftn", _several("irfftn", t, others, norm, True), n, axis, norm)


_OTHER_WAY = {"backward": "forward", "forward": "backward"}


def hfft(x: Any, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The real transform of a signal of which x is the first half, the rest its conjugates."""
    t = _complex("hfft", x)
    a = normalize_axis(axis, t.ndim, "hfft")
    return _whole("hfft", conj(t), n, a, _OTHER_WAY.get(norm, norm))


def ihfft(x: Any, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The first half of the signal whose transform is the real x: undoes `hfft`."""
    t = _real("ihfft", x)
    a = normalize_axis(axis, t.ndim, "ihfft")
    return conj(_half("ihfft", t, n, a, _OTHER_WAY.get(norm, norm)))


# --- frequencies ---------------------------------------------------------------------------------


def fftfreq(
    n: int, d: float = 1.0, dtype: Any = None, backend: Where = None, *, device: Where = None
) -> Tensor:
    """The frequencies of the elements of a transform, in cycles per unit, at sample spacing d.

    >>> fftfreq(4).tolist()
    [0.0, 0.25, -0.5, -0.25]
    """
    numbers = [*range((n + 1) // 2), *range(-(n // 2), 0)]
    return _frequencies("fftfreq", numbers, n, d, dtype, place(backend, device))


def rfftfreq(
    n: int, d: float = 1.0, dtype: Any = None, backend: Where = None, *, device: Where = None
) -> Tensor:
    """The frequencies of the elements of `rfft`, at sample spacing d."""
    return _frequencies("rfftfreq", [*range(n // 2 + 1)], n, d, dtype, place(backend, device))


def _frequencies(
    name: str, numbers: list[int], n: int, d: float, dtype: Any, where: Where
) -> Tensor:
    kind = as_dtype(float if dtype is None else dtype)
    if not kind.is_float:
        raise DTypeError(f"{name}: expected a floating dtype, got {kind}.")
    return tensor([k / (n * d) for k in numbers], kind, backend=where)


def fftshift(x: Any, axes: Any = None) -> Tensor:
    """Frequency 0 moved to the middle, along all axes or the given ones.

    >>> from tinygrad_rnn import arange
    >>> fftshift(arange(4)).tolist()
    [2, 3, 0, 1]
    """
    return _shifted("fftshift", x, axes, lambda n: n // 2)


def ifftshift(x: Any, axes: Any = None) -> Tensor:
    """Frequency 0 moved from the middle to the front: undoes `fftshift`."""
    return _shifted("ifftshift", x, axes, lambda n: -(n // 2))


def _shifted(name: str, x: Any, axes: Any, by: Callable[[int], int]) -> Tensor:
    t = as_tensor(name, x)
    given = range(t.ndim) if axes is None else axes if isinstance(axes, tuple | list) else (axes,)
    found = [normalize_axis(a, t.ndim, name) for a in given]
    return roll(t, tuple([by(t.shape[a]) for a in found]), tuple(found))
