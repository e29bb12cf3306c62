"""Losses as functions: numerically stable composites of operations.

In: predictions and targets. Out: a number, or with reduction="none" one number per element.
Formulas and defaults are PyTorch's; where PyTorch expects the classes on axis 1, `cross_entropy`
has `axis=-1`, because the outputs of recurrent layers are [T, B, C].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from ..graph import Var
from ..tensor import Tensor
from ..trace import state
from ..types import int64, normalize_axis


def reduce(loss: Tensor, reduction: str, what: str) -> Tensor:
    """`loss` averaged, summed or as it is."""
    if reduction == "mean":
        return ops.mean(loss)
    if reduction == "sum":
        return ops.sum(loss)
    if reduction == "none":
        return loss
    raise ArgumentError(f"{what}: reduction is {reduction!r}, expected 'mean', 'sum' or 'none'.")


def _pair(x: Any, target: Any, what: str) -> tuple[Tensor, Tensor]:
    """Both as tensors of one shape: a silently broadcast target trains on the wrong thing."""
    x, target = ops.asarray(x), ops.asarray(target)
    if not x.dtype.is_float:
        raise DTypeError(f"{what}: the input is {x.type}, expected a floating dtype.")
    if x.shape != target.shape:
        raise ShapeError(
            f"{what}: the input is {x.type} and the target {target.type}; expected equal shapes "
            f"(reshape or broadcast one of them explicitly)."
        )
    return x, target if target.dtype == x.dtype else target.astype(x.dtype)


def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """(x - target)²."""
    x, target = _pair(x, target, "mse_loss")
    return reduce(ops.square(x - target), reduction, "mse_loss")


def l1_loss(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """|x - target|, with slope 0 at 0."""
    x, target = _pair(x, target, "l1_loss")
    return reduce(ops.abs(x - target), reduction, "l1_loss")


def huber_loss(x: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d²/2 where |d| <= delta, else delta·(|d| - delta/2), with d = x - target. Huber, 1964."""
    if not delta > 0:
        raise ArgumentError(f"huber_loss: delta must be positive, got {delta!r}.")
    x, target = _pair(x, target, "huber_loss")
    d = x - target
    size = ops.abs(d)
    loss = ops.where(size <= delta, 0.5 * d * d, delta * (size - 0.5 * delta))
    return reduce(loss, reduction, "huber_loss")


def smooth_l1_loss(x: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """huber_loss(delta=beta) / beta; beta = 0 is l1_loss."""
    if beta == 0:
        return l1_loss(x, target, reduction)
    if not beta > 0:
        raise ArgumentError(f"smooth_l1_loss: beta must not be negative, got {beta!r}.")
    return huber_loss(x, target, reduction, delta=beta) / beta


def binary_cross_entropy_with_logits(
    x: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Tensor:
    """-[p·y·log σ(x) + (1 - y)·log(1 - σ(x))], finite for logits of any size.

    `target` y in [0, 1], shaped like x; `pos_weight` p and `weight` (a factor of each element's
    loss) broadcast against x.
    """
    what = "binary_cross_entropy_with_logits"
    x, y = _pair(x, target, what)
    factor: Any = 1.0 if pos_weight is None else 1.0 + (_weight(pos_weight, x, what) - 1.0) * y
    loss = (1.0 - y) * x + factor * ops.softplus(-x)
    if weight is not None:
        loss = loss * _weight(weight, x, what)
    return reduce(loss, reduction, what)


def _weight(weight: Any, x: Tensor, what: str) -> Tensor:
    w = ops.asarray(weight)
    tail = x.shape[max(x.ndim - w.ndim, 0) :]
    if w.ndim > x.ndim or any(m not in (1, n) for m, n in zip(w.shape, tail, strict=True)):
        raise ShapeError(f"{what}: a weight of {w.type} does not broadcast to the input {x.type}.")
    return w if w.dtype == x.dtype else w.astype(x.dtype)


def cross_entropy(
    logits: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """-Σ_c q_c log softmax(logits)_c, q the (smoothed) target distribution.

    logits [..., C]; target either integers [...] or probabilities [..., C]; weight [C]. Elements
    whose target is `ignore_index` count neither in the sum nor in the mean, and get no gradient.
    The mean divides by the total weight of the targets that count; if none counts it is 0.
    `label_smoothing` e mixes the target with the uniform distribution: (1 - e)·q + e/C.

    >>> import tinygrad_rnn as tg
    >>> logits = tg.tensor([[1.0, 2.0], [3.0, 0.0]])
    >>> round(cross_entropy(logits, tg.tensor([1, -100])).item(), 4)
    0.3133
    """
    logits, target = ops.asarray(logits), ops.asarray(target)
    if not logits.dtype.is_float or logits.ndim == 0:
        raise DTypeError(f"cross_entropy: logits are {logits.type}, expected floats [..., C].")
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(
            f"cross_entropy: label_smoothing must lie between 0 and 1, got {label_smoothing!r}."
        )
    axis = normalize_axis(axis, logits.ndim, "cross_entropy")
    logits = ops.moveaxis(logits, axis, -1)
    w = None if weight is None else _class_weight(weight, logits)
    if target.dtype.is_float:
        logp = ops.log_softmax(logits, axis=-1)
        return _with_probabilities(logp, target, axis, w, reduction, label_smoothing)
    if target.shape != logits.shape[:-1]:
        raise ShapeError(
            f"cross_entropy: logits {logits.type} (classes last) need targets of shape "
            f"{logits.shape[:-1]}, got {target.type}; if the classes of the logits are on another "
            f"axis, name it: axis=1 is PyTorch's layout."
        )
    target = _classes(target, ignore_index, logits.shape[-1], "cross_entropy")
    # An ignored row may hold anything, NaN too: it must not reach the others through log_softmax.
    counts = ops.expand_dims(target != ignore_index, -1)
    logp = ops.log_softmax(ops.where(counts, logits, ops.zeros_like(logits)), axis=-1)
    return _with_indices(logp, target, w, ignore_index, reduction, label_smoothing)


def nll_loss(
    logp: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """-logp[target]: `cross_entropy` of what log_softmax has already been applied to."""
    logp, target = ops.asarray(logp), ops.asarray(target)
    if target.shape != logp.shape[:-1]:
        raise ShapeError(
            f"nll_loss: {logp.type} needs targets {logp.shape[:-1]}, got {target.type}."
        )
    w = None if weight is None else _class_weight(weight, logp)
    target = _classes(target, ignore_index, logp.shape[-1], "nll_loss")
    return _with_indices(logp, target, w, ignore_index, reduction, 0.0)


def _classes(target: Tensor, ignore: int, count: int, what: str) -> Tensor:
    """Targets in 64 bits, each a class or `ignore`; inside jit, what is neither becomes `count`,
    at which reading raises when the values are known."""
    if not target.dtype.is_integer:
        raise DTypeError(f"{what}: targets must be integers or floats, got {target.type}.")
    if not isinstance(target._value.data, Var):
        host = target.numpy()
        bad = np.argwhere(((host < 0) | (host >= count)) & (host != ignore))
        if len(bad):
            at = tuple(int(i) for i in bad[0])
            raise IndexRangeError(
                f"{what}: target[{', '.join(map(str, at))}] is {host[at]}, expected a class from 0 "
                f"to {count - 1}, or ignore_index={ignore}."
            )
    target = ops.astype(target, int64)
    if state.tracer is not None:
        target = ops.where((target < 0) & (target != ignore), count, target)
    return target


def _class_weight(weight: Any, logits: Tensor) -> Tensor:
    w = ops.asarray(weight)
    if w.shape != logits.shape[-1:]:
        raise ShapeError(
            f"cross_entropy: weight is {w.type}, expected one number for each of the "
            f"{logits.shape[-1]} classes."
        )
    return w if w.dtype == logits.dtype else w.astype(logits.dtype)


def _with_indices(
    logp: Tensor, target: Tensor, w: Tensor | None, ignore: int, reduction: str, e: float
) -> Tensor:
    counts = target != ignore
    safe = ops.where(counts, target, ops.zeros_like(target))
    loss = -ops.squeeze(ops.take_along_axis(logp, ops.expand_dims(safe, -1), axis=-1), -1)
    each = ops.ones_like(loss) if w is None else ops.take(w, safe, axis=0)
    each = ops.where(counts, each, ops.zeros_like(each))
    loss = loss if w is None else loss * each
    if e:
        spread = -(logp if w is None else logp * w).sum(axis=-1)
        loss = (1.0 - e) * loss + (e / logp.shape[-1]) * spread
    loss = ops.where(counts, loss, ops.zeros_like(loss))
    if reduction != "mean":
        return reduce(loss, reduction, "cross_entropy")
    # half precision cannot count beyond 2048
    kind = loss.dtype.wide
    total = ops.sum(ops.astype(each, kind))
    mean = ops.sum(ops.astype(loss, kind)) / ops.where(total == 0, ops.ones_like(total), total)
    return ops.astype(mean, loss.dtype)


def _with_probabilities(
    logp: Tensor, target: Tensor, axis: int, w: Tensor | None, reduction: str, e: float
) -> Tensor:
    target = ops.moveaxis(target, axis, -1) if target.ndim == logp.ndim else target
    if target.shape != logp.shape:
        raise ShapeError(
            f"cross_entropy: target probabilities {target.type} must be shaped like the logits "
            f"{logp.type}; class indices must be integers."
        )
    target = target if target.dtype == logp.dtype else target.astype(logp.dtype)
    q = (1.0 - e) * target + e / logp.shape[-1] if e else target
    loss = -ops.sum((q * logp) if w is None else (q * logp * w), axis=-1)
    return reduce(loss, reduction, "cross_entropy")
