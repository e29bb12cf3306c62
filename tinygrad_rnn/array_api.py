"""What the Array API standard (2024.12) asks of a namespace beside functions of arrays.

In: dtypes, tensors and arrays of other libraries. Out: facts about dtypes and about what there is
here, and tensors by DLPack. A `device` of the standard is a backend: the place where arrays live.

https://data-apis.org/array-api/2024.12
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

from . import dlpack
from .backend import Backend, get_backend, list_backends
from .errors import ArgumentError, BackendError, DTypeError, GradientError
from .primitive import apart, is_scalar
from .tensor import Tensor, from_buffer, from_host
from .types import (
    DTYPES,
    DType,
    Type,
    as_dtype,
    common_dtype,
    default_dtype,
    int64,
    promote,
)

VERSION = "2024.12"
VERSIONS = ("2021.12", "2022.12", "2023.12", VERSION)
#: The names that the standard has for kinds of dtypes.
KINDS = {
    "bool": "b", "signed integer": "i", "unsigned integer": "u", "integral": "iu",
    "real floating": "f", "complex floating": "c", "numeric": "iufc",
}  # fmt: skip


# --- dtypes --------------------------------------------------------------------------------------


class FInfo(NamedTuple):
    """Limits of a floating dtype; of a complex one those of its parts."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    smallest_subnormal: float
    dtype: DType


class IInfo(NamedTuple):
    """Limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: DType


def _dtype(x: Any) -> DType:
    return x.dtype if isinstance(x, Tensor) else as_dtype(x)


def finfo(type: Any) -> FInfo:
    """The limits of a floating dtype, or of that of a tensor.

    >>> finfo("float32").eps
    1.1920928955078125e-07
    """
    dtype = _dtype(type).real
    if not dtype.is_float:
        raise DTypeError(f"finfo of {dtype}: expected a floating dtype; see iinfo.")
    bits = 8 * dtype.itemsize
    largest = 2 ** (bits - dtype.digits - 1) - 1  # exponent
    eps = 2.0 ** (1 - dtype.digits)
    top = (2 - eps) * 2.0**largest
    normal = 2.0 ** (1 - largest)
    return FInfo(bits, eps, top, -top, normal, normal * eps, dtype)


def iinfo(type: Any) -> IInfo:
    """The limits of an integer dtype, or of that of a tensor.

    >>> iinfo("int8").max
    127
    """
    dtype = _dtype(type)
    if not dtype.is_integer:
        raise DTypeError(f"iinfo of {dtype}: expected an integer dtype; see finfo.")
    found = np.iinfo(dtype.np)
    return IInfo(8 * dtype.itemsize, int(found.max), int(found.min), dtype)


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind: a dtype, a name of the standard, or a tuple of them.

    >>> isdtype("int8", "integral"), isdtype("int8", ("bool", "real floating"))
    (True, False)
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    given = as_dtype(dtype)
    if isinstance(kind, str) and kind in KINDS:
        return given.kind in KINDS[kind]
    try:
        return given is as_dtype(kind)
    except DTypeError:
        raise DTypeError(
            f"isdtype: {kind!r} is no kind; expected a dtype or one of {', '.join(KINDS)}."
        ) from None


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype that these tensors, dtypes and Python numbers have together.

    >>> result_type("int8", "uint8", 1), result_type("float32", 1j)
    (int16, complex64)
    """
    if not arrays_and_dtypes:
        raise ArgumentError("result_type of nothing: give tensors, dtypes or numbers.")
    strong = [_dtype(x) for x in arrays_and_dtypes if not is_scalar(x)]
    return common_dtype(strong, [type(x) for x in arrays_and_dtypes if is_scalar(x)])


def can_cast(from_: Any, to: Any) -> bool:
    """Whether promotion turns one dtype (or that of a tensor) into the other.

    >>> can_cast("int8", "int16"), can_cast("float64", "float32")
    (True, False)
    """
    new = as_dtype(to)
    try:
        return promote(_dtype(from_), new) is new
    except DTypeError:  # uint64 and int64 have nothing in common
        return False


# --- DLPack --------------------------------------------------------------------------------------


def from_dlpack(x: Any, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor with the values of an array of another library that speaks DLPack.

    Arrays of the host are copied: who wrote to the other array would change a value that is
    immutable here. An array in a backend's own device memory (a GPU's) comes without a copy unless
    `copy=True`, so nobody may write to it as long as the tensor is used.

    >>> from_dlpack(np.arange(3)).tolist()
    [0, 1, 2]
    """
    if isinstance(x, Tensor):
        out = x if device is None else x._to_backend(device)
        return apart(out, x) if copy else out
    if not hasattr(x, "__dlpack__"):
        raise DTypeError(f"from_dlpack: a {type(x).__name__} has no __dlpack__; see asarray.")
    where = get_backend(device)
    on_host = tuple(map(int, x.__dlpack_device__())) == dlpack.CPU
    if not on_host:
        buffer = where.adopt(x)
        if buffer is not None:
            shared = buffer.copy() if copy else buffer
            return from_buffer(Type(shared.shape, as_dtype(shared.dtype)), shared, where)
    if copy is False:
        why = "tensors are immutable" if on_host else f"{where!r} cannot use that memory"
        raise ArgumentError(f"from_dlpack: {why}, so copy=False cannot be had.")
    host = dlpack.receive(x) if on_host else dlpack.receive(x, device="cpu")
    return from_host(host, None if device is None else where)


def _dlpack_device(self: Tensor) -> tuple[int, int]:
    """DLPack's number of the kind of device, and which one it is."""
    found = _buffer(self).__dlpack_device__()
    return int(found[0]), int(found[1])


def _dlpack(
    self: Tensor,
    *,
    stream: Any = None,
    max_version: tuple[int, int] | None = None,
    dl_device: tuple[int, int] | None = None,
    copy: bool | None = None,
) -> Any:
    """The values for another library. Those on the host are copied: they are immutable here, but
    perhaps not there. Memory of a device (a GPU) is handed out itself unless `copy=True`.

    `copy=False` hands out memory of the host too. Such memory is for reading only.
    """
    if self._value.tracked:
        raise GradientError(
            f"a tensor {self.type} that requires a gradient would lose it in another library; call "
            ".detach() first."
        )
    buffer = _buffer(self)
    if dl_device is not None and tuple(map(int, dl_device)) != _dlpack_device(self):
        if tuple(map(int, dl_device)) != dlpack.CPU or copy is False:
            raise BufferError(f"a tensor on {self.backend!r} cannot be had on device {dl_device}.")
        buffer = self._host()
    if not isinstance(buffer, np.ndarray):
        return (buffer.copy() if copy else buffer).__dlpack__(stream=stream)
    shared = buffer[...] if copy is False else buffer.copy()
    if max_version is None or max_version[0] < 1:  # knows nothing of memory for reading only
        return dlpack.export(shared, self.dtype)
    shared.flags.writeable = copy is not False
    return dlpack.export(shared, self.dtype, max_version=max_version)


def _buffer(x: Tensor) -> Any:
    """Memory that speaks DLPack: the backend's own, else a copy on the host."""
    data = x._value.data
    return data if hasattr(data, "__dlpack__") else np.asarray(x._host())


# --- the namespace -------------------------------------------------------------------------------


class Info:
    """What there is in this namespace: the standard's inspection functions."""

    def capabilities(self) -> dict[str, Any]:
        """What is optional in the standard, and is there."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> Backend:
        """The backend in use."""
        return get_backend()

    def devices(self) -> list[Backend]:
        """All backends that can be used on this machine."""
        found = []
        for info in list_backends():
            try:
                found.append(get_backend(info.name))
            except BackendError:  # its package or its hardware is missing: `list_backends` says
                continue
        return found

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """The dtypes of tensors made of Python numbers, and of indices."""
        return {
            "real floating": default_dtype(), "complex floating": as_dtype(complex),
            "integral": int64, "indexing": int64,
        }  # fmt: skip

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """The standard's dtypes of a kind (see `isdtype`), by name."""
        known = [d for d in DTYPES if d.itemsize > 2 or not d.is_float]
        return {d.name: d for d in known if kind is None or isdtype(d, kind)}


def __array_namespace_info__() -> Info:
    """The standard's inspection functions.

    >>> sorted(__array_namespace_info__().dtypes(kind="real floating"))
    ['float32', 'float64']
    """
    return Info()


def _array_namespace(self: Tensor, *, api_version: str | None = None) -> Any:
    """The module `tinygrad_rnn`, as the Array API standard wants it."""
    if api_version is not None and api_version not in VERSIONS:
        raise ArgumentError(
            f"there is no Array API {api_version!r} here; expected one of {', '.join(VERSIONS)}."
        )
    return sys.modules[__package__]


def _to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """`to`, by its name in the standard; queues of a device are not ours to choose."""
    if stream is not None:
        raise ArgumentError("to_device: streams are the backend's business; leave stream=None.")
    return self._to_backend(device)


for _name, _attribute in {
    "__dlpack__": _dlpack, "__dlpack_device__": _dlpack_device, "to_device": _to_device,
    "__array_namespace__": _array_namespace, "device": property(lambda self: self.backend),
}.items():  # fmt: skip
    setattr(Tensor, _name, _attribute)
