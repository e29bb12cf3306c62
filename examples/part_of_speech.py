"""Parts of speech by a deep bidirectional network, letters first (many-to-many, T_x = T_y).

    Burun  kemiğimde  herhangi  bir  eğrilik  olmadığı  için  ->  NN  NN  PDT  DT  NN  VN  IN

Turkish puts its grammar into the ends of words, and one word of six in a new text was never met
before. So a first recurrent network reads the letters of each word, from the last one back; two
bidirectional layers, the second above the outputs of the first, read the words:

    w<t> = [E x<t>; GRU(letters of word t)]                  the word itself, and what it looks like
    h1→<t> = GRU(h1→<t-1>, w<t>),      h1←<t> = GRU(h1←<t+1>, w<t>)
    h2→<t> = GRU(h2→<t-1>, h1<t>),     h2←<t> = GRU(h2←<t+1>, h1<t>),     h<t> = [h→<t>; h←<t>]
    ŷ<t> = softmax(V h2<t> + c),       L = -Σ_t log ŷ<t>[y<t>]

The corpus is the Turkish Web Treebank (Apache 2.0), 4,851 sentences and 44 tags, from the package
turkish-treebanks; a tenth is for the test. Baseline: the most frequent tag of each word, and of all
words for those never met.

    python examples/part_of_speech.py
    python examples/part_of_speech.py --corpus FILE        CoNLL-U, or lines of word/TAG
"""

from __future__ import annotations

import functools
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from _common import Report, Run, Score, data_file, example, read_text
from _training import Descent

import tinygrad_rnn as tg
from tinygrad_rnn import data, metrics, nn
from tinygrad_rnn.nn import functional as F

LETTERS = 14  # at most, from the end of a word
Sentence = list[tuple[str, str]]


def read_corpus(text: str) -> list[Sentence]:
    """Sentences of (word, tag): CoNLL-U, or one sentence in a line of word/TAG."""
    if re.search(r"(?m)^1\t", text):
        blocks = [block.split("\n") for block in text.split("\n\n")]
        rows = [[r.split("\t") for r in block if re.match(r"\d+\t", r)] for block in blocks]
        found = [[(r[1], r[3] if r[4] == "_" else r[4]) for r in block] for block in rows]
    else:
        found = [
            [tuple(pair.rsplit("/", 1)) for pair in line.split() if "/" in pair[1:]]
            for line in text.split("\n")
        ]
    return [sentence[:60] for sentence in found if sentence]


def most_frequent_tag(train: list[Sentence], test: list[Sentence]) -> list[str]:
    tags = defaultdict(Counter)
    for word, tag in (pair for s in train for pair in s):
        tags[word.lower()][tag] += 1
        tags[None][tag] += 1
    return [tags.get(w.lower(), tags[None]).most_common(1)[0][0] for s in test for w, _ in s]


class Tagger(nn.Module):
    """Words int64[T,B,1+LETTERS+1] and lengths -> scores of the tags f32[T,B,K]."""

    def __init__(self, words: int, letters: int, tags: int, embed: int, hidden: int) -> None:
        self.word, self.letter = nn.Embedding(words, embed), nn.Embedding(letters, 16)
        self.speller = nn.GRU(16, embed)
        self.rnn = nn.GRU(2 * embed, hidden, num_layers=2, dropout=0.3, bidirectional=True)
        self.dropout, self.head = nn.Dropout(0.3), nn.Linear(2 * hidden, tags)

    def forward(self, x: tg.Tensor, lengths: tg.Tensor) -> tg.Tensor:
        T, B, _ = x.shape
        spelled = x[..., 1:-1].reshape(T * B, LETTERS)  # the last letter first, then 0
        _, last = self.speller(self.letter(spelled.T), lengths=(spelled > 0).sum(axis=1))
        look = last[0].reshape(T, B, -1)
        x = self.dropout(tg.concat([self.word(x[..., 0]), look], -1))
        states, _ = self.rnn(x, lengths=lengths)
        return self.head(self.dropout(states))


def encode(sentence: Sentence, words, letters, tags) -> np.ndarray:
    """int64[T, 1 + LETTERS + 1]: the word, its letters from the last one back, the tag."""
    x = np.zeros((len(sentence), 2 + LETTERS), np.int64)
    x[:, 0] = words.encode([word.lower() for word, _ in sentence])
    x[:, -1] = tags.encode([tag for _, tag in sentence])
    for row, (word, _) in zip(x, sentence):
        row[1 : 1 + len(word[-LETTERS:])] = letters.encode(word[: -LETTERS - 1 : -1])
    return x


def train(run: Run, model: Tagger, train_set: list[np.ndarray], epochs: int, lr: float) -> float:
    descent, sizes = Descent(model, lr), [len(s) for s in train_set]
    pad = functools.partial(data.pad_sequences, multiple=10)  # few shapes: each is compiled once
    loader = data.Loader(
        train_set, 32, shuffle=True, seed=run.seed, drop_last=True, lengths=sizes, collate=pad
    )
    chance = tg.Generator(run.seed)

    @tg.jit
    def step(batch: tg.Tensor, lengths: tg.Tensor) -> tg.Tensor:
        known = chance.bernoulli(0.85, batch.shape[:2])  # so that it learns from the letters, too
        words = tg.where(known, batch[..., 0], 0)[..., None]
        there = tg.arange(len(batch))[:, None] < lengths
        scores = model(tg.concat([words, batch[..., 1:]], -1), lengths)
        loss = F.cross_entropy(scores, tg.where(there, batch[..., -1], -100))
        loss.backward()
        descent.step()
        return loss

    for _ in descent.steps(run, epochs):
        for batch in loader:
            run.show(step(*batch))
    return run.loss


def predict(model: Tagger, sentences: list[np.ndarray]) -> np.ndarray:
    found = []
    with tg.no_grad():
        for i in range(0, len(sentences), 128):
            batch, lengths = data.pad_sequences(sentences[i : i + 128])
            best = model(tg.tensor(batch), lengths).argmax(axis=-1).numpy()
            found += [best[:n, k] for k, n in enumerate(lengths)]
    return np.concatenate(found)


def draw(run: Run, table: np.ndarray, names: list[str], bars: dict[str, list[float]]) -> None:
    """What was taken for what; and how well words are tagged that were met before, and that not."""
    left, right = run.axes("Parts of speech", 1, 2, gridspec_kw={"width_ratios": [1.5, 1]})
    order = np.argsort(-table.sum(axis=1))[:12]
    share = table[np.ix_(order, order)] / np.maximum(table.sum(axis=1)[order, None], 1)
    left.imshow(np.sqrt(share), cmap="Blues")
    for i, j in zip(*np.nonzero(share > 0.015)):
        left.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", fontsize=11,
                  color="white" if share[i, j] > 0.4 else "black")  # fmt: skip
    ticks = {"ticks": range(len(order)), "labels": [names[k] for k in order]}
    left.set_xticks(**ticks, rotation=60)
    left.set_yticks(**ticks)
    left.set(title="percent of each tag (rows), taken for (columns)")
    left.grid(False)
    for k, (name, values) in enumerate(bars.items()):
        places = np.arange(3) + 0.38 * k
        drawn = right.bar(places, values, 0.36, label=name, color=["#999999", "#0072B2"][k])
        right.bar_label(drawn, fmt="{:.0%}", padding=3)
    right.set_xticks(np.arange(3) + 0.19, ["all words", "met", "never met"])
    right.set(ylim=(0, 1.3), title="right on the test", yticks=np.arange(0, 1.1, 0.2))
    right.yaxis.set_major_formatter("{x:.0%}")
    right.legend(loc="upper left", fontsize=13)


@example(
    quick={"sentences": 800, "epochs": 3, "embed": 24, "hidden": 24},
    corpus=("", "a corpus of your own: CoNLL-U, or lines of word/TAG"),
    sentences=(100_000, "sentences to use, at most"),
    embed=(64, "size of a word's vector, and of its letters'"),
    hidden=(96, "H, size of the states"),
    epochs=(16, "times to read the training sentences"),
    lr=(3e-3, "Adam's first step size"),
)
def main(
    run: Run, corpus: str, sentences: int, embed: int, hidden: int, epochs: int, lr: float
) -> Report:
    names = ["data/web.conllu", "data/wiki.conllu"]
    files = [Path(corpus)] if corpus else [data_file("turkish-treebanks", n) for n in names]
    found = [s for file in files for s in read_corpus(read_text(file, "--corpus"))]
    if len(found) < 100:
        raise SystemExit(f"--corpus {corpus}: has {len(found)} tagged sentences, too few to learn")
    found = [found[i] for i in run.rng.permutation(len(found))[:sentences]]
    test, training = found[::10], [s for i, s in enumerate(found) if i % 10]
    tokens = [word.lower() for s in training for word, _ in s]
    plain = {"unk": None, "go": None, "eos": None}
    words = data.Vocabulary.from_tokens(tokens, min_count=2, go=None, eos=None)
    letters = data.Vocabulary.from_tokens(
        [letter for s in found for word, _ in s for letter in word],
        **plain,
        pad="<pad>",
        level="char",
    )
    tags = data.Vocabulary.from_tokens([tag for s in found for _, tag in s], **plain)
    train_set, test_set = (
        [encode(s, words, letters, tags) for s in part] for part in (training, test)
    )
    model = Tagger(len(words), len(letters), len(tags), embed, hidden)
    loss = train(run, model, train_set, epochs, lr)

    right = np.concatenate([s[:, -1] for s in test_set])
    known = np.isin([word.lower() for s in test for word, _ in s], list(set(tokens)))
    simple, found = tags.encode(most_frequent_tag(training, test)), predict(model, test_set)
    bars = {
        name: [metrics.accuracy(p[part], right[part]) for part in (known | True, known, ~known)]
        for name, p in (("most frequent tag", simple), ("deep bidirectional", found))
    }
    draw(run, metrics.confusion_matrix(found, right, len(tags)), list(tags.tokens), bars)
    baseline = bars["most frequent tag"][0]
    return Report(
        loss,
        Score("accuracy", bars["deep bidirectional"][0], at_least=baseline + 0.05,
              baseline=("most frequent tag", baseline)),
        Score("of words never met", bars["deep bidirectional"][2],
              baseline=("most frequent tag", bars["most frequent tag"][2])),
    )  # fmt: skip


if __name__ == "__main__":
    main()
