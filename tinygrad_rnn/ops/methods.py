"""Attaches operators and methods to Tensor. Every method is a function of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..backend import Backend
from ..errors import ArgumentError, DTypeError
from ..primitive import Primitive, apply_two, literal
from ..tensor import Tensor
from ..types import DType, as_shape
from . import activations, indexing, numbers, products, reductions, searching, shaping, sorting
from . import comparisons as c
from . import elementwise as e
from . import functions as f

Binary = Callable[[Any, Any], Tensor]


def _reflected(op: Binary) -> Binary:
    return lambda self, other: op(other, self)


def _operator(op: type[Primitive], general: Binary) -> Binary:
    """A method that goes straight to the primitive for tensors of one dtype and for numbers."""

    def method(self: Tensor, other: Any) -> Tensor:
        value = self._value
        dtype = value.type.dtype
        if isinstance(other, Tensor):
            if other._value.type.dtype is dtype and dtype.kind != "b":
                return apply_two(op, self, other)
        elif dtype.kind == "f" and type(other) in (float, int):
            return apply_two(op, self, literal(other, dtype, value.backend))
        return general(self, other)

    return method


def _reflected_operator(op: type[Primitive], general: Binary) -> Binary:
    """The same for `number - tensor`."""

    def method(self: Tensor, other: Any) -> Tensor:
        value = self._value
        dtype = value.type.dtype
        if dtype.kind == "f" and type(other) in (float, int):
            return apply_two(op, literal(other, dtype, value.backend), self)
        return general(other, self)

    return method


def _comparison(op: Binary) -> Callable[[Any, Any], Any]:
    """The operator; with None Python itself decides (`x == None` is False)."""
    return lambda self, other: NotImplemented if other is None else op(self, other)


def _plain(op: Binary) -> Binary:
    return lambda self, other: op(self, other)


#: What a tensor changed in place may be cast back from: float64 to float32, but not to integers.
_KINDS = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


def _inplace(op: Callable[[Any, Any], Tensor]) -> Callable[[Tensor, Any], Tensor]:
    def method(self: Tensor, other: Any) -> Tensor:
        new = op(self, other)
        if new.shape == self.shape and _KINDS[new.dtype.kind] <= _KINDS[self.dtype.kind]:
            new = f.astype(new, self.dtype, copy=False)
        if new.type is not self.type:
            raise ArgumentError(
                f"in-place operation: a tensor {self.type} cannot become {new.type}."
            )
        self._rebind(new)
        return self

    return method


def _iter(self: Tensor) -> Iterator[Tensor]:
    if not self.ndim:
        raise DTypeError("iteration over a 0-d tensor; use .item() for its number.")
    return iter(shaping.unstack(self))


_OPERATORS: dict[str, tuple[type[Primitive] | None, Binary]] = {
    "add": (e.Add, f.add), "sub": (e.Sub, f.subtract), "mul": (e.Mul, f.multiply),
    "truediv": (None, f.divide), "floordiv": (None, f.floor_divide), "mod": (None, f.remainder),
    "pow": (None, f.power), "matmul": (None, products.matmul), "and": (None, c.bitwise_and),
    "or": (None, c.bitwise_or), "xor": (None, c.bitwise_xor),
    "lshift": (None, c.bitwise_left_shift), "rshift": (None, c.bitwise_right_shift),
}  # fmt: skip
for _name, (_primitive, _general) in _OPERATORS.items():
    setattr(
        Tensor, f"__{_name}__", _operator(_primitive, _general) if _primitive else _plain(_general)
    )
    setattr(
        Tensor,
        f"__r{_name}__",
        _reflected_operator(_primitive, _general) if _primitive else _reflected(_general),
    )
    setattr(Tensor, f"__i{_name}__", _inplace(_general))
for _name, _general in {
    "lt": c.less, "le": c.less_equal, "gt": c.greater, "ge": c.greater_equal, "eq": c.equal,
    "ne": c.not_equal,
}.items():  # fmt: skip
    setattr(Tensor, f"__{_name}__", _comparison(_general))
for _name, _function in {
    "neg": f.negative, "pos": f.positive, "abs": numbers.abs, "invert": c.bitwise_invert,
    "getitem": indexing.getitem, "setitem": indexing.setitem,
    "iter": _iter,
}.items():  # fmt: skip
    setattr(Tensor, f"__{_name}__", _function)

for _method in (
    numbers.abs, f.astype, f.ceil, f.clip, numbers.conj, f.cos, f.erf, f.exp, f.expm1, f.floor,
    c.isfinite, c.isinf, c.isnan, f.log, f.log1p, f.maximum, f.minimum, f.reciprocal,
    activations.relu, f.round, f.rsqrt, f.sigmoid, numbers.sign, f.sin, activations.softplus,
    f.sqrt, f.square, f.tan, f.tanh, reductions.all, reductions.any, reductions.argmax,
    reductions.argmin, sorting.argsort, reductions.cumsum,
    reductions.log_softmax, reductions.logsumexp, reductions.max, reductions.mean, reductions.min,
    reductions.norm, reductions.prod, reductions.softmax, reductions.std, reductions.sum,
    reductions.var, products.dot, products.matmul, indexing.repeat, indexing.take,
    indexing.take_along_axis, searching.sort, shaping.broadcast_to, shaping.chunk,
    shaping.expand_dims, shaping.flatten, shaping.flip, shaping.moveaxis, shaping.pad, shaping.roll,
    shaping.split, shaping.squeeze, shaping.swapaxes, shaping.tile, shaping.unstack,
    sorting.nonzero,
):  # fmt: skip
    setattr(Tensor, _method.__name__, _method)


def _shape_arguments(shape: tuple[Any, ...]) -> Any:
    return shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape


def _reshape(self: Tensor, *shape: Any) -> Tensor:
    """The same elements under another shape; one -1 is worked out."""
    return shaping.reshape(self, tuple(_shape_arguments(shape)))


def _transpose(self: Tensor, *axes: Any) -> Tensor:
    """Axes in another order; all reversed without arguments."""
    return shaping.transpose(self, tuple(_shape_arguments(axes)) if axes else None)


def _expand(self: Tensor, *shape: Any) -> Tensor:
    """Broadcast to a shape in which -1 keeps an axis as it is (PyTorch's expand)."""
    given = tuple(_shape_arguments(shape))
    lead = len(given) - self.ndim
    full = tuple(self.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(given))
    return shaping.broadcast_to(self, as_shape(full, "expand"))


def _to(self: Tensor, target: str | Backend | DType) -> Tensor:
    """The tensor on another backend (a name or a Backend), or with another dtype."""
    from ..backend import get_backend
    from ..types import as_dtype

    if isinstance(target, Backend):
        return self._to_backend(target)
    try:
        dtype = as_dtype(target)
    except DTypeError:
        return self._to_backend(get_backend(target))  # type: ignore[arg-type]
    return f.astype(self, dtype)


for _name, _attribute in {
    "pow": f.power, "unsqueeze": shaping.expand_dims, "reshape": _reshape, "view": _reshape,
    "transpose": _transpose, "permute": _transpose, "expand": _expand, "to": _to,
    "T": property(shaping.transpose), "mT": property(shaping.matrix_transpose),
    "real": property(numbers.real), "imag": property(numbers.imag),
}.items():  # fmt: skip
    setattr(Tensor, _name, _attribute)
