"""Batch normalization: every channel scaled by the mean and variance of the batch.

In: x [B,C] or [B,C,*S]. Out: the same shape. Training moves running statistics, which are buffers;
evaluation uses them.
"""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..errors import ShapeError
from ..ops import asarray
from ..tensor import Tensor
from ..trace import no_grad
from .checks import check_dtype, check_positive
from .module import Module
from .parameter import Parameter


def batch_norm(
    x: Any,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """y = (x - mean) / sqrt(var + eps) · weight + bias, for every channel (axis 1).

    x [B,C,...]; the others [C]. In training (or without running statistics) mean and biased
    variance are the batch's, and the running statistics, if given, move towards them in place:
    r ← (1 - momentum) r + momentum · (mean, or unbiased variance). Ioffe, Szegedy, 2015.
    """
    x = asarray(x)
    if x.ndim < 2:
        raise ShapeError(f"batch_norm: input is {x.type}, expected [B,C,...].")
    shape = (1, -1, *(1,) * (x.ndim - 2))
    # squares of half precision would end at 256
    wide = ops.astype(x, x.dtype.wide, copy=False)
    if training or running_mean is None or running_var is None:
        axes, count = (0, *range(2, x.ndim)), math.prod(x.shape) // max(x.shape[1], 1)
        if count < 2:
            raise ShapeError(
                f"batch_norm: the variance in training needs more than one value per channel, "
                f"got {x.type}; use a larger batch, or eval()."
            )
        mean = ops.mean(wide, axis=axes, keepdims=True)
        centred = wide - mean
        var = ops.mean(centred * centred, axis=axes, keepdims=True)
        _move(running_mean, mean, momentum)
        _move(running_var, var * (count / (count - 1)), momentum)
    else:
        centred = wide - ops.reshape(running_mean, shape)
        var = ops.reshape(running_var, shape)
    y = ops.astype(centred * ops.rsqrt(var + eps), x.dtype)
    y = y if weight is None else y * ops.reshape(weight, shape)
    return y if bias is None else y + ops.reshape(bias, shape)


@no_grad()
def _move(running: Tensor | None, new: Tensor, momentum: float | Tensor) -> None:
    if running is not None:
        new = ops.astype(ops.reshape(new.detach(), running.shape), running.dtype)
        running.assign_(running + momentum * (new - running))


class _BatchNorm(Module):
    ranks: tuple[int, ...]
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: Any = None,
    ):
        check_positive(self.where(), num_features=num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        size = (num_features,)
        self.weight = Parameter.full(size, 1.0, dtype) if affine else None
        self.bias = Parameter.zeros(size, dtype) if affine else None
        kept = track_running_stats
        self.register_buffer("running_mean", ops.zeros(size, dtype=dtype) if kept else None)
        self.register_buffer("running_var", ops.ones(size, dtype=dtype) if kept else None)
        self.register_buffer("num_batches_tracked", ops.zeros((), dtype="int64") if kept else None)

    def forward(self, x: Any) -> Tensor:
        x = asarray(x)
        check_dtype(self.where(), x, self)
        if x.ndim not in self.ranks or x.shape[1] != self.num_features:
            raise ShapeError(
                f"{self.where()}: input is {x.type}, expected {' or '.join(map(str, self.ranks))} "
                f"axes, of which axis 1 has num_features={self.num_features}."
            )
        momentum: float | Tensor = 0.0 if self.momentum is None else self.momentum
        count = self.num_batches_tracked
        if self.training and count is not None:
            count.assign_(count + 1)
            if self.momentum is None:  # the plain mean of all batches so far
                momentum = 1.0 / ops.astype(count, x.dtype)
        return batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            momentum,
            self.eps,
        )

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class BatchNorm1d(_BatchNorm):
    """y = (x - mean) / sqrt(var + eps) · weight + bias for every channel of x [B,C] or [B,C,L].

    In training mean and (biased) variance are the batch's; running_mean and running_var move by
    `momentum` towards the batch's mean and unbiased variance (None: the plain mean of all batches).
    In evaluation they take the batch's place. Ioffe, Szegedy, 2015, Batch normalization.

    >>> import tinygrad_rnn as tg
    >>> y = tg.nn.BatchNorm1d(2)(tg.tensor([[1.0, 10.0], [3.0, 30.0]]))
    >>> y.detach().numpy().round(3).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """`BatchNorm1d` for x [B,C,H,W]: every channel, over batch and places."""

    ranks = (4,)
