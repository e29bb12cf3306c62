"""Connectionist temporal classification: the loss of all ways to spread labels over time.

In: log probabilities of labels and blank at every step, and target labels, of ragged lengths.
Out: a number, or one for each sample. The forward recursion is a `scan` in log space; its
derivatives are derived.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from ..graph import Var
from ..scan import scan
from ..tensor import Tensor
from .lengths import length_mask, select
from .loss_functions import reduce

WHERE = "ctc_loss"


def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log Σ_π Π_t p_t(π_t) over all π that become the target when repeats, then blanks, go.

    With l' the target with a blank before, between and after its labels, and a(l', s) allowed to
    come from s, s - 1, and s - 2 if l'_s is neither blank nor l'_{s-2}:

        α_t(s) = log p_t(l'_s) + log(e^α_{t-1}(s) + e^α_{t-1}(s-1) [+ e^α_{t-1}(s-2)])
        loss = -log(e^α_T(last) + e^α_T(last but one))

    log_probs [T, N, C] (or [T, C]), from log_softmax; targets integers [N, S], padded, or all
    samples' one after the other, [sum of target_lengths]; lengths [N]. "mean" divides each loss by
    its target's length (at least 1), then averages over the batch. A target that needs more steps
    than there are has the loss inf, with `zero_infinity` 0; its gradient is 0. Padding may hold
    anything. By log_probs, the derivative is that of the formula; PyTorch's differs from it by
    p_t, and both are the same by what log_softmax was applied to.
    Graves, Fernández, Gomez, Schmidhuber, 2006, Connectionist temporal classification.

    >>> import tinygrad_rnn as tg
    >>> logp = tg.log_softmax(tg.zeros((2, 3)))    # "1" is 11, 01 or 10: three paths of 1/9
    >>> round(ctc_loss(logp, [1], 2, 1).item(), 4)
    1.0986
    """
    logp = ops.asarray(log_probs)
    single = logp.ndim == 2
    logp = ops.expand_dims(logp, 1) if single else logp
    if logp.ndim != 3 or not logp.dtype.is_float:
        raise ShapeError(f"{WHERE}: log_probs are {logp.type}, expected floats [T, N, C].")
    T, N, C = logp.shape
    if not 0 <= blank < C:
        raise ArgumentError(f"{WHERE}: blank={blank} is none of the {C} classes.")
    steps = each(input_lengths, N, T, "input_lengths", logp)
    labels, counts = padded(targets, target_lengths, single, blank, logp)
    mask = length_mask(steps, T, (N,), WHERE, logp.backend)
    logp = select(mask, logp, ops.zeros_like(logp), WHERE, "log_probs")
    loss = -log_likelihood(logp, mask, labels, counts, blank)
    if zero_infinity:
        loss = ops.where(loss == math.inf, ops.zeros_like(loss), loss)
    if reduction == "mean":
        loss = loss / ops.maximum(counts, 1).astype(loss.dtype)
    return loss[0] if single and reduction == "none" else reduce(loss, reduction, WHERE)


def log_likelihood(
    logp: Tensor, mask: Tensor, labels: Tensor, counts: Tensor, blank: int
) -> Tensor:
    """log P(labels) [N]: logp [T, N, C], mask bool[T, N], labels [N, S], how many each has [N]."""
    N, S = labels.shape
    blanks = ops.full((N, S + 1, 1), blank, labels.dtype, labels.backend)
    between = ops.concat([ops.expand_dims(labels, -1), blanks[:, 1:]], -1).reshape(N, 2 * S)
    path = ops.concat([blanks[:, 0], between], 1)  # l', [N, 2 S + 1]
    place = ops.arange(2 * S + 1, dtype="int64", backend=logp.backend)
    skips = ops.logical_and(path != blank, path != shift(path, 2, blank))
    emitted = ops.take_along_axis(logp, ops.expand_dims(path, 0), -1)
    start = ops.where(place == 0, 0.0, -math.inf).astype(logp.dtype)

    def step(alpha: Tensor, inputs: Any) -> tuple[Tensor, None]:
        on, p = inputs
        skipped = ops.where(skips, shift(alpha, 2, -math.inf), -math.inf)
        new = p + log_sum(alpha, shift(alpha, 1, -math.inf), skipped)
        return ops.where(ops.expand_dims(on, -1), new, alpha), None

    alpha, _ = scan(step, ops.broadcast_to(start, (N, 2 * S + 1)), (mask, emitted))
    last = ops.expand_dims(2 * counts, -1)
    end = ops.take_along_axis(alpha, last, -1)
    before = ops.take_along_axis(alpha, ops.maximum(last - 1, 0), -1)
    before = ops.where(last == 0, -math.inf, before)
    return ops.squeeze(log_sum(end, before), -1)


def shift(a: Tensor, by: int, value: float) -> Tensor:
    """a[:, s - by] at s, and `value` where there is none."""
    kept = a[:, : max(a.shape[1] - by, 0)]
    return ops.pad(kept, [(0, 0), (a.shape[1] - kept.shape[1], 0)], value)


def log_sum(*terms: Tensor) -> Tensor:
    """log Σ exp(term), elementwise; -inf, with zero gradients, where all are -inf."""
    top = functools.reduce(ops.maximum, terms).detach()
    top = ops.where(top == -math.inf, 0.0, top)
    total = functools.reduce(ops.add, [ops.exp(a - top) for a in terms])
    none = total == 0
    return ops.where(none, -math.inf, ops.log(ops.where(none, 1.0, total)) + top)


# --- arguments -----------------------------------------------------------------------------------


def values(a: Any) -> np.ndarray[Any, Any] | None:
    """What can be looked at now; inside jit, an argument has no values yet."""
    if not isinstance(a, Tensor):
        return np.asarray(a)
    return None if isinstance(a._value.data, Var) else a.detach().numpy()


def each(lengths: Any, count: int, limit: int, name: str, like: Tensor) -> Tensor:
    """Lengths as a tensor [N]; a single number will do for a single sequence."""
    given = ops.asarray(lengths if isinstance(lengths, Tensor) else np.asarray(lengths))
    given = given.reshape(1) if given.ndim == 0 and count == 1 else given
    if not given.dtype.is_integer or given.shape != (count,):
        raise ShapeError(f"{WHERE}: {name} are {given.type}, expected {count} integers.")
    host = values(lengths)
    if host is not None:
        for n in host[(host < 0) | (host > limit)].ravel()[:1]:
            at = np.flatnonzero(host == n)[0]
            raise ArgumentError(f"{WHERE}: {name}[{at}] is {n}, expected 0 to {limit}.")
    moved: Tensor = given.astype("int64").to(like.backend)
    return moved


def padded(targets: Any, lengths: Any, single: bool, blank: int, like: Tensor) -> Any:
    """Labels [N, S], blank where there are none, and how many there are, [N]."""
    t, N, C = ops.asarray(targets), like.shape[1], like.shape[2]
    if not t.dtype.is_integer and t.size:
        raise DTypeError(f"{WHERE}: targets are {t.type}, expected integers.")
    host, sizes = values(targets), values(lengths)
    t = t.astype("int64").to(like.backend)
    row = t.ndim == 1 and not single
    t = ops.expand_dims(t, 0) if t.ndim == 1 and single else t
    if not row and (t.ndim != 2 or t.shape[0] != N):
        raise ShapeError(
            f"{WHERE}: targets are {t.type}, expected [{N}, S], or all labels in one row."
        )
    counts = each(lengths, N, t.shape[-1], "target_lengths", like)
    t = unjoined(t, sizes) if row else t
    there = ops.arange(t.shape[1], dtype="int64", backend=like.backend) < counts.reshape(N, 1)
    if host is not None and not row:
        rows = None if sizes is None else sizes.reshape((*host.shape[:-1], 1))
        host = None if rows is None else host[np.arange(t.shape[1]) < rows]
    if host is not None:
        for label in host[(host < 0) | (host >= C)][:1]:
            raise IndexRangeError(f"{WHERE}: a target is {label}, expected 0 to {C - 1}.")
    return ops.where(there, t, blank), counts


def unjoined(t: Tensor, sizes: np.ndarray[Any, Any] | None) -> Tensor:
    """Labels of all samples in one row, as one row for each sample."""
    if sizes is None:
        raise ArgumentError(
            f"{WHERE}: targets in one row need target_lengths that are known when the function is "
            f"compiled; pad the targets to [N, S], or give target_lengths as a list."
        )
    if sizes.sum() != t.size:
        raise ArgumentError(
            f"{WHERE}: targets {t.type} are all labels in one row, but the target_lengths add up "
            f"to {sizes.sum()}."
        )
    start = np.cumsum(sizes) - sizes
    index = start[:, None] + np.arange(sizes.max(initial=0))
    return ops.take(t, np.minimum(index, max(t.size - 1, 0)))
