"""The numbers that every side computes with: drawn once from a seed, in PyTorch's layouts.

Arrays are float32: x [T, B, I], dy [T, B, D*H], states [L*D, B, H], weights uniform on ±1/sqrt(H)
as every framework starts them. Cells that a user writes have W [G*H, I], U [G*H, H], b [G*H] and
states [B, H].
"""

from __future__ import annotations

import math

import numpy as np

from .workloads import Config, Workload

Arrays = dict[str, np.ndarray]

#: Gates of each model, and how many tensors its state has.
GATES = {"lstm": 4, "gru": 3, "rnn": 1, "layernorm-lstm": 4, "peephole-lstm": 4, "mgu": 2}
STATES = {"lstm": 2, "gru": 1, "rnn": 1, "layernorm-lstm": 2, "peephole-lstm": 2, "mgu": 1}
STATE_NAMES = ("h0", "c0")
BUILT_IN = ("lstm", "gru", "rnn")


def draw(work: Workload, config: Config) -> Arrays:
    """All arrays of a workload: data, states, weights; `lengths` [B] where they are ragged."""
    T, B, I, H = config
    rng = np.random.default_rng(20)
    directions = 2 if work.bidirectional else 1
    rows = work.layers * directions

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32)

    found = {"x": normal(T, B, I), "dy": normal(T, B, directions * H)}
    built_in = work.model in BUILT_IN
    for name in STATE_NAMES[: STATES[work.model]]:
        found[name] = normal(rows, B, H) if built_in else normal(B, H)
    if built_in and work.layers > 1:
        found["lengths"] = rng.integers(1, T + 1, B)
        found["lengths"][0] = T  # packed sequences come back as long as the longest
    return found | (_stacked(work, I, H, rng) if built_in else _own(work.model, I, H, rng))


def _uniform(rng: np.random.Generator, H: int, *shape: int) -> np.ndarray:
    return ((2 * rng.random(shape, np.float32) - 1) / math.sqrt(H)).astype(np.float32)


def _stacked(work: Workload, I: int, H: int, rng: np.random.Generator) -> Arrays:
    G, found = GATES[work.model], {}
    for layer in range(work.layers):
        size = I if layer == 0 else (2 if work.bidirectional else 1) * H
        for end in ("", "_reverse") if work.bidirectional else ("",):
            shapes: list[tuple[str, tuple[int, ...]]] = [
                ("weight_ih", (G * H, size)),
                ("weight_hh", (G * H, H)),
                ("bias_ih", (G * H,)),
                ("bias_hh", (G * H,)),
            ]
            for name, shape in shapes:
                found[f"{name}_l{layer}{end}"] = _uniform(rng, H, *shape)
    return found


def _own(model: str, I: int, H: int, rng: np.random.Generator) -> Arrays:
    G = GATES[model]
    found = {
        "W": _uniform(rng, H, G * H, I),
        "U": _uniform(rng, H, G * H, H),
        "b": _uniform(rng, H, G * H),
    }
    if model == "layernorm-lstm":
        for name, size in (("gain_x", 4 * H), ("gain_h", 4 * H), ("gain_c", H)):
            found[name] = 1 + _uniform(rng, H, size)
        found["bias_c"] = _uniform(rng, H, H)
    if model == "peephole-lstm":
        found["p"] = _uniform(rng, H, 3 * H)
    return found


def is_weight(name: str) -> bool:
    """Whether an array is a parameter (not data, and not a state)."""
    return name not in ("x", "dy", "lengths", *STATE_NAMES)


def operands(work: Workload, arrays: Arrays) -> list[str]:
    """Names of the arrays that are differentiated and that no built-in layer holds."""
    held = work.model in BUILT_IN
    return [n for n in arrays if n not in ("dy", "lengths") and not (held and is_weight(n))]
