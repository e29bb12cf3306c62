"""Layers of pooling, with PyTorch's names. In: x [B,C,*S] or [C,*S]. Out: fewer places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..tensor import Tensor
from . import pooling_functions as F
from .module import Module
from .windows import per_axis

Size = int | Sequence[int]


class _Pool(Module):
    axes: int

    def __init__(self, kernel_size: Size, stride: Size | None, padding: Size):
        where, n = self.where(), self.axes
        self.kernel_size = per_axis(where, "kernel_size", kernel_size, n)
        self.stride = self.kernel_size if stride is None else per_axis(where, "stride", stride, n)
        self.padding = per_axis(where, "padding", padding, n, 0)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _MaxPool(_Pool):
    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
    ):
        super().__init__(kernel_size, stride, padding)
        self.dilation = per_axis(self.where(), "dilation", dilation, self.axes)

    def forward(self, x: Any) -> Tensor:
        fn = F.max_pool1d if self.axes == 1 else F.max_pool2d
        return fn(x, self.kernel_size, self.stride, self.padding, self.dilation)


class _AvgPool(_Pool):
    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        *,
        count_include_pad: bool = True,
    ):
        super().__init__(kernel_size, stride, padding)
        self.count_include_pad = count_include_pad

    def forward(self, x: Any) -> Tensor:
        fn = F.avg_pool1d if self.axes == 1 else F.avg_pool2d
        count = self.count_include_pad
        return fn(x, self.kernel_size, self.stride, self.padding, count_include_pad=count)


class MaxPool1d(_MaxPool):
    """The greatest element of every window: x [B,C,L] -> [B,C,P]; stride None: kernel_size.

    P = (L + 2 padding - dilation (K - 1) - 1) // stride + 1.
    """

    axes = 1


class MaxPool2d(_MaxPool):
    """The greatest element of every window: x [B,C,H,W] -> [B,C,P,Q].

    >>> import tinygrad_rnn as tg
    >>> tg.nn.MaxPool2d(2)(tg.ones((2, 3, 8, 7))).shape
    (2, 3, 4, 3)
    """

    axes = 2


class AvgPool1d(_AvgPool):
    """The mean of every window: x [B,C,L] -> [B,C,P]; stride None: kernel_size."""

    axes = 1


class AvgPool2d(_AvgPool):
    """The mean of every window: x [B,C,H,W] -> [B,C,P,Q]; stride None: kernel_size."""

    axes = 2
