"""Attention as functions: a weighted mean of values, weighted by how well their keys fit a query.

In: queries, keys, values, masks. Out: the means, and the weights. Knows no parameters.
"""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..errors import ArgumentError, DTypeError, ShapeError
from ..tensor import Tensor
from ..types import broadcast_shapes
from .dropout import dropout


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    *,
    rng: Any = None,
) -> Tensor:
    """softmax(Q K^T · scale + mask) V, with scale = 1/sqrt(E) unless it is given.

    query [..., L, E], key [..., S, E], value [..., S, V] -> [..., L, V]. `attn_mask` broadcasts to
    [..., L, S]: booleans say where attention may go (PyTorch's meaning), floats are added.
    `is_causal` lets query l see the keys 0 to l. A query that may see nothing gets zeros; a key
    that no query may see (by a boolean mask) may hold anything, NaN too. `dropout_p` acts whenever
    it is not 0. Vaswani et al., 2017, Attention is all you need.

    >>> import tinygrad_rnn as tg
    >>> q, k, v = tg.ones((1, 2)), tg.ones((3, 2)), tg.tensor([[1.0], [2.0], [9.0]])
    >>> scaled_dot_product_attention(q, k, v, attn_mask=tg.tensor([True, True, False])).tolist()
    [[1.5]]
    """
    what = "scaled_dot_product_attention"
    query, key, value = ops.asarray(query), ops.asarray(key), ops.asarray(value)
    mask = None if attn_mask is None else ops.asarray(attn_mask)
    check_qkv(what, query, key, value)
    if is_causal:
        if mask is not None:
            raise ArgumentError(f"{what}: give attn_mask or is_causal=True, not both.")
        mask = causal_mask(query.shape[-2], key.shape[-2], query)
    bias = None
    if mask is not None:
        full = (*batch_shape(what, query, key), query.shape[-2], key.shape[-2])
        check_mask(what, mask, full)
        if not mask.dtype.is_bool:
            bias, mask = mask, None
    factor = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    key, value = hide(mask, key), hide(mask, value)
    scores = (query * factor) @ key.mT
    return attend(scores if bias is None else scores + bias, value, mask, dropout_p, rng)[0]


def attend(
    scores: Tensor, value: Tensor, mask: Tensor | None, dropout_p: float = 0.0, rng: Any = None
) -> tuple[Tensor, Tensor]:
    """(weights @ value, weights), weights = softmax of scores [..., L, S] where the mask allows."""
    if mask is not None:
        scores = ops.where(mask, scores, -math.inf)
    weights = ops.softmax(scores) if scores.shape[-1] else scores  # of no keys nothing is summed
    weights = dropout(weights, dropout_p, rng=rng)
    return weights @ value, weights


def hide(mask: Tensor | None, rows: Tensor) -> Tensor:
    """`rows` [..., S, E] with zeros where the mask [..., L, S] lets no query look.

    A weight of 0 is not enough to shut out NaN, because 0 * NaN is NaN.
    """
    if mask is None:
        return rows
    seen = ops.any(mask, axis=-2) if mask.ndim > 1 else mask
    return ops.where(ops.expand_dims(seen, -1), rows, ops.zeros_like(rows))


def causal_mask(queries: int, keys: int, like: Tensor) -> Tensor:
    """bool[L, S]: s <= l."""
    rows = ops.arange(queries, dtype="int64", backend=like.backend)
    columns = ops.arange(keys, dtype="int64", backend=like.backend)
    return columns <= ops.expand_dims(rows, -1)


# --- checks --------------------------------------------------------------------------------------


def check_qkv(what: str, query: Tensor, key: Tensor, value: Tensor) -> None:
    """Raise unless the three fit together."""
    given = f"query {query.type}, key {key.type}, value {value.type}"
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise ShapeError(f"{what}: {given}; expected [..., L, E], [..., S, E] and [..., S, V].")
    if not (query.dtype.is_float and query.dtype == key.dtype == value.dtype):
        raise DTypeError(f"{what}: {given}; expected three tensors of one floating dtype.")
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ShapeError(
            f"{what}: {given}; query and key need the same last axis, key and value the same "
            f"number of rows (axis -2)."
        )


def batch_shape(what: str, query: Tensor, key: Tensor) -> tuple[int, ...]:
    """The axes before the last two of query and key together."""
    try:
        return broadcast_shapes(query.shape[:-2], key.shape[:-2])
    except ShapeError as error:
        raise ShapeError(
            f"{what}: the leading axes of query {query.type} and key {key.type} do not broadcast."
        ) from error


def check_mask(what: str, mask: Tensor, full: tuple[int, ...]) -> None:
    """Raise unless the mask is of booleans or floats and broadcasts to [..., L, S]."""
    if not (mask.dtype.is_bool or mask.dtype.is_float):
        raise DTypeError(
            f"{what}: the mask is {mask.type}, expected booleans or floats; compare with 0 first."
        )
    tail = full[len(full) - mask.ndim :]
    if mask.ndim > len(full) or any(m not in (1, n) for m, n in zip(mask.shape, tail)):
        raise ShapeError(f"{what}: a mask of {mask.type} does not broadcast to {list(full)}.")
