"""What goes back: the hidden state, the output, or both; and what a network reads while it learns.

    hidden   h(t) = tanh(W h(t-1) + U x(t) + b),            o(t) = V h(t) + c
    output   h(t) = tanh(R y(t-1) + U x(t) + b),            only y(t-1) is remembered (Jordan)
    both     h(t) = tanh(W h(t-1) + R y(t-1) + U x(t) + b)

Teacher forcing reads the true y(t-1) in training; in free running it is the network's own. The
course names four differences, and each is measured:

    memory      echo: y(t) = x(t-3). Through the output alone nothing else can pass.
    dependence  y is "all 0" or "all 1", by the toss of one coin. Without a way back from the
                output, outputs are independent given h, so the network tosses at every step.
    teacher forcing  the least error one step ahead; then it drifts: it never met its own errors
    scheduled sampling  the truth is read with a probability that falls (Bengio et al., 2015)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from _common import COLORS, Report, Run, Score, example
from _training import Descent

import tinygrad_rnn as tg
from tinygrad_rnn import nn

H, T, WARM_UP = 32, 60, 15


class Cell(nn.Module):
    """carry (h, y), inputs (x, the true y, whether that is handed on) -> o."""

    def __init__(self, ways: str, read: Callable[[tg.Tensor], tg.Tensor]) -> None:
        self.read = read  # makes y of o
        self.U, self.V = nn.Linear(1, H), nn.Linear(H, 1)
        self.W = nn.Linear(H, H, bias=False) if ways != "output" else None
        self.R = nn.Linear(1, H, bias=False) if ways != "hidden" else None

    def forward(self, carry: Any, inputs: Any) -> Any:
        (h, y), (x, truth, forced) = carry, inputs
        z = self.U(x)
        z = z if self.W is None else z + self.W(h)
        z = z if self.R is None else z + self.R(y)
        h = tg.tanh(z)
        o = self.V(h)
        return (h, tg.where(forced, truth, self.read(o))), o

    def run(self, x: tg.Tensor, truth: tg.Tensor, forced: tg.Tensor) -> tg.Tensor:
        """x, truth f32[T,B,1], forced bool[T,B,1] -> o f32[T,B,1]."""
        start = tg.zeros((x.shape[1], H)), tg.zeros((x.shape[1], 1))
        return tg.scan(self, start, (x, truth, forced))[1]


def echo(rng: np.random.Generator, batch: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """x(t) = ±1, y(t) = x(t-3)."""
    x = rng.choice([-1, 1], (20, batch, 1)).astype("f4")
    return x, np.roll(x, 3, axis=0)


def coin(rng: np.random.Generator, batch: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """No input; y is 1 at all eight steps, or -1 at all."""
    x = np.zeros((8, batch, 1), "f4")
    return x, x + rng.choice([-1, 1], (1, batch, 1)).astype("f4")


def waves(rng: np.random.Generator, batch: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """No input; sines of random frequency and phase."""
    t = np.arange(T)[:, None, None]
    y = np.sin(rng.uniform(0.2, 0.8, (batch, 1)) * t + rng.uniform(0, 2 * np.pi, (batch, 1)))
    return np.zeros(y.shape, "f4"), y.astype("f4")


def logistic(o: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    """-log p(y) for y = ±1, p(1) = σ(o); the first three steps of an echo cannot be known."""
    return tg.softplus(-o * y)[3:].mean() if len(y) == 20 else tg.softplus(-o * y).mean()


def squared(o: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    return ((o - y) ** 2)[1:].mean()


def train(
    run: Run, what: str, cell: Cell, draw_batch: Any, loss_of: Any, steps: int, truth_at: Any
) -> float:
    """Adam; truth_at(share of the steps done) is the probability that the truth is read."""
    descent = Descent(cell, lr=0.01)

    @tg.jit
    def step(x: tg.Tensor, truth: tg.Tensor, forced: tg.Tensor) -> tg.Tensor:
        loss = loss_of(cell.run(x, truth, forced), truth)
        loss.backward()
        descent.step()
        return loss

    for k in descent.steps(run, steps, what):
        x, y = draw_batch(run.rng)
        forced = run.rng.random(y.shape) < truth_at(k / steps)
        forced[:WARM_UP] = True
        run.show(step(x, y, forced))
    return run.loss


def free_error(cell: Cell) -> np.ndarray:
    """Root mean squared error at every step: 15 true steps, then the network's own."""
    x, y = waves(np.random.default_rng(1), 500)
    forced = np.arange(T)[:, None, None] < np.full(y.shape, WARM_UP)
    with tg.no_grad():
        o = cell.run(*map(tg.tensor, (x, y, forced))).numpy()
    return np.sqrt(((o - y) ** 2).mean(axis=(1, 2)))


def consistent(cell: Cell, rng: np.random.Generator) -> float:
    """Share of sampled sequences that are all 1 or all -1; y(t) is drawn with p(1) = σ(o(t))."""
    h, y, drawn = tg.zeros((500, H)), tg.zeros((500, 1)), []
    with tg.no_grad():
        for _ in range(8):
            (h, _), o = cell((h, y), (tg.zeros((500, 1)), y, False))
            y = tg.tensor(np.where(rng.random(o.shape) < tg.sigmoid(o).numpy(), 1, -1).astype("f4"))
            drawn.append(y.numpy())
    return float((np.abs(np.sum(drawn, axis=0)) == 8).mean())


def draw(run: Run, recalled: dict, same: dict, errors: dict) -> None:
    left, middle, right = run.axes(
        "What goes back?", 1, 3, gridspec_kw={"width_ratios": [1, 1, 2.5]}
    )
    for axis, values, title in (
        (left, recalled, "echo: y(t) = x(t-3)"),
        (middle, same, "one coin: all alike"),
    ):
        bars = axis.bar(list(values), list(values.values()), color=COLORS[:3])
        axis.bar_label(bars, [f"{v:.0%}" for v in values.values()])
        axis.set(title=title, ylim=(0, 1.05), yticks=[])
    for name, error in errors.items():
        (line,) = right.plot(np.arange(1, T), error[1:])
        right.text(T, error[-1], name, color=line.get_color(), va="center")
    right.axvspan(1, WARM_UP, color="gray", alpha=0.15)
    right.text(WARM_UP / 2 + 0.5, 1.0, "true y(t-1)", ha="center")
    right.text(WARM_UP + 1, 1.0, "its own y(t-1)")
    right.set(title="waves: error in the test", xlabel="t", xlim=(1, 85), ylim=(0, 1.1))


@example(quick={"steps": 100}, steps=(1000, "training steps of each network"))
def main(run: Run, steps: int) -> Report:
    always, recalled, same, errors = (lambda done: 1.0), {}, {}, {}
    for ways in ("hidden", "output", "both"):
        cell = Cell(ways, tg.tanh)
        train(run, f"echo, {ways}", cell, echo, logistic, steps // 2, always)
        x, y = echo(np.random.default_rng(1), 500)
        with tg.no_grad():
            o = cell.run(tg.tensor(x), tg.tensor(y), tg.zeros(y.shape, dtype="bool")).numpy()
        recalled[ways] = ((o > 0) == (y > 0))[3:].mean()
        cell = Cell(ways, tg.tanh)
        train(run, f"coin, {ways}", cell, coin, logistic, steps // 2, always)
        same[ways] = consistent(cell, run.rng)
    chances = {
        "teacher forcing": always,
        "free running": lambda done: 0.0,
        "scheduled": lambda done: max(0.0, 1 - 1.25 * done),
    }
    for name, chance in chances.items():
        cell = Cell("both", lambda o: o)
        loss = train(run, f"waves, {name}", cell, waves, squared, steps, chance)
        errors[name] = free_error(cell)
    draw(run, recalled, same, errors)
    teacher, free, scheduled = (error[WARM_UP + 10 :].mean() for error in errors.values())
    baseline = ("teacher forcing", teacher)
    return Report(
        loss,
        Score("echo, hidden", recalled["hidden"], 0.99, baseline=("output", recalled["output"])),
        Score("coin, both", same["both"], 0.99, baseline=("hidden", same["hidden"])),
        Score("drift, scheduled", scheduled, at_most=0.25, baseline=baseline, form=".2f"),
        Score("drift, free running", free, form=".2f"),
    )


if __name__ == "__main__":
    main()
