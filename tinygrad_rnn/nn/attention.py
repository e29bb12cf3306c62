"""MultiheadAttention: PyTorch's signature, names and layouts.

In: query, key and value [L, N, E] (batch_first: [N, L, E]; one sequence: [L, E]).
Out: outputs shaped like the query, and the weights. Attention for recurrent decoders is in
`alignment`.
"""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..errors import ArgumentError, DTypeError, ShapeError
from ..random import as_generator
from ..tensor import Tensor
from . import init
from .attention_functions import attend, causal_mask, hide
from .checks import check_dtype, check_positive, check_probability
from .functional import linear
from .layers import Linear
from .module import Module
from .parameter import Parameter


class MultiheadAttention(Module):
    """H attentions side by side, each on its own projection of queries, keys and values.

        head_i = softmax((Q W_i^Q) (K W_i^K)^T / sqrt(E/H)) (V W_i^V)
        output = concat(head_1 … head_H) W^O

    query [L, N, E], key [S, N, kdim], value [S, N, vdim] -> ([L, N, E], weights [N, L, S], or
    [N, H, L, S] with average_attn_weights=False, or None with need_weights=False). As in PyTorch,
    and unlike `scaled_dot_product_attention`, True in a boolean mask shuts out: key_padding_mask
    [N, S], attn_mask [L, S] or [N*H, L, S]; masks of floats are added to the scores. Padded keys
    and values may hold anything. `is_causal` shuts out what comes after the query. A query that
    may see nothing gets zeros for the mean. Dropout acts on the weights, in training.
    Vaswani et al., 2017, Attention is all you need.

    >>> import tinygrad_rnn as tg
    >>> layer = tg.nn.MultiheadAttention(6, 2, batch_first=True, rng=0)
    >>> x = tg.ones((3, 5, 6))
    >>> y, weights = layer(x, x, x, is_causal=True)
    >>> y.shape, weights.detach()[0, 1].numpy().round(2).tolist()
    ((3, 5, 6), [0.5, 0.5, 0.0, 0.0, 0.0])
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        *,
        dtype: Any = None,
        rng: Any = None,
    ):
        kdim, vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        check_positive(self.where(), embed_dim=embed_dim, num_heads=num_heads, kdim=kdim, vdim=vdim)
        check_probability(self.where(), dropout=dropout)
        if embed_dim % num_heads:
            raise ArgumentError(
                f"{self.where()}: embed_dim={embed_dim} is not a multiple of num_heads={num_heads}."
            )
        self.embed_dim, self.num_heads, self.kdim, self.vdim = embed_dim, num_heads, kdim, vdim
        self.dropout, self.batch_first = dropout, batch_first
        self.add_zero_attn = add_zero_attn
        self.rng = None if rng is None else as_generator(rng)
        joined = kdim == vdim == embed_dim

        def weight(*shape: int) -> Parameter:
            made = Parameter.zeros(shape, dtype)
            init.xavier_uniform_(made, rng=self.rng)
            return made

        self.in_proj_weight = weight(3 * embed_dim, embed_dim) if joined else None
        self.q_proj_weight = None if joined else weight(embed_dim, embed_dim)
        self.k_proj_weight = None if joined else weight(embed_dim, kdim)
        self.v_proj_weight = None if joined else weight(embed_dim, vdim)
        self.in_proj_bias = Parameter.zeros((3 * embed_dim,), dtype) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype=dtype, rng=self.rng)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)
        self.bias_k = Parameter.zeros((1, 1, embed_dim), dtype) if add_bias_kv else None
        self.bias_v = Parameter.zeros((1, 1, embed_dim), dtype) if add_bias_kv else None
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra, rng=self.rng)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        given = [ops.asarray(a) for a in (query, key, value)]
        single = given[0].ndim == 2
        q, k, v = self.arrange(given)
        N, L, S = q.shape[0], q.shape[1], k.shape[1]
        allowed, bias = self.masks(key_padding_mask, attn_mask, (N, L, S), single)
        if is_causal:
            allowed = both(allowed, causal_mask(L, S, q))
        if allowed is not None:  # hidden before they are projected: 0 * NaN is NaN
            seen = ops.broadcast_to(allowed, (N, self.num_heads, L, S)).any(axis=1)
            k, v = hide(seen, k), hide(seen, v)
        q, k, v = self.project(q, k, v)
        k, v, allowed, bias = self.extended(k, v, allowed, bias)
        q, k, v = (self.split(a) for a in (q, k, v))
        scores = (q / math.sqrt(self.embed_dim // self.num_heads)) @ k.mT
        scores = scores if bias is None else scores + bias
        p = self.dropout if self.training else 0.0
        heads, weights = attend(scores, v, allowed, p, self.rng)
        y = self.out_proj(ops.swapaxes(heads, 1, 2).reshape(N, L, self.embed_dim))
        if single:
            y, weights = y[0], weights[0]
        elif not self.batch_first:
            y = ops.swapaxes(y, 0, 1)
        if not need_weights:
            return y, None
        return y, weights.mean(axis=-3) if average_attn_weights else weights

    # --- inputs ----------------------------------------------------------------------------------

    def arrange(self, given: list[Tensor]) -> list[Tensor]:
        """The three inputs as [N, rows, size], checked."""
        shown = ", ".join(f"{n} {a.type}" for n, a in zip(("query", "key", "value"), given))
        axes = {a.ndim for a in given}
        if axes not in ({2}, {3}):
            raise ShapeError(f"{self.where()}: {shown}; expected three tensors of 3 (or 2) axes.")
        for a in given:
            check_dtype(self.where(), a, self)
        if axes == {2}:
            given = [ops.expand_dims(a, 0) for a in given]
        elif not self.batch_first:
            given = [ops.swapaxes(a, 0, 1) for a in given]
        q, k, v = given
        sizes = tuple(a.shape[-1] for a in given)
        if sizes != (self.embed_dim, self.kdim, self.vdim):
            raise ShapeError(
                f"{self.where()}: {shown}; the layer was built for features of "
                f"{self.embed_dim}, {self.kdim} and {self.vdim}."
            )
        if not q.shape[0] == k.shape[0] == v.shape[0] or k.shape[1] != v.shape[1]:
            order = "[N, L, E]" if self.batch_first else "[L, N, E]"
            raise ShapeError(
                f"{self.where()}: {shown}; all need the same batch size, key and value the same "
                f"length (layout {order}, batch_first={self.batch_first})."
            )
        return given

    def masks(
        self, padding: Any, mask: Any, sizes: tuple[int, int, int], single: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """(what is allowed, what is added to the scores), each broadcasting to [N, H, L, S]."""
        N, L, S = sizes
        allowed: Tensor | None = None
        bias: Tensor | None = None
        wide = (N * self.num_heads, L, S)
        for name, given, shapes in (
            ("key_padding_mask", padding, [(S,)] if single else [(N, S)]),
            ("attn_mask", mask, [(L, S), wide]),
        ):
            if given is None:
                continue
            m = ops.asarray(given)
            if m.shape not in shapes:
                want = " or ".join(str(list(s)) for s in shapes)
                raise ShapeError(f"{self.where()}: {name} is {m.type}, expected shape {want}.")
            if name == "key_padding_mask":
                m = m.reshape(N, 1, 1, S)
            elif m.ndim == 3:
                m = m.reshape(N, self.num_heads, L, S)
            if m.dtype.is_bool:
                allowed = both(allowed, ~m)
            elif m.dtype.is_float:
                bias = m if bias is None else bias + m
            else:
                raise DTypeError(
                    f"{self.where()}: {name} is {m.type}, expected booleans (True shuts out) or "
                    f"floats (added to the scores)."
                )
        return allowed, bias

    def project(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Each input times its part of the weights."""
        E, bias = self.embed_dim, self.in_proj_bias
        separate = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)

        def part(i: int, a: Tensor) -> Tensor:
            rows = slice(i * E, (i + 1) * E)
            own, joined = separate[i], self.in_proj_weight
            weight = joined[rows] if own is None and joined is not None else own
            assert weight is not None
            return linear(a, weight, None if bias is None else bias[rows])

        return part(0, q), part(1, k), part(2, v)

    def extended(
        self, k: Tensor, v: Tensor, allowed: Tensor | None, bias: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """One more key and value (learned: add_bias_kv; zero: add_zero_attn) that all may see."""
        N, _, E = k.shape
        rows: list[tuple[Tensor, Tensor]] = []
        if self.bias_k is not None and self.bias_v is not None:
            rows.append((self.bias_k, self.bias_v))
        if self.add_zero_attn:
            zero = ops.zeros((1, 1, E), k.dtype, k.backend)
            rows.append((zero, zero))
        for row_k, row_v in rows:
            k = ops.concat([k, ops.broadcast_to(row_k, (N, 1, E))], 1)
            v = ops.concat([v, ops.broadcast_to(row_v, (N, 1, E))], 1)
        n = len(rows)
        allowed = None if allowed is None else widen(allowed, n, True)
        bias = None if bias is None else widen(bias, n, 0.0)
        return k, v, allowed, bias

    def split(self, a: Tensor) -> Tensor:
        """[N, rows, E] -> [N, H, rows, E/H]."""
        N, rows, E = a.shape
        return ops.swapaxes(a.reshape(N, rows, self.num_heads, E // self.num_heads), 1, 2)

    def extra_repr(self) -> str:
        return f"{self.embed_dim}, {self.num_heads}, batch_first={self.batch_first}"


def both(a: Tensor | None, b: Tensor) -> Tensor:
    """What both masks allow."""
    return b if a is None else ops.logical_and(a, b)


def widen(mask: Tensor, count: int, value: Any) -> Tensor:
    """The mask [..., S] with `count` more columns of one value."""
    return ops.pad(mask, [(0, 0)] * (mask.ndim - 1) + [(0, count)], value=value)
