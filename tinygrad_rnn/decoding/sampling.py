"""Drawing sequences token by token: greedily, by temperature, from the k likeliest, from a nucleus.

In: a step, a state, first tokens. Out: one list of tokens for each sequence.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..random import as_generator
from .steps import Array, Step, call, check_length, check_state, first_tokens, log_softmax


def probabilities(
    logits: Any, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Array:
    """softmax(logits / temperature), kept where a token is among the likeliest, summing to 1.

    `top_k` keeps the k likeliest tokens; `top_p` the fewest likeliest ones whose probabilities add
    up to at least p (of those that top_k left). Temperature 0 is 1 for the likeliest. logits
    [..., V] -> float64[..., V]; of equal ones the first counts as likelier.
    Fan, Lewis, Dauphin, 2018 (top-k); Holtzman et al., 2020 (nucleus).

    >>> probabilities([2.0, 1.0, 0.0], top_k=2).round(3).tolist()
    [0.731, 0.269, 0.0]
    """
    x = np.asarray(logits, np.float64)
    check_options(temperature, top_k, top_p)
    order = np.argsort(-x, axis=-1, kind="stable")
    rank = np.argsort(order, axis=-1, kind="stable")
    if temperature == 0:
        return np.asarray(rank == 0, np.float64)
    kept = np.ones(x.shape, bool) if top_k is None else rank < top_k
    p = np.exp(log_softmax(np.where(kept, x, -math.inf) / temperature))
    if top_p is not None:
        ordered = np.take_along_axis(p, order, axis=-1)
        before = np.cumsum(ordered, axis=-1) - ordered  # what the likelier ones add up to
        p = np.where(np.take_along_axis(before, rank, axis=-1) < top_p, p, 0.0)
    result: Array = p / p.sum(axis=-1, keepdims=True)
    return result


def sample(
    step: Step,
    state: Any,
    first: Any,
    length: int,
    *,
    eos: int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    rng: Any = None,
) -> list[list[int]]:
    """Draw up to `length` tokens for each of B sequences, each given all before it.

        x_0 = first;  x_t ~ probabilities(step(x_{t-1}, state), temperature, top_k, top_p)

    `step(tokens int64[B], state) -> (logits [B, V], state)`, any function, compiled or not; leaves
    of the state begin with B. A sequence ends before the token `eos`.

    >>> import numpy as np
    >>> def count(tokens, state):                     # after n comes n + 1, of 10 tokens
    ...     return 9.0 * np.eye(10)[(tokens.numpy() + 1) % 10], state
    >>> sample(count, None, [3, 8], 4, temperature=0)
    [[4, 5, 6, 7], [9, 0, 1, 2]]
    """
    check_length("sample", length)
    check_options(temperature, top_k, top_p)
    tokens = first_tokens("sample", first)
    state, generator = check_state("sample", state, tokens.size), as_generator(rng)
    drawn: list[Array] = []
    done = np.zeros(tokens.shape, bool)
    while len(drawn) < length and not done.all():
        logits, state = call("sample", step, tokens, state)
        p = probabilities(logits, temperature, top_k, top_p)
        tokens = draw(p, np.asarray(generator.uniform((tokens.size, 1), dtype="float64").numpy()))
        done |= tokens == eos
        drawn.append(tokens)
    table = np.array(drawn, np.int64).reshape(-1, done.size)
    return [until(eos, column) for column in table.T.tolist()]


def greedy(
    step: Step, state: Any, first: Any, length: int, *, eos: int | None = None
) -> list[list[int]]:
    """The likeliest token at every step: `sample` with temperature 0."""
    return sample(step, state, first, length, eos=eos, temperature=0.0)


def draw(p: Array, u: Array) -> Array:
    """The token of each row [N, V] where the sum of probabilities first exceeds u [N, 1]."""
    total = np.cumsum(p, axis=-1)
    last = np.argmax(total == total[:, -1:], axis=-1)  # whatever the rounding, none of p = 0
    chosen: Array = np.minimum((total <= u * total[:, -1:]).sum(axis=-1), last)
    return chosen


def until(eos: int | None, tokens: list[int]) -> list[int]:
    """The tokens before the first `eos`."""
    return tokens[: tokens.index(eos)] if eos is not None and eos in tokens else tokens


def check_options(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raise for options that make no sense."""
    if not 0 <= temperature < math.inf:
        raise ArgumentError(f"sample: temperature is {temperature!r}, expected at least 0.")
    if top_k is not None and not (isinstance(top_k, int) and top_k >= 1):
        raise ArgumentError(f"sample: top_k is {top_k!r}, expected an integer of at least 1.")
    if top_p is not None and not 0 < top_p <= 1:
        raise ArgumentError(f"sample: top_p is {top_p!r}, expected a number in (0, 1].")
