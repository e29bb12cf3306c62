"""Pooling: the greatest or the mean element of every window.

In: x [B,C,*S] or [C,*S]. Out: the same with fewer places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError
from ..tensor import Tensor
from .windows import Sizes, batched, per_axis, windows

Size = int | Sequence[int]


def max_pool1d(
    x: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1
) -> Tensor:
    """y[b,c,p] = max_k x[b,c, p · stride + k · dilation - padding]; stride None: kernel_size.

    Where several elements of a window are greatest, they share its gradient equally.

    >>> import tinygrad_rnn as tg
    >>> max_pool1d(tg.tensor([[1.0, 5.0, 2.0, 3.0, 9.0]]), 2).tolist()
    [[5.0, 3.0]]
    """
    return _max("max_pool1d", 1, x, kernel_size, stride, padding, dilation)


def max_pool2d(
    x: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1
) -> Tensor:
    """`max_pool1d` along two axes: x [B,C,H,W] or [C,H,W] -> [B,C,P,Q]."""
    return _max("max_pool2d", 2, x, kernel_size, stride, padding, dilation)


def avg_pool1d(
    x: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    *,
    count_include_pad: bool = True,
) -> Tensor:
    """y[b,c,p] = mean_k x[b,c, p · stride + k - padding]; stride None: kernel_size.

    The zeros of the padding count as elements, unless count_include_pad is False.

    >>> import tinygrad_rnn as tg
    >>> avg_pool1d(tg.tensor([[1.0, 5.0, 2.0, 3.0, 9.0]]), 2).tolist()
    [[3.0, 2.5]]
    """
    return _mean("avg_pool1d", 1, x, kernel_size, stride, padding, count_include_pad)


def avg_pool2d(
    x: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    *,
    count_include_pad: bool = True,
) -> Tensor:
    """`avg_pool1d` along two axes: x [B,C,H,W] or [C,H,W] -> [B,C,P,Q]."""
    return _mean("avg_pool2d", 2, x, kernel_size, stride, padding, count_include_pad)


def _max(
    name: str, n: int, x: Any, kernel: Size, stride: Size | None, padding: Size, dilation: Size
) -> Tensor:
    sizes, strides, borders = _options(name, n, kernel, stride, padding)
    given = ops.asarray(x)
    x = _padded(name, given, n, borders, -math.inf)
    seen = windows(name, x, sizes, strides, per_axis(name, "dilation", dilation, n))
    y = ops.max(seen, axis=tuple(range(n)))
    return y if given.ndim == n + 2 else ops.squeeze(y, 0)


def _mean(
    name: str, n: int, x: Any, kernel: Size, stride: Size | None, padding: Size, whole: bool
) -> Tensor:
    sizes, strides, borders = _options(name, n, kernel, stride, padding)
    given, lead = ops.asarray(x), tuple(range(n))
    x = _padded(name, given, n, borders, 0.0)
    y = ops.mean(windows(name, x, sizes, strides, (1,) * n), axis=lead)
    if not whole and any(borders):
        inside = np.pad(np.ones(given.shape[-n:]), [(b, b) for b in borders])
        share = ops.mean(windows(name, ops.asarray(inside), sizes, strides, (1,) * n), axis=lead)
        y = y / ops.astype(share, y.dtype).to(y.backend)
    return y if given.ndim == n + 2 else ops.squeeze(y, 0)


def _options(
    name: str, n: int, kernel: Size, stride: Size | None, padding: Size
) -> tuple[Sizes, Sizes, Sizes]:
    sizes = per_axis(name, "kernel_size", kernel, n)
    strides = sizes if stride is None else per_axis(name, "stride", stride, n)
    borders = per_axis(name, "padding", padding, n, 0)
    if any(2 * b > k for b, k in zip(borders, sizes)):
        raise ArgumentError(
            f"{name}: padding={padding} must be at most half of kernel_size={kernel}."
        )
    return sizes, strides, borders


def _padded(name: str, x: Tensor, n: int, borders: Sizes, value: float) -> Tensor:
    x = batched(name, x, n)
    return ops.pad(x, [(0, 0), (0, 0), *[(b, b) for b in borders]], value) if any(borders) else x
