"""Functions of neural networks, as composites of operations; no parameters, no modes.

In: tensors. Out: tensors. Every derivative follows from the operations'. Losses are in
`loss_functions` and are re-exported here, so that `nn.functional.cross_entropy` is where PyTorch's
users look.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .. import ops
from ..errors import ArgumentError, DTypeError, ShapeError
from ..ops import gelu as _exact_gelu
from ..ops import leaky_relu, linear, log_softmax, relu, sigmoid, silu, softmax, softplus, tanh
from ..ops.gathering import Take
from ..primitive import bind
from ..tensor import Tensor
from .attention_functions import scaled_dot_product_attention
from .batch_norm import batch_norm
from .convolution_functions import conv1d, conv2d, conv_transpose1d, conv_transpose2d
from .ctc import ctc_loss
from .dropout import dropout
from .loss_functions import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from .pooling_functions import avg_pool1d, avg_pool2d, max_pool1d, max_pool2d

__all__ = [
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy_with_logits",
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "cross_entropy",
    "ctc_loss",
    "dropout",
    "embedding",
    "gelu",
    "huber_loss",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_pool1d",
    "max_pool2d",
    "mse_loss",
    "nll_loss",
    "relu",
    "scaled_dot_product_attention",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "tanh",
]


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x · Φ(x), or its approximation by tanh. Hendrycks, Gimpel, 2016."""
    if approximate == "none":
        return _exact_gelu(x)
    if approximate != "tanh":
        raise ArgumentError(f"gelu: approximate is {approximate!r}, expected 'none' or 'tanh'.")
    return 0.5 * x * (1.0 + ops.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))


def layer_norm(
    x: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """y = (x - mean) / sqrt(var + eps) · weight + bias, over the last axes.

    Ba, Kiros, Hinton, 2016, Layer normalization. The variance is the biased one.
    """
    shape = normalized_shape if isinstance(normalized_shape, int) else tuple(normalized_shape)
    shape = (shape,) if isinstance(shape, int) else shape
    if x.shape[x.ndim - len(shape) :] != shape or len(shape) > x.ndim:
        raise ShapeError(f"layer_norm: the last axes of {x.type} are not normalized_shape={shape}.")
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    # squares of half precision would end at 256
    wide = ops.astype(x, x.dtype.wide, copy=False)
    centred = wide - ops.mean(wide, axis=axes, keepdims=True)
    y = centred * ops.rsqrt(ops.mean(centred * centred, axis=axes, keepdims=True) + eps)
    y = ops.astype(y, x.dtype)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def embedding(ids: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Rows of a table: y[...] = weight[ids[...]].

    ids i64[...], weight [V, E] -> [..., E]. Rows that are looked up twice get the sum of both
    gradients; the row `padding_idx` gets none.
    """
    ids = ops.asarray(ids)
    if not ids.dtype.is_integer:
        raise DTypeError(f"embedding: ids must be integers, got {ids.type}.")
    rows: Tensor = bind(Take, weight, ids, axis=0)  # negative ids are out of range here
    if padding_idx is None:
        return rows
    padding = ops.expand_dims(ids == padding_idx % weight.shape[0], -1)
    return ops.where(padding, rows.detach(), rows)
