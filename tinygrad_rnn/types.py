"""Types of values: dtype and shape, promotion and broadcasting.

In: Python and NumPy descriptions. Out: interned `Type` objects. Knows nothing of values.
"""

from __future__ import annotations

import functools
import importlib.util
import weakref
from collections.abc import Collection, Sequence
from typing import Any, ClassVar

import numpy as np

from .errors import ArgumentError, AxisError, DTypeError, ShapeError

Shape = tuple[int, ...]


class DType:
    """An element type; compare with `is` or `==`, print with `.short` (`f32`).

    `digits`: how many binary digits its numbers have (24 for float32).

    >>> as_dtype("float32").short, as_dtype(int).name
    ('f32', 'int64')
    """

    __slots__ = (
        "digits", "is_bool", "is_complex", "is_float", "is_inexact", "is_integer", "itemsize",
        "kind", "name", "np", "rank", "short",
    )  # fmt: skip
    np: np.dtype[Any]

    def __init__(self, name: str, short: str, kind: str, rank: int, itemsize: int, digits: int):
        self.name, self.short, self.kind, self.rank = name, short, kind, rank
        self.itemsize, self.digits = itemsize, digits
        self.is_float, self.is_bool, self.is_complex = kind == "f", kind == "b", kind == "c"
        self.is_integer = kind in "iu"
        self.is_inexact = kind in "fc"  # floating, real or complex: what has derivatives
        if name not in _EXTENSIONS:
            self.np = np.dtype(name)

    def __getattr__(self, name: str) -> Any:
        """`np` of a dtype that NumPy itself lacks, when it is first asked for."""
        if name != "np":
            raise AttributeError(f"a DType has no attribute {name!r}.")
        if self.missing is not None:
            raise DTypeError(f"{self} cannot be used here: {self.missing}.")
        self.np = np.dtype(getattr(importlib.import_module(_EXTENSIONS[self.name]), self.name))
        _BY_NUMPY[self.np] = self
        return self.np

    @property
    def missing(self) -> str | None:
        """None if there can be arrays of this dtype here, else what to install."""
        package = _EXTENSIONS.get(self.name)
        if package is None or importlib.util.find_spec(package) is not None:
            return None
        return f"the package '{package}' is not installed: pip install \"tinygrad-rnn[{self}]\""

    @property
    def real(self) -> DType:
        """The dtype of the real and of the imaginary part."""
        return (float32, float64)[self.rank - 1] if self.is_complex else self

    @property
    def wide(self) -> DType:
        """The dtype of its sums and products before they are rounded: float32 for 16 bits.

        >>> float16.wide, float64.wide, int8.wide
        (float32, float64, int8)
        """
        return float32 if self.is_float and self.itemsize == 2 else self

    def __repr__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        try:
            return as_dtype(other) is self
        except DTypeError:
            return False

    __hash__ = object.__hash__  # one object per dtype

    def __reduce__(self) -> tuple[Any, ...]:
        return as_dtype, (self.name,)


#: Dtypes that NumPy itself lacks -> the package that has them, imported when it is needed.
_EXTENSIONS = {"bfloat16": "ml_dtypes"}

bool_ = DType("bool", "bool", "b", 0, 1, 1)
int8, int16, int32, int64 = (
    DType(f"int{n}", f"i{n}", "i", k, n // 8, n - 1) for k, n in enumerate((8, 16, 32, 64))
)
uint8, uint16, uint32, uint64 = (
    DType(f"uint{n}", f"u{n}", "u", k, n // 8, n) for k, n in enumerate((8, 16, 32, 64))
)
float16, float32, float64 = (
    DType(f"float{n}", f"f{n}", "f", k, n // 8, digits)
    for k, (n, digits) in enumerate(((16, 11), (32, 24), (64, 53)))
)
# the exponents of float32 with a third of its digits
bfloat16 = DType("bfloat16", "bf16", "f", 0, 2, 8)
# of the rank of their real parts
complex64, complex128 = (
    DType(f"complex{n}", f"c{n}", "c", k, n // 8, digits)
    for k, n, digits in ((1, 64, 24), (2, 128, 53))
)

DTYPES: tuple[DType, ...] = (
    bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64, bfloat16, float16, float32,
    float64, complex64, complex128,
)  # fmt: skip
_BY_NAME = {d.name: d for d in DTYPES}
_BY_NUMPY = {d.np: d for d in DTYPES if d.name not in _EXTENSIONS}
_BY_PYTHON: dict[Any, DType] = {bool: bool_, int: int64}
_default_float = float32


def default_dtype() -> DType:
    """The dtype that Python floats and creation functions get (float32 unless changed)."""
    return _default_float


def set_default_dtype(dtype: Any) -> None:
    """Make `dtype` (a floating one) the dtype of Python floats and of creation functions.

    >>> import tinygrad_rnn as tg
    >>> tg.set_default_dtype("float64"); tg.tensor(1.0).dtype.name
    'float64'
    >>> tg.set_default_dtype("float32")
    """
    global _default_float
    new = as_dtype(dtype)
    if not new.is_float:
        raise DTypeError(
            f"set_default_dtype: got {new}, expected a floating dtype such as float32."
        )
    _default_float = new


def complex_of(dtype: DType) -> DType:
    """The complex dtype whose parts are `dtype` (complex64 for those of 16 bits).

    >>> complex_of(float64)
    complex128
    """
    return complex128 if dtype.rank == 2 else complex64


def as_dtype(x: Any) -> DType:
    """`x` (a DType, NumPy dtype, name, or Python's bool/int/float/complex) as a DType."""
    if isinstance(x, DType):
        return x
    found: DType | None = None
    if isinstance(x, str):
        found = _BY_NAME.get(x)
    elif x is float:
        found = _default_float
    elif x is complex:
        found = complex_of(_default_float)
    elif isinstance(x, type) and x in _BY_PYTHON:
        found = _BY_PYTHON[x]
    elif isinstance(x, np.dtype | type):  # NumPy would take None for float64, and dicts for records
        try:
            given = np.dtype(x).newbyteorder("=")
            found = _BY_NUMPY.get(given)
            if found is None and given.name in _EXTENSIONS:
                _ = _BY_NAME[given.name].np  # from now on it is known
                found = _BY_NUMPY.get(given)
        except TypeError:
            pass
    if found is None:
        names = ", ".join(d.name for d in DTYPES)
        raise DTypeError(f"dtype {x!r} is not supported; expected one of {names}.")
    return found


def promote(a: DType, b: DType) -> DType:
    """The smallest dtype that holds both; floats win over integers whatever their width.

    >>> promote(int64, float32), promote(uint8, int8), promote(float64, complex64)
    (float32, int16, complex128)
    >>> promote(bfloat16, int64), promote(bfloat16, float16)
    (bfloat16, float32)
    """
    if a is b:
        return a
    order = "biufc"
    if order.index(a.kind) > order.index(b.kind):
        a, b = b, a
    if a.kind == b.kind:
        if a.rank == b.rank:  # of float16 and bfloat16 neither holds the other
            return a.wide
        return a if a.rank > b.rank else b
    if a.is_float:  # b is complex
        return complex_of(a if a.rank > b.rank else b)
    if a.is_bool or b.is_inexact:
        return b
    # signed a with unsigned b: the next wider signed type that holds b
    rank = max(a.rank, b.rank + 1)
    if rank > 3:
        raise DTypeError(f"{a} and {b} have no common integer dtype; cast one with .astype(...).")
    return (int8, int16, int32, int64)[rank]


def weak(dtype: DType, number: type) -> DType:
    """The dtype of a tensor of `dtype` together with a Python number of type `number`.

    >>> weak(float32, int), weak(int8, float), weak(float64, complex)
    (float32, float32, complex128)
    """
    if number is complex and not dtype.is_complex:
        return complex_of(dtype) if dtype.is_float else as_dtype(complex)
    if number is float and not dtype.is_inexact:
        return as_dtype(float)
    return int64 if number is int and dtype.is_bool else dtype


def common_dtype(dtypes: Sequence[DType], numbers: Collection[type]) -> DType:
    """The dtype of tensors of `dtypes` and Python numbers of the types `numbers` together."""
    if not dtypes:
        return as_dtype(next((k for k in (complex, float, int) if k in numbers), bool))
    dtype = functools.reduce(promote, dtypes)
    return functools.reduce(weak, numbers, dtype)


def kind_of(dtype: np.dtype[Any] | DType) -> str:
    """NumPy's letter for the kind of a dtype, "f" also for bfloat16 (NumPy's own answer is "V").

    >>> kind_of(np.dtype("int8")), kind_of(bfloat16)
    ('i', 'f')
    """
    return "f" if dtype.kind == "V" and dtype.name in _EXTENSIONS else dtype.kind


@functools.cache
def wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The NumPy dtype of sums and products of `dtype` before they are rounded (see `DType.wide`).

    >>> wide(np.dtype("float16"))
    dtype('float32')
    """
    return as_dtype(dtype).wide.np


def default_for(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What Python numbers become that NumPy took for `dtype`: nobody asked for 64 bits."""
    if dtype == np.float64 or dtype == np.complex128:
        return as_dtype(float if dtype.kind == "f" else complex).np
    return dtype


class Type:
    """Shape and dtype of a value; interned, so equal types are the same object.

    >>> Type((7, 3), float32)
    f32[7,3]
    >>> Type((7, 3), float32) is Type((7, 3), float32)
    True
    """

    __slots__ = ("__weakref__", "dtype", "shape")
    shape: Shape
    dtype: DType
    _interned: ClassVar[weakref.WeakValueDictionary[tuple[Shape, DType], Type]] = (
        weakref.WeakValueDictionary()
    )

    def __new__(cls, shape: Shape, dtype: DType) -> Type:
        key = (shape, dtype)
        found = cls._interned.get(key)
        if found is None:
            found = object.__new__(cls)
            found.shape, found.dtype = shape, dtype
            found = cls._interned.setdefault(key, found)
        return found

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        n = 1
        for d in self.shape:
            n *= d
        return n

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def with_shape(self, shape: Shape) -> Type:
        return Type(shape, self.dtype)

    def with_dtype(self, dtype: DType) -> Type:
        return Type(self.shape, dtype)

    def __repr__(self) -> str:
        return f"{self.dtype.short}[{','.join(map(str, self.shape))}]"

    def __reduce__(self) -> tuple[Any, ...]:
        return Type, (self.shape, self.dtype)


def broadcast_shapes(*shapes: Shape) -> Shape:
    """NumPy's broadcasting rule.

    >>> broadcast_shapes((3, 1), (4,), ())
    (3, 4)
    """
    first = shapes[0]
    if all(s == first for s in shapes):
        return first
    ndim = max(map(len, shapes))
    out = [1] * ndim
    for shape in shapes:
        for axis, n in enumerate(shape, ndim - len(shape)):
            if n != 1:
                if out[axis] not in (1, n):
                    raise ShapeError(
                        f"shapes {', '.join(map(str, shapes))} do not broadcast together."
                    )
                out[axis] = n
    return tuple(out)


def normalize_axis(axis: int, ndim: int, what: str) -> int:
    """`axis` counted from the front; `what` names the caller in the error."""
    try:
        given = axis.__index__()
    except AttributeError:
        raise DTypeError(f"{what}: axis must be an integer, got {axis!r}.") from None
    if not -ndim <= given < ndim:
        raise AxisError(f"{what}: axis {given} is out of range for {ndim} axes.")
    return given % ndim


def normalize_axes(axis: Any, ndim: int, what: str) -> tuple[int, ...]:
    """None (all), an integer or a sequence of integers, as sorted distinct axes."""
    if axis is None:
        return tuple(range(ndim))
    given = axis if isinstance(axis, tuple | list) else (axis,)
    axes = tuple(normalize_axis(a, ndim, what) for a in given)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{what}: axis {axis} names an axis twice.")
    return tuple(sorted(axes))


def as_shape(shape: Any, what: str) -> Shape:
    """An integer or a sequence of non-negative integers as a shape."""
    given = shape if isinstance(shape, tuple | list) else (shape,)
    try:
        out = tuple(n.__index__() for n in given)
    except AttributeError:
        raise DTypeError(f"{what}: shape must be integers, got {shape!r}.") from None
    if any(n < 0 for n in out):
        raise ArgumentError(f"{what}: shape {out} has a negative size.")
    return out
