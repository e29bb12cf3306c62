"""Clipping of gradients, by norm and by value; no branch depends on a value, so `jit` works."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from math import inf

from .. import ops, types
from ..errors import NaNError, TraceError
from ..tensor import Tensor
from ..trace import no_grad
from ..trace import state as trace_state
from .groups import require, several


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients together to a total norm of at most `max_norm`; returns the old norm.

    g <- g * min(1, max_norm / (norm + 1e-6)), norm over all elements of all gradients, as PyTorch.

    * Norm zero, or well below `max_norm`: every gradient keeps its bits.
    * Norm infinite: finite gradients become 0, infinite ones NaN. Norm NaN: all become NaN. The
      returned norm tells. `error_if_nonfinite=True` raises instead, before anything changes (not
      inside `jit`, where no value is known).
    * Half precision is summed in float32. Parameters without gradient do not count.

    Errors: ArgumentError (max_norm < 0, norm_type <= 0), NaNError (see above).

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> clip_grad_norm_(w, 1.0).item(), [round(x, 4) for x in w.grad.tolist()]
    (10.0, [0.6, 0.8])
    """
    require("max_norm", max_norm, max_norm >= 0, ">= 0")
    require("norm_type", norm_type, norm_type > 0, "> 0 (inf for the largest absolute value)")
    have = _with_grad(parameters)
    if not have:
        return ops.tensor(0.0)
    with no_grad():
        norm = _total_norm([g for _, g in have], float(norm_type))
        if error_if_nonfinite:
            _refuse_nonfinite(norm)
        scale = ops.minimum(max_norm / (norm + 1e-6), 1.0)
        for p, g in have:
            p.grad = g * scale.astype(g.dtype)
    return norm


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every element of every gradient to [-clip_value, clip_value]; NaN stays NaN.

    Errors: ArgumentError (clip_value < 0).
    """
    require("clip_value", clip_value, clip_value >= 0, ">= 0")
    with no_grad():
        for p, g in _with_grad(parameters):
            p.grad = ops.clip(g, -clip_value, clip_value)


def _with_grad(parameters: Tensor | Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    tensors: list[Tensor] = several(given, "clip_grad")
    # A tied weight that is listed twice must be scaled once.
    unique = {id(p): p for p in tensors}.values()
    return [(p, p.grad) for p in unique if p.grad is not None]


def _total_norm(grads: list[Tensor], order: float) -> Tensor:
    dtypes = [g.dtype if g.dtype.itemsize >= 4 else types.float32 for g in grads]
    widest = max(dtypes, key=lambda d: d.itemsize)
    wide = [ops.abs(g.astype(d)) for g, d in zip(grads, dtypes, strict=True)]
    if order == inf:
        largest = [ops.max(a).astype(widest) for a in wide if a.size]
        zero = ops.zeros((), widest, grads[0].backend)  # if all gradients have size 0
        return reduce(ops.maximum, largest, zero)
    powers = [ops.sum(a * a if order == 2 else a**order).astype(widest) for a in wide]
    total = reduce(ops.add, powers)
    return ops.sqrt(total) if order == 2 else total ** (1 / order)


def _refuse_nonfinite(norm: Tensor) -> None:
    if trace_state.tracer is not None:
        raise TraceError(
            "clip_grad_norm_: error_if_nonfinite=True looks at a value, which a compiled function "
            "does not know yet. Return the norm and look at it outside."
        )
    if not ops.isfinite(norm).item():
        raise NaNError(
            f"clip_grad_norm_: the total norm of the gradients is {norm.item()}. "
            "Find the operation with TINYGRAD_RNN_CHECK=1, or lower the learning rate."
        )
