"""Primitives without operands, and functions that make tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Backend, get_backend, use_backend
from ..errors import ArgumentError, DTypeError
from ..primitive import Primitive, Sample, bind
from ..tensor import Tensor, from_host
from ..trace import state
from ..types import DType, Shape, Type, as_dtype, as_shape, float32


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


def full(shape: Any, value: Any, dtype: Any = None, backend: str | Backend | None = None) -> Tensor:
    """A tensor of `shape` filled with the number `value`.

    >>> full((2, 2), 7)
    Tensor(i64[2,2] numpy
    [[7 7]
     [7 7]])
    """
    if isinstance(value, np.generic):
        dtype = dtype or value.dtype
        value = value.item()
    if type(value) not in (bool, int, float):
        raise DTypeError(f"full: the value must be a Python number, got {type(value).__name__}.")
    kind = as_dtype(dtype if dtype is not None else type(value))
    if kind.is_float:
        value = float(value)
    out: Tensor
    if backend is None or state.tracer is not None:
        out = bind(Full, value=value, shape=as_shape(shape, "full"), dtype=kind)
        return out
    with use_backend(backend):
        out = bind(Full, value=value, shape=as_shape(shape, "full"), dtype=kind)
        return out


def zeros(shape: Any, dtype: Any = None, backend: str | Backend | None = None) -> Tensor:
    """A tensor of zeros; float32 unless said."""
    return full(shape, 0.0 if dtype is None else _zero(dtype), dtype, backend)


def ones(shape: Any, dtype: Any = None, backend: str | Backend | None = None) -> Tensor:
    """A tensor of ones; float32 unless said."""
    return full(shape, 1.0 if dtype is None else _zero(dtype) + 1, dtype, backend)


def _zero(dtype: Any) -> Any:
    return 0.0 if as_dtype(dtype).is_float else 0


def empty(shape: Any, dtype: Any = None, backend: str | Backend | None = None) -> Tensor:
    """The same as `zeros`: values are immutable, so nothing could be filled in later."""
    return zeros(shape, dtype, backend)


def full_like(x: Tensor, value: Any, dtype: Any = None) -> Tensor:
    """A constant with the shape, dtype and backend of `x`.

    >>> full_like(tensor([1.0, 2.0]), 7).tolist()
    [7.0, 7.0]
    """
    return full(x.shape, value, x.dtype if dtype is None else dtype, x.backend)


def zeros_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Zeros with the shape, dtype and backend of `x`."""
    return zeros(x.shape, x.dtype if dtype is None else dtype, x.backend)


def ones_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Ones with the shape, dtype and backend of `x`."""
    return ones(x.shape, x.dtype if dtype is None else dtype, x.backend)


def tensor(
    data: Any, dtype: Any = None, requires_grad: bool = False, backend: str | Backend | None = None
) -> Tensor:
    """A new leaf with a copy of `data`: numbers, nested lists, NumPy arrays, tensors.

    NumPy arrays keep their dtype; Python floats get the default dtype (float32), integers int64.

    >>> tensor([1, 2]).dtype, tensor([1.0, 2]).dtype
    (int64, float32)
    """
    if not isinstance(data, Tensor):
        where = get_backend(backend) if backend is not None else None
        return from_host(_host(data, dtype), where, requires_grad)
    out = data.detach() if backend is None else data.detach()._to_backend(backend)
    out = out.astype(dtype) if dtype is not None else out.__copy__()
    if requires_grad:
        out.requires_grad = True
    return out


def asarray(data: Any, dtype: Any = None, backend: str | Backend | None = None) -> Tensor:
    """`data` as a tensor; a tensor comes back itself, recorded as it is.

    >>> x = tensor(1.0, requires_grad=True)
    >>> asarray(x) is x
    True
    """
    if not isinstance(data, Tensor):
        return tensor(data, dtype, backend=backend)
    out = data if backend is None else data._to_backend(backend)
    return out if dtype is None or out.dtype == dtype else out.astype(dtype)


def _host(data: Any, dtype: Any) -> np.ndarray:
    given = isinstance(data, np.ndarray | np.generic)
    if isinstance(data, list | tuple):
        data = _unwrap(data)
    try:
        host = np.asarray(data)
    except ValueError as error:
        raise ArgumentError(
            f"tensor: the nested lists are ragged ({error}); pad them first."
        ) from None
    if host.dtype.kind not in "biuf":
        raise DTypeError(
            f"tensor: cannot make a tensor from {type(data).__name__} with NumPy dtype "
            f"{host.dtype}; "
            "expected numbers or booleans."
        )
    if dtype is not None:
        return host.astype(as_dtype(dtype).np)
    if not given and host.dtype == np.float64:
        return host.astype(as_dtype(float).np)
    if host.dtype.itemsize == 16:
        raise DTypeError(f"tensor: dtype {host.dtype} is not supported; cast to float64.")
    return host.astype(host.dtype.newbyteorder("="), copy=False)


def _unwrap(data: Any) -> Any:
    if isinstance(data, list | tuple):
        return [_unwrap(x) for x in data]
    return data.tolist() if isinstance(data, Tensor) else data


def arange(
    start: float, stop: float | None = None, step: float = 1, dtype: Any = None, backend: Any = None
) -> Tensor:
    """start, start + step, … below stop, as NumPy's arange.

    >>> arange(3).tolist()
    [0, 1, 2]
    """
    if stop is None:
        start, stop = 0, start
    return tensor(np.arange(start, stop, step), dtype or _kind(start, stop, step), backend=backend)


def linspace(start: float, stop: float, num: int, dtype: Any = None, backend: Any = None) -> Tensor:
    """`num` equally spaced numbers from start to stop.

    >>> linspace(0, 1, 5).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    return tensor(np.linspace(start, stop, num), dtype or float, backend=backend)


def eye(n: int, m: int | None = None, k: int = 0, dtype: Any = None, backend: Any = None) -> Tensor:
    """The n x m matrix with ones on the k-th diagonal.

    >>> eye(2, 3, k=1).tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    return tensor(np.eye(n, m, k), dtype or float, backend=backend)


def _kind(*numbers: Any) -> Any:
    return int if all(isinstance(n, int | np.integer) for n in numbers) else float
