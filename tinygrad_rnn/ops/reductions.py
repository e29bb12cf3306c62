"""Reductions, running sums and products: sum, max and cumsum are primitives, the rest is made of
them.

`axis`: None (all axes), an integer, or several; `keepdims` keeps the reduced axes with size 1.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError, DTypeError, ShapeError
from ..primitive import Primitive, apart, bind
from ..tensor import Tensor
from ..types import bool_, int64, normalize_axes, normalize_axis, uint64
from . import reduction as r
from .comparisons import less
from .creation import ones, zeros
from .elementwise import Invert
from .functions import as_tensor, astype, by_parts, exp, floating, log, sqrt, where
from .movement import moveaxis, narrow, reshape
from .numbers import abs
from .shaping import concat


def _reduce(op: type[Primitive], x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    axes = normalize_axes(axis, x.ndim, op.name)
    out: Tensor = bind(op, x, axes=axes)
    return _keep(out, x, axes) if keepdims else out


def _keep(out: Tensor, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return reshape(out, tuple([1 if i in axes else n for i, n in enumerate(x.shape)]))


def _summable(x: Tensor, dtype: Any = None) -> Tensor:
    """In the dtype asked for, or small integers and booleans in 64 bits."""
    if dtype is not None:
        return astype(x, dtype)
    if x.dtype.is_inexact or x.dtype.itemsize == 8:
        return x
    return astype(x, uint64 if x.dtype.kind == "u" else int64)


def sum(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    """The sum over axes; half precision is summed in float32, small integers in 64 bits.

    >>> from tinygrad_rnn import tensor
    >>> sum(tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0).tolist()
    [4.0, 6.0]
    """
    return _reduce(r.Sum, _summable(as_tensor("sum", x), dtype), axis, keepdims)


def _float(x: Any, name: str) -> Tensor:
    t = floating(name, x)
    if t.dtype.is_complex:
        raise DTypeError(f"{name} of {t.type}: expected real numbers.")
    return t


def _wide(x: Tensor) -> Tensor:
    """Half precision as float32: float16 ends at 65504, which counts and squares soon pass."""
    return astype(x, x.dtype.wide, copy=False)


def _count(x: Tensor, axis: Any) -> int:
    return math.prod(x.shape[a] for a in normalize_axes(axis, x.ndim, "mean"))


def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The average over axes (NaN of nothing).

    >>> from tinygrad_rnn import tensor
    >>> mean(tensor([[1.0, 2.0], [3.0, 6.0]]), axis=0, keepdims=True).tolist()
    [[2.0, 4.0]]
    """
    t = floating("mean", x)
    total, n = _reduce(r.Sum, _wide(t), axis, keepdims), float(_count(t, axis))
    return by_parts(lambda y: y / n, total) if t.dtype.is_complex else astype(total / n, t.dtype)


def var(x: Any, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Tensor:
    """sum((x - mean(x))^2) / (n - correction).

    >>> from tinygrad_rnn import tensor
    >>> var(tensor([1.0, 3.0])).item(), var(tensor([1.0, 3.0]), correction=1).item()
    (1.0, 2.0)
    """
    t = _float(x, "var")
    return astype(_variance(_wide(t), axis, correction, keepdims), t.dtype)


def _variance(t: Tensor, axis: Any, correction: float, keepdims: bool) -> Tensor:
    centred = t - mean(t, axis, keepdims=True)
    n = float(_count(t, axis) - correction)
    return _reduce(r.Sum, centred * centred, axis, keepdims) / (n if n > 0 else math.nan)


def std(x: Any, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Tensor:
    """The square root of `var`; the gradient of equal elements is 0."""
    t = _float(x, "std")
    return astype(_root(_variance(_wide(t), axis, correction, keepdims)), t.dtype)


def max(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The maximum over axes; equal maxima share the gradient equally; NaN propagates.

    >>> from tinygrad_rnn import tensor
    >>> max(tensor([[1, 5], [7, 2]]), axis=1).tolist()
    [5, 7]
    """
    return _reduce(r.Max, as_tensor("max", x), axis, keepdims)


def min(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The minimum over axes; equal minima share the gradient equally; NaN propagates."""
    t = as_tensor("min", x)
    if t.dtype.is_float:
        return -_reduce(r.Max, -t, axis, keepdims)
    # ~x reverses the order of integers and booleans without overflow
    return bind(Invert, _reduce(r.Max, bind(Invert, t), axis, keepdims))


def any(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Whether some element is true (non-zero); False of nothing.

    >>> from tinygrad_rnn import tensor
    >>> any(tensor([[0, 1], [0, 0]]), axis=1).tolist()
    [True, False]
    """
    t = astype(as_tensor("any", x), bool_)
    return less(0, _reduce(r.Sum, astype(t, int64), axis, keepdims))


def all(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Whether every element is true (non-zero); True of nothing."""
    t = astype(as_tensor("all", x), bool_)
    return bind(Invert, any(bind(Invert, t), axis, keepdims))


def prod(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    """The product over axes, by halving: differentiable to any order, zeros included.

    >>> from tinygrad_rnn import tensor
    >>> prod(tensor([2, 3, 4])).item()
    24
    """
    t = _summable(as_tensor("prod", x), dtype)
    axes = normalize_axes(axis, t.ndim, "prod")
    out = t
    for k, a in enumerate(reversed(axes)):
        out = moveaxis(out, a + k, 0)
    rest = out.shape[len(axes) :]
    n = math.prod(out.shape[: len(axes)])
    out = reshape(out, (n, *rest))
    while n > 1:
        half = n // 2
        pairs = narrow(out, 0, 0, half) * narrow(out, 0, half, 2 * half)
        if n % 2:
            pairs = concat([pairs, narrow(out, 0, n - 1, n)], 0)
        out, n = pairs, half + n % 2
    if n == 0:
        out = ones((1, *rest), t.dtype, t.backend)
    out = reshape(out, rest)
    return _keep(out, t, axes) if keepdims else out


def _flat_axis(x: Tensor, axis: int | None, name: str) -> tuple[Tensor, int]:
    if axis is None:
        return reshape(x, (x.size,)), 0
    return x, normalize_axis(axis, x.ndim, name)


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first maximum along an axis (of the flattened tensor if None).

    >>> from tinygrad_rnn import tensor
    >>> argmax(tensor([1.0, 3.0, 3.0])).item()
    1
    """
    t = as_tensor("argmax", x)
    flat, a = _flat_axis(t, axis, "argmax")
    out: Tensor = bind(r.ArgMax, flat, axis=a)
    if not keepdims:
        return out
    return reshape(out, (1,) * t.ndim if axis is None else (*t.shape[:a], 1, *t.shape[a + 1 :]))


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first minimum along an axis (of the flattened tensor if None)."""
    t = as_tensor("argmin", x)
    return argmax(-t if t.dtype.is_float else bind(Invert, t), axis, keepdims)


def cumsum(x: Any, axis: int | None = None, reverse: bool = False) -> Tensor:
    """Sums of all elements up to each along an axis; from each to the last if `reverse`.

    >>> from tinygrad_rnn import tensor
    >>> cumsum(tensor([1, 2, 3])).tolist()
    [1, 3, 6]
    """
    t, a = _flat_axis(_summable(as_tensor("cumsum", x)), axis, "cumsum")
    return bind(r.CumSum, t, axis=a, reverse=bool(reverse))


def cumulative_sum(
    x: Any, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Tensor:
    """`cumsum`, after a 0 if `include_initial`; the axis may be left out for vectors only.

    >>> from tinygrad_rnn import tensor
    >>> cumulative_sum(tensor([1, 2, 3]), include_initial=True).tolist()
    [0, 1, 3, 6]
    """
    t = _summable(as_tensor("cumulative_sum", x), dtype)
    a = _only_axis(t, axis, "cumulative_sum")
    out: Tensor = bind(r.CumSum, t, axis=a, reverse=False)
    return concat([_border(out, a, zeros), out], a) if include_initial else out


def cumulative_prod(
    x: Any, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Tensor:
    """Products of all elements up to each along an axis, after a 1 if `include_initial`.

    By doubling: log2(n) multiplications of whole tensors, differentiable to any order, zeros
    included.

    >>> from tinygrad_rnn import tensor
    >>> cumulative_prod(tensor([2, 3, 4])).tolist()
    [2, 6, 24]
    """
    out = _summable(as_tensor("cumulative_prod", x), dtype)
    a = _only_axis(out, axis, "cumulative_prod")
    n, reach = out.shape[a], 1
    while reach < n:  # out[i] is the product of the last `reach` elements up to i
        later = narrow(out, a, reach, n) * narrow(out, a, 0, n - reach)
        out, reach = concat([narrow(out, a, 0, reach), later], a), 2 * reach
    return concat([_border(out, a, ones), out], a) if include_initial else apart(out, x)


def _only_axis(x: Tensor, axis: int | None, name: str) -> int:
    if axis is None and x.ndim != 1:
        raise ShapeError(f"{name} of {x.type}: say along which axis.")
    return normalize_axis(0 if axis is None else axis, x.ndim, name)


def _border(x: Tensor, axis: int, fill: Callable[..., Tensor]) -> Tensor:
    return fill((*x.shape[:axis], 1, *x.shape[axis + 1 :]), x.dtype, x.backend)


def diff(x: Any, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Tensor:
    """Differences of neighbours along an axis, n times; prepend and append are joined on before.

    >>> from tinygrad_rnn import tensor
    >>> diff(tensor([1, 4, 9])).tolist()
    [3, 5]
    """
    if n < 0:
        raise ArgumentError(f"diff: n must not be negative, got {n}.")
    t = as_tensor("diff", x)
    a = normalize_axis(axis, t.ndim, "diff")
    out = t if n == 0 else concat([p for p in (prepend, t, append) if p is not None], a)
    for _ in range(n):
        size = out.shape[a]
        one = builtins.min(1, size)
        later, earlier = narrow(out, a, one, size), narrow(out, a, 0, size - one)
        out = later ^ earlier if out.dtype.is_bool else later - earlier
    return apart(out, x)


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))), without overflow; -inf where every element is -inf.

    >>> from tinygrad_rnn import tensor
    >>> logsumexp(tensor([1000.0, 1000.0])).item()
    1000.69...
    """
    given = _float(x, "logsumexp")
    t = _wide(given)
    top = _shift(t, axis)
    total = _reduce(r.Sum, exp(t - top), axis, True)
    total = where(total == 0, -math.inf, log(_one_for_zero(total)) + top)
    axes = normalize_axes(axis, t.ndim, "logsumexp")
    if not keepdims:
        total = reshape(total, tuple([n for i, n in enumerate(t.shape) if i not in axes]))
    return astype(total, given.dtype)


def _shift(t: Tensor, axis: Any) -> Tensor:
    """The maximum, detached (it cancels), and 0 where it is infinite."""
    axes = normalize_axes(axis, t.ndim, "softmax")
    if math.prod(t.shape[a] for a in axes) == 0:
        raise ShapeError(f"softmax or logsumexp of {t.type} over axes {axes}: nothing to sum.")
    top = max(t, axis, keepdims=True).detach()
    return where(top - top == 0, top, 0.0)


def _one_for_zero(total: Tensor) -> Tensor:
    """Sums of which nothing is left (each element was -inf) as 1, so that gradients there are 0."""
    return where(total == 0, 1.0, total)


def softmax(x: Any, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along an axis; zeros (with zero gradient) where every element is -inf.

    >>> from tinygrad_rnn import tensor
    >>> softmax(tensor([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    given = _float(x, "softmax")
    t = _wide(given)
    e = exp(t - _shift(t, axis))
    return astype(e / _one_for_zero(_reduce(r.Sum, e, axis, True)), given.dtype)


def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """x - logsumexp(x) along an axis, without overflow; -inf where every element is -inf."""
    given = _float(x, "log_softmax")
    t = _wide(given)
    shifted = t - _shift(t, axis)
    total = log(_one_for_zero(_reduce(r.Sum, exp(shifted), axis, True)))
    return astype(shifted - total, given.dtype)


def norm(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """sqrt(sum(x^2)); the gradient at 0 is 0.

    >>> from tinygrad_rnn import tensor
    >>> norm(tensor([3.0, 4.0])).item()
    5.0
    """
    given = floating("norm", x)
    given = abs(given) if given.dtype.is_complex else given
    t = _wide(given)
    return astype(_root(_reduce(r.Sum, t * t, axis, keepdims)), given.dtype)


def _root(squares: Tensor) -> Tensor:
    """The square root of a sum of squares; its gradient at 0 is 0."""
    zero = squares == 0
    return where(zero, 0.0, sqrt(where(zero, 1.0, squares)))
