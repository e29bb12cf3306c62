"""Three cells as a user of tinygrad_rnn writes them: the forward equations, nothing else.

Each takes its weights and gives a step `((h, c), x) -> ((h, c), y)` for `scan`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor

Weights = dict[str, Tensor]
Step = Callable[[Any, Any], tuple[Any, Any]]


def normalise(v: Tensor) -> Tensor:
    centred = v - v.mean(-1, keepdims=True)
    scale = tg.rsqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)
    result: Tensor = centred * scale
    return result


def layer_norm_lstm(w: Weights) -> Step:
    """LSTM with normalised products and memory (Ba, Kiros, Hinton, 2016)."""

    def step(state: Any, x: Tensor) -> tuple[Any, Tensor]:
        h, c = state
        z = normalise(x @ w["W"].T) * w["gain_x"] + normalise(h @ w["U"].T) * w["gain_h"] + w["b"]
        i, f, g, o = tg.chunk(z, 4, -1)
        c = tg.sigmoid(f) * c + tg.sigmoid(i) * tg.tanh(g)
        h = tg.sigmoid(o) * tg.tanh(normalise(c) * w["gain_c"] + w["bias_c"])
        return (h, c), h

    return step


def peephole_lstm(w: Weights) -> Step:
    """LSTM whose gates see the memory (Gers, Schmidhuber, 2000)."""

    def step(state: Any, x: Tensor) -> tuple[Any, Tensor]:
        h, c = state
        i, f, g, o = tg.chunk(x @ w["W"].T + h @ w["U"].T + w["b"], 4, -1)
        p_i, p_f, p_o = tg.chunk(w["p"], 3, -1)
        c = tg.sigmoid(f + p_f * c) * c + tg.sigmoid(i + p_i * c) * tg.tanh(g)
        h = tg.sigmoid(o + p_o * c) * tg.tanh(c)
        return (h, c), h

    return step


def minimal_gated_unit(w: Weights) -> Step:
    """One gate forgets and resets (Zhou, Wu, Zhang, Zhou, 2016)."""

    def step(state: Any, x: Tensor) -> tuple[Any, Tensor]:
        (h,) = state
        x_f, x_n = tg.chunk(x @ w["W"].T + w["b"], 2, -1)
        U_f, U_n = tg.chunk(w["U"], 2, 0)
        f = tg.sigmoid(x_f + h @ U_f.T)
        h = (1 - f) * h + f * tg.tanh(x_n + (f * h) @ U_n.T)
        return (h,), h

    return step


CELLS: dict[str, Callable[[Weights], Step]] = {
    "layernorm-lstm": layer_norm_lstm,
    "peephole-lstm": peephole_lstm,
    "mgu": minimal_gated_unit,
}
