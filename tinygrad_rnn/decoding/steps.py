"""What sampling and beam search share: calling the user's step, and checking what it returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, DTypeError, ShapeError
from ..tensor import Tensor
from ..trace import no_grad
from ..tree import tree_map

#: (tokens int64[N], state) -> (logits [N, V], state); leaves of the state begin with the axis N.
Step = Callable[[Tensor, Any], tuple[Any, Any]]
Array = np.ndarray[Any, Any]


def first_tokens(where: str, first: Any) -> Array:
    """The tokens to begin with, int64[B]."""
    tokens = np.asarray(first.numpy() if isinstance(first, Tensor) else first)
    if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer) or not tokens.size:
        raise ArgumentError(
            f"{where}: first is {tokens.dtype} of shape {list(tokens.shape)}, expected one token "
            f"number for each sequence, int64[B]."
        )
    return tokens.astype(np.int64)


def check_length(where: str, length: int) -> None:
    """Raise unless the greatest number of tokens to make is an integer of at least 0."""
    if not isinstance(length, int) or length < 0:
        raise ArgumentError(f"{where}: length is {length!r}, expected an integer of at least 0.")


def check_state(where: str, state: Any, count: int) -> Any:
    """The state's leaves as tensors, after checking that they begin with an axis of `count`."""

    def check(leaf: Any) -> Tensor:
        t = ops.asarray(leaf)
        if not t.ndim or t.shape[0] != count:
            raise ShapeError(
                f"{where}: a leaf of the state is {t.type}, expected a first axis of {count}, one "
                f"row for each sequence (nn.LSTM and nn.GRU have layers first: swapaxes(0, 1))."
            )
        return t

    return tree_map(check, state)


def call(where: str, step: Step, tokens: Array, state: Any) -> tuple[Array, Any]:
    """The step's logits as float64[N, V] on the host, and its state."""
    with no_grad():
        result = step(ops.tensor(tokens), state)
    if not (isinstance(result, tuple) and len(result) == 2):
        raise DTypeError(
            f"{where}: the step must return (logits, state), got {type(result).__name__}."
        )
    scores, state = result
    host = np.asarray(scores.detach().numpy() if isinstance(scores, Tensor) else scores)
    if host.ndim != 2 or host.shape[0] != tokens.size or not host.shape[1]:
        raise ShapeError(
            f"{where}: the step returned logits of shape {list(host.shape)}, expected "
            f"[{tokens.size}, V]."
        )
    if np.isnan(host).any():
        raise ArgumentError(f"{where}: the step returned logits that are NaN.")
    return host.astype(np.float64), check_state(where, state, tokens.size)


def log_softmax(scores: Array) -> Array:
    """x - log Σ exp(x) along the last axis."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result
