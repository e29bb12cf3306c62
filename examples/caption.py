"""A sentence about a picture: a vector goes in, a sequence comes out (vector-to-sequence).

The picture is seen once, and what is seen is the decoder's first state:

    h(0) = tanh(W_p eye(picture) + b_p)
    h(t) = GRU(h(t-1), e(y(t-1))),  y(0) = <go>     e: the embedding of the word before
    p(y(t)) = softmax(V h(t) + c),  until <eos>

Training forces the teacher's words: y(t-1) is the word of the given sentence. Afterwards the
network reads its own words. Two digits lie in a scene; the sentence says which, and how they lie.
Baseline: the same network without the picture, which writes correct English about nothing.

    python examples/caption.py
"""

from __future__ import annotations

import numpy as np
from _common import Report, Run, Score, example, show_image
from _scenes import DIGITS, Eye, Painter, Words, with_article
from _training import Descent

import tinygrad_rnn as tg
from tinygrad_rnn import decoding, nn
from tinygrad_rnn.nn import functional as F

WORDS = Words([*DIGITS, "a", "an", "is", "left", "right", "above", "and", "of"])
LENGTH = 10  # words of the longest sentence, <eos> included


def describe(digits: np.ndarray) -> str:
    """ "a three is above and left of a seven": the first in reading order is named first."""
    (p, first), (q, second) = [(place, d) for place, d in enumerate(digits) if d >= 0]
    down, across = q // 2 - p // 2, q % 2 - p % 2
    sides = ["above"] * (down > 0) + (["left of"] if across > 0 else ["right of"] if across else [])
    return f"{with_article(first)} is {' and '.join(sides)} {with_article(second)}"


class Captioner(nn.Module):
    """Pictures and the words before -> scores of the words after."""

    def __init__(self, hidden: int, sees: bool = True) -> None:
        self.eye, self.sees = Eye(), sees
        self.begin, self.embed = nn.Linear(4 * 32, hidden), nn.Embedding(len(WORDS), 32)
        self.cell, self.head = nn.GRUCell(32, hidden), nn.Linear(hidden, len(WORDS))

    def start(self, pictures: tg.Tensor) -> tg.Tensor:
        return F.tanh(self.begin(self.eye.whole(pictures * float(self.sees))))

    def forward(self, pictures: tg.Tensor, words: tg.Tensor) -> tg.Tensor:
        """f32[B,16,16], i64[T,B] -> f32[T,B,words]."""
        states, _ = nn.Recurrent(self.cell)(self.embed(words), self.start(pictures))
        return self.head(states)

    def write(self, pictures: np.ndarray) -> list[str]:
        """The likeliest sentence, word by word."""

        def step(words: tg.Tensor, h: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
            h, y = self.cell(h, self.embed(words))
            return self.head(y), h

        with tg.no_grad():
            go = np.full(len(pictures), WORDS.go)
            found = decoding.greedy(
                step, self.start(tg.tensor(pictures)), go, length=LENGTH, eos=WORDS.eos
            )
        return [WORDS.decode(w for w in sentence if w != WORDS.eos) for sentence in found]


def batch(painter: Painter, part: str, count: int) -> tuple[np.ndarray, list[str]]:
    pictures, digits = painter.scenes(part, count, 2, 2)
    return pictures, list(map(describe, digits))


def train(run: Run, painter: Painter, model: Captioner, steps: int, name: str) -> float:
    descent = Descent(model, lr=0.003)

    @tg.jit
    def step(pictures: tg.Tensor, before: tg.Tensor, after: tg.Tensor) -> tg.Tensor:
        scores = model(pictures, before)
        loss = F.cross_entropy(scores.reshape(-1, len(WORDS)), after.reshape(-1), ignore_index=0)
        loss.backward()
        descent.step()
        return loss

    for _ in descent.steps(run, steps, name):
        pictures, sentences = batch(painter, "train", 128)
        before, _ = WORDS.encode(["<go> " + s for s in sentences], LENGTH)
        after, _ = WORDS.encode([s + " <eos>" for s in sentences], LENGTH)
        run.show(step(pictures, before, after))
    return run.loss


def draw(run: Run, pictures: np.ndarray, wrote: list[str], right: np.ndarray) -> None:
    """Six scenes with their sentences, one of them wrong if there is one."""
    order = [*np.flatnonzero(~right)[:1], *np.flatnonzero(right)][:6]
    axes = run.axes("A sentence about a picture", 2, 3)
    for axis, k in zip(axes.flat, order):
        show_image(axis, pictures[k], wrote[k], right[k])


@example(
    quick={"steps": 50},
    steps=(5500, "training steps of 128 scenes"),
    hidden=(128, "H, size of the decoder's state"),
)
def main(run: Run, steps: int, hidden: int) -> Report:
    painter = Painter(run.rng)
    model, blind = Captioner(hidden), Captioner(hidden, sees=False)
    loss = train(run, painter, model, steps, "caption")
    train(run, painter, blind, max(1, steps // 10), "without picture")
    pictures, sentences = batch(painter, "test", 1000)
    wrote = model.write(pictures)
    right = np.array([a == b for a, b in zip(wrote, sentences)])
    guessed = np.mean([a == b for a, b in zip(blind.write(pictures), sentences)])
    draw(run, pictures, wrote, right)
    return Report(
        loss,
        Score(
            "exact sentences", right.mean(), at_least=0.90, baseline=("without picture", guessed)
        ),
    )


if __name__ == "__main__":
    main()
