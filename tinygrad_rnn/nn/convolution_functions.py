"""Convolution and transposed convolution: windows and one product.

In: x [B,C,*S] (or [C,*S]) and weights in PyTorch's layout. Out: [B,O,*P].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..ops.contraction import contract
from ..tensor import Tensor
from .windows import Sizes, batched, overlap_add, per_axis, windows

Size = int | Sequence[int]


def conv1d(
    x: Any,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """y[b,o,p] = Σ_{c,k} weight[o,c,k] · x[b,c, p · stride + k · dilation - padding] + bias[o].

    x [B,C,L] or [C,L], weight [O, C / groups, K], bias [O] -> [B,O,P] with
    P = (L + 2 padding - dilation (K - 1) - 1) // stride + 1. padding may be "valid" (0) or "same"
    (P = L, with stride 1). With groups, each group of outputs sees its own group of inputs.

    >>> import tinygrad_rnn as tg
    >>> x, w = tg.tensor([[1.0, 2.0, 4.0, 8.0]]), tg.tensor([[[-1.0, 1.0]]])
    >>> conv1d(x, w).tolist()
    [[1.0, 2.0, 4.0]]
    """
    return _convolve("conv1d", 1, x, weight, bias, stride, padding, dilation, groups)


def conv2d(
    x: Any,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """`conv1d` along two axes: x [B,C,H,W] or [C,H,W], weight [O, C / groups, K, L] -> [B,O,P,Q].

    Options are one integer or one for each axis.

    >>> import tinygrad_rnn as tg
    >>> conv2d(tg.ones((2, 3, 8, 7)), tg.ones((4, 3, 3, 3)), stride=2, padding=1).shape
    (2, 4, 4, 4)
    """
    return _convolve("conv2d", 2, x, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    x: Any,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """The adjoint of `conv1d`: every input element adds weight · x to a window of the output.

    x [B,I,P] or [I,P], weight [I, O / groups, K], bias [O] -> [B,O,L] with
    L = (P - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1.

    >>> import tinygrad_rnn as tg
    >>> x, w = tg.tensor([[1.0, 2.0]]), tg.tensor([[[1.0, 10.0, 100.0]]])
    >>> conv_transpose1d(x, w, stride=2).tolist()
    [[1.0, 10.0, 102.0, 20.0, 200.0]]
    """
    options = stride, padding, output_padding, groups, dilation
    return _transposed("conv_transpose1d", 1, x, weight, bias, *options)


def conv_transpose2d(
    x: Any,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """The adjoint of `conv2d`: x [B,I,P,Q] or [I,P,Q], weight [I, O / groups, K, L] -> [B,O,H,W].

    Dumoulin, Visin, 2016, A guide to convolution arithmetic for deep learning.

    >>> import tinygrad_rnn as tg
    >>> conv_transpose2d(tg.ones((2, 3, 4, 4)), tg.ones((3, 1, 4, 4)), stride=2, padding=1).shape
    (2, 1, 8, 8)
    """
    options = stride, padding, output_padding, groups, dilation
    return _transposed("conv_transpose2d", 2, x, weight, bias, *options)


def _convolve(
    name: str,
    n: int,
    x: Any,
    weight: Tensor,
    bias: Tensor | None,
    stride: Size,
    padding: Size | str,
    dilation: Size,
    groups: int,
) -> Tensor:
    given = ops.asarray(x)
    x = batched(name, given, n)
    strides = per_axis(name, "stride", stride, n)
    dilations = per_axis(name, "dilation", dilation, n)
    low, high = _borders(name, padding, weight.shape[2:], strides, dilations)
    per_group, rest = divmod(x.shape[1], groups)
    if rest or weight.ndim != n + 2 or weight.shape[1] != per_group or weight.shape[0] % groups:
        raise ShapeError(
            f"{name}: input {given.type} and weight {weight.type} do not fit: expected "
            f"[B,C,...] and [O, C / groups, ...] with groups={groups} dividing C and O."
        )
    x = ops.pad(x, [(0, 0), (0, 0), *zip(low, high)]) if any((*low, *high)) else x
    pairs = zip(ops.split(x, groups, 1), ops.split(weight, groups, 0))
    parts = [_product(name, a, w, strides, dilations) for a, w in pairs]
    return _finish(ops.concat(parts, 0), bias, given.ndim == n + 1)


def _product(name: str, x: Tensor, weight: Tensor, strides: Sizes, dilations: Sizes) -> Tensor:
    """x [B,C,*S], weight [O,C,*K] -> [O,B,*P]: a product of matrices [O, K C] and [K C, B P]."""
    n = x.ndim - 2
    seen = windows(name, ops.swapaxes(x, 0, 1), weight.shape[2:], strides, dilations)
    k, p = tuple(range(n)), tuple(range(n + 3, 2 * n + 3))
    c, b, o = n, n + 1, n + 2
    return contract(seen, weight, (*k, c, b, *p), (o, c, *k), (o, b, *p))


def _transposed(
    name: str,
    n: int,
    x: Any,
    weight: Tensor,
    bias: Tensor | None,
    stride: Size,
    padding: Size,
    output_padding: Size,
    groups: int,
    dilation: Size,
) -> Tensor:
    given = ops.asarray(x)
    x = batched(name, given, n)
    strides = per_axis(name, "stride", stride, n)
    dilations = per_axis(name, "dilation", dilation, n)
    cut = per_axis(name, "padding", padding, n, 0)
    more = per_axis(name, "output_padding", output_padding, n, 0)
    if any(m >= max(s, d) for m, s, d in zip(more, strides, dilations)):
        raise ArgumentError(
            f"{name}: output_padding={output_padding} must be smaller than the stride or the "
            f"dilation ({stride}, {dilation})."
        )
    if weight.ndim != n + 2 or x.shape[1] != weight.shape[0] or x.shape[1] % groups:
        raise ShapeError(
            f"{name}: input {given.type} and weight {weight.type} do not fit: expected "
            f"[B,I,...] and [I, O / groups, ...] with groups={groups} dividing I."
        )
    k, p = tuple(range(n)), tuple(range(n + 3, 2 * n + 3))
    i, b, o = n, n + 1, n + 2
    parts = [
        contract(w, a, (i, o, *k), (b, i, *p), (*k, o, b, *p))
        for a, w in zip(ops.split(x, groups, 1), ops.split(weight, groups, 0))
    ]
    sizes = zip(x.shape[2:], weight.shape[2:], strides, dilations, more)
    lengths = tuple([(m - 1) * s + d * (k - 1) + 1 + e for m, k, s, d, e in sizes])
    y = overlap_add(ops.concat(parts, n), lengths, strides, dilations)
    if any(length <= 2 * c for length, c in zip(lengths, cut)):
        raise ShapeError(f"{name}: padding={padding} leaves nothing of an output of {lengths}.")
    inside = tuple([slice(c, length - c) for c, length in zip(cut, lengths)])
    return _finish(y[(..., *inside)], bias, given.ndim == n + 1)


def _finish(y: Tensor, bias: Tensor | None, single: bool) -> Tensor:
    """[O,B,*P] and a bias [O] -> [B,O,*P], or [O,*P] for a single input."""
    if bias is not None:
        y = y + ops.reshape(bias, (-1, *(1,) * (y.ndim - 1)))
    return ops.squeeze(y, 1) if single else ops.swapaxes(y, 0, 1)


def _borders(
    name: str, padding: Size | str, kernel: Sizes, strides: Sizes, dilations: Sizes
) -> tuple[Sizes, Sizes]:
    """How many zeros come before and after each axis."""
    n = len(kernel)
    if not isinstance(padding, str):
        widths = per_axis(name, "padding", padding, n, 0)
        return widths, widths
    if padding == "valid":
        return (0,) * n, (0,) * n
    if padding != "same" or any(s != 1 for s in strides):
        raise ArgumentError(
            f"{name}: padding={padding!r} with stride {strides}; expected integers, 'valid', or "
            f"'same' with stride 1."
        )
    total = [d * (k - 1) for k, d in zip(kernel, dilations)]
    return tuple([t // 2 for t in total]), tuple([t - t // 2 for t in total])
