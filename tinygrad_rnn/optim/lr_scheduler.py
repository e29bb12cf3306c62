"""Schedules of the learning rate, with PyTorch's names and values.

Each is a function of (base learning rate, step) that `step()` writes into the optimizer's groups;
so there is no history to lose: the position and the base rates are the whole state. The settings
belong to the code, and are not saved. Call `step()` outside compiled functions; they read the rate.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import cos, inf, pi
from typing import Any

from ..errors import ArgumentError
from .groups import require
from .optimizer import Optimizer


class LRScheduler:
    """Base class: subclasses say in `lr_at` what the rate is after `step` steps.

    `base_lrs` are the rates that the groups had when their first schedule was made.
    """

    def __init__(self, optimizer: Optimizer[Any]):
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(
                f"{type(self).__name__}: got a {type(optimizer).__name__}, expected an optimizer."
            )
        self.optimizer = optimizer
        self.base_lrs: list[float] = []
        for group in optimizer.param_groups:
            if group.initial_lr is None:
                group.initial_lr = group["lr"]
            self.base_lrs.append(group.initial_lr)
        self.last_epoch = 0
        self._write()

    def lr_at(self, base: float, step: int, group: int) -> float:
        """The learning rate of group number `group` after `step` steps."""
        raise NotImplementedError

    def step(self) -> None:
        """Go one step (or epoch, as you like) further."""
        self.last_epoch += 1
        self._write()

    def get_last_lr(self) -> list[float]:
        """The rates that the groups have now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Position and base rates."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> None:
        """Continue from there. The optimizer's own state brings the rates themselves."""
        new = _checked_state(self, state_dict)
        if len(new["base_lrs"]) != len(self.base_lrs):
            raise ArgumentError(
                f"{type(self).__name__}.load_state_dict: the state has {len(new['base_lrs'])} "
                f"groups, the optimizer {len(self.base_lrs)}."
            )
        self.last_epoch, self.base_lrs = int(new["last_epoch"]), list(new["base_lrs"])

    def _write(self) -> None:
        groups = self.optimizer.param_groups[: len(self.base_lrs)]  # later ones are not ours
        for i, (group, base) in enumerate(zip(groups, self.base_lrs, strict=True)):
            group["lr"] = self.lr_at(base, self.last_epoch, i)


class StepLR(LRScheduler):
    """lr = base * gamma^floor(t / step_size)."""

    def __init__(self, optimizer: Optimizer[Any], step_size: int, gamma: float = 0.1):
        require("step_size", step_size, step_size >= 1, ">= 1")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def lr_at(self, base: float, step: int, group: int) -> float:
        return float(base * self.gamma ** (step // self.step_size))


class LambdaLR(LRScheduler):
    """lr = base * lr_lambda(t), with one function for all groups or a list with one for each."""

    def __init__(
        self,
        optimizer: Optimizer[Any],
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
    ):
        groups = len(optimizer.param_groups)
        if not callable(lr_lambda) and not isinstance(lr_lambda, Sequence):
            kind = type(lr_lambda).__name__
            raise ArgumentError(f"LambdaLR: lr_lambda is a {kind}, expected a function of t.")
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise ArgumentError(
                f"LambdaLR: got {len(self.lr_lambdas)} functions for {groups} parameter groups."
            )
        super().__init__(optimizer)

    def lr_at(self, base: float, step: int, group: int) -> float:
        return float(base * self.lr_lambdas[group](step))


class CosineAnnealingLR(LRScheduler):
    """lr = eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2; Loshchilov and Hutter, 2017."""

    def __init__(self, optimizer: Optimizer[Any], T_max: int, eta_min: float = 0.0):
        require("T_max", T_max, T_max >= 1, ">= 1")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def lr_at(self, base: float, step: int, group: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + cos(pi * step / self.T_max)) / 2


class LinearWarmup(LRScheduler):
    """lr = base (start_factor + (1 - start_factor) min(1, t / total_iters)); PyTorch's LinearLR."""

    def __init__(
        self, optimizer: Optimizer[Any], start_factor: float = 1 / 3, total_iters: int = 5
    ):
        require("start_factor", start_factor, 0 < start_factor <= 1, "above 0 and at most 1")
        require("total_iters", total_iters, total_iters >= 1, ">= 1")
        self.start_factor, self.total_iters = start_factor, total_iters
        super().__init__(optimizer)

    def lr_at(self, base: float, step: int, group: int) -> float:
        done = min(1.0, step / self.total_iters)
        return base * (self.start_factor + (1 - self.start_factor) * done)


class SequentialLR(LRScheduler):
    """One schedule after the other: number k starts, at its own step 0, at milestones[k - 1]."""

    def __init__(
        self,
        optimizer: Optimizer[Any],
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
    ):
        rising = all(a < b for a, b in pairwise([0, *milestones]))
        if len(milestones) != len(schedulers) - 1 or not rising:
            raise ArgumentError(
                f"SequentialLR: {len(schedulers)} schedules need {len(schedulers) - 1} rising "
                f"milestones, got {list(milestones)}."
            )
        if any(s.optimizer is not optimizer for s in schedulers):
            raise ArgumentError("SequentialLR: a schedule belongs to another optimizer.")
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer)

    def lr_at(self, base: float, step: int, group: int) -> float:
        current = bisect_right(self.milestones, step)
        start = self.milestones[current - 1] if current else 0
        return self.schedulers[current].lr_at(base, step - start, group)


def warmup_cosine(
    optimizer: Optimizer[Any],
    warmup: int,
    total: int,
    start_factor: float = 0.01,
    eta_min: float = 0.0,
) -> SequentialLR:
    """`warmup` steps up to the base rate, then a cosine down to `eta_min` at step `total`.

    Errors: ArgumentError unless 1 <= warmup < total.
    """
    require("total", total, warmup < total, f"more than warmup={warmup}")
    return SequentialLR(
        optimizer,
        [
            LinearWarmup(optimizer, start_factor, warmup),
            CosineAnnealingLR(optimizer, total - warmup, eta_min),
        ],
        [warmup],
    )


class ReduceLROnPlateau:
    """Multiply the rates by `factor` when a metric has not improved for `patience` calls of `step`.

    Better means less than best * (1 - threshold) (mode "min", threshold_mode "rel"), more than
    best * (1 + threshold) ("max"), or best -/+ threshold ("abs"). NaN is never better. After a
    reduction `cooldown` calls do not count. Changes smaller than `eps` are left out.
    """

    def __init__(
        self,
        optimizer: Optimizer[Any],
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ):
        require("factor", factor, 0 <= factor < 1, "at least 0 and below 1")
        require("mode", mode, mode in ("min", "max"), "'min' or 'max'")
        known = threshold_mode in ("rel", "abs")
        require("threshold_mode", threshold_mode, known, "'rel' or 'abs'")
        groups = len(optimizer.param_groups)
        self.min_lrs = [*min_lr] if isinstance(min_lr, Sequence) else [min_lr] * groups
        require("min_lr", min_lr, len(self.min_lrs) == groups, f"a number or {groups} of them")
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.eps = cooldown, eps
        self.best = inf if mode == "min" else -inf
        self.last_epoch = self.num_bad_epochs = self.cooldown_counter = 0

    def step(self, metrics: Any) -> None:
        """Tell the newest value of the metric (a number or a Tensor with one element)."""
        current = float(metrics.item() if hasattr(metrics, "item") else metrics)
        self.last_epoch += 1
        if self._is_better(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def get_last_lr(self) -> list[float]:
        """The rates that the groups have now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The best value and the counters."""
        return {name: getattr(self, name) for name in _PLATEAU_STATE}

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> None:
        """Continue from there. The optimizer's own state brings the rates themselves."""
        for name, value in _checked_state(self, state_dict).items():
            setattr(self, name, value)

    def _is_better(self, value: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "rel":
            goal = self.best * (1 + sign * self.threshold)
        else:
            goal = self.best + sign * self.threshold
        return sign * value > sign * goal

    def _reduce(self) -> None:
        for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            old = group["lr"]
            new = max(old * self.factor, least)
            if old - new > self.eps:
                group["lr"] = new


_PLATEAU_STATE = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")


def _checked_state(
    scheduler: LRScheduler | ReduceLROnPlateau, state: Mapping[str, Any]
) -> Mapping[str, Any]:
    expected = set(scheduler.state_dict())
    if not isinstance(state, Mapping) or set(state) != expected:
        got = sorted(state) if isinstance(state, Mapping) else type(state).__name__
        raise ArgumentError(
            f"{type(scheduler).__name__}.load_state_dict: got {got}, expected {sorted(expected)}."
        )
    return state
