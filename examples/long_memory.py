"""Who remembers? The adding and the copying task over lags of 50 to 400 steps.

Two tasks that nobody solves without a memory (Hochreiter, Schmidhuber, 1997):

    adding    x(t) = (number in 0 … 1, mark); two of T steps are marked; y = sum of their numbers
    copying   three letters of four, T empty steps, then the letters are asked for

Five cells, each with a linear layer on top, trained by BPTT, Adam and clipping:

    tanh         h_t = tanh(W h_{t-1} + U x_t + b)
    orthogonal   the same, W orthogonal at the start
    IRNN         h_t = relu(W h_{t-1} + U x_t + b), W = I at the start (Le, Jaitly, Hinton, 2015)
    LSTM, GRU    gates start open for times spread over the lag (nn.init.chrono_)

Baselines: always answering 1 has an error of 1/6 in adding; guessing recalls a quarter.
"""

from __future__ import annotations

import numpy as np
from _common import Report, Run, Score, example

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim
from tinygrad_rnn.nn import functional as F

LETTERS, CODES = 3, 4
CELLS = ("tanh", "orthogonal", "IRNN", "LSTM", "GRU")


def adding(lag: int, batch: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """x f32[T,B,2] and the sums f32[B]; one mark in the first half, one in the second."""
    x = np.zeros((lag, batch, 2), np.float32)
    x[:, :, 0] = rng.random((lag, batch))
    for low, high in ((0, lag // 2), (lag // 2, lag)):
        x[rng.integers(low, high, batch), np.arange(batch), 1] = 1
    return x, (x[:, :, 0] * x[:, :, 1]).sum(axis=0)


def copying(lag: int, batch: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """x one-hot f32[3+T+3,B,5] and the letters int64[3,B]; the fifth code asks for them."""
    letters = rng.integers(0, CODES, (LETTERS, batch))
    x = np.zeros((lag + 2 * LETTERS, batch, CODES + 1), np.float32)
    x[:LETTERS] = np.eye(CODES + 1)[letters]
    x[lag + LETTERS :, :, CODES] = 1
    return x, letters


# inputs, outputs, a batch of data, the loss of outputs o [T,B,O]
TASKS = {
    "adding": (2, 1, adding, lambda o, y: ((o[-1, :, 0] - y) ** 2).mean()),
    "copying": (CODES + 1, CODES, copying, lambda o, y: F.cross_entropy(o[-LETTERS:], y)),
}


def build(name: str, inputs: int, hidden: int, lag: int) -> tuple[nn.Cell, float]:
    """A cell and a learning rate that suits it."""
    if name == "LSTM":
        return nn.init.chrono_(nn.LSTMCell(inputs, hidden), lag), 1e-2
    if name == "GRU":
        return nn.init.chrono_(nn.GRUCell(inputs, hidden), lag), 1e-2
    if name == "IRNN":
        cell = nn.RNNCell(inputs, hidden, True, "relu", recurrent_init="identity")
        nn.init.normal_(cell.weight_ih, std=0.01)
        return cell, 1e-3
    start = {"tanh": "uniform", "orthogonal": "orthogonal"}[name]
    return nn.RNNCell(inputs, hidden, recurrent_init=start), 1e-3


def train(run: Run, task: str, name: str, lag: int, steps: int, hidden: int) -> tuple[float, float]:
    """Train until the loss is small or the steps are used up.

    Returns the last loss and what the test says: the squared error, or the share recalled.
    """
    inputs, outputs, draw_batch, loss_of = TASKS[task]
    cell, lr = build(name, inputs, hidden, lag)
    layer, head = nn.Recurrent(cell), nn.Linear(hidden, outputs)
    model = nn.ModuleList([layer, head])
    optimizer, losses = optim.Adam(model.parameters(), lr=lr), []

    @tg.jit
    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        loss = loss_of(head(layer(x)[0]), y)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    for _ in run.steps(steps, f"{task}-{name}-{lag}", model=model):
        losses.append(run.show(step(*draw_batch(lag, 32, run.rng))))
        if len(losses) >= 50 and np.mean(losses[-50:]) < 0.002:
            break
    x, y = draw_batch(lag, 500, np.random.default_rng(run.seed + 1))
    with tg.no_grad():
        o = head(layer(tg.tensor(x))[0]).numpy()
    recalled = (o[-LETTERS:].argmax(axis=-1) == y).mean() if task == "copying" else None
    tested = np.mean((o[-1, :, 0] - y) ** 2) if recalled is None else recalled
    run.say(f"{task:8} {name:10} lag {lag:3}   {tested:.4f} after {len(losses)} steps")
    return float(np.mean(losses[-50:])), float(tested)


def draw(run: Run, found: dict[str, dict[tuple[str, int], float]]) -> None:
    axes = run.axes("Who remembers?", 1, 2)
    for axis, (task, values) in zip(axes, found.items()):
        lags = list(dict.fromkeys(lag for _, lag in values))
        for name in dict.fromkeys(name for name, _ in values):
            line = [values[name, lag] for lag in lags]
            axis.plot(range(len(lags)), line, "o-", label=name, markersize=10, alpha=0.85)
        axis.set(xticks=range(len(lags)), xticklabels=lags, xlabel="lag T")
        axis.axhline({"adding": 1 / 6, "copying": 1 / CODES}[task], color="gray", linestyle=":")
    axes[0].set(title="adding: squared error of the sum", ylim=(-0.01, 0.22))
    axes[0].text(0, 0.172, "always answering 1", color="gray", fontsize=13)
    axes[1].set(title="copying: letters recalled", ylim=(0, 1.05))
    axes[1].text(0, 1 / CODES - 0.05, "guessing", color="gray", fontsize=13)
    axes[1].legend(loc="lower right")


@example(
    quick={"adding": (20,), "copying": (5,), "cells": ("tanh", "GRU"), "steps": 300, "hidden": 32},
    adding=((50, 100, 200, 400), "lags T of the adding task"),
    copying=((50, 100, 200), "lags T of the copying task"),
    cells=(CELLS, "which cells", *CELLS),
    steps=(1500, "greatest number of training steps"),
    hidden=(64, "H, size of the state"),
)
def main(
    run: Run,
    adding: tuple[int, ...],
    copying: tuple[int, ...],
    cells: tuple[str, ...],
    steps: int,
    hidden: int,
) -> Report:
    found: dict[str, dict[tuple[str, int], float]] = {"adding": {}, "copying": {}}
    for task, lags in (("adding", adding), ("copying", copying)):
        for name in cells:
            for lag in lags:
                loss, found[task][name, lag] = train(run, task, name, lag, steps, hidden)
    draw(run, found)
    lag = max(lag for _, lag in found["adding"] if lag <= 200)
    scores = [
        Score(f"adding at {lag}, error of {name}", found["adding"][name, lag], form=".3f", **bounds)
        for name, bounds in {
            "LSTM": {"at_most": 0.01, "baseline": ("always 1", 1 / 6)},
            "GRU": {"at_most": 0.01},
            "tanh": {"at_least": 0.1},
        }.items()
        if name in cells
    ]
    if ("IRNN", 50) in found["adding"]:
        scores.append(Score("IRNN at 50", found["adding"]["IRNN", 50], at_most=0.02, form=".3f"))
        scores.append(Score("IRNN at 400", found["adding"]["IRNN", 400], at_least=0.1, form=".3f"))
    return Report(loss, *scores)


if __name__ == "__main__":
    main()
