"""Layers of convolution, with PyTorch's names, layouts and first weights.

In: x [B,C,*S] or [C,*S]. Out: [B,O,*P] or [O,*P].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, ShapeError
from ..ops import asarray
from ..random import as_generator
from ..tensor import Tensor
from . import convolution_functions as F
from .checks import check_dtype, check_positive
from .module import Module
from .parameter import Parameter
from .windows import per_axis

Size = int | Sequence[int]


class _Convolution(Module):
    """What all share: options, weights uniform on ±1/sqrt(fan-in), checks, printing."""

    axes: int
    turned: bool  # weight [in, out, …] instead of [out, in, …]

    def __init__(
        self,
        channels: tuple[int, int],
        kernel_size: Size,
        stride: Size,
        padding: Size | str,
        dilation: Size,
        groups: int,
        bias: bool,
        dtype: Any,
        rng: Any,
    ):
        where, n = self.where(), self.axes
        self.in_channels, self.out_channels = channels
        check_positive(where, in_channels=channels[0], out_channels=channels[1], groups=groups)
        if any(c % groups for c in channels):
            raise ArgumentError(
                f"{where}: groups={groups} must divide in_channels={channels[0]} and "
                f"out_channels={channels[1]}."
            )
        self.kernel_size = per_axis(where, "kernel_size", kernel_size, n)
        self.stride = per_axis(where, "stride", stride, n)
        self.padding = (
            padding if isinstance(padding, str) else per_axis(where, "padding", padding, n, 0)
        )
        self.dilation = per_axis(where, "dilation", dilation, n)
        self.groups = groups
        first, second = channels if self.turned else channels[::-1]
        shape = (first, second // groups, *self.kernel_size)
        bound, rng = 1.0 / math.sqrt(math.prod(shape[1:])), as_generator(rng)
        self.weight = Parameter.uniform(shape, bound, dtype, rng)
        self.bias = Parameter.uniform((channels[1],), bound, dtype, rng) if bias else None

    def checked(self, given: Any) -> Tensor:
        x = asarray(given)
        check_dtype(self.where(), x, self)
        place = x.ndim - 1 - self.axes
        if place not in (0, 1) or x.shape[place] != self.in_channels:
            raise ShapeError(
                f"{self.where()}: input is {x.type}, expected [B,C,...] or [C,...] with C = "
                f"in_channels = {self.in_channels} before {self.axes} spatial "
                f"{'axis' if self.axes == 1 else 'axes'}."
            )
        return x

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding!r}"
        )


class _Conv(_Convolution):
    turned = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        dtype: Any = None,
        rng: Any = None,
    ):
        channels = in_channels, out_channels
        super().__init__(channels, kernel_size, stride, padding, dilation, groups, bias, dtype, rng)

    def forward(self, x: Any) -> Tensor:
        fn = F.conv1d if self.axes == 1 else F.conv2d
        options = self.stride, self.padding, self.dilation, self.groups
        return fn(self.checked(x), self.weight, self.bias, *options)


class Conv1d(_Conv):
    """y[b,o,p] = Σ_{c,k} weight[o,c,k] · x[b,c, p · stride + k · dilation - padding] + bias[o].

    x [B,C,L] -> [B,O,P] with P = (L + 2 padding - dilation (K - 1) - 1) // stride + 1;
    weight [O, C / groups, K], bias [O].

    >>> import tinygrad_rnn as tg
    >>> tg.nn.Conv1d(3, 4, kernel_size=5, padding="same", rng=0)(tg.ones((2, 3, 9))).shape
    (2, 4, 9)
    """

    axes = 1


class Conv2d(_Conv):
    """`Conv1d` along two axes: x [B,C,H,W] -> [B,O,P,Q]; weight [O, C / groups, K, L], bias [O].

    Options are one integer or a pair.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.Conv2d(1, 4, 3, stride=2, padding=1, rng=0)(tg.ones((2, 1, 8, 8))).shape
    (2, 4, 4, 4)
    """

    axes = 2


class _ConvTranspose(_Convolution):
    turned = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        *,
        dtype: Any = None,
        rng: Any = None,
    ):
        channels = in_channels, out_channels
        super().__init__(channels, kernel_size, stride, padding, dilation, groups, bias, dtype, rng)
        self.output_padding = per_axis(self.where(), "output_padding", output_padding, self.axes, 0)

    def forward(self, x: Any) -> Tensor:
        fn = F.conv_transpose1d if self.axes == 1 else F.conv_transpose2d
        assert not isinstance(self.padding, str)
        options = self.stride, self.padding, self.output_padding, self.groups, self.dilation
        return fn(self.checked(x), self.weight, self.bias, *options)


class ConvTranspose1d(_ConvTranspose):
    """The adjoint of `Conv1d`: x [B,I,P] -> [B,O,L]; weight [I, O / groups, K], bias [O].

    L = (P - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1.
    """

    axes = 1


class ConvTranspose2d(_ConvTranspose):
    """The adjoint of `Conv2d`: x [B,I,P,Q] -> [B,O,H,W]; weight [I, O / groups, K, L], bias [O].

    >>> import tinygrad_rnn as tg
    >>> grow = tg.nn.ConvTranspose2d(4, 1, 4, stride=2, padding=1, rng=0)
    >>> grow(tg.ones((2, 4, 4, 4))).shape
    (2, 1, 8, 8)
    """

    axes = 2
