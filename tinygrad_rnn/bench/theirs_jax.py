"""The workloads in JAX: the cell's equations in `jax.lax.scan`, the whole step under `jax.jit`.

The package is imported by name, so that this file is checked where JAX is not installed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from .arrays import BUILT_IN, STATE_NAMES, Arrays
from .ours import Program
from .workloads import Config, Workload

jax: Any = importlib.import_module("jax")
jnp: Any = importlib.import_module("jax.numpy")

Cell = Callable[[dict[str, Any], Any, Any], tuple[Any, Any]]


def build(work: Workload, config: Config, arrays: Arrays) -> Program:
    """The program of a workload: forward, or outputs and gradients; for one layer and direction."""
    leaves = {name: jnp.asarray(arrays[name]) for name in arrays if name != "dy"}
    dy = jnp.asarray(arrays["dy"])
    cell = CELLS[work.model]

    def forward(leaves: dict[str, Any]) -> Any:
        state = tuple(leaves[name] for name in STATE_NAMES if name in leaves)
        if work.model in BUILT_IN:  # [1, B, H]: one layer, one direction
            state = tuple(s[0] for s in state)
        return jax.lax.scan(lambda state, x: cell(leaves, state, x), state, leaves["x"])[1]

    def train(leaves: dict[str, Any], dy: Any) -> Any:
        y, pull = jax.vjp(forward, leaves)
        return y, pull(dy)[0]

    step = jax.jit(forward) if work.mode == "forward" else jax.jit(train)
    operands = (leaves,) if work.mode == "forward" else (leaves, dy)

    def run() -> Any:
        return jax.block_until_ready(step(*operands))

    def results() -> Arrays:
        if work.mode == "forward":
            return {"y": np.asarray(run())}
        y, grads = run()
        return {"y": np.asarray(y)} | {f"d {n}": np.asarray(g) for n, g in grads.items()}

    return Program(run, results)


def lstm(w: dict[str, Any], state: Any, x: Any) -> tuple[Any, Any]:
    h, c = state
    z = x @ w["weight_ih_l0"].T + w["bias_ih_l0"] + h @ w["weight_hh_l0"].T + w["bias_hh_l0"]
    i, f, g, o = jnp.split(z, 4, -1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def layer_norm_lstm(w: dict[str, Any], state: Any, x: Any) -> tuple[Any, Any]:
    def norm(v: Any) -> Any:
        return (v - v.mean(-1, keepdims=True)) * jax.lax.rsqrt(v.var(-1, keepdims=True) + 1e-5)

    h, c = state
    z = norm(x @ w["W"].T) * w["gain_x"] + norm(h @ w["U"].T) * w["gain_h"] + w["b"]
    i, f, g, o = jnp.split(z, 4, -1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(norm(c) * w["gain_c"] + w["bias_c"])
    return (h, c), h


def peephole_lstm(w: dict[str, Any], state: Any, x: Any) -> tuple[Any, Any]:
    h, c = state
    i, f, g, o = jnp.split(x @ w["W"].T + h @ w["U"].T + w["b"], 4, -1)
    p_i, p_f, p_o = jnp.split(w["p"], 3)
    c = jax.nn.sigmoid(f + p_f * c) * c + jax.nn.sigmoid(i + p_i * c) * jnp.tanh(g)
    h = jax.nn.sigmoid(o + p_o * c) * jnp.tanh(c)
    return (h, c), h


def minimal_gated_unit(w: dict[str, Any], state: Any, x: Any) -> tuple[Any, Any]:
    (h,) = state
    x_f, x_n = jnp.split(x @ w["W"].T + w["b"], 2, -1)
    U_f, U_n = jnp.split(w["U"], 2)
    f = jax.nn.sigmoid(x_f + h @ U_f.T)
    h = (1 - f) * h + f * jnp.tanh(x_n + (f * h) @ U_n.T)
    return (h,), h


CELLS: dict[str, Cell] = {
    "lstm": lstm,
    "layernorm-lstm": layer_norm_lstm,
    "peephole-lstm": peephole_lstm,
    "mgu": minimal_gated_unit,
}
