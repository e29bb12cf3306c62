"""The rules: one class and one equation each; settings and defaults are PyTorch's.

In all equations theta is the parameter, g its gradient (plus weight_decay * theta), eta the
learning rate and t = 1, 2, ... the step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .. import ops
from ..tensor import Tensor
from .groups import Options, require
from .optimizer import Optimizer, State, scalar

Params = Iterable[Any]


@dataclass(frozen=True)
class SGDOptions(Options):
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require("momentum", self.momentum, self.momentum >= 0, ">= 0")
        require(
            "nesterov", self.nesterov,
            not self.nesterov or (self.momentum > 0 and self.dampening == 0),
            "False, unless momentum > 0 and dampening = 0",
        )  # fmt: skip


class SGD(Optimizer[SGDOptions]):
    """Gradient descent with momentum (Polyak, 1964; Sutskever et al., 2013).

    b <- momentum b + (1 - dampening) g  (b = g at the first step);  theta <- theta - eta b,
    with Nesterov's variant theta <- theta - eta (g + momentum b).

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> tg.optim.SGD([w], lr=0.25).step()
    >>> w.tolist()
    [0.5, 1.0]
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ):
        options = SGDOptions(weight_decay, maximize, momentum, dampening, nesterov)
        super().__init__(params, lr, options)

    def init_state(self, p: Tensor, o: SGDOptions) -> State:
        if not o.momentum:
            return {}
        return {"step": scalar(0, p), "momentum_buffer": ops.zeros_like(p)}

    def update(
        self, p: Tensor, g: Tensor, s: State, o: SGDOptions, lr: Tensor
    ) -> tuple[Tensor, State]:
        rate = lr.astype(p.dtype)
        if not o.momentum:
            return p - rate * g, {}
        t = s["step"] + 1
        fresh = g
        if o.dampening:  # not damped at the first step: no branch, `t` is a Tensor
            fresh = (1 - o.dampening * (t > 1).astype(p.dtype)) * g
        b = o.momentum * s["momentum_buffer"] + fresh
        direction = g + o.momentum * b if o.nesterov else b
        return p - rate * direction, {"step": t, "momentum_buffer": b}


@dataclass(frozen=True)
class RMSpropOptions(Options):
    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    centered: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require("alpha", self.alpha, 0 <= self.alpha <= 1, "between 0 and 1")
        require("eps", self.eps, self.eps >= 0, ">= 0")
        require("momentum", self.momentum, self.momentum >= 0, ">= 0")


class RMSprop(Optimizer[RMSpropOptions]):
    """Gradient divided by a running root mean square (Hinton, 2012; centered: Graves, 2013).

    v <- alpha v + (1 - alpha) g^2,  m <- alpha m + (1 - alpha) g  (m = 0 unless centered),
    theta <- theta - eta g / (sqrt(v - m^2) + eps), or with momentum theta <- theta - eta b,
    b <- momentum b + g / (sqrt(v - m^2) + eps).
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ):
        options = RMSpropOptions(weight_decay, maximize, alpha, eps, momentum, centered)
        super().__init__(params, lr, options)

    def init_state(self, p: Tensor, o: RMSpropOptions) -> State:
        state = {"square_avg": ops.zeros_like(p)}
        if o.centered:
            state["grad_avg"] = ops.zeros_like(p)
        if o.momentum:
            state["momentum_buffer"] = ops.zeros_like(p)
        return state

    def update(
        self, p: Tensor, g: Tensor, s: State, o: RMSpropOptions, lr: Tensor
    ) -> tuple[Tensor, State]:
        v = o.alpha * s["square_avg"] + (1 - o.alpha) * (g * g)
        new, variance = {"square_avg": v}, v
        if o.centered:
            m = o.alpha * s["grad_avg"] + (1 - o.alpha) * g
            new["grad_avg"], variance = m, v - m * m
        direction = g / (ops.sqrt(variance) + o.eps)
        if o.momentum:
            direction = o.momentum * s["momentum_buffer"] + direction
            new["momentum_buffer"] = direction
        return p - lr.astype(p.dtype) * direction, new


@dataclass(frozen=True)
class AdagradOptions(Options):
    lr_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("lr_decay", "initial_accumulator_value", "eps"):
            require(name, getattr(self, name), getattr(self, name) >= 0, ">= 0")


class Adagrad(Optimizer[AdagradOptions]):
    """Gradient divided by the root of the sum of all squares (Duchi, Hazan and Singer, 2011).

    v <- v + g^2;  theta <- theta - eta / (1 + (t - 1) lr_decay) g / (sqrt(v) + eps).
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ):
        options = AdagradOptions(weight_decay, maximize, lr_decay, initial_accumulator_value, eps)
        super().__init__(params, lr, options)

    def init_state(self, p: Tensor, o: AdagradOptions) -> State:
        return {"step": scalar(0, p), "sum": ops.full_like(p, o.initial_accumulator_value)}

    def update(
        self, p: Tensor, g: Tensor, s: State, o: AdagradOptions, lr: Tensor
    ) -> tuple[Tensor, State]:
        t = s["step"] + 1
        v = s["sum"] + g * g
        rate = (lr / (1 + (t - 1) * o.lr_decay)).astype(p.dtype)
        return p - rate * (g / (ops.sqrt(v) + o.eps)), {"step": t, "sum": v}


@dataclass(frozen=True)
class AdamOptions(Options):
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    amsgrad: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        valid = len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas)
        require("betas", self.betas, valid, "two numbers, each at least 0 and below 1")
        require("eps", self.eps, self.eps >= 0, ">= 0")


class Adam(Optimizer[AdamOptions]):
    """Gradient mean over its root mean square, both debiased (Kingma and Ba, 2015).

    m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2,
    theta <- theta - eta m' / (sqrt(v') + eps),  m' = m / (1 - b1^t),  v' = v / (1 - b2^t).
    `amsgrad` uses the largest v so far (Reddi, Kale and Kumar, 2018).
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ):
        options = AdamOptions(weight_decay, maximize, tuple(betas), eps, amsgrad)  # type: ignore[arg-type]
        super().__init__(params, lr, options)

    def init_state(self, p: Tensor, o: AdamOptions) -> State:
        zeros = ops.zeros_like(p)
        state = {"step": scalar(0, p), "exp_avg": zeros, "exp_avg_sq": zeros.detach()}
        if o.amsgrad:
            state["max_exp_avg_sq"] = zeros.detach()
        return state

    def update(
        self, p: Tensor, g: Tensor, s: State, o: AdamOptions, lr: Tensor
    ) -> tuple[Tensor, State]:
        b1, b2 = o.betas
        t = s["step"] + 1
        m = b1 * s["exp_avg"] + (1 - b1) * g
        v = b2 * s["exp_avg_sq"] + (1 - b2) * (g * g)
        new = {"step": t, "exp_avg": m, "exp_avg_sq": v}
        if o.amsgrad:
            v = new["max_exp_avg_sq"] = ops.maximum(s["max_exp_avg_sq"], v)
        # The debiasing is two scalars, computed in float64 whatever the parameter's dtype.
        rate = (lr / (1 - b1**t)).astype(p.dtype)
        root = ops.sqrt(1 - b2**t).astype(p.dtype)
        return p - rate * (m / (ops.sqrt(v) / root + o.eps)), new


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    theta <- (1 - eta weight_decay) theta, then Adam's step with the plain gradient.
    """

    decoupled_decay = True

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)

    def update(
        self, p: Tensor, g: Tensor, s: State, o: AdamOptions, lr: Tensor
    ) -> tuple[Tensor, State]:
        kept = (1 - lr * o.weight_decay).astype(p.dtype)
        return super().update(kept * p, g, s, o, lr)
