"""Beam search: the likeliest whole sequences that can be found with K candidates at a time.

In: a step, a state, first tokens. Out: the K best sequences for each start, with their scores.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..errors import ArgumentError
from ..tensor import Tensor
from ..tree import flatten, tree_map
from .sampling import until
from .steps import Array, Step, call, check_length, check_state, first_tokens, log_softmax


class Hypothesis(NamedTuple):
    """A sequence (without its end token) and its log probability (the end token's included)."""

    tokens: list[int]
    score: float


def beam_search(
    step: Step,
    state: Any,
    first: Any,
    length: int,
    *,
    eos: int | None = None,
    beam_width: int = 4,
    length_penalty: float = 0.0,
) -> list[list[Hypothesis]]:
    """For each of B sequences, the best ones of up to `length` tokens, likeliest first.

    Of all continuations of K candidates the K with the greatest log P / ((5 + n)/6)^length_penalty
    are kept, n the number of tokens; a candidate that ended with `eos` stays as it is. With K = 1
    this is `greedy`; with K as large as the number of sequences the result is exact.

    `step(tokens int64[B*K], state) -> (logits [B*K, V], state)`; leaves of the given state begin
    with B and are repeated K times. What differs between the sequences (the encoder's outputs)
    belongs into the state too. Graves, 2012; Wu et al., 2016 (the penalty).

    >>> import numpy as np
    >>> p = np.array([[0.1, 0.5, 0.4], [0.8, 0.1, 0.1], [0.0, 0.1, 0.9]])     # 0 ends
    >>> def step(tokens, state):
    ...     with np.errstate(divide="ignore"):
    ...         return np.log(p[tokens.numpy()]), state
    >>> [(h.tokens, round(h.score, 2)) for h in beam_search(step, None, [0], 3, eos=0)[0][:2]]
    [([1], -0.92), ([2, 2, 2], -1.13)]
    """
    where, K = "beam_search", beam_width
    check_length(where, length)
    if not isinstance(K, int) or K < 1:
        raise ArgumentError(f"{where}: beam_width is {K!r}, expected an integer of at least 1.")
    start = first_tokens(where, first)
    B = start.size
    rows = np.repeat(np.arange(B), K)
    state = repeated = pick(check_state(where, state, B), rows)
    tokens = start[rows]
    scores = np.full((B, K), -math.inf)
    scores[:, 0] = 0.0  # all K candidates are the same at first
    sizes, done = np.zeros((B, K), np.int64), np.zeros((B, K), bool)
    parents: list[Array] = []
    chosen: list[Array] = []
    while len(chosen) < length and not (done | np.isneginf(scores)).all():
        logits, state = call(where, step, tokens, state)
        V = logits.shape[1]
        if eos is not None and not 0 <= eos < V:
            raise ArgumentError(f"{where}: eos={eos} is none of the {V} tokens.")
        logp = log_softmax(logits).reshape(B, K, V)
        if eos is not None:
            logp[done] = -math.inf
            logp[done, eos] = 0.0
        total = scores[..., None] + logp
        n = (sizes + ~done)[..., None]
        ranked = (total / ((5 + n) / 6) ** length_penalty).reshape(B, K * V)
        best = np.argsort(-ranked, axis=1, kind="stable")[:, :K]
        parent, token = np.divmod(best, V)
        scores = np.take_along_axis(total.reshape(B, K * V), best, 1)
        done, sizes = (np.take_along_axis(a, parent, 1) for a in (done, sizes))
        sizes, done = sizes + ~done, done | (token == eos)
        parents.append(parent)
        chosen.append(token)
        state = pick(state, (np.arange(B)[:, None] * K + parent).ravel(), repeated)
        tokens = token.ravel()
    return [
        [
            Hypothesis(until(eos, trace(parents, chosen, b, k)), float(scores[b, k]))
            for k in range(K)
            if scores[b, k] > -math.inf
        ]
        for b in range(B)
    ]


def pick(state: Any, rows: Array, repeated: Any = None) -> Any:
    """The state of other rows of the same sequences.

    A leaf that the step handed through since it was `repeated` has equal rows for all candidates
    of a sequence: it stays as it is (an encoder's outputs are large).
    """
    same = {id(leaf._value.data) for leaf in flatten(repeated)[0]}

    def take(leaf: Tensor) -> Tensor:
        if id(leaf._value.data) in same:
            return leaf
        return ops.take(leaf, ops.tensor(rows).to(leaf.backend), axis=0)

    return tree_map(take, state)


def trace(parents: list[Array], chosen: list[Array], b: int, k: int) -> list[int]:
    """The tokens of candidate k, from the last back to the first."""
    tokens = []
    for parent, token in zip(reversed(parents), reversed(chosen)):
        tokens.append(int(token[b, k]))
        k = int(parent[b, k])
    return tokens[::-1]
