"""A question about a picture: words and an image go in, one answer comes out (many-to-one).

The question is read word by word, the picture is seen once; the answer needs both:

    q(t) = GRU(q(t-1), e(w(t))),  t = 1 ... T        the question's words, ragged: `lengths=`
    z = ReLU(W [q(T); eye(picture)] + b)
    p(answer) = softmax(V z + c),  L = -log p(right answer)

Digits lie in a scene: how many there are, which one is where, whether there is one, which is the
largest. Baseline: the same network without the picture, which can only know how questions are
usually answered.

    python examples/question.py
"""

from __future__ import annotations

import numpy as np
from _common import Report, Run, Score, example
from _scenes import DIGITS, MOVES, PLACES, Eye, Painter, Scene, Words
from _training import Descent

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.nn import functional as F

WORDS = Words("what is there a how many digits are at the which largest ?".split() + DIGITS
              + " ".join(PLACES).split() + "right of left below above".split())  # fmt: skip
ANSWERS = [*DIGITS, "nothing", "yes", "no"]
LENGTH = 8  # words of the longest question


def ask(scene: Scene, rng: np.random.Generator) -> tuple[str, str]:
    """A question about a scene, and its answer."""
    digits = scene.digits
    there = [d for d in digits if d >= 0]
    kind = rng.integers(5)
    if kind == 0:
        return "how many digits are there ?", DIGITS[len(there)]
    if kind == 1:
        d = int(rng.choice(there)) if rng.random() < 0.5 else int(rng.integers(10))
        return f"is there a {DIGITS[d]} ?", "yes" if d in there else "no"
    if kind == 2:
        return "which is the largest ?", DIGITS[max(there)]
    if kind == 3:
        place = int(rng.integers(4))
        return f"what is {PLACES[place]} ?", name(digits[place])
    place = digits.index(int(rng.choice(there)))
    way = str(rng.choice([way for at, way in MOVES if at == place]))
    return f"what is {way} the {DIGITS[digits[place]]} ?", name(digits[MOVES[place, way]])


def name(digit: int) -> str:
    return DIGITS[digit] if digit >= 0 else "nothing"


class Answerer(nn.Module):
    """Pictures f32[B,16,16], questions i64[T,B] and their lengths -> scores f32[B,answers]."""

    def __init__(self, hidden: int, sees: bool = True) -> None:
        self.eye, self.sees = Eye(), sees
        self.embed, self.read = nn.Embedding(len(WORDS), 32), nn.GRU(32, hidden)
        self.think = nn.Linear(hidden + 4 * 32, 2 * hidden)
        self.think2, self.head = nn.Linear(2 * hidden, hidden), nn.Linear(hidden, len(ANSWERS))

    def forward(self, pictures: tg.Tensor, words: tg.Tensor, lengths: tg.Tensor) -> tg.Tensor:
        _, q = self.read(self.embed(words), lengths=lengths)
        seen = self.eye(pictures * float(self.sees))
        z = F.relu(self.think(tg.concat([q[0], seen], -1)))
        return self.head(F.relu(self.think2(z)))


Batch = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[str]]


def batch(painter: Painter, part: str, count: int) -> Batch:
    scenes = [painter.scene(part) for _ in range(count)]
    questions, answers = zip(*[ask(scene, painter.rng) for scene in scenes])
    words, lengths = WORDS.encode(questions, LENGTH)
    right = np.array([ANSWERS.index(a) for a in answers])
    return np.stack([s.picture for s in scenes]), words, lengths, right, list(questions)


def train(run: Run, painter: Painter, model: Answerer, steps: int, name: str) -> float:
    descent = Descent(model, lr=0.003)

    @tg.jit
    def step(
        pictures: tg.Tensor, words: tg.Tensor, lengths: tg.Tensor, right: tg.Tensor
    ) -> tg.Tensor:
        loss = F.cross_entropy(model(pictures, words, lengths), right)
        loss.backward()
        descent.step()
        return loss

    for _ in descent.steps(run, steps, name):
        run.show(step(*batch(painter, "train", 256)[:4]))
    return run.loss


def judge(model: Answerer, found: Batch) -> np.ndarray:
    with tg.no_grad():
        return model(*map(tg.tensor, found[:3])).numpy().argmax(-1)


def draw(run: Run, found: Batch, answers: np.ndarray) -> None:
    """Six scenes with a question and the answer to it, the last one wrong if there is one."""
    pictures, _, _, right, questions = found
    wrong = [*np.flatnonzero(answers != right)[:1]]
    order = [*np.flatnonzero(answers == right)[: 6 - len(wrong)], *wrong]
    axes = run.axes("A question about a picture", 2, 3)
    for axis, k in zip(axes.flat, order):
        axis.imshow(pictures[k], cmap="gray_r")
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        color = "black" if answers[k] == right[k] else "#D55E00"
        axis.set_title(f"{questions[k]}  {ANSWERS[answers[k]]}", color=color, fontsize=16)


@example(
    quick={"steps": 40},
    steps=(4500, "training steps of 256 questions"),
    hidden=(128, "H, size of the question's state"),
)
def main(run: Run, steps: int, hidden: int) -> Report:
    painter = Painter(run.rng)
    model, blind = Answerer(hidden), Answerer(hidden, sees=False)
    loss = train(run, painter, model, steps, "question")
    train(run, painter, blind, max(1, steps // 10), "without picture")
    found = batch(painter, "test", 2000)
    answers = judge(model, found)
    guessed = np.mean(judge(blind, found) == found[3])
    draw(run, found, answers)
    right = np.mean(answers == found[3])
    return Report(
        loss,
        Score("right answers", right, at_least=0.95, baseline=("without picture", guessed)),
    )


if __name__ == "__main__":
    main()
