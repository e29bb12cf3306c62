"""A character language model: read a book letter by letter, then write on in its manner.

For letters x_1, x_2, ... the network predicts each letter from all before it:

    e_t = E[x_t]                                  embedding
    h_t = cell(e_t, h_{t-1})                      an LSTM, or any cell of nn: --cell
    p(x_{t+1} | x_1 ... x_t) = softmax(V h_t + b)
    loss = mean over t of -log2 p(x_{t+1} | ...)  in bits per character

Backpropagation through time is truncated: the book is cut into B streams, every step reads the
next T letters of each, gradients flow through these T letters, and the state is carried on.

    python examples/char_lm.py                                     train on Moby-Dick, then write
    python examples/char_lm.py --cell gru --hidden 128 --epochs 2
    python examples/char_lm.py --resume                            go on exactly where it stopped
    python examples/char_lm.py --only-sample --prompt "The whale " --temperature 0.5
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import tinygrad_rnn as tg
from tinygrad_rnn import data, nn, optim
from tinygrad_rnn.nn import functional as F

BOOK = Path(__file__).parent / "data" / "moby_dick.txt"
CELLS = {"lstm": "LSTMCell", "gru": "GRUCell", "rnn": "RNNCell"}
# What a checkpoint is only good for when it is the same again.
FIXED = "text cell hidden layers embed batch steps epochs lr clip dropout seed quick".split()


class CharModel(nn.Module):
    """Letters int64[T,B] and a state -> logits f32[T,B,V] and the state after them."""

    def __init__(self, letters: int, options: argparse.Namespace) -> None:
        rng = tg.Generator(options.seed)
        cell = find_cell(options.cell)
        sizes = [options.embed] + [options.hidden] * options.layers
        cells = [cell(size, options.hidden, rng=rng) for size in sizes[:-1]]
        self.embedding = nn.Embedding(letters, options.embed, rng=rng)
        self.recurrent = nn.Stack(cells, dropout=options.dropout, rng=rng)
        self.dropout = nn.Dropout(options.dropout, rng=rng)
        self.head = nn.Linear(options.hidden, letters, rng=rng)
        self.rng = rng

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


def read_text(path: Path) -> str:
    """The text to learn from, or a message that says what is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SystemExit(f"--text {path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SystemExit(f"--text {path}: is not UTF-8 text ({error})") from error
    if not text.strip():
        raise SystemExit(f"--text {path}: is empty; a few hundred thousand letters work well")
    return text


def bits(losses: list[tg.Tensor]) -> float:
    """The mean of losses in nats, in bits."""
    return float(np.mean([loss.item() for loss in losses])) / math.log(2)


class Run:
    """One training run: text, model, optimizer, and all that is needed to go on later."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.out = options, options.out
        self.checkpoint = self.out / "checkpoint.safetensors"
        self.log_file = self.out / "log.jsonl"
        text = read_text(options.text)[: 40_000 if options.quick else None]
        self.vocabulary = data.Vocabulary.from_text(text, unk=None, go=None, eos=None)
        numbers = self.vocabulary.encode(text)
        # The last twentieth is held out, and must hold at least one step of all streams.
        needed = 20 * (options.batch * options.steps + 1)
        if len(text) < needed:
            raise SystemExit(
                f"--text {options.text}: {len(text)} letters are too short for --batch "
                f"{options.batch} --steps {options.steps}, which need {needed}"
            )
        split = len(numbers) - len(numbers) // 20
        shape = {"batch_size": options.batch, "steps": options.steps, "drop_last": True}
        self.train_set = data.ContiguousStreams(numbers[:split], **shape)
        self.valid_set = data.ContiguousStreams(numbers[split:], **shape)
        self.model = CharModel(len(self.vocabulary), options)
        self.optimizer = optim.Adam(self.model.parameters(), lr=options.lr)
        self.total = options.epochs * len(self.train_set)
        self.schedule = optim.lr_scheduler.CosineAnnealingLR(
            self.optimizer, self.total, eta_min=options.lr / 20
        )
        self.state = self.model.initial_state(options.batch)
        self.done = 0
        self.history: list[dict[str, Any]] = []
        self.train_step, self.valid_step = tg.jit(self._train_step), tg.jit(self._valid_step)

    # --- one step, compiled as a whole: forward, backward, clipping, Adam ----------------------

    def loss(self, x: Any, y: Any, state: Any) -> tuple[tg.Tensor, Any]:
        logits, state = self.model(x, state)
        return F.cross_entropy(logits.reshape(-1, len(self.vocabulary)), y.reshape(-1)), state

    def _train_step(self, x: tg.Tensor, y: tg.Tensor, state: Any) -> tuple[tg.Tensor, Any]:
        loss, state = self.loss(x, y, state)
        self.optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm_(self.model.parameters(), self.options.clip)
        self.optimizer.step()
        return loss, state

    def _valid_step(self, x: tg.Tensor, y: tg.Tensor, state: Any) -> tuple[tg.Tensor, Any]:
        with tg.no_grad():
            return self.loss(x, y, state)

    # --- the loop ------------------------------------------------------------------------------

    def train(self) -> None:
        """All epochs, or until the time is up; a checkpoint now and then."""
        started, losses = time.perf_counter(), []
        with tqdm(total=self.total, initial=self.done, unit="step", disable=None) as bar:
            while self.train_set.epoch < self.options.epochs:
                if self.train_set.position == 0:
                    self.state = self.model.initial_state(self.options.batch)
                for x, y in self.train_set:
                    loss, self.state = self.train_step(x, y, self.state)
                    self.schedule.step()
                    losses.append(loss)
                    self.done += 1
                    bar.update()
                    late = 0 < self.options.time < time.perf_counter() - started
                    last = self.train_set.position == len(self.train_set)
                    if self.done % self.options.log_every == 0 or late or last:
                        if not math.isfinite(bits(losses)):
                            raise SystemExit(
                                f"step {self.done}: the loss is not finite; lower --lr"
                            )
                        self.log(train=bits(losses))
                        bar.set_postfix_str(f"{bits(losses):.3f} bits per character")
                        losses.clear()
                    if late or last:
                        self.log(valid=self.validate())
                    if late or last or self.done % (5 * self.options.log_every) == 0:
                        self.save()
                    if late and self.done < self.total:
                        return tqdm.write("the time is up; --resume goes on")

    def validate(self) -> float:
        """Bits per character on the last twentieth of the text."""
        self.model.eval()
        self.valid_set.rewind()
        state, losses = self.model.initial_state(self.options.batch), []
        for x, y in self.valid_set:
            loss, state = self.valid_step(x, y, state)
            losses.append(loss)
        self.model.train()
        epoch = self.done / len(self.train_set)
        tqdm.write(f"epoch {epoch:5.2f}   validation {bits(losses):.3f} bits per character")
        return bits(losses)

    def log(self, **values: float) -> None:
        entry = {"step": self.done, "lr": self.optimizer.param_groups[0]["lr"], **values}
        self.history.append(entry)
        with self.log_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

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

    def settings(self) -> dict[str, Any]:
        given = {**vars(self.options), "text": self.options.text.name}
        return {name: str(given[name]) for name in FIXED}

    def save(self) -> None:
        extra = {"done": self.done, "settings": self.settings(), "history": self.history}
        tg.save_checkpoint(self.checkpoint, **self.parts(), extra=extra)

    def load(self) -> None:
        """Everything as it was at the last checkpoint; lines logged after it are dropped."""
        try:
            extra = tg.load_checkpoint(self.checkpoint, **self.parts())
        except OSError as error:
            raise SystemExit(f"{self.checkpoint}: cannot be read ({error.strerror})") from error
        except tg.errors.CheckpointError as error:
            raise SystemExit(str(error)) from error
        if differing := {k for k, v in self.settings().items() if extra["settings"][k] != v}:
            saved = " ".join(f"--{k} {extra['settings'][k]}" for k in sorted(differing))
            raise SystemExit(f"{self.checkpoint} was made with {saved}; repeat that to go on")
        self.done, self.history = extra["done"], extra["history"]
        lines = [json.dumps(entry) + "\n" for entry in self.history]
        self.log_file.write_text("".join(lines), encoding="utf-8")

    def plot(self) -> Path:
        """The loss curve as a picture."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=(7, 4))
        for name, style in (("train", "-"), ("valid", "o")):
            entries = [(e["step"], e[name]) for e in self.history if name in e]
            axes.plot(*np.array(entries).reshape(-1, 2).T, style, label=name)
        axes.set(xlabel="step", ylabel="bits per character", title=self.options.cell)
        axes.legend()
        figure.savefig(self.out / "loss.png", dpi=120)
        pyplot.close(figure)
        return self.out / "loss.png"

    # --- writing -------------------------------------------------------------------------------

    def sample(self, prompt: str, length: int, temperature: float) -> str:
        """`prompt`, and `length` letters drawn from softmax(logits / temperature) after it."""
        self.model.eval()
        step = tg.jit(self._next_logits)
        state, rng = self.model.initial_state(1), np.random.default_rng(self.options.seed)
        written = list(self.vocabulary.encode(prompt))
        for number in written:
            logits, state = step(np.array([[number]]), state)
        for _ in range(length):
            scores = logits.numpy().ravel().astype(np.float64)
            if temperature == 0:
                number = int(scores.argmax())
            else:
                p = np.exp((scores - scores.max()) / temperature)
                number = int(np.searchsorted(np.cumsum(p), rng.random() * p.sum()))
            written.append(number)
            logits, state = step(np.array([[number]]), state)
        return str(self.vocabulary.decode(written))

    def _next_logits(self, letter: tg.Tensor, state: Any) -> tuple[tg.Tensor, Any]:
        with tg.no_grad():
            return self.model(letter, state)


def choose_backend(name: str | None) -> str:
    """The one asked for by --backend or TINYGRAD_RNN_BACKEND, else the best for a CPU."""
    usable = {info.name for info in tg.list_backends() if info.missing is None}
    best = "numba" if "numba" in usable else "numpy"
    return name or os.environ.get("TINYGRAD_RNN_BACKEND") or best


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--text", type=Path, default=BOOK, help="UTF-8 text to learn from")
    add("--out", type=Path, default=Path("runs/char_lm"), help="folder for all that is written")
    add("--cell", default="lstm", help="lstm, gru, rnn, or the name of a cell class of nn")
    add("--hidden", type=int, default=256, help="H, size of the state")
    add("--layers", type=int, default=1, help="recurrent layers")
    add("--embed", type=int, default=64, help="size of a letter's vector")
    add("--batch", type=int, default=32, help="B, streams read side by side")
    add("--steps", type=int, default=64, help="T, letters that gradients flow back through")
    add("--epochs", type=int, default=4, help="times to read the book")
    add("--time", type=float, default=165, help="stop after so many seconds; 0: never")
    add("--lr", type=float, default=6e-3, help="Adam's first step size")
    add("--clip", type=float, default=1.0, help="greatest norm of a gradient")
    add("--dropout", type=float, default=0.0, help="share of activations left out")
    add("--seed", type=int, default=1, help="of weights, dropout and samples")
    add("--log-every", type=int, default=20, help="steps between lines of the log")
    add("--backend", help="numpy, numba, cupy; default: TINYGRAD_RNN_BACKEND, else the best")
    add("--resume", action="store_true", help="go on from the checkpoint in --out")
    add("--only-sample", action="store_true", help="write with what was learned before")
    add("--sample", type=int, default=600, help="letters to write at the end")
    add("--temperature", type=float, default=0.6, help="0: always the likeliest letter")
    add("--prompt", default="The ", help="beginning of the sample")
    add("--quick", action="store_true", help="a small part of the book, a small network")
    options = parser.parse_args(argv)
    if options.quick:
        options.hidden, options.embed, options.batch, options.steps = 48, 16, 8, 32
        options.epochs, options.sample = min(options.epochs, 2), min(options.sample, 60)
    if min(options.hidden, options.layers, options.embed, options.batch, options.steps) < 1:
        parser.error("--hidden, --layers, --embed, --batch and --steps must be at least 1")
    if not options.prompt:
        parser.error("--prompt: give at least one letter to begin with")
    if options.epochs < 1 or options.log_every < 1 or options.temperature < 0:
        parser.error("--epochs and --log-every must be at least 1, --temperature at least 0")
    return options


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    tg.use_backend(choose_backend(options.backend))
    run = Run(options)
    if unknown := sorted(set(options.prompt) - set(run.vocabulary.tokens)):
        raise SystemExit(f"--prompt: the letters {unknown} do not occur in {options.text.name}")
    size = sum(p.size for p in run.model.parameters())
    print(f"backend {tg.get_backend().name}; {options.cell}, {size:,} parameters", end="; ")
    print(f"{options.text.name}, {len(run.vocabulary)} different letters")
    options.out.mkdir(parents=True, exist_ok=True)
    if options.resume or options.only_sample:
        run.load()
        print(f"{run.checkpoint}: {run.done} of {run.total} steps are done")
    else:
        run.log_file.unlink(missing_ok=True)
    try:
        if not options.only_sample:
            started = time.perf_counter()
            run.train()
            print(f"{time.perf_counter() - started:.0f} s; see {run.checkpoint}, {run.plot()}")
        print("-" * 80)
        print(run.sample(options.prompt, options.sample, options.temperature))
    except KeyboardInterrupt:
        kept = f"the last checkpoint is {run.checkpoint}" if run.checkpoint.exists() else ""
        print(f"\nstopped; {kept or 'there is no checkpoint yet'}")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
