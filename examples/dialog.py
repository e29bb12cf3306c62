"""Three questions in a row about a picture, the later ones referring to the earlier: a hierarchical
recurrent network.

One network reads the words of each question, another one reads the questions:

    q_k(t) = GRU_words(q_k(t-1), e(w_k(t)))           words t = 1 ... T_k of question k (ragged)
    d(k) = GRU_dialog(d(k-1), [q_k(T_k); eye(picture)])      questions k = 1, 2, 3
    p(answer k) = softmax(V ReLU(W [d(k); eye(picture)] + b) + c)

"what is top left ?  and right of it ?  is that larger ?": who does not remember the question before
cannot answer. Baseline: the same network whose d(k-1) is forgotten before every question.

    python examples/dialog.py
"""

from __future__ import annotations

import numpy as np
from _common import Report, Run, Score, example, show_image
from _scenes import DIGITS, MOVES, PLACES, Eye, Painter, Words, name
from _training import Descent

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.nn import functional as F

WORDS = Words(["what", "is", "and", "it", "that", "larger", "?",
               *" ".join(PLACES).split(), "left", "right", "of", "above", "below"])  # fmt: skip
ANSWERS = [*DIGITS, "nothing", "yes", "no"]
TURNS, LENGTH = 3, 6


def talk(digits: list[int], rng: np.random.Generator) -> list[tuple[str, str]]:
    """Three questions and their answers: a place, its neighbour, and a comparison or one more."""
    first = int(rng.integers(4))
    way, second = step(first, rng)
    said = [
        (f"what is {PLACES[first]} ?", name(digits[first])),
        (f"and {way} it ?", name(digits[second])),
    ]
    if rng.random() < 0.5:  # larger than nothing is everything
        larger = digits[second] > digits[first]
        return [*said, ("is that larger ?", "yes" if larger else "no")]
    way, third = step(second, rng)
    return [*said, (f"and {way} that ?", name(digits[third]))]


def step(place: int, rng: np.random.Generator) -> tuple[str, int]:
    """A neighbour of a place, and how one gets there."""
    ways = [(way, to) for (at, way), to in MOVES.items() if at == place]
    return ways[int(rng.integers(len(ways)))]


class Dialog(nn.Module):
    """Pictures f32[B,16,16], words i64[T,3B] and lengths of all questions -> scores [3,B,answers].

    `remembers`: whether the state of the dialog lives on from question to question.
    """

    def __init__(self, hidden: int, remembers: bool = True) -> None:
        self.eye, self.embed = Eye(), nn.Embedding(len(WORDS), 32)
        self.words, self.dialog = nn.GRU(32, hidden), nn.GRU(hidden + 4 * 32, hidden)
        self.think = nn.Linear(hidden + 4 * 32, 2 * hidden)
        self.head, self.remembers = nn.Linear(2 * hidden, len(ANSWERS)), remembers

    def forward(self, pictures: tg.Tensor, words: tg.Tensor, lengths: tg.Tensor) -> tg.Tensor:
        _, q = self.words(self.embed(words), lengths=lengths)
        questions = q[0].reshape(TURNS, len(pictures), -1)
        seen = tg.broadcast_to(self.eye.whole(pictures), (TURNS, len(pictures), 4 * 32))
        heard = tg.concat([questions, seen], -1)
        if self.remembers:
            said, _ = self.dialog(heard)
        else:  # every question is the first one: three times as many dialogs of one turn
            said, _ = self.dialog(heard.reshape(1, TURNS * len(pictures), -1))
            said = said.reshape(TURNS, len(pictures), -1)
        return self.head(F.relu(self.think(tg.concat([said, seen], -1))))


Batch = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[list[tuple[str, str]]]]


def batch(painter: Painter, part: str, count: int) -> Batch:
    pictures, digits = painter.scenes(part, count, 2, 4)
    talks = [talk(scene, painter.rng) for scene in digits.tolist()]
    questions = [t[k][0] for k in range(TURNS) for t in talks]
    right = np.array([[ANSWERS.index(t[k][1]) for t in talks] for k in range(TURNS)])
    words, lengths = WORDS.encode(questions, LENGTH)
    return pictures, words, lengths, right, talks


def train(run: Run, painter: Painter, model: Dialog, steps: int, title: str) -> float:
    descent = Descent(model, lr=0.003)

    @tg.jit
    def step(
        pictures: tg.Tensor, words: tg.Tensor, lengths: tg.Tensor, right: tg.Tensor
    ) -> tg.Tensor:
        scores = model(pictures, words, lengths)
        loss = F.cross_entropy(scores.reshape(-1, len(ANSWERS)), right.reshape(-1))
        loss.backward()
        descent.step()
        return loss

    for _ in descent.steps(run, steps, title):
        run.show(step(*batch(painter, "train", 128)[:4]))
    return run.loss


def judge(model: Dialog, found: Batch) -> np.ndarray:
    """The answers i64[3,B]."""
    with tg.no_grad():
        return model(*map(tg.tensor, found[:3])).numpy().argmax(-1)


def draw(run: Run, found: Batch, answers: np.ndarray) -> None:
    """Four dialogs beside their scenes."""
    pictures, _, _, right, talks = found
    axes = run.axes("A dialog about a picture", 2, 4, gridspec_kw={"width_ratios": [1, 1.2] * 2})
    for (picture, text), k in zip(axes.reshape(4, 2), range(4)):
        show_image(picture, pictures[k])
        text.axis("off")
        for turn, (question, _) in enumerate(talks[k]):
            y = 0.9 - 0.33 * turn
            text.text(0, y, question, fontsize=17)
            color = "#009E73" if answers[turn, k] == right[turn, k] else "#D55E00"
            text.text(0.12, y - 0.13, ANSWERS[answers[turn, k]], fontsize=19, color=color)


@example(
    quick={"steps": 40},
    steps=(3000, "training steps of 128 dialogs"),
    hidden=(128, "H, size of both states"),
)
def main(run: Run, steps: int, hidden: int) -> Report:
    painter = Painter(run.rng)
    model, forgetful = Dialog(hidden), Dialog(hidden, remembers=False)
    loss = train(run, painter, model, steps, "dialog")
    train(run, painter, forgetful, max(1, steps // 3), "without memory")
    found = batch(painter, "test", 1000)
    answers = judge(model, found)
    right, forgot = answers == found[3], judge(forgetful, found) == found[3]
    draw(run, found, answers)
    return Report(
        loss,
        Score("right answers", right.mean(), at_least=0.90, baseline=("no memory", forgot.mean())),
        Score("to the third question", right[2].mean(), baseline=("no memory", forgot[2].mean())),
    )


if __name__ == "__main__":
    main()
