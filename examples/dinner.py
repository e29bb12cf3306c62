"""Tomorrow's dinner: the smallest recurrent network, once set by hand and once learned.

Three dishes rotate. If it is sunny the next dish is cooked; if it rains today's leftovers are
served again. With the dish y as one of three and the weather x as one of two:

    h_t = f(F y_{t-1} + W x_t + b)      f32[6]: three leftovers over three new dishes
    y_t = M h_t                         f32[3]: the dish, which is fed back tomorrow

By hand: F = [identity; shift] (6x3) writes today's dish above the next one, W (6x2) selects the
upper half when it rains and the lower half when the sun shines, b = -1 with f = relu keeps only
the entry on which both agree (1 + 1 = 2), and M = [I I] (3x6) merges the halves.

Learned: the same code from random weights with f = tanh (a relu unit can die and never come
back), the loss E = mean (y - target)^2 over all days of all possible weeks, and its gradient by
backpropagation through time, which nobody wrote down.

    python examples/dinner.py                train, compare, draw the matrices
    python examples/dinner.py --seed 3       other random weights
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import numpy as np
from _common import Report, Run, Score, example

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim

SUNNY = 0


class Dinner(nn.Module):
    """h = f(F y + W x + b), y' = M h: a cell whose state is its own output.

    `forward(dish f32[B,3], weather f32[T,B,2]) -> f32[T,B,3]`: the first dish and the weather of
    T days to T dinners.
    """

    def __init__(
        self,
        food: np.ndarray,
        weather: np.ndarray,
        bias: np.ndarray,
        merge: np.ndarray,
        keep: Callable[[tg.Tensor], tg.Tensor],
    ) -> None:
        super().__init__()
        self.food = nn.Parameter(tg.tensor(food.astype(np.float32)))
        self.weather = nn.Parameter(tg.tensor(weather.astype(np.float32)))
        self.bias = nn.Parameter(tg.tensor(bias.astype(np.float32)))
        self.merge = nn.Parameter(tg.tensor(merge.astype(np.float32)))
        self.keep = keep

    def cell(self, dish: tg.Tensor, weather: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        """One day: (yesterday's dish, today's weather) -> (today's dish, today's dish)."""
        hidden = self.keep(dish @ self.food.T + weather @ self.weather.T + self.bias)
        dinner = hidden @ self.merge.T
        return dinner, dinner

    def forward(self, dish: tg.Tensor, weather: tg.Tensor) -> tg.Tensor:
        _, dinners = tg.scan(self.cell, dish, weather)
        return dinners


def by_hand() -> Dinner:
    """The network whose weights one can think of."""
    same, shift = np.eye(3), np.roll(np.eye(3), 1, axis=0)
    leftovers, new = np.array([0.0, 1.0]), np.array([1.0, 0.0])
    weather = np.vstack([np.tile(leftovers, (3, 1)), np.tile(new, (3, 1))])
    merge = np.hstack([np.eye(3), np.eye(3)])
    return Dinner(np.vstack([same, shift]), weather, np.full(6, -1.0), merge, tg.relu)


def at_random(seed: int) -> Dinner:
    """The same network before it has learned anything."""
    rng = np.random.default_rng(seed)
    shapes = (6, 3), (6, 2), (3, 6)
    food, weather, merge = (rng.normal(size=shape) for shape in shapes)
    return Dinner(food, weather, np.zeros(6), merge, tg.tanh)


def all_weeks(days: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every first dish with every weather, B = 3 * 2**T weeks.

    Returns the first dishes f32[B,3], the weather f32[T,B,2] and the dinners int64[T,B].
    """
    cases = list(itertools.product(range(3), itertools.product(range(2), repeat=days)))
    first = np.array([dish for dish, _ in cases])
    skies = np.array([week for _, week in cases]).T
    dinners = (first + np.cumsum(skies == SUNNY, axis=0)) % 3
    return np.eye(3, dtype=np.float32)[first], np.eye(2, dtype=np.float32)[skies], dinners


def accuracy(network: Dinner, days: int) -> float:
    """Share of right dinners over all weeks, each from its first dish and the weather alone."""
    dish, weather, dinners = all_weeks(days)
    with tg.no_grad():
        guess = network(tg.tensor(dish), tg.tensor(weather)).numpy().argmax(axis=-1)
    return float((guess == dinners).mean())


def train(network: Dinner, days: int, steps: Iterable[int], lr: float) -> list[float]:
    """Adam on all weeks until every dinner is right; the share that was right before each step."""
    dish, weather, dinners = all_weeks(days)
    inputs, skies = tg.tensor(dish), tg.tensor(weather)
    target = tg.tensor(np.eye(3, dtype=np.float32)[dinners])
    optimizer = optim.Adam(network.parameters(), lr=lr)

    @tg.jit
    def step() -> tg.Tensor:
        optimizer.zero_grad()
        error = ((network(inputs, skies) - target) ** 2).mean()
        error.backward()
        optim.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        return error

    shares = [accuracy(network, days)]
    for _ in steps:
        if shares[-1] == 1.0:
            break
        step()
        shares.append(accuracy(network, days))
    return shares


def draw(run: Run, networks: dict[str, Dinner], shares: list[float]) -> None:
    """The weight arrays side by side as the classroom writes them, and how they were learned."""
    ratios = {"width_ratios": [3, 2, 1, 6, 6]}
    axes = run.axes("What is for dinner?", 2, 5, gridspec_kw=ratios)
    for row, (title, network) in zip(axes, networks.items()):
        for axis, name in zip(row, ("food", "weather", "bias", "merge")):
            values = np.atleast_2d(getattr(network, name).detach().numpy())
            values = values.T if name == "bias" else values
            axis.imshow(values, cmap="RdBu", vmin=-3, vmax=3)
            for (i, j), value in np.ndenumerate(values):
                axis.text(j, i, f"{round(float(value), 1) + 0.0:g}", ha="center", va="center")
            axis.set(title=name, xticks=[], yticks=[])
        row[0].set_ylabel(title, fontsize=17)
        row[-1].axis("off")
    axes[1, -1].axis("on")
    axes[1, -1].plot(shares)
    axes[1, -1].set(title="right dinners", xlabel="step", ylim=(0, 1.05))


@example(
    quick={"days": 3},
    days=(5, "length of a training week"),
    steps=(2000, "give up after so many steps"),
    lr=(0.02, "Adam's step size"),
)
def main(run: Run, days: int, steps: int, lr: float) -> Report:
    hand, learned = by_hand(), at_random(run.seed)
    print(f"set by hand: {accuracy(hand, days):.0%} of all {3 * 2**days} weeks of {days} days")
    shares = train(learned, days, run.steps(steps, model=learned), lr)
    if shares[-1] < 1:
        raise SystemExit(f"not learned in {steps} steps; try another --seed")
    print(f"learned: {shares[0]:.0%} at first, all after {len(shares) - 1} steps")
    draw(run, {"by hand": hand, "learned": learned}, shares)
    longer = accuracy(learned, 2 * days)
    name = f"right dinners in {2 * days} days, never seen"
    return Report(1 - shares[-1], Score(name, longer, baseline=("guessing", 1 / 3)))


if __name__ == "__main__":
    main()
