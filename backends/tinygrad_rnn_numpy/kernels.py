"""Kernels for every primitive, written once for NumPy and for modules with its interface (CuPy).

In: arrays of the module `xp`. Out: arrays. No derivatives, no types, no graphs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tinygrad_rnn.extend import DType, wide

from . import matrices

Kernel = Callable[..., Any]

#: Primitives that are one function of the array module.
DIRECT = {
    "neg": "negative", "abs": "abs", "sign": "sign", "add": "add", "sub": "subtract",
    "mul": "multiply", "div": "divide", "floordiv": "floor_divide", "mod": "remainder",
    "pow": "power", "maximum": "maximum", "minimum": "minimum", "exp": "exp", "expm1": "expm1",
    "log": "log", "log1p": "log1p", "sqrt": "sqrt", "sin": "sin", "cos": "cos", "tan": "tan",
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "sinh": "sinh",
    "cosh": "cosh", "tanh": "tanh", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
    "floor": "floor", "ceil": "ceil", "round": "rint", "equal": "equal", "less": "less",
    "less_equal": "less_equal", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "invert": "invert", "shift_left": "left_shift", "shift_right": "right_shift", "where": "where",
}  # fmt: skip


def table(xp: Any) -> dict[str, Kernel]:
    """name -> kernel for every primitive that runs on arrays (not scan and call)."""
    kernels: dict[str, Kernel] = {name: getattr(xp, function) for name, function in DIRECT.items()}
    kernels |= {
        "alias": lambda x: x,
        "sigmoid": functools.partial(_sigmoid, xp),
        "zmul": functools.partial(_zero_wins, xp, xp.multiply),
        "zdiv": functools.partial(_zero_wins, xp, xp.divide),
        "cast": lambda x, dtype: x.astype(dtype.np),
        "sum": functools.partial(_sum, xp),
        "max": lambda x, axes: xp.max(x, axes),
        "argmax": lambda x, axis: xp.argmax(x, axis),
        "cumsum": functools.partial(_cumsum, xp),
        "reshape": lambda x, shape: x.reshape(shape),
        "transpose": lambda x, perm: x.transpose(perm),
        "broadcast_to": lambda x, shape: xp.broadcast_to(x, shape),
        "slice": lambda x, start, stop, step: x[tuple(map(slice, start, stop, step))],
        "pad": functools.partial(_pad, xp),
        "concat": lambda *xs, axis: xp.concatenate(xs, axis),
        "flip": lambda x, axes: xp.flip(x, axes),
        "contract": functools.partial(contract, Products(xp)),
        "full": lambda value, shape, dtype: xp.full(shape, value, dtype.np),
        "iota": lambda size, dtype: xp.arange(size, dtype=dtype.np),
        "bitcast": functools.partial(bitcast, xp),
        "argsort": lambda x, axis: xp.argsort(x, axis, kind="stable"),
        "fft": lambda x, axis, inverse: (
            xp.fft.ifft(x, axis=axis, norm="forward") if inverse else xp.fft.fft(x, axis=axis)
        ),
    }
    return kernels | matrices.table(xp)


def _sigmoid(xp: Any, x: Any, out: Any = None) -> Any:
    y = xp.negative(x, out)
    if y.ndim == 0:
        return 1 / (1 + xp.exp(y))
    xp.exp(y, y)
    xp.add(y, 1, y)
    return xp.reciprocal(y, y)


def _zero_wins(xp: Any, op: Kernel, a: Any, b: Any) -> Any:
    """op(a, b), 0 where a is 0. Only a zero can have met an infinity, so look before repairing."""
    y = op(a, b)
    bad = y != y
    return xp.where(bad & (a == 0), xp.zeros_like(y), y) if bad.any() else y


def _sum(xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
    return x.sum(axes, dtype=wide(x.dtype)).astype(x.dtype, copy=False)


def _cumsum(xp: Any, x: Any, axis: int, reverse: bool) -> Any:
    if reverse:
        return xp.flip(_cumsum(xp, xp.flip(x, axis), axis, False), axis)
    return xp.cumsum(x, axis, dtype=wide(x.dtype)).astype(x.dtype, copy=False)


def bitcast(xp: Any, x: Any, dtype: DType) -> Any:
    """The bytes as another dtype; the parts of complex numbers are a last axis."""
    shape = x.shape
    if x.dtype.kind == "c" and dtype.is_float:
        shape = (*shape, 2)
    elif x.dtype.kind == "f" and dtype.is_complex:
        shape = shape[:-1]
    return xp.ascontiguousarray(x).reshape(-1).view(dtype.np).reshape(shape)


def _pad(xp: Any, x: Any, low: Any, high: Any, interior: Any, value: Any) -> Any:
    shape = [a + b + n + max(n - 1, 0) * k for n, a, b, k in zip(x.shape, low, high, interior)]
    out = xp.full(shape, value, x.dtype)
    if x.size:
        out[
            tuple(
                slice(a, a + (n - 1) * (k + 1) + 1, k + 1)
                for n, a, k in zip(x.shape, low, interior)
            )
        ] = x
    return out


# --- contraction ---------------------------------------------------------------------------------


class Products:
    """What contractions are made of, for an array module."""

    def __init__(self, xp: Any):
        self.multiply, self.matmul = xp.multiply, widened(xp.matmul)


def widened(matmul: Kernel) -> Kernel:
    """The product of matrices; that of halves in float32, rounded once."""

    def run(left: Any, right: Any, out: Any = None) -> Any:
        sums = wide(left.dtype)
        if sums == left.dtype:
            return matmul(left, right, out)
        return matmul(left.astype(sums), right.astype(sums)).astype(left.dtype)

    return run


def contract(products: Any, x: Any, y: Any, a: Any, b: Any, out: Any) -> Any:
    return plan(a, b, out)(products, x, y)


@functools.lru_cache(maxsize=4096)
def plan(a: tuple[int, ...], b: tuple[int, ...], out: tuple[int, ...]) -> Kernel:
    """A contraction as one (batched) matrix product of operands viewed as matrices."""
    batch = [i for i in out if i in a and i in b]
    inner = [i for i in a if i in b and i not in out]
    rows = [i for i in out if i in a and i not in b]
    cols = [i for i in out if i in b and i not in a]
    swap = bool(cols and rows and not batch and out.index(cols[0]) < out.index(rows[0]))
    if swap:  # the result comes out in its own order when the operands change places
        a, b, rows, cols = b, a, cols, rows
    natural = (*batch, *rows, *cols)
    final = None if natural == out else tuple(natural.index(i) for i in out)
    view_x, view_y = _matrix(a, batch, rows, inner), _matrix(b, batch, inner, cols)
    # of columns with rows: BLAS takes several times as long as a multiplication that broadcasts
    outer = not inner
    pick = [(a.index(i), 0) if i in a else (b.index(i), 1) for i in natural]

    def run(products: Any, x: Any, y: Any, out: Any = None) -> Any:
        if swap:
            x, y = y, x
        left, right = view_x(x), view_y(y)
        product = products.multiply if outer else products.matmul
        if out is not None:  # only when the product comes out in order
            flat = out.reshape(*left.shape[:-1], right.shape[-1])
            product(left, right, flat)
            return out
        shape = tuple([(y if which else x).shape[k] for k, which in pick])
        z = product(left, right).reshape(shape)
        return z if final is None else z.transpose(final)

    run.in_order = final is None  # type: ignore[attr-defined]
    return run


def _matrix(labels: Any, batch: Any, first: Any, second: Any) -> Kernel:
    """A view of an operand as [batch…, first, second], not a copy where the layout allows it."""
    wanted = (*batch, *first, *second)
    turned = (*batch, *second, *first)
    n, k = len(batch), len(batch) + len(first)
    k_turned = n + len(second)
    if tuple(labels) == turned and tuple(labels) != wanted:
        # stored the other way round: group the axes as they lie, then swap the two groups
        def view(x: Any) -> Any:
            s = x.shape
            return x.reshape(*s[:n], _size(s[n:k_turned]), _size(s[k_turned:])).swapaxes(-1, -2)

        return view
    order = None if tuple(labels) == wanted else tuple(labels.index(i) for i in wanted)

    def straight(x: Any) -> Any:
        if order is not None:
            x = x.transpose(order)
        s = x.shape
        return (
            x if len(s) == n + 2 and k == n + 1 else x.reshape(*s[:n], _size(s[n:k]), _size(s[k:]))
        )

    return straight


def _size(shape: Any) -> int:
    size = 1
    for n in shape:
        size *= n
    return size
