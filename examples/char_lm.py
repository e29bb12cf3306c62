"""A character language model: read a book letter by letter, then write on in its manner.

For letters x_1, x_2, ... the network predicts each letter from all before it:

    e_t = E[x_t]                                  embedding
    h_t = cell(e_t, h_{t-1})                      an LSTM, or any cell of nn: --cell
    p(x_{t+1} | x_1 ... x_t) = softmax(V h_t + b)
    loss = mean over t of -log2 p(x_{t+1} | ...)  in bits per character

Backpropagation through time is truncated: the book is cut into B streams, every step reads the
next T letters of each, gradients flow through these T letters, and the state is carried on.
Baseline: p(x_{t+1} | x_t) as counted in the book, on the same held-out twentieth.

    python examples/char_lm.py                                     train on Moby-Dick, then write
    python examples/char_lm.py --cell gru --hidden 128 --epochs 2
    python examples/char_lm.py --resume                            go on exactly where it stopped
    python examples/char_lm.py --only-sample --prompt "The whale " --temperature 0.5
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from _common import Report, Run, Score, check_known, example, read_text

import tinygrad_rnn as tg
from tinygrad_rnn import data, decoding, nn, optim
from tinygrad_rnn.nn import functional as F

BOOK = Path(__file__).parent / "data" / "moby_dick.txt"
CELLS = {"lstm": "LSTMCell", "gru": "GRUCell", "rnn": "RNNCell"}
# What a checkpoint is only good for when it is the same again.
FIXED = "text cell hidden layers embed batch steps epochs lr clip dropout".split()


class CharModel(nn.Module):
    """Letters int64[T,B] and a state -> logits f32[T,B,V] and the state after them."""

    def __init__(self, letters: int, o: SimpleNamespace, seed: int) -> None:
        self.rng = rng = tg.Generator(seed)
        cell = find_cell(o.cell)
        sizes = [o.embed] + [o.hidden] * o.layers
        cells = [cell(size, o.hidden, rng=rng) for size in sizes[:-1]]
        self.embedding = nn.Embedding(letters, o.embed, rng=rng)
        self.recurrent = nn.Stack(cells, dropout=o.dropout, rng=rng)
        self.dropout = nn.Dropout(o.dropout, rng=rng)
        self.head = nn.Linear(o.hidden, letters, rng=rng)

    def initial_state(self, batch: int) -> Any:
        return tuple(layer.initial_state((batch,)) for layer in self.recurrent.layers)

    def forward(self, letters: tg.Tensor, state: Any) -> tuple[tg.Tensor, Any]:
        hidden, state = self.recurrent(self.dropout(self.embedding(letters)), state)
        return self.head(self.dropout(hidden)), state


def find_cell(name: str) -> Any:
    """A cell class of nn: 'lstm', or the name of the class."""
    cells = {key for key in vars(nn) if key.endswith("Cell")}
    chosen = CELLS.get(name.lower(), name)
    if chosen not in cells:
        raise SystemExit(f"--cell {name}: choose one of {', '.join([*CELLS, *sorted(cells)])}")
    return getattr(nn, chosen)


def pair_bits(train: np.ndarray, valid: np.ndarray, letters: int) -> float:
    """Bits per character of the counted p(x_{t+1} | x_t)."""
    counts = np.full((letters, letters), 0.1)
    np.add.at(counts, (train[:-1], train[1:]), 1)
    p = counts / counts.sum(axis=1, keepdims=True)
    return float(-np.log2(p[valid[:-1], valid[1:]]).mean())


class Training:
    """Text, model, optimizer, and all that is needed to go on later."""

    def __init__(self, run: Run, o: SimpleNamespace) -> None:
        self.run, self.options = run, o
        text = read_text(Path(o.text))[: 40_000 if run.quick else None]
        self.vocabulary = data.Vocabulary.from_text(text, unk=None, go=None, eos=None)
        # The last twentieth is held out, and must hold at least one step of all streams.
        if len(text) < (needed := 20 * (o.batch * o.steps + 1)):
            raise SystemExit(
                f"--text {o.text}: {len(text)} letters are too short for --batch {o.batch} "
                f"--steps {o.steps}, which need {needed}"
            )
        check_known(o.prompt, self.vocabulary.tokens, "--prompt", Path(o.text).name)
        numbers = self.vocabulary.encode(text)
        parts = np.split(numbers, [len(numbers) - len(numbers) // 20])
        self.baseline = pair_bits(*parts, len(self.vocabulary))
        self.train_set, self.valid_set = (
            data.ContiguousStreams(part, batch_size=o.batch, steps=o.steps, drop_last=True)
            for part in parts
        )
        self.model = CharModel(len(self.vocabulary), o, run.seed)
        self.optimizer = optim.Adam(self.model.parameters(), lr=o.lr)
        self.total = o.epochs * len(self.train_set)
        self.schedule = optim.lr_scheduler.CosineAnnealingLR(
            self.optimizer, self.total, eta_min=o.lr / 20
        )
        self.state = self.model.initial_state(o.batch)
        self.losses: list[float] = []  # bits per character of every step
        self.valid: list[tuple[int, float]] = []  # (step, bits per character)

    # --- one step, compiled as a whole: forward, backward, clipping, Adam ----------------------

    def loss(self, x: Any, y: Any, state: Any) -> tuple[tg.Tensor, Any]:
        logits, state = self.model(x, state)
        return F.cross_entropy(logits, y), state

    def step(self, x: tg.Tensor, y: tg.Tensor, state: Any) -> tuple[tg.Tensor, Any]:
        loss, state = self.loss(x, y, state)
        self.optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm_(self.model.parameters(), self.options.clip)
        self.optimizer.step()
        return loss, state

    # --- the loop ------------------------------------------------------------------------------

    def train(self) -> None:
        """All epochs, or until the time is up."""
        step, started, run = tg.jit(self.step), time.perf_counter(), self.run
        steps = run.steps(self.total, start=len(self.losses), save=self.save)
        for _, (x, y) in zip(steps, self.chunks()):
            loss, self.state = step(x, y, self.state)
            self.losses.append(run.show(loss / math.log(2), "bits per character"))
            late = 0 < self.options.time < time.perf_counter() - started
            if late or len(self.losses) % len(self.train_set) == 0:
                self.validate()
            if late and len(self.losses) < self.total:
                self.save()
                return run.say("the time is up; --resume goes on")

    def chunks(self) -> Any:
        """The book over and over, from where the cursor stands; every reading starts afresh."""
        while True:
            if self.train_set.position == 0:
                self.state = self.model.initial_state(self.options.batch)
            yield from self.train_set

    def validate(self) -> None:
        """Bits per character on the last twentieth of the text."""
        self.model.eval()
        self.valid_set.rewind()
        state, losses, step = self.model.initial_state(self.options.batch), [], tg.jit(self.loss)
        with tg.no_grad():
            for x, y in self.valid_set:
                loss, state = step(x, y, state)
                losses.append(loss.item() / math.log(2))
        self.model.train()
        self.valid.append((len(self.losses), float(np.mean(losses))))
        epoch = len(self.losses) / len(self.train_set)
        self.run.say(f"epoch {epoch:5.2f}   validation {self.valid[-1][1]:.3f} bits per character")

    # --- saving --------------------------------------------------------------------------------

    def parts(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "scheduler": self.schedule,
            "rng": self.model.rng,
            "loader": self.train_set,
            "state": self.state,
        }

    def settings(self) -> dict[str, str]:
        given = {name: getattr(self.options, name) for name in FIXED}
        given |= {"text": Path(self.options.text).name, "seed": self.run.seed}
        return {name: str(value) for name, value in given.items()}

    def save(self) -> None:
        extra = {"settings": self.settings(), "losses": self.losses, "valid": self.valid}
        self.run.save(**self.parts(), extra=extra)

    def load(self, path: Path) -> None:
        """Everything as it was at the last checkpoint."""
        try:
            extra = tg.load_checkpoint(path, **self.parts())
        except OSError as error:
            raise SystemExit(f"{path}: cannot be read ({error.strerror})") from error
        except tg.errors.CheckpointError as error:
            raise SystemExit(str(error)) from error
        if differing := {k for k, v in self.settings().items() if extra["settings"][k] != v}:
            saved = " ".join(f"--{k} {extra['settings'][k]}" for k in sorted(differing))
            raise SystemExit(f"{path} was made with {saved}; repeat that to go on")
        self.losses, self.valid = extra["losses"], [tuple(pair) for pair in extra["valid"]]
        self.run.checkpoint = path
        print(f"{path}: {len(self.losses)} of {self.total} steps are done")

    # --- what has been learned -----------------------------------------------------------------

    def draw(self) -> None:
        """The loss over the steps, and the baseline."""
        axis = self.run.axes(f"Reading {Path(self.options.text).stem.replace('_', ' ')}")
        axis.plot(self.losses, linewidth=0.7, alpha=0.7, label="training")
        axis.plot(*zip(*self.valid), "o-", markersize=10, label="held-out chapters")
        axis.axhline(self.baseline, color="gray", linestyle=":", label="pairs of letters, counted")
        axis.set(xlabel="step", ylabel="bits per character", ylim=(1.5, 5))
        axis.legend()

    def write(self, prompt: str, length: int, temperature: float) -> str:
        """`prompt`, and `length` letters drawn from softmax(logits / temperature) after it."""
        self.model.eval()

        @tg.jit
        def step(letters: tg.Tensor, state: Any) -> tuple[tg.Tensor, Any]:
            with tg.no_grad():
                logits, state = self.model(tg.expand_dims(letters, 0), state)
                return logits[0], state

        letters, state = self.vocabulary.encode(prompt), self.model.initial_state(1)
        for letter in letters[:-1]:
            _, state = step(np.array([letter]), state)
        options = {"temperature": temperature, "rng": self.run.seed}
        (written,) = decoding.sample(step, state, letters[-1:], length, **options)
        return prompt + self.vocabulary.decode(written)


@example(
    quick=dict(hidden=48, embed=16, batch=8, steps=32, epochs=2, sample=60, time=0.0),
    seed=1,
    text=(str(BOOK), "UTF-8 text to learn from"),
    cell=("lstm", "lstm, gru, rnn, or the name of a cell class of nn"),
    hidden=(256, "H, size of the state"),
    layers=(1, "recurrent layers"),
    embed=(64, "size of a letter's vector"),
    batch=(32, "B, streams read side by side"),
    steps=(64, "T, letters that gradients flow back through"),
    epochs=(4, "times to read the book"),
    time=(165.0, "stop after so many seconds; 0: never"),
    lr=(6e-3, "Adam's first step size"),
    clip=(1.0, "greatest norm of a gradient"),
    dropout=(0.0, "share of activations left out"),
    resume=(False, "go on from the checkpoint in --out"),
    only_sample=(False, "write with what was learned before"),
    sample=(600, "letters to write at the end"),
    temperature=(0.6, "0: always the likeliest letter"),
    prompt=("The ", "beginning of the sample"),
)
def main(run: Run, **settings: Any) -> Report:
    o = SimpleNamespace(**settings)
    if not o.prompt:
        raise SystemExit("--prompt: give at least one letter to begin with")
    training = Training(run, o)
    size = sum(p.size for p in training.model.parameters())
    print(f"{o.cell}, {size:,} parameters; {len(training.vocabulary)} different letters")
    if o.resume or o.only_sample:
        training.load(run.out / "checkpoint.safetensors")
    if not o.only_sample:
        training.train()
    print("-" * 80 + "\n" + training.write(o.prompt, o.sample, o.temperature) + "\n" + "-" * 80)
    training.draw()
    reached = training.valid[-1][1] if training.valid else math.nan
    baseline = ("pairs of letters", training.baseline)
    score = Score("bits per character", reached, baseline=baseline, form=".3f")
    return Report(float(np.mean(training.losses[-20:])), score)


if __name__ == "__main__":
    main()
