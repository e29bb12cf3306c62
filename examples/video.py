"""What moves where, frame by frame: a sequence of pictures goes in, two answers come out for each.

A handwritten digit wanders over a picture of 14 x 14 pixels, bounces off its borders and sometimes
changes its mind; every frame is noisy. One frame shows what it is, roughly, but not where it goes:

    x(t) = ReLU(conv(ReLU(conv(frame(t)))))            the same convolutions for all frames
    h(t) = GRU(h(t-1), x(t))
    p(digit at t) = softmax(V h(t) + c),  p(way at t) = softmax(U h(t) + b)

Baseline: the same network without recurrence, h(t) = GRU(0, x(t)).

    python examples/video.py
"""

from __future__ import annotations

import numpy as np
from _common import Report, Run, Score, example, need, show_image
from _training import Descent

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.nn import functional as F

SIZE, FRAMES = 14, 12
WAYS = ["up", "down", "left", "right"]
MOVES = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)])


class Films:
    """Short films of single digits; films of the test show digits that were never seen."""

    def __init__(self, rng: np.random.Generator) -> None:
        found = need("sklearn.datasets", "scikit-learn").load_digits()
        order = rng.permutation(len(found.images))
        cut = len(order) // 5
        self.rng, self.images, self.labels = rng, found.images / 16, found.target
        self.parts = {"test": order[:cut], "train": order[cut:]}

    def batch(self, part: str, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frames f32[T,B,14,14]; digits i64[B]; ways of the last steps i64[T,B] (at t = 0: -1)."""
        rng, chosen = self.rng, self.rng.choice(self.parts[part], count)
        films = np.zeros((FRAMES, count, SIZE, SIZE), np.float32)
        ways = np.full((FRAMES, count), -1)
        place, way = rng.integers(0, SIZE - 7, (count, 2)), rng.integers(0, 4, count)
        for t in range(FRAMES):
            if t:
                way = np.where(rng.random(count) < 0.15, rng.integers(0, 4, count), way)
                out = place + MOVES[way]
                way = np.where(((out < 0) | (out > SIZE - 8)).any(1), way ^ 1, way)  # bounces
                place, ways[t] = place + MOVES[way], way
            for b, (row, column) in enumerate(place):
                films[t, b, row : row + 8, column : column + 8] = self.images[chosen[b]]
        films += 0.1 * rng.standard_normal(films.shape, np.float32)
        return films, self.labels[chosen], ways


class Watcher(nn.Module):
    """Films f32[T,B,14,14] -> scores of digits f32[T,B,10] and of ways f32[T,B,4]."""

    def __init__(self, hidden: int, remembers: bool = True) -> None:
        self.first = nn.Conv2d(1, 16, 4, stride=2, padding=1)
        self.second = nn.Conv2d(16, 48, 4, stride=2, padding=1)
        self.dropout = nn.Dropout(0.3)
        self.rnn, self.remembers = nn.GRU(48 * 3 * 3, hidden), remembers
        self.digit, self.way = nn.Linear(hidden, 10), nn.Linear(hidden, 4)

    def forward(self, films: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        T, B = films.shape[:2]
        x = F.relu(self.second(F.relu(self.first(films.reshape(T * B, 1, SIZE, SIZE)))))
        x = self.dropout(x)
        x = x.reshape(T, B, -1) if self.remembers else x.reshape(1, T * B, -1)
        h = self.rnn(x)[0].reshape(T, B, -1)
        return self.digit(h), self.way(h)


def train(run: Run, films: Films, model: Watcher, steps: int, name: str) -> float:
    descent = Descent(model, lr=0.003)

    @tg.jit
    def step(frames: tg.Tensor, digits: tg.Tensor, ways: tg.Tensor) -> tg.Tensor:
        what, where = model(frames)
        every = tg.broadcast_to(digits, (FRAMES, len(digits)))
        loss = F.cross_entropy(what.reshape(-1, 10), every.reshape(-1))
        loss = loss + F.cross_entropy(where.reshape(-1, 4), ways.reshape(-1), ignore_index=-1)
        loss.backward()
        descent.step()
        return loss

    for _ in descent.steps(run, steps, name):
        run.show(step(*films.batch("train", 48)))
    return run.loss


def watch(model: Watcher, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with tg.no_grad():
        what, where = model(tg.tensor(frames))
    return what.numpy().argmax(-1), where.numpy().argmax(-1)


def draw(run: Run, frames: np.ndarray, what: np.ndarray, where: np.ndarray, ways) -> None:
    """Two films, and what the network says at every frame."""
    axes = run.axes("What moves where, frame by frame", 4, FRAMES // 2)
    for film in range(2):
        for t in range(FRAMES):
            axis = axes[2 * film + t // (FRAMES // 2), t % (FRAMES // 2)]
            said = f"{what[t, film]}" + (f", {WAYS[where[t, film]]}" if t else "")
            right = t == 0 or where[t, film] == ways[t, film]
            show_image(axis, frames[t, film], said, right)


@example(
    quick={"steps": 40},
    steps=(1500, "training steps of 48 films"),
    hidden=(96, "H, size of the state"),
)
def main(run: Run, steps: int, hidden: int) -> Report:
    films = Films(run.rng)
    model, single = Watcher(hidden), Watcher(hidden, remembers=False)
    loss = train(run, films, model, steps, "video")
    train(run, films, single, max(1, steps // 4), "single frames")
    frames, digits, ways = films.batch("test", 400)
    what, where = watch(model, frames)
    what_single, where_single = watch(single, frames)
    draw(run, frames, what, where, ways)
    both = ((what == digits) & (where == ways))[1:]
    both_single = ((what_single == digits) & (where_single == ways))[1:]
    return Report(
        loss,
        Score(
            "right, both",
            both.mean(),
            at_least=0.95,
            baseline=("single frames", both_single.mean()),
        ),
        Score("what", (what == digits)[1:].mean()),
        Score("where", (where == ways)[1:].mean()),
    )


if __name__ == "__main__":
    main()
