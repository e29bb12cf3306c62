"""The workloads in PyTorch, as its users write them: nn.LSTM and packed sequences, or a loop.

The package is imported by name, so that this file is checked where PyTorch is not installed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from .arrays import BUILT_IN, STATE_NAMES, Arrays, is_weight, operands
from .ours import Program
from .workloads import Config, Workload

torch: Any = importlib.import_module("torch")
functional: Any = torch.nn.functional

Forward = Callable[[Any], Any]


def build(work: Workload, config: Config, arrays: Arrays) -> Program:
    """The program of a workload; nothing is computed before its first run."""
    forward, leaves = model(work, config, arrays)
    x, dy = leaves["x"], torch.tensor(arrays["dy"])
    if work.mode == "forward":

        def run() -> Any:
            with torch.no_grad():
                return forward(x)

        return Program(run, lambda: {"y": run().numpy()})
    if work.mode == "step":
        return _training_step(forward, leaves, dy)

    def train() -> Any:
        for leaf in leaves.values():
            leaf.grad = None
        y = forward(x)
        if work.mode == "train":
            y.backward(dy)
            return y.detach()
        (g,) = torch.autograd.grad(y, x, dy, create_graph=True)
        loss = (g * g).sum()
        loss.backward()
        return loss.detach()

    def results() -> Arrays:
        found = {"y": train().numpy()}
        return found | {f"d {n}": t.grad.numpy() for n, t in leaves.items() if t.grad is not None}

    return Program(train, results)


def model(work: Workload, config: Config, arrays: Arrays) -> tuple[Forward, dict[str, Any]]:
    """y as a function of x, and all tensors whose gradient is wanted."""
    leaves = {n: torch.tensor(arrays[n], requires_grad=True) for n in operands(work, arrays)}
    state = tuple(leaves[name] for name in STATE_NAMES if name in leaves)
    if work.model not in BUILT_IN:
        cell = CELLS[work.model](leaves)
        return lambda x: loop(cell, state, x), leaves
    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[work.model]
    net = layer(config.I, config.H, work.layers, bidirectional=work.bidirectional)
    net.load_state_dict({n: torch.from_numpy(a) for n, a in arrays.items() if is_weight(n)})
    leaves |= dict(net.named_parameters())
    start = state if len(state) > 1 else state[0]
    if "lengths" not in arrays:
        return lambda x: net(x, start)[0], leaves
    pack = torch.nn.utils.rnn.pack_padded_sequence
    unpack = torch.nn.utils.rnn.pad_packed_sequence
    lengths = torch.from_numpy(arrays["lengths"])

    def packed(x: Any) -> Any:
        return unpack(net(pack(x, lengths, enforce_sorted=False), start)[0])[0]

    return packed, leaves


def loop(cell: Callable[[Any, Any], tuple[Any, Any]], state: Any, x: Any) -> Any:
    """A cell of one's own, step by step."""
    ys = []
    for x_t in x.unbind(0):
        state, y = cell(state, x_t)
        ys.append(y)
    return torch.stack(ys)


def layer_norm_lstm(w: dict[str, Any]) -> Callable[[Any, Any], tuple[Any, Any]]:
    norm, linear = functional.layer_norm, functional.linear

    def cell(state: Any, x: Any) -> tuple[Any, Any]:
        h, c = state
        z = norm(linear(x, w["W"]), w["gain_x"].shape, w["gain_x"], w["b"])
        z = z + norm(linear(h, w["U"]), w["gain_h"].shape, w["gain_h"])
        i, f, g, o = z.chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * norm(c, w["gain_c"].shape, w["gain_c"], w["bias_c"]).tanh()
        return (h, c), h

    return cell


def peephole_lstm(w: dict[str, Any]) -> Callable[[Any, Any], tuple[Any, Any]]:
    def cell(state: Any, x: Any) -> tuple[Any, Any]:
        h, c = state
        z = functional.linear(x, w["W"], w["b"]) + functional.linear(h, w["U"])
        i, f, g, o = z.chunk(4, -1)
        p_i, p_f, p_o = w["p"].chunk(3)
        c = (f + p_f * c).sigmoid() * c + (i + p_i * c).sigmoid() * g.tanh()
        h = (o + p_o * c).sigmoid() * c.tanh()
        return (h, c), h

    return cell


def minimal_gated_unit(w: dict[str, Any]) -> Callable[[Any, Any], tuple[Any, Any]]:
    def cell(state: Any, x: Any) -> tuple[Any, Any]:
        (h,) = state
        x_f, x_n = functional.linear(x, w["W"], w["b"]).chunk(2, -1)
        U_f, U_n = w["U"].chunk(2)
        f = (x_f + functional.linear(h, U_f)).sigmoid()
        h = (1 - f) * h + f * (x_n + functional.linear(f * h, U_n)).tanh()
        return (h,), h

    return cell


CELLS: dict[str, Any] = {
    "layernorm-lstm": layer_norm_lstm,
    "peephole-lstm": peephole_lstm,
    "mgu": minimal_gated_unit,
}


def _training_step(forward: Forward, leaves: dict[str, Any], target: Any) -> Program:
    x = leaves["x"].detach()
    weights = [t for name, t in leaves.items() if is_weight(name)]
    optimizer = torch.optim.Adam(weights, lr=1e-3)

    def step() -> Any:
        optimizer.zero_grad()
        loss = functional.mse_loss(forward(x), target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        return loss.detach()

    return Program(step, lambda: {"losses": np.array([step().item() for _ in range(3)])})
