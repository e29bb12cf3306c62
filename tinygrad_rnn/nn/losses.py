"""Losses as modules: the functions of `loss_functions` with their options stored.

In: predictions and targets. Out: a number (or with reduction="none" one per element).
"""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from . import loss_functions as L
from .ctc import ctc_loss
from .module import Module


class CrossEntropyLoss(Module):
    """`functional.cross_entropy` of logits [..., C] and targets (integers [...] or [..., C]).

    >>> import tinygrad_rnn as tg
    >>> round(tg.nn.CrossEntropyLoss()(tg.zeros((2, 4)), tg.tensor([0, 3])).item(), 4)
    1.3863
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        axis: int = -1,
    ):
        self.register_buffer("weight", weight)
        self.ignore_index, self.reduction = ignore_index, reduction
        self.label_smoothing, self.axis = label_smoothing, axis

    weight: Tensor | None

    def forward(self, logits: Any, target: Any) -> Tensor:
        return L.cross_entropy(
            logits,
            target,
            self.weight,
            self.ignore_index,
            self.reduction,
            self.label_smoothing,
            self.axis,
        )


class CTCLoss(Module):
    """`functional.ctc_loss`: labels to a sequence without saying where each of them is.

    >>> import tinygrad_rnn as tg
    >>> logp = tg.log_softmax(tg.zeros((5, 2, 4)))
    >>> round(tg.nn.CTCLoss(reduction="sum")(logp, [[1, 2], [3, 0]], [5, 4], [2, 1]).item(), 4)
    6.6187
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False):
        self.blank, self.reduction, self.zero_infinity = blank, reduction, zero_infinity

    def forward(
        self, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any
    ) -> Tensor:
        return ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            self.blank,
            self.reduction,
            self.zero_infinity,
        )


class MSELoss(Module):
    """(x - target)²."""

    def __init__(self, reduction: str = "mean"):
        self.reduction = reduction

    def forward(self, x: Any, target: Any) -> Tensor:
        return L.mse_loss(x, target, self.reduction)


class L1Loss(Module):
    """|x - target|."""

    def __init__(self, reduction: str = "mean"):
        self.reduction = reduction

    def forward(self, x: Any, target: Any) -> Tensor:
        return L.l1_loss(x, target, self.reduction)


class HuberLoss(Module):
    """Quadratic up to `delta`, then linear."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0):
        self.reduction, self.delta = reduction, delta

    def forward(self, x: Any, target: Any) -> Tensor:
        return L.huber_loss(x, target, self.reduction, self.delta)


class SmoothL1Loss(Module):
    """Huber's loss divided by `beta`."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0):
        self.reduction, self.beta = reduction, beta

    def forward(self, x: Any, target: Any) -> Tensor:
        return L.smooth_l1_loss(x, target, self.reduction, self.beta)


class BCEWithLogitsLoss(Module):
    """Binary cross entropy of logits; `pos_weight` weighs the positive targets."""

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ):
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)
        self.reduction = reduction

    def forward(self, x: Any, target: Any) -> Tensor:
        return L.binary_cross_entropy_with_logits(
            x, target, self.weight, self.reduction, self.pos_weight
        )
