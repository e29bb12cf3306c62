"""Primitives without operands, and functions that make tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Backend, get_backend, use_backend
from ..dlpack import host_of
from ..errors import ArgumentError, DTypeError
from ..primitive import Primitive, Sample, apart, bind
from ..tensor import Tensor, from_host
from ..trace import state
from ..types import DType, Shape, Type, as_dtype, as_shape, default_for, float32, kind_of
from .elementwise import Cast
from .movement import broadcast_to

Where = str | Backend | None


class Full(Primitive, name="full"):
    """A constant array."""

    reference = staticmethod(lambda value, shape, dtype: np.full(shape, value, dtype.np))
    samples = (
        Sample((), {"value": 1.5, "shape": (2, 3), "dtype": float32}),
        Sample((), {"value": -0.0, "shape": (), "dtype": float32}),
    )

    @staticmethod
    def type(*, value: Any, shape: Shape, dtype: DType) -> Type:
        return Type(shape, dtype)


class Iota(Primitive, name="iota"):
    """0, 1, …, size - 1."""

    reference = staticmethod(lambda size, dtype: np.arange(size, dtype=dtype.np))
    samples = (Sample((), {"size": 5, "dtype": float32}), Sample((), {"size": 0, "dtype": float32}))

    @staticmethod
    def type(*, size: int, dtype: DType) -> Type:
        return Type((size,), dtype)


def place(backend: Where, device: Where) -> Where:
    """One of two names of the same thing: `device` is the Array API's word for a backend."""
    if backend is not None and device is not None and get_backend(backend) != get_backend(device):
        raise ArgumentError(f"backend={backend!r} and device={device!r}: give one of them.")
    return device if backend is None else backend


def full(
    shape: Any, fill_value: Any, dtype: Any = None, backend: Where = None, *, device: Where = None
) -> Tensor:
    """A tensor of `shape` filled with one number (or with the element of a 0-d tensor, whose
    gradient is kept).

    >>> full((2, 2), 7)
    Tensor(i64[2,2] numpy
    [[7 7]
     [7 7]])
    """
    size, where = as_shape(shape, "full"), place(backend, device)
    if isinstance(fill_value, Tensor) and not fill_value.ndim:
        number = fill_value if where is None else fill_value._to_backend(where)
        kind = number.dtype if dtype is None else as_dtype(dtype)
        return broadcast_to(bind(Cast, number, dtype=kind), size)
    if isinstance(fill_value, np.generic):
        dtype = dtype or fill_value.dtype
        fill_value = fill_value.item()
    if type(fill_value) not in (bool, int, float, complex):
        raise DTypeError(
            f"full: the value must be a Python number, got {type(fill_value).__name__}."
        )
    kind = as_dtype(dtype if dtype is not None else type(fill_value))
    if kind.is_float:
        fill_value = float(fill_value)
    return _made(Full, where, value=fill_value, shape=size, dtype=kind)


def iota(size: int, dtype: DType, backend: Where = None) -> Tensor:
    """0, 1, …, size - 1."""
    return _made(Iota, backend, size=size, dtype=dtype)


def _made(op: type[Primitive], where: Where, **attrs: Any) -> Tensor:
    """What a primitive without operands gives on a backend."""
    if where is None or state.tracer is not None:
        return bind(op, **attrs)
    with use_backend(where):
        return bind(op, **attrs)


def zeros(
    shape: Any, dtype: Any = None, backend: Where = None, *, device: Where = None
) -> Tensor:
    """A tensor of zeros; float32 unless said."""
    return full(shape, 0.0 if dtype is None else _zero(dtype), dtype, backend, device=device)


def ones(shape: Any, dtype: Any = None, backend: Where = None, *, device: Where = None) -> Tensor:
    """A tensor of ones; float32 unless said."""
    return full(shape, 1.0 if dtype is None else _zero(dtype) + 1, dtype, backend, device=device)


def _zero(dtype: Any) -> Any:
    return 0.0 if as_dtype(dtype).is_inexact else 0


def empty(
    shape: Any, dtype: Any = None, backend: Where = None, *, device: Where = None
) -> Tensor:
    """The same as `zeros`: values are immutable, so nothing could be filled in later."""
    return zeros(shape, dtype, backend, device=device)


def full_like(x: Tensor, fill_value: Any, dtype: Any = None, *, device: Where = None) -> Tensor:
    """A constant with the shape, dtype and backend of `x`.

    >>> full_like(tensor([1.0, 2.0]), 7).tolist()
    [7.0, 7.0]
    """
    where = x.backend if device is None else device
    return full(x.shape, fill_value, x.dtype if dtype is None else dtype, where)


def zeros_like(x: Tensor, dtype: Any = None, *, device: Where = None) -> Tensor:
    """Zeros with the shape, dtype and backend of `x`."""
    return full_like(x, _zero(x.dtype if dtype is None else dtype), dtype, device=device)


def ones_like(x: Tensor, dtype: Any = None, *, device: Where = None) -> Tensor:
    """Ones with the shape, dtype and backend of `x`."""
    return full_like(x, _zero(x.dtype if dtype is None else dtype) + 1, dtype, device=device)


def empty_like(x: Tensor, dtype: Any = None, *, device: Where = None) -> Tensor:
    """The same as `zeros_like`."""
    return zeros_like(x, dtype, device=device)


def tensor(
    data: Any, dtype: Any = None, requires_grad: bool = False, backend: Where = None
) -> Tensor:
    """A new leaf with a copy of `data`: numbers, nested lists, NumPy arrays, tensors.

    NumPy arrays keep their dtype; Python floats get the default dtype (float32), complex numbers
    that of its size (complex64), integers int64.

    >>> tensor([1, 2]).dtype, tensor([1.0, 2]).dtype, tensor(1j).dtype
    (int64, float32, complex64)
    """
    if not isinstance(data, Tensor):
        where = get_backend(backend) if backend is not None else None
        return from_host(_host(data, dtype), where, requires_grad)
    out = data.detach() if backend is None else data.detach()._to_backend(backend)
    out = out.astype(dtype) if dtype is not None else out.__copy__()
    if requires_grad:
        out.requires_grad = True
    return out


def asarray(
    data: Any,
    dtype: Any = None,
    backend: Where = None,
    *,
    copy: bool | None = None,
    device: Where = None,
) -> Tensor:
    """`data` as a tensor; a tensor comes back itself (unless `copy`), recorded as it is.

    `copy=False` refuses what cannot be had without a copy: everything but tensors of the right
    dtype and backend.

    >>> x = tensor(1.0, requires_grad=True)
    >>> asarray(x) is x
    True
    """
    where = place(backend, device)
    out = data
    if isinstance(data, Tensor):
        out = data if where is None else data._to_backend(where)
        out = out if dtype is None or out.dtype == dtype else out.astype(dtype)
    if copy is False and (out is not data or not isinstance(data, Tensor)):
        raise ArgumentError(
            f"asarray: a {type(data).__name__} becomes such a tensor only by a copy; leave out "
            "copy=False."
        )
    if not isinstance(data, Tensor):
        return tensor(data, dtype, backend=where)
    return apart(out, data) if copy else out


def _host(data: Any, dtype: Any) -> np.ndarray:
    if hasattr(data, "__dlpack__"):
        data = host_of(data)
    given = isinstance(data, np.ndarray | np.generic)
    if isinstance(data, list | tuple):
        data = _unwrap(data)
    want = None if dtype is None else as_dtype(dtype).np
    try:
        # Python's numbers must fit the dtype, and big ones keep all digits
        host = np.asarray(data) if given or want is None else np.asarray(data, want)
    except ValueError as error:
        raise ArgumentError(
            f"tensor: the nested lists are ragged ({error}); pad them first."
        ) from None
    except TypeError as error:  # bfloat16 and complex dtypes say so of what is no number for them
        raise DTypeError(
            f"tensor: cannot make a tensor of {want or 'numbers'} from this "
            f"{type(data).__name__}: {error}."
        ) from None
    kind = kind_of(host.dtype)
    if kind not in "biufc" or (kind == "c" and want is not None and kind_of(want) not in "bc"):
        raise DTypeError(
            f"tensor: cannot make a tensor of {want or 'numbers'} from {type(data).__name__} with "
            f"NumPy dtype {host.dtype}; expected numbers or booleans."
        )
    if want is not None:
        return host.astype(want, copy=False)
    if not given:
        return host.astype(default_for(host.dtype), copy=False)
    return host.astype(host.dtype.newbyteorder("="), copy=False)


def _unwrap(data: Any) -> Any:
    if isinstance(data, list | tuple):
        return [_unwrap(x) for x in data]
    return data.tolist() if isinstance(data, Tensor) else data


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1,
    dtype: Any = None,
    backend: Where = None,
    *,
    device: Where = None,
) -> Tensor:
    """start, start + step, … below stop, as NumPy's arange.

    >>> arange(3).tolist()
    [0, 1, 2]
    """
    if stop is None:
        start, stop = 0, start
    kind = dtype or _kind(start, stop, step)
    return tensor(np.arange(start, stop, step), kind, backend=place(backend, device))


def linspace(
    start: complex,
    stop: complex,
    num: int,
    dtype: Any = None,
    backend: Where = None,
    *,
    device: Where = None,
    endpoint: bool = True,
) -> Tensor:
    """`num` equally spaced numbers from start to stop, which is the last unless `endpoint=False`.

    >>> linspace(0, 1, 5).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    numbers = np.linspace(start, stop, num, endpoint)
    kind = dtype or (complex if numbers.dtype.kind == "c" else float)
    return tensor(numbers, kind, backend=place(backend, device))


def eye(
    n: int,
    m: int | None = None,
    k: int = 0,
    dtype: Any = None,
    backend: Where = None,
    *,
    device: Where = None,
) -> Tensor:
    """The n x m matrix with ones on the k-th diagonal.

    >>> eye(2, 3, k=1).tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    return tensor(np.eye(n, m, k), dtype or float, backend=place(backend, device))


def _kind(*numbers: Any) -> Any:
    return int if all(isinstance(n, int | np.integer) for n in numbers) else float
