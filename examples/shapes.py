"""The shapes of recurrent networks: one-to-one, one-to-many, many-to-one, many-to-many, delayed.

Five networks of the same parts, h<t> = GRU(h<t-1>, x<t>), ŷ<t> = softmax(V h<t> + c), learn what
numbers below 1000 are called; a fifth of those with three digits is kept for the test:

    one-to-one     a noisy seven-segment display -> its digit             ŷ = softmax(V h + c)
    one-to-many    a number as a vector -> its name in letters            vector-to-sequence
    many-to-one    the name in letters -> is the number even or odd?      sequence-to-vector
    many-to-many   two binary numbers bit by bit -> the bits of their sum          T_x = T_y
    delayed        the name in letters -> its digits: encoder, then decoder        T_x ≠ T_y

What comes out letter by letter depends on the letter before: x<t> = y<t-1>, in training the true
one (teacher forcing), in the test the chosen one. Figure: samples that are right as a whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _common import COLORS, Report, Run, Score, example
from _training import Descent

import tinygrad_rnn as tg
from tinygrad_rnn import data, nn
from tinygrad_rnn.nn import functional as F

UP_TO_19 = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
    fifteen sixteen seventeen eighteen nineteen""".split()
TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
SEGMENTS = [126, 48, 109, 121, 51, 91, 95, 112, 127, 123]  # of a display, as bits
LONGEST, SKIP, H = 28, -100, 64


def name(n: int) -> str:
    """What 0 <= n < 1000 is called."""
    if n >= 100:
        return f"{UP_TO_19[n // 100]} hundred" + (f" {name(n % 100)}" if n % 100 else "")
    if n >= 20:
        return TENS[n // 10] + (f" {UP_TO_19[n % 10]}" if n % 10 else "")
    return UP_TO_19[n]


LETTERS = data.Vocabulary.from_text("".join(map(name, range(1000))), unk=None)


def spelled(numbers: np.ndarray, **ends: bool) -> tuple[np.ndarray, np.ndarray]:
    """Names as letters int64[T,B], and their lengths."""
    names = [LETTERS.encode(name(n), **ends) for n in numbers.tolist()]
    return data.pad_sequences(names, length=LONGEST)


class Decoder(nn.Module):
    """A vector f32[B,I], read at every step -> symbols, each read at the next; symbol 0 is "go"."""

    def __init__(self, inputs: int, symbols: int) -> None:
        self.read, self.embedding = nn.Linear(inputs, H), nn.Embedding(symbols, H)
        self.cell, self.head = nn.GRUCell(H, H), nn.Linear(H, symbols)

    def forward(self, vector: Any, target: Any) -> tg.Tensor:
        """Teacher forcing: the scores of every symbol, given the true ones before it."""
        before = tg.concat([tg.zeros((1, target.shape[1]), dtype="int64"), target[:-1]])
        before = tg.where(before == SKIP, 0, before)
        h, _ = nn.Recurrent(self.cell)(self.embedding(before) + self.read(vector))
        return self.head(h)

    def answer(self, vector: Any, target: Any) -> tg.Tensor:
        """Free running: as many symbols as `target` has, of which nothing else is read."""
        x = self.read(vector)

        def step(carry, _):
            h, symbol = carry
            h, _ = self.cell(h, self.embedding(symbol) + x)
            symbol = self.head(h).argmax(axis=-1)
            return (h, symbol), symbol

        go = tg.zeros(target.shape[1], dtype="int64")
        carry = self.cell.initial_carry(go.shape), go
        return tg.scan(step, carry, None, length=target.shape[0])[1]


class OneToOne(nn.Module):
    def __init__(self) -> None:
        self.layers = nn.Sequential(nn.Linear(7, H), nn.Tanh(), nn.Linear(H, 10))

    def batch(self, numbers, rng):
        shown = np.array([[int(b) for b in f"{SEGMENTS[n % 10]:07b}"] for n in numbers.tolist()])
        return (shown + rng.normal(scale=0.15, size=shown.shape)).astype("f4"), numbers % 10

    def forward(self, display, target):
        return self.layers(display)


class OneToMany(Decoder):
    def __init__(self) -> None:
        super().__init__(30, len(LETTERS))

    def batch(self, numbers, rng):
        places = np.stack([numbers // 100, numbers // 10 % 10, numbers % 10], axis=1)
        letters, lengths = spelled(numbers, eos=True)
        after = np.arange(LONGEST)[:, None] >= lengths
        return np.eye(10, dtype="f4")[places].reshape(-1, 30), np.where(after, SKIP, letters)


class ManyToOne(nn.Module):
    def __init__(self, outputs: int = 2) -> None:
        self.embedding, self.rnn = nn.Embedding(len(LETTERS), 16), nn.GRU(16, H)
        self.head = nn.Linear(H, outputs)

    def batch(self, numbers, rng):
        return spelled(numbers), numbers % 2

    def forward(self, text, target):
        letters, lengths = text
        _, last = self.rnn(self.embedding(letters), lengths=lengths)
        return self.head(last[0])


class ManyToMany(nn.Module):
    def __init__(self) -> None:
        self.rnn, self.head = nn.RNN(2, H), nn.Linear(H, 2)

    def batch(self, numbers, rng):
        """Sums of random numbers of 12 bits, the least significant bit first."""
        a, b = rng.integers(0, 2**12, size=(2, len(numbers)))
        bits = np.array([[(n >> k) & 1 for k in range(13)] for n in (a, b, a + b)])
        return bits[:2].transpose(1, 2, 0).astype("f4"), bits[2]

    def forward(self, bits, target):
        return self.head(self.rnn(bits)[0])


class Delayed(nn.Module):
    def __init__(self) -> None:
        self.encoder, self.decoder = ManyToOne(H), Decoder(H, 11)

    def batch(self, numbers, rng):
        places = np.stack([numbers // 100, numbers // 10 % 10, numbers % 10])
        return spelled(numbers), places + 1

    def forward(self, text, target):
        return self.decoder(self.encoder(text, None), target)

    def answer(self, text, target):
        return self.decoder.answer(self.encoder(text, None), target)


NETWORKS = {"one-to-one": OneToOne, "one-to-many": OneToMany, "many-to-one": ManyToOne,
            "many-to-many": ManyToMany, "delayed": Delayed}  # fmt: skip


def answer(net: nn.Module, x: Any, y: np.ndarray) -> np.ndarray:
    """What the network says of its own accord."""
    with tg.no_grad():
        said = net.answer(x, y) if hasattr(net, "answer") else net(x, y).argmax(axis=-1)
    return said.numpy()


def unroll(axis, left: float, title: str, columns: list[tuple[str, str]], feedback: bool) -> None:
    """Boxes of inputs, states and outputs, a column for each step, with what was read and said."""
    for t, (read, said) in enumerate(columns):
        x = left + t
        rows = [(0, read, COLORS[0]), (1, "h", COLORS[2]), (2, said, COLORS[1])]
        for y, text, color in [row for row in rows if row[1]]:
            box = {"boxstyle": "round", "facecolor": color, "alpha": 0.25, "edgecolor": color}
            axis.text(x, y, text, ha="center", va="center", fontsize=13, bbox=box)
        arrows = [(x, 0.25, x, 0.75)] * bool(read) + [(x, 1.25, x, 1.75)] * bool(said)
        if t + 1 < len(columns):
            arrows += [(x + 0.25, 1, x + 0.75, 1)]
            arrows += [(x + 0.2, 1.8, x + 0.8, 1.2)] * (feedback and bool(said))
        for x0, y0, x1, y1 in arrows:
            axis.annotate("", (x1, y1), (x0, y0), arrowprops={"arrowstyle": "-|>", "color": "gray"})
    axis.text(left - 0.5, 2.6, title, fontsize=15, fontweight="bold")


def columns(shape: str, x: Any, said: np.ndarray, k: int, n: int) -> list[tuple[str, str]]:
    """What sample k, the number n, reads and says at each step."""
    letters = [letter.replace(" ", "␣") for letter in name(n)]
    if shape == "one-to-one":
        return [(f"display\nof {n % 10}", str(said[k]))]
    if shape == "one-to-many":
        written = LETTERS.decode(said[:, k]).replace(" ", "␣")
        return [(f"{n}" if t == 0 else "·", letter) for t, letter in enumerate(written[:11])]
    if shape == "many-to-one":
        answers = [""] * (len(letters) - 1) + [["even", "odd"][said[k]]]
        return list(zip(letters, answers))
    if shape == "many-to-many":
        bits = x[:, k].astype(int)
        return [(f"{a}\n{b}", str(s)) for (a, b), s in zip(bits, said[:, k])]
    return [(letter, "") for letter in letters] + [("", str(s - 1)) for s in said[:, k]]


def train(run: Run, shape: str, net: nn.Module, seen: np.ndarray, steps: int, lr: float) -> float:
    descent = Descent(net, lr, decay=0.05)

    @tg.jit
    def step(x: Any, y: tg.Tensor) -> tg.Tensor:
        loss = F.cross_entropy(net(x, y), y, ignore_index=SKIP)
        loss.backward()
        descent.step()
        return loss

    for _ in descent.steps(run, steps, shape):
        run.show(step(*net.batch(run.rng.choice(seen, 64), run.rng)))
    return run.loss


@example(
    quick={"steps": 120, "networks": ("one-to-one", "one-to-many", "many-to-many")},
    networks=(tuple(NETWORKS), "which to train", *NETWORKS),
    steps=(1000, "training steps of each network"),
    lr=(0.01, "Adam's first step size"),
)
def main(run: Run, networks: tuple[str, ...], steps: int, lr: float) -> Report:
    order = run.rng.permutation(1000)
    new = order[order >= 100][:180]  # the few short names are all needed
    seen, losses, scores = np.setdiff1d(order, new), [], []
    shown = min(range(len(new)), key=lambda k: len(name(new[k])))
    axes = run.axes("The shapes of recurrent networks", 2, 1, sharex=True)
    places = {"one-to-one": (0, 0), "one-to-many": (0, 3.4), "many-to-one": (0, 15),
              "many-to-many": (1, 0), "delayed": (1, 14)}  # fmt: skip
    for shape in networks:
        net = NETWORKS[shape]()
        losses.append(train(run, shape, net, seen, steps, lr))
        x, y = net.batch(new, run.rng)
        said = answer(net, x, y)
        right = ((said == y) | (y == SKIP)).reshape(-1, len(new)).all(axis=0).mean()
        scores.append(Score(shape, right, at_least=0.99))
        row, left = places[shape]
        steps_shown = columns(shape, x, said, shown, int(new[shown]))
        feedback = isinstance(net, Decoder | Delayed)
        unroll(axes[row], left, f"{shape}\n{right:.1%}", steps_shown, feedback)
    for axis in axes:
        axis.set(xlim=(-1, 28), ylim=(-0.6, 3.2))
        axis.axis("off")
    return Report(max(losses), *scores)


if __name__ == "__main__":
    main()
