"""A cell invented on the spot: six lines of Python, derived, compiled, and raced against the LSTM.

The see-saw cell has one gate fewer than the LSTM: what it forgets makes room for what is new, and
it shows its memory through a window that may be shut or opened twice as wide:

    f, g, o = W x_t + U h_{t-1} + b          in three blocks
    c_t = σ(f) ⊗ c_{t-1} + (1 - σ(f)) ⊗ tanh(g)
    h_t = (1 + tanh(o)) ⊗ c_t

Nobody has written its backward pass. `explain` shows what is derived: one product in the loop
forwards, one in the loop backwards; the others have moved out. It learns the letters of a novel,
as LSTM, GRU and tanh network of the same size do. A cell of G blocks multiplies G·H·H numbers per
letter, so speeds are compared per block: the LSTM, best tuned of all cells, is the baseline.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
from _common import COLORS, Report, Run, Score, example, read_text

import tinygrad_rnn as tg
from tinygrad_rnn import data, nn, optim
from tinygrad_rnn.nn import functional as F

BOOK = Path(__file__).parent / "data" / "moby_dick.txt"
BATCH, STEPS = 32, 50


class SeeSawCell(nn.Module):
    """(carry (h, c), x) -> (carry, h)."""

    gates = "fgo"

    def __init__(self, inputs: int, hidden: int) -> None:
        self.W, self.U = nn.Linear(inputs, 3 * hidden), nn.Linear(hidden, 3 * hidden, bias=False)

    def initial_carry(self, batch, dtype=None, backend=None):
        return (tg.zeros((*batch, self.U.in_features)),) * 2

    def forward(self, carry, x):
        h, c = carry
        f, g, o = tg.chunk(self.W(x) + self.U(h), 3, axis=-1)
        c = tg.sigmoid(f) * c + (1 - tg.sigmoid(f)) * tg.tanh(g)
        h = (1 + tg.tanh(o)) * c
        return (h, c), h


CELLS = {"see-saw": SeeSawCell, "LSTM": nn.LSTMCell, "GRU": nn.GRUCell, "tanh": nn.RNNCell}


class Learner:
    """A character model with the given cell, and its compiled training step."""

    def __init__(self, name: str, letters: int, hidden: int, lr: float) -> None:
        self.cell = CELLS[name](64, hidden)
        self.layer, self.head = nn.Recurrent(self.cell), nn.Linear(hidden, letters)
        self.model = nn.ModuleList([nn.Embedding(letters, 64), self.layer, self.head])
        self.optimizer = optim.Adam(self.model.parameters(), lr=lr)
        self.state = self.layer.initial_state((BATCH,))
        self.compiled, self.seconds, self.bits = tg.jit(self.step), math.inf, []

    def loss(self, x: tg.Tensor, y: tg.Tensor, state):
        h, state = self.layer(self.model[0](x), state)
        return F.cross_entropy(self.head(h), y), state

    def step(self, x: tg.Tensor, y: tg.Tensor, state):
        loss, state = self.loss(x, y, state)
        self.optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss, state

    def learn(self, run: Run, x: np.ndarray, y: np.ndarray) -> None:
        start = time.perf_counter()
        loss, self.state = self.compiled(x, y, self.state)
        self.bits.append(run.show(loss / math.log(2), "bits per letter"))
        self.seconds = min(self.seconds, time.perf_counter() - start)


def draw(run: Run, learners: dict[str, Learner], explained) -> None:
    ratios = {"width_ratios": [4, 3, 2]}
    learning, times, products = run.axes("A cell invented on the spot", 1, 3, gridspec_kw=ratios)
    for name, learner in learners.items():
        smooth = np.convolve(learner.bits, np.ones(20) / 20, mode="valid")
        learning.plot(np.arange(len(smooth)) + 20, smooth, label=name)
    learning.set(xlabel="training step", title="bits per letter", ylim=(2.2, 4))
    learning.legend()
    each = [1000 * learner.seconds for learner in learners.values()]
    bars = times.barh(list(learners), each, color=COLORS[: len(each)])
    labels = [
        f" {ms:.1f} ms\n {len(v.cell.gates)} blocks" for ms, v in zip(each, learners.values())
    ]
    times.bar_label(bars, labels)
    times.invert_yaxis()
    times.set(title="a training step", xticks=[], xlim=(0, 1.35 * max(each)))
    for k, (title, loops) in enumerate((("written", explained.before), ("run", explained.loops))):
        found = [loop.products for loop in loops]
        bars = products.bar(np.arange(2) + 0.4 * k - 0.2, found, 0.38, label=f"as {title}")
        products.bar_label(bars)
    products.set(title="products per step", xticks=[0, 1], xticklabels=["forwards", "backwards"])
    products.set(yticks=[], ylim=(0, 5))
    products.legend(loc="upper left")


@example(
    quick={"hidden": 32, "steps": 60},
    hidden=(128, "H, size of the state"),
    steps=(800, "training steps of each cell"),
    lr=(0.005, "Adam's step size"),
)
def main(run: Run, hidden: int, steps: int, lr: float) -> Report:
    text = read_text(BOOK)
    letters = data.Vocabulary.from_text(text, unk=None, go=None, eos=None)
    stream = data.ContiguousStreams(letters.encode(text), BATCH, STEPS, drop_last=True)
    learners = {name: Learner(name, len(letters), hidden, lr) for name in CELLS}
    own, lstm = learners["see-saw"], learners["LSTM"]
    explained = tg.explain(own.step)(*map(tg.tensor, stream.chunk(0)), own.state)
    run.say("\n".join(line for line in str(explained).splitlines() if "products and" in line))
    for k in run.steps(steps, model=own.model):
        for learner in learners.values():  # in turn, so that all meet the same noise of the machine
            learner.learn(run, *stream.chunk(k % len(stream)))
    draw(run, learners, explained)
    ratio = (own.seconds / 3) / (lstm.seconds / 4)
    last = {name: float(np.mean(learner.bits[-50:])) for name, learner in learners.items()}
    return Report(
        last["see-saw"],
        Score("time per block, LSTM = 1", ratio, at_most=1.2, form=".2f"),
        Score("bits per letter", last["see-saw"], baseline=("LSTM", last["LSTM"]), form=".2f"),
    )


if __name__ == "__main__":
    main()
