"""Attention of recurrent decoders: where in the source to look, given the decoder's state.

In: a query [..., B, Q], keys [S, B, K] (an encoder's outputs, time-major), perhaps values and
lengths. Out: the context (a weighted mean of the values) and the weights. Both layers work inside
a step of `scan` (what depends on the keys alone is computed once, before the loop) and on the
outputs of all steps at once.
"""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..errors import ArgumentError, DTypeError, ShapeError
from ..random import as_generator
from ..tensor import Tensor
from .checks import check_positive
from .layers import Linear
from .lengths import length_mask
from .module import Module

SCORES = ("dot", "general", "concat")


class Alignment(Module):
    """Base class: a subclass scores a query [..., B, Q] against keys [B, S, K] as [..., B, S].

    B is one batch axis, several, or none; axes before it are steps of the decoder.
    """

    query_size: int
    key_size: int

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} defines no scores(query, keys).")

    def forward(
        self, query: Any, keys: Any, values: Any = None, lengths: Any = None
    ) -> tuple[Tensor, Tensor]:
        """(context [..., B, V], weights [..., B, S]); values [S, B, V] are the keys unless given.

        `lengths` [B] counts each sample's keys; nothing beyond them reaches a value or a gradient,
        and a sample without keys gets zeros.
        """
        query, keys = ops.asarray(query), ops.asarray(keys)
        values = keys if values is None else ops.asarray(values)
        self.check(query, keys, values)
        mask, batch = None, keys.shape[1:-1]
        keys, values = ops.moveaxis(keys, 0, -2), ops.moveaxis(values, 0, -2)
        if lengths is not None:
            mask = length_mask(lengths, keys.shape[-2], batch, self.where(), keys.backend)
            mask = ops.moveaxis(mask, 0, -1)
            there = ops.expand_dims(mask, -1)  # a weight of 0 shuts out no NaN: 0 * NaN is NaN
            keys, values = (ops.where(there, a, ops.zeros_like(a)) for a in (keys, values))
        scores = self.scores(query, keys)
        scores = scores if mask is None else ops.where(mask, scores, -math.inf)
        weights = ops.softmax(scores) if keys.shape[-2] else scores
        return ops.einsum("...s,...sv->...v", weights, values), weights

    def check(self, query: Tensor, keys: Tensor, values: Tensor) -> None:
        """Raise unless the three fit each other and the layer."""
        given = f"query {query.type}, keys {keys.type}, values {values.type}"
        if not (query.dtype.is_float and query.dtype == keys.dtype == values.dtype):
            raise DTypeError(f"{self.where()}: {given}; expected one floating dtype.")
        batch = keys.shape[1:-1]
        if (
            keys.ndim < 2
            or values.shape[:-1] != keys.shape[:-1]
            or query.ndim < keys.ndim - 1
            or query.shape[query.ndim - 1 - len(batch) : -1] != batch
        ):
            raise ShapeError(
                f"{self.where()}: {given}; expected query [..., B, Q], keys [S, B, K] and values "
                f"[S, B, V] (or all three without B)."
            )
        if (query.shape[-1], keys.shape[-1]) != (self.query_size, self.key_size):
            raise ShapeError(
                f"{self.where()}: {given}; the layer was built with query_size="
                f"{self.query_size}, key_size={self.key_size}."
            )

    def extra_repr(self) -> str:
        return f"{self.query_size}, {self.key_size}"


class AdditiveAttention(Alignment):
    """score(q, k_s) = v · tanh(W q + U k_s + b), weights = softmax over s, context = Σ_s w_s v_s.

    Bahdanau, Cho, Bengio, 2015, Neural machine translation by jointly learning to align and
    translate.

    >>> import tinygrad_rnn as tg
    >>> look = tg.nn.AdditiveAttention(4, 3, 5, rng=0)
    >>> memory = tg.ones((7, 2, 3))
    >>> context, weights = look(tg.zeros((2, 4)), memory, lengths=[7, 2])
    >>> context.shape, weights[1].detach().numpy().round(2).tolist()
    ((2, 3), [0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0])
    """

    def __init__(
        self,
        query_size: int,
        key_size: int,
        hidden_size: int,
        *,
        dtype: Any = None,
        rng: Any = None,
    ):
        rng = as_generator(rng)
        self.query_size, self.key_size, self.hidden_size = query_size, key_size, hidden_size
        self.query = Linear(query_size, hidden_size, bias=False, dtype=dtype, rng=rng)
        self.key = Linear(key_size, hidden_size, dtype=dtype, rng=rng)
        self.score = Linear(hidden_size, 1, bias=False, dtype=dtype, rng=rng)

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        q, k = self.query(query), self.key(keys)
        return ops.squeeze(self.score(ops.tanh(ops.expand_dims(q, -2) + k)), -1)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, {self.hidden_size}"


class LuongAttention(Alignment):
    """score(q, k_s) = q · k_s ("dot"), q · W k_s ("general") or v · tanh(W [q; k_s]) ("concat").

    weights = softmax over s, context = Σ_s w_s v_s. `scaled` divides the score by sqrt(Q).
    Luong, Pham, Manning, 2015, Effective approaches to attention-based neural machine translation.

    >>> import tinygrad_rnn as tg
    >>> look = tg.nn.LuongAttention(3, score="dot")
    >>> context, weights = look(tg.ones((6, 2, 3)), tg.ones((4, 2, 3)))    # six steps at once
    >>> context.shape, weights.shape
    ((6, 2, 3), (6, 2, 4))
    """

    def __init__(
        self,
        query_size: int,
        key_size: int | None = None,
        score: str = "general",
        scaled: bool = False,
        *,
        dtype: Any = None,
        rng: Any = None,
    ):
        key_size = query_size if key_size is None else key_size
        check_positive(self.where(), query_size=query_size, key_size=key_size)
        if score not in SCORES:
            names = ", ".join(map(repr, SCORES))
            raise ArgumentError(f"{self.where()}: score is {score!r}, expected one of {names}.")
        if score == "dot" and key_size != query_size:
            raise ArgumentError(
                f"{self.where()}: score='dot' needs keys as long as queries, got key_size="
                f"{key_size}, query_size={query_size}; score='general' takes any."
            )
        rng = as_generator(rng)
        self.query_size, self.key_size = query_size, key_size
        self.kind, self.scaled = score, scaled
        if score == "general":
            self.key = Linear(key_size, query_size, bias=False, dtype=dtype, rng=rng)
        elif score == "concat":
            self.joint = AdditiveAttention(query_size, key_size, query_size, dtype=dtype, rng=rng)
            self.joint.key.bias = None

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        if self.kind == "concat":  # W [q; k] = W_q q + W_k k
            scores = self.joint.scores(query, keys)
        else:
            keys = self.key(keys) if self.kind == "general" else keys
            scores = ops.einsum("...q,...sq->...s", query, keys)
        return scores / math.sqrt(self.query_size) if self.scaled else scores

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, score={self.kind!r}"
