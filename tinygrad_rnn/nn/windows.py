"""Windows that slide along axes, and their adjoint: what convolution and pooling are made of.

In: a tensor whose last n axes are spatial, and per axis a size, a stride and a dilation.
Out: a tensor with one new leading axis per spatial axis, or the sum of such windows.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..ops.movement import Pad, Slice
from ..primitive import bind
from ..tensor import Tensor

Sizes = tuple[int, ...]


def per_axis(name: str, option: str, value: int | Sequence[int], n: int, least: int = 1) -> Sizes:
    """One integer for each of n axes; a single one holds for all."""
    sizes = (value,) * n if isinstance(value, int) else tuple(value)
    good = all(isinstance(k, int) and not isinstance(k, bool) and k >= least for k in sizes)
    if len(sizes) != n or not good:
        count = "an integer" if n == 1 else f"an integer or {n} integers"
        raise ArgumentError(f"{name}: {option} must be {count} from {least} on, got {value!r}.")
    return sizes


def batched(name: str, x: Tensor, n: int) -> Tensor:
    """x [B,C,*S] with n spatial axes; a batch of one is made of x [C,*S]."""
    if x.ndim not in (n + 1, n + 2):
        axes = ["[C,L] or [B,C,L]", "[C,H,W] or [B,C,H,W]"][n - 1]
        raise ShapeError(f"{name}: input is {x.type}, expected {axes}.")
    return x if x.ndim == n + 2 else ops.expand_dims(x, 0)


def windows(name: str, x: Tensor, sizes: Sizes, strides: Sizes, dilations: Sizes) -> Tensor:
    """y[k, …, p] = x[…, p · stride + k · dilation] along each of the last axes.

    x [..., *S] -> [*K, ..., *P] with P = (S - dilation · (K - 1) - 1) // stride + 1.
    """
    n = len(sizes)
    reach = [d * (k - 1) + 1 for k, d in zip(sizes, dilations)]
    if any(length < r for length, r in zip(x.shape[-n:], reach)):
        raise ShapeError(
            f"{name}: windows that reach over {reach} do not fit into an input whose spatial axes, "
            f"with padding, have {list(x.shape[-n:])} elements."
        )
    for i in reversed(range(n)):
        axis = x.ndim - n + i
        count = (x.shape[axis] - reach[i]) // strides[i] + 1
        starts = [k * dilations[i] for k in range(sizes[i])]
        x = ops.stack([_every(x, axis, a, strides[i], count) for a in starts])
    return x


def overlap_add(x: Tensor, lengths: Sizes, strides: Sizes, dilations: Sizes) -> Tensor:
    """y[…, s] = Σ x[k, …, p] over all p · stride + k · dilation = s: the adjoint of `windows`.

    x [*K, ..., *P] -> [..., *S] with S = lengths.
    """
    n = len(lengths)
    for i in range(n):
        axis, d = x.ndim - 1 - n + i, dilations[i]
        parts = [
            _spread(part, axis, k * d, strides[i], lengths[i])
            for k, part in enumerate(ops.unstack(x))
        ]
        x = functools.reduce(operator.add, parts)
    return x


def _every(x: Tensor, axis: int, start: int, stride: int, count: int) -> Tensor:
    """`count` elements along an axis, from `start` on."""
    stop, rest = start + (count - 1) * stride + 1, x.ndim - axis - 1
    made: Tensor = bind(
        Slice,
        x,
        start=(*(0,) * axis, start, *(0,) * rest),
        stop=(*x.shape[:axis], stop, *x.shape[axis + 1 :]),
        step=(*(1,) * axis, stride, *(1,) * rest),
    )
    return made


def _spread(x: Tensor, axis: int, start: int, stride: int, length: int) -> Tensor:
    """Zeros of `length` along an axis that hold the elements of x at every stride-th place."""
    before, after = (0,) * axis, (0,) * (x.ndim - axis - 1)
    end = length - start - (x.shape[axis] - 1) * stride - 1
    low, high, interior = ((*before, k, *after) for k in (start, end, stride - 1))
    made: Tensor = bind(Pad, x, low=low, high=high, interior=interior, value=0.0)
    return made
