"""The workloads in tinygrad_rnn: a whole step under `jit`, on the backend in use.

In: a workload, its configuration and arrays. Out: a `Program` whose `run` is what is timed and
whose `results` are outputs and gradients by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor

from .arrays import BUILT_IN, STATE_NAMES, Arrays, is_weight, operands
from .cells_ours import CELLS
from .workloads import Config, Workload


class Program(NamedTuple):
    """One side of a workload, ready to run."""

    run: Callable[[], Any]
    results: Callable[[], Arrays]


Forward = Callable[[Tensor], Any]  # x -> y


def build(work: Workload, config: Config, arrays: Arrays) -> Program:
    """The program of a workload; nothing is computed before its first run."""
    forward, leaves = model(work, config, arrays)
    dy = tg.tensor(arrays["dy"])
    if work.mode == "forward":
        return _forward(forward, leaves["x"])
    if work.mode == "step":
        return _training_step(forward, leaves, dy)
    if work.mode == "penalty":
        return _differentiated(lambda: _penalty(forward, leaves["x"], dy), leaves)
    return _differentiated(lambda: _train(forward, leaves["x"], dy), leaves)


def model(work: Workload, config: Config, arrays: Arrays) -> tuple[Forward, dict[str, Tensor]]:
    """y as a function of x, and all tensors whose gradient is wanted."""
    leaves = {n: tg.tensor(arrays[n], requires_grad=True) for n in operands(work, arrays)}
    state = tuple(leaves[name] for name in STATE_NAMES if name in leaves)
    if work.model not in BUILT_IN:
        step = CELLS[work.model](leaves)
        return lambda x: tg.scan(step, state, x)[1], leaves
    layer = {"lstm": tg.nn.LSTM, "gru": tg.nn.GRU, "rnn": tg.nn.RNN}[work.model]
    net = layer(config.I, config.H, work.layers, bidirectional=work.bidirectional)
    net.load_state_dict({n: a for n, a in arrays.items() if is_weight(n)})
    leaves |= dict(net.named_parameters())
    start = state if len(state) > 1 else state[0]
    lengths = tg.tensor(arrays["lengths"]) if "lengths" in arrays else None
    return lambda x: net(x, start, lengths=lengths)[0], leaves


def _forward(forward: Forward, x: Tensor) -> Program:
    step = tg.jit(lambda: forward(x))

    def run() -> Tensor:
        with tg.no_grad():
            y: Tensor = step()
        return y

    return Program(_waiting(run), lambda: {"y": run().numpy()})


def _train(forward: Forward, x: Tensor, dy: Tensor) -> Tensor:
    y = forward(x)
    y.backward(dy)
    result: Tensor = y.detach()
    return result


def _penalty(forward: Forward, x: Tensor, dy: Tensor) -> Tensor:
    """The squared norm of d(sum of y dy)/dx: its gradient is of second order."""
    g = tg.grad(lambda x: (forward(x) * dy).sum())(x)
    loss = (g * g).sum()
    loss.backward()
    result: Tensor = loss.detach()
    return result


def _differentiated(compute: Callable[[], Tensor], leaves: dict[str, Tensor]) -> Program:
    def step() -> Tensor:
        for leaf in leaves.values():
            leaf.grad = None
        return compute()

    run = _waiting(tg.jit(step))

    def results() -> Arrays:
        y: np.ndarray = run().numpy()
        grads = {f"d {n}": t.grad.numpy() for n, t in leaves.items() if t.grad is not None}
        return {"y": y} | grads

    return Program(run, results)


def _training_step(forward: Forward, leaves: dict[str, Tensor], target: Tensor) -> Program:
    """Mean squared error, clipping, Adam: what a user calls a training step."""
    x = leaves["x"].detach()
    weights = [t for name, t in leaves.items() if is_weight(name)]
    optimizer = tg.optim.Adam(weights, lr=1e-3)

    @tg.jit
    def step() -> Tensor:
        optimizer.zero_grad()
        d = forward(x) - target
        loss = (d * d).mean()
        loss.backward()
        tg.optim.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        result: Tensor = loss.detach()
        return result

    run = _waiting(step)
    return Program(run, lambda: {"losses": np.array([run().item() for _ in range(3)])})


def _waiting(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """`run`, finished when it returns, also on a device that works on its own."""

    def waited() -> Tensor:
        result = run()
        result.backend.synchronize()
        return result

    return waited
