"""Translation: one network reads, another one writes, and looks where it needs to (T_x ≠ T_y).

    encoder (sequence to vector)    a<t> = [GRU→(x<1> … x<t>); GRU←(x<T> … x<t>)]
    decoder (vector to sequence)    s<t> = GRU(s<t-1>, [E y<t-1>; c<t>]),  s<0> = tanh(W a<ends>)
    without attention               c<t> = a<ends>, the same for all t
    with attention                  c<t> = Σ_k α<t,k> a<k>,  α<t> = softmax(v·tanh(W s<t-1> + U a))
    ŷ<t> = softmax(V [s<t>; c<t>] + b),  L = -Σ_t log ŷ<t>[y<t>]

In training y<t-1> is the right letter (teacher forcing), in use it is what was written, found by
beam search. Two tasks, of which a tenth is never seen: dates and numbers in 15 languages -> digits;
English letters -> phonemes (CMU dictionary). Baselines: the translation of the nearest known text
(the one that shares most pairs of letters), and the network without attention.

    python examples/translate.py
    python examples/translate.py --bible /usr/share/sword/modules/texts/ztext   English -> Spanish
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from _common import Report, Run, Score, example, need
from _pairs import Pair, dates, nearest, phonemes, verses
from _training import Descent, forever

import tinygrad_rnn as tg
from tinygrad_rnn import data, decoding, metrics, nn
from tinygrad_rnn.nn import functional as F


class Translator(nn.Module):
    """Source int64[S,B], lengths, target so far int64[T,B] -> scores of the next f32[T,B,V]."""

    def __init__(self, sources: int, targets: int, hidden: int, attention: bool) -> None:
        self.source, self.target = nn.Embedding(sources, hidden), nn.Embedding(targets, hidden)
        self.encoder = nn.GRU(hidden, hidden, bidirectional=True)
        self.start = nn.Linear(2 * hidden, hidden)
        self.look = nn.AdditiveAttention(hidden, 2 * hidden, hidden) if attention else None
        self.cell, self.head = nn.GRUCell(3 * hidden, hidden), nn.Linear(3 * hidden, targets)
        self.dropout = nn.Dropout(0.1)

    def encode(self, x: tg.Tensor, lengths: tg.Tensor) -> tuple[tg.Tensor, ...]:
        """What the decoder may look at, a [S,B,2H]; its ends [B,2H]; the first state s [B,H]."""
        a, last = self.encoder(self.dropout(self.source(x)), lengths=lengths)
        ends = tg.concat([last[0], last[1]], -1)
        return a, ends, tg.tanh(self.start(ends))

    def step(self, s: tg.Tensor, y: tg.Tensor, a: tg.Tensor, ends: tg.Tensor, lengths: tg.Tensor):
        """One step of the decoder: the new state, the context, where it looked."""
        context, weights = self.look(s, a, lengths=lengths) if self.look else (ends, ends[:, :0])
        s, _ = self.cell(s, tg.concat([y, context], -1))
        return s, (s, context, weights)

    def forward(
        self, x: tg.Tensor, lengths: tg.Tensor, y: tg.Tensor
    ) -> tuple[tg.Tensor, tg.Tensor]:
        a, ends, s = self.encode(x, lengths)
        letters = self.dropout(self.target(y))
        _, found = tg.scan(lambda s, y: self.step(s, y, a, ends, lengths), s, letters)
        states, contexts, weights = found
        return self.head(self.dropout(tg.concat([states, contexts], -1))), weights


class Task:
    """Pairs as numbers, a network, its training and its translations."""

    def __init__(
        self, run: Run, name: str, pairs: list[Pair], hidden: int, attention: bool, lr: float
    ):
        self.run, self.name = run, name
        self.test, self.train_pairs = pairs[: len(pairs) // 10][:1000], pairs[len(pairs) // 10 :]
        sides = zip(*self.train_pairs)
        self.source, self.target = (
            data.Vocabulary.from_tokens([t for text in side for t in text], max_size=8000)
            for side in sides
        )
        self.model = Translator(len(self.source), len(self.target), hidden, attention)
        self.descent = Descent(self.model, lr)

    def batch(self, pairs: list[Pair]) -> tuple[np.ndarray, ...]:
        """Source [S,B] and its lengths, the target after <go> and before <eos> [T,B]."""
        x, lengths = data.pad_sequences([self.source.encode(s) for s, _ in pairs], multiple=8)
        y, _ = data.pad_sequences(
            [self.target.encode(t, go=True, eos=True) for _, t in pairs], value=-100, multiple=4
        )
        return x, lengths, np.maximum(y[:-1], 0), y[1:]

    def train(self, steps: int) -> float:
        loader = data.Loader(
            self.train_pairs, 64, shuffle=True, seed=self.run.seed, drop_last=True,
            collate=self.batch, lengths=[len(s) for s, _ in self.train_pairs],
        )  # fmt: skip

        @tg.jit
        def step(x, lengths, y, wanted):
            loss = F.cross_entropy(self.model(x, lengths, y)[0], wanted)
            loss.backward()
            self.descent.step()
            return loss

        for _, batch in zip(self.descent.steps(self.run, steps, self.name), forever(loader)):
            self.run.show(step(*batch))
        return self.run.loss

    def translate(self, sources: list[list[str]], beam_width: int) -> list[list[str]]:
        """The likeliest target of each source."""

        @tg.jit
        def step(tokens, state):
            s, (s, context, _) = self.model.step(
                state["s"], self.model.target(tokens), state["a"].swapaxes(0, 1), state["ends"],
                state["lengths"],
            )  # fmt: skip
            return self.model.head(tg.concat([s, context], -1)), {**state, "s": s}

        found: list[list[str]] = []
        with tg.no_grad():
            for i in range(0, len(sources), 100):
                x, lengths, *_ = self.batch([(s, []) for s in sources[i : i + 100]])
                a, ends, s = self.model.encode(tg.tensor(x), lengths)
                state = {"s": s, "a": a.swapaxes(0, 1), "ends": ends, "lengths": lengths}
                first = [self.target.special("go")] * len(lengths)
                eos = self.target.special("eos")
                best = decoding.beam_search(step, state, first, 30, eos=eos, beam_width=beam_width)
                found += [self.target.decode(h[0].tokens) for h in best]
        return found

    def joined(self, tokens: list[str]) -> str:
        """Tokens as text: words with spaces between them, letters without."""
        return (" " if max(map(len, tokens), default=1) > 1 else "").join(tokens)

    def looked(self, pair: Pair) -> np.ndarray:
        """α [T_y, T_x] while the target is written."""
        x, lengths, y, _ = self.batch([pair])
        with tg.no_grad():
            weights = self.model(tg.tensor(x), lengths, tg.tensor(y))[1].numpy()
        return weights[: len(pair[1]), 0, : len(pair[0])]


def wrong(written: list[list[str]], targets: list[list[str]]) -> float:
    """The share that is not exactly right."""
    return float(np.mean([w != t for w, t in zip(written, targets)]))


def bleu(written: list[list[str]], targets: list[list[str]]) -> float:
    """BLEU of corpora, between 0 and 1, by sacrebleu on these tokens."""
    texts = [[" ".join(words) for words in side] for side in (written, targets)]
    return (
        need("sacrebleu").corpus_bleu(texts[0], [texts[1]], tokenize="none", force=True).score / 100
    )


@dataclass
class Study:
    """What was found with one kind of pairs; the network with attention."""

    name: str
    found: dict[str, float]
    net: Task
    loss: float

    def score(self, name: str, exact: bool = False, **wanted: float) -> Score:
        """The figure with attention beside the best of the others; `exact`: 1 - errors."""
        values = {kind: 1 - v if exact else v for kind, v in self.found.items()}
        reached = values.pop("attention")
        best = (max if "at_least" in wanted else min)(values, key=values.get)
        return Score(name, reached, baseline=(best, values[best]), **wanted)


def study(
    run: Run, name: str, pairs: list[Pair], kinds: list[str], measure, steps: int, settings
) -> Study:
    """Train a network of each kind; measure them, and the nearest known text."""
    hidden, width, lr = settings
    for kind in kinds:
        net = Task(run, f"{name}, {kind}", pairs, hidden, kind == "attention", lr)
        if kind == kinds[0]:
            sources, targets = [s for s, _ in net.test], [t for _, t in net.test]
            found = {"nearest text": measure(nearest(net.train_pairs, sources), targets)}
        loss = net.train(steps)
        written = net.translate(sources, width)
        found[kind] = measure(written, targets)
    for source, target in list(zip(sources, written))[:3]:
        run.say("  " + "  ->  ".join(net.joined(tokens) for tokens in (source, target)))
    return Study(name, found, net, loss)


def draw(run: Run, studies: list[Study], form: str) -> None:
    """Where the decoder looked while it wrote; and how often it erred."""
    axes = run.axes("Where the network looks while it writes", 1, len(studies) + 1,
                    gridspec_kw={"width_ratios": [1.6] * len(studies) + [1]})  # fmt: skip
    for axis, study in zip(axes, studies):
        long = [p for p in study.net.test if 8 <= len(p[0]) <= 26 and len(p[1]) >= 4]
        source, target = long[run.seed % len(long)]
        axis.imshow(study.net.looked((source, target)), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        turn = {"rotation": 60} if max(map(len, source)) > 1 else {}
        axis.set_xticks(range(len(source)), source, fontsize=13, **turn)
        axis.set_yticks(range(len(target)), target)
        axis.set(title=study.name)
        axis.grid(False)
    bars = {f"{s.name}\n{kind}": value for s in studies for kind, value in s.found.items()}
    colors = ["#0072B2" if "attention" in name else "#999999" for name in bars]
    axes[-1].barh(list(bars), list(bars.values()), color=colors)
    axes[-1].bar_label(axes[-1].containers[0], fmt="{:.1%}", padding=4)
    axes[-1].set(xlim=(0, 1.25 * max(bars.values())), title=form)
    axes[-1].tick_params(axis="y", labelsize=12)
    axes[-1].set_xticks([])


@example(
    quick={"pairs": 2000, "steps": 60, "hidden": 24, "width": 2, "task": "dates", "plain": False},
    task=("both", "which task", "dates", "phonemes", "both"),
    bible=("", "folder with the SWORD modules engKJV2006eb and spaRV1909eb: English to Spanish"),
    pairs=(130_000, "pairs to learn from, at most"),
    steps=(2400, "steps of training for each network; phonemes take half of them"),
    hidden=(96, "H, size of the states"),
    width=(4, "candidates that beam search keeps"),
    plain=(True, "translate dates without attention, too"),
    lr=(3e-3, "Adam's first step size"),
)
def main(
    run: Run,
    task: str,
    bible: str,
    pairs: int,
    steps: int,
    hidden: int,
    width: int,
    plain: bool,
    lr: float,
) -> Report:
    settings, kinds = (hidden, width, lr), ["without"] * plain + ["attention"]
    if bible:
        found = verses(bible, pairs, run.rng)
        need("sacrebleu")  # before the training, not after it
        done = study(run, "verses", found, ["attention"], bleu, steps, settings)
        draw(run, [done], "BLEU")
        return Report(done.loss, done.score("BLEU", at_least=done.found["nearest text"]))
    studies = []
    if task != "phonemes":
        some = dates(min(pairs, 60_000), run.rng)
        studies.append(study(run, "dates", some, kinds, wrong, steps, settings))
    if task != "dates":
        words = phonemes(pairs, run.rng)
        half, rate = (steps + 1) // 2, metrics.error_rate
        studies.append(study(run, "phonemes", words, ["attention"], rate, half, settings))
    draw(run, studies, "errors")
    goals = {
        "dates": {"name": "dates and numbers exact", "exact": True, "at_least": 0.99},
        "phonemes": {"name": "phoneme errors", "at_most": 0.15},
    }
    scores = [found.score(**goals[found.name]) for found in studies]
    return Report(studies[-1].loss, *scores)


if __name__ == "__main__":
    main()
