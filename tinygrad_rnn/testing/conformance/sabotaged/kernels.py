"""Faults in kernels: wrong values, types, memory; special values; integers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .registry import kernel, reference

# --- values, types, sizes, layouts ---------------------------------------------------------------


@kernel("tanh", "F2")
def tanh_is_off_in_float32(x: Any) -> Any:
    """A relative error of 1e-5, in float32 only."""
    return np.tanh(x) * np.float32(1 + 1e-5) if x.dtype == np.float32 else np.tanh(x)


@kernel("exp", "F2")
def float64_in_float32(x: Any) -> Any:
    """float64 is computed in float32."""
    return np.exp(x.astype(np.float32)).astype(x.dtype) if x.dtype == np.float64 else np.exp(x)


@kernel("argmax", "B14")
def narrow_argmax(x: Any, axis: int) -> Any:
    """Indices come as int32."""
    return np.argmax(x, axis).astype(np.int32)


@kernel("max", "B14")
def scalars_with_an_axis(x: Any, axes: Any) -> Any:
    """A scalar comes with one axis of size 1."""
    y = reference("max")(x, axes)
    return np.reshape(y, (1,)) if np.ndim(y) == 0 else y


@kernel("sum", "B2")
def sum_without_the_last(x: Any, axes: Any) -> Any:
    """The last of an odd number of elements is left out, if there are more than eight."""
    for axis in axes:
        if x.shape[axis] % 2 and x.shape[axis] > 8:
            x = np.delete(x, -1, axis)
    return reference("sum")(x, axes)


@kernel("mul", "B2")
def tail_of_the_vector(a: Any, b: Any) -> Any:
    """Beyond a multiple of sixteen elements the second operand is taken for 1."""
    y = np.multiply(a, b)
    if y.ndim == 1 and y.size > 16 and a.shape == b.shape:
        y[y.size // 16 * 16 :] = a[y.size // 16 * 16 :]
    return y


@kernel("reshape", "B3")
def reshape_in_memory_order(x: Any, shape: Any) -> Any:
    """Elements in the order in which they lie in memory."""
    return np.reshape(x, shape, order="A")


@kernel("exp", "B3")
def backwards_is_forwards(x: Any) -> Any:
    """Negative strides are taken for positive ones."""
    return np.exp(x[::-1] if x.ndim and x.strides[0] < 0 else x)


@kernel("neg", "B4")
def neg_in_place(x: Any) -> Any:
    """The result is written over the operand, and then copied."""
    return np.negative(x, out=x).copy() if x.ndim and x.flags.writeable else np.negative(x)


@kernel("add", "B5")
def adding_zero_is_free(a: Any, b: Any) -> Any:
    """a + 0 is a itself."""
    return a if a.shape == b.shape and a.ndim and not b.any() else np.add(a, b)


@kernel("cast", "B5")
def cast_to_the_same(x: Any, dtype: Any) -> Any:
    """A cast to its own dtype is the operand itself."""
    return x.astype(dtype.np, copy=False)


@kernel("max", "B10")
def max_over_no_axes(x: Any, axes: Any) -> Any:
    """No axes are taken for all axes."""
    return np.broadcast_to(reference("max")(x, axes or tuple(range(x.ndim))),
                           reference("max")(x, axes).shape).copy()  # fmt: skip


# --- special values ------------------------------------------------------------------------------


@kernel("maximum", "C9")
def maximum_swallows_nan(a: Any, b: Any) -> Any:
    """The maximum of NaN and a number is the number."""
    return np.fmax(a, b)


@kernel("equal", "C9")
def nearly_equal(a: Any, b: Any) -> Any:
    """Numbers that are close are equal, NaN to NaN too."""
    return np.isclose(a, b, equal_nan=True) if a.dtype.kind == "f" else np.equal(a, b)


@kernel("round", "C9")
def halves_go_up(x: Any) -> Any:
    """Halves are rounded up, not to even."""
    return np.floor(x + x.dtype.type(0.5)) if x.dtype.kind == "f" else np.round(x)


@kernel("sigmoid", "C9")
def unstable_sigmoid(x: Any) -> Any:
    """exp(x) / (1 + exp(x)): NaN where x is large."""
    e = np.exp(x)
    return e / (1 + e)


@kernel("neg", "C11")
def zero_minus_x(x: Any) -> Any:
    """-x is 0 - x: the sign of a zero is lost."""
    return np.subtract(x.dtype.type(0), x)


@kernel("mul", "C11")
def flushed_to_zero(a: Any, b: Any) -> Any:
    """Subnormal results are zero."""
    y = np.multiply(a, b)
    if y.dtype.kind == "f":
        y = np.where(np.abs(y) < np.finfo(y.dtype).tiny, y * 0, y)
    return y


@kernel("argmax", "B11")
def argmax_takes_the_last(x: Any, axis: int) -> Any:
    """Of equal maxima the last."""
    return x.shape[axis] - 1 - np.argmax(np.flip(x, axis), axis)


@kernel("where", "B12")
def where_by_arithmetic(c: Any, a: Any, b: Any) -> Any:
    """c * a + (1 - c) * b: what is not chosen is multiplied by 0, which NaN survives."""
    return (c * a + ~c * b).astype(a.dtype) if a.dtype.kind == "f" else np.where(c, a, b)


@kernel("zmul", "B12")
def zero_does_not_win(a: Any, b: Any) -> Any:
    """0 * infinity is NaN in zmul."""
    return np.multiply(a, b)


@kernel("zdiv", "A2")
def zero_over_zero(a: Any, b: Any) -> Any:
    """0 / 0 is NaN in zdiv, by which derivatives divide."""
    return np.divide(a, b)


# --- integers, sums, indices, random bits --------------------------------------------------------


@kernel("floordiv", "C10")
def division_towards_zero(a: Any, b: Any) -> Any:
    """Integers are divided as in C."""
    if a.dtype.kind != "i":
        return np.floor_divide(a, b)
    quotient = np.floor_divide(a, b)
    return quotient + ((a % b != 0) & ((a < 0) != (b < 0)) & (b != 0)).astype(a.dtype)


@kernel("mod", "C10")
def division_by_zero_raises(a: Any, b: Any) -> Any:
    """An integer modulo zero raises, as in Python."""
    if b.dtype.kind in "iu" and (b == 0).any():
        raise ZeroDivisionError("integer modulo by zero")
    return np.remainder(a, b)


@kernel("add", "C10")
def integers_saturate(a: Any, b: Any) -> Any:
    """Sums of integers stop at the largest one."""
    if a.dtype.kind != "i" or a.dtype.itemsize == 8:
        return np.add(a, b)
    limits = np.iinfo(a.dtype)
    return np.clip(a.astype(np.int64) + b, limits.min, limits.max).astype(a.dtype)


@kernel("sum", "C7")
def half_summed_in_half(x: Any, axes: Any) -> Any:
    """Half precision is accumulated in half precision, one element after another."""
    if x.dtype != np.float16 or axes != (0,) or not x.size:
        return reference("sum")(x, axes)
    return np.cumsum(x, 0, dtype=np.float16)[-1]


@kernel("sum", "C8")
def long_sums_in_half(x: Any, axes: Any) -> Any:
    """More than ten thousand elements are rounded to half precision before they are added."""
    if x.dtype.kind == "f" and x.size > 10_000:
        return reference("sum")(x.astype(np.float16).astype(x.dtype), axes)
    return reference("sum")(x, axes)


@kernel("scatter_add", "B7")
def duplicates_are_lost(updates: Any, indices: Any, axis: int, size: int) -> Any:
    """Of several rows for one index one is kept: out[indices] += rows."""
    out = np.zeros_like(reference("scatter_add")(updates, indices, axis, size))
    out[(*(slice(None),) * axis, indices)] += updates
    return out


@kernel("take", "F15")
def indices_wrap_around(x: Any, indices: Any, axis: int) -> Any:
    """An index out of range is taken modulo the size."""
    return np.take(x, indices, axis, mode="wrap")


@kernel("random_bits", "F6")
def other_random_bits(state: Any, shape: Any) -> Any:
    """NumPy's generator, seeded with the state."""
    return np.random.default_rng(state).integers(0, 2**32, shape, np.uint32)


@kernel("random_bits", "F14")
def seeds_the_global_generator(state: Any, shape: Any) -> Any:
    """Drawing random bits seeds the generator of whoever uses np.random."""
    np.random.seed(int(state[0]) % 1000)
    return reference("random_bits")(state, shape)


@kernel("log", "F18")
def warns_of_infinity(x: Any) -> Any:
    """The logarithm of 0 warns."""
    if (x == 0).any():
        warnings.warn("divide by zero in log", RuntimeWarning, stacklevel=2)
    return np.log(x)


_order = np.random.default_rng(0)


@kernel("sum", "F5")
def sums_in_any_order(x: Any, axes: Any) -> Any:
    """Long sums are added up in another order each time, as by atomic additions."""
    if x.dtype.kind == "f" and len(axes) == 1 and x.shape[axes[0]] > 8:
        order = _order.permutation(x.shape[axes[0]])
        x = np.cumsum(np.take(x, order, axes[0]), axes[0], dtype=x.dtype)
        return np.take(x, -1, axes[0])
    return reference("sum")(x, axes)
