"""Arrays of the fake device: NumPy's, wrapped so that nothing reads their values by the way."""

from __future__ import annotations

import functools
import math
import operator
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygrad_rnn import dlpack
from tinygrad_rnn.types import as_dtype, kind_of

from . import device, memory

METHODS = (
    "astype reshape transpose sum max min argmax copy ravel fill cumsum swapaxes squeeze view "
    "any all".split()
)
OPERATORS = (
    "add sub mul truediv floordiv mod pow and_ or_ xor lshift rshift lt le gt ge eq ne "
    "matmul".split()
)
#: Functions of CuPy's submodules that kernels call.
PARTS = {"linalg": ("solve", "slogdet", "cholesky", "eigh", "svd", "qr"), "fft": ("fft", "ifft")}
PLAIN = ("shape", "dtype", "ndim", "size", "itemsize", "nbytes", "flags", "strides")


class ndarray:
    """An array of the device. Reading its values from the host waits, which raises."""

    __array_ufunc__ = None  # a NumPy scalar on the left leaves the operation to us
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, host: np.ndarray):
        self._host = host

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self._host.ctypes.data)

    @property
    def T(self) -> ndarray:
        return ndarray(self._host.T)

    def __getitem__(self, index: Any) -> ndarray:
        return wrap(self._host[unwrap(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        assert device.here.recording is None, "not while a graph is captured"
        self._host[unwrap(index)] = unwrap(value)

    def __len__(self) -> int:
        return len(self._host)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def get(self) -> np.ndarray:
        device.wait("ndarray.get")
        return self._host.copy()

    def item(self) -> Any:
        device.wait("ndarray.item")
        return self._host.item()

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, *, stream: int | None = None) -> Any:
        return dlpack.export(self._host, as_dtype(self.dtype), max_version=(1, 0))

    def __bool__(self) -> bool:
        device.wait("bool(ndarray)")
        return bool(self._host)

    def __float__(self) -> float:
        device.wait("float(ndarray)")
        return float(self._host)

    def __int__(self) -> int:
        device.wait("int(ndarray)")
        return int(self._host)

    __index__ = __int__

    def __neg__(self) -> ndarray:
        return wrap(-self._host)

    def __invert__(self) -> ndarray:
        return wrap(~self._host)


def unwrap(x: Any) -> Any:
    if isinstance(x, ndarray):
        return x._host
    if isinstance(x, tuple | list):
        return type(x)(unwrap(y) for y in x)
    assert not isinstance(x, np.ndarray), "an array of the host among arrays of the device"
    return x


def wrap(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(map(wrap, x))
    if not isinstance(x, np.ndarray | np.generic):
        return x
    host = np.asarray(x)
    if host.base is None:  # not a view of another array: it takes memory of the device
        host = memory.get_default_memory_pool().take(host.shape, host.dtype)
        host[...] = x
    return ndarray(host)


def _lifted(function: Any) -> Any:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        assert device.here.recording is None, f"{function} while a graph is captured"
        out = kwargs.get("out")
        with np.errstate(all="ignore"):
            found = function(*map(unwrap, args), **{k: unwrap(v) for k, v in kwargs.items()})
        return out if out is not None else wrap(found)

    return run


class ufunc:
    def __init__(self, host: np.ufunc):
        self.run, self.name = _lifted(host), host.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        assert any(isinstance(a, ndarray) for a in args), f"{self.name} of no array of the device"
        return self.run(*args, **kwargs)


for _name in PLAIN:
    setattr(ndarray, _name, property(operator.attrgetter(f"_host.{_name}")))
for _name in METHODS:
    setattr(ndarray, _name, _lifted(getattr(np.ndarray, _name)))
for _name in OPERATORS:
    _bare = _name.rstrip("_")
    _do = getattr(operator, _name)
    setattr(ndarray, f"__{_bare}__", _lifted(_do))
    setattr(ndarray, f"__r{_bare}__", _lifted(lambda a, b, do=_do: do(b, a)))


def empty(shape: Any, dtype: Any = float) -> ndarray:
    assert device.here.recording is None, "no memory is taken while a graph is captured"
    return ndarray(memory.get_default_memory_pool().take(shape, np.dtype(dtype)))


def array(x: Any, dtype: Any = None, order: str = "K") -> ndarray:
    host = x._host if isinstance(x, ndarray) else np.asarray(x, dtype)
    out = empty(host.shape, dtype or host.dtype)
    out._host[...] = host
    return out


def asarray(x: Any, dtype: Any = None) -> ndarray:
    return x if isinstance(x, ndarray) and dtype in (None, x.dtype) else array(x, dtype)


def asnumpy(x: ndarray) -> np.ndarray:
    return x.get()


def ascontiguousarray(x: ndarray) -> ndarray:
    """A number becomes a vector, as CuPy's."""
    y = x if x.flags.c_contiguous else array(x, order="C")
    return y.reshape(1) if y.ndim == 0 else y


def from_dlpack(x: Any) -> ndarray:
    """Without a copy, as long as the memory is the device's."""
    assert x.__dlpack_device__() == (2, 0)
    return ndarray(dlpack.receive(_OnHost(x)))


class _OnHost:
    """The same memory as the host sees it."""

    def __init__(self, x: Any):
        self.x = x

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __dlpack__(self, **_: Any) -> Any:
        return self.x.__dlpack__(stream=1)


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    return wrap(np.take(unwrap(x), unwrap(indices), axis, mode="wrap"))


def where(condition: ndarray, x: ndarray, y: ndarray) -> Any:
    """It knows no bfloat16, and takes the next dtype that it knows."""
    dtype = np.float32 if kind_of(x.dtype) != x.dtype.kind else x.dtype
    return _lifted(np.where)(condition, x.astype(dtype), y.astype(dtype))


def _without_bfloat16(function: Any) -> Any:
    @functools.wraps(function)
    def run(x: ndarray, *args: Any, **kwargs: Any) -> Any:
        if kind_of(x.dtype) != x.dtype.kind:
            raise TypeError(f"{function.__name__} of {x.dtype}")
        return _lifted(function)(x, *args, **kwargs)

    return run


def erf(x: ndarray) -> ndarray:
    """Of halves it is float64, as CuPy's."""
    dtype = np.dtype("f4") if x.dtype == np.float32 else np.dtype("f8")
    return wrap(np.vectorize(math.erf, otypes=[dtype])(x._host))


def functions() -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in dir(np):
        value = getattr(np, name)
        if isinstance(value, np.ufunc):
            out[name] = ufunc(value)
        elif isinstance(value, type) and issubclass(value, np.generic):
            out[name] = value
        elif callable(value) and not isinstance(value, type) and not name.startswith("_"):
            out[name] = _lifted(value)
    for part, names in PARTS.items():
        functions_of_part = {name: _lifted(getattr(getattr(np, part), name)) for name in names}
        out[part] = SimpleNamespace(**functions_of_part)
    for function in (np.argmax, np.argsort):
        out[function.__name__] = _without_bfloat16(function)
    own = (where, empty, array, asarray, asnumpy, ascontiguousarray, take, from_dlpack)
    return out | {f.__name__: f for f in own} | {"ndarray": ndarray, "ufunc": ufunc}
