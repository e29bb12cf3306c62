"""Speech: who says this vowel (many-to-one), which digits are these (many-to-many, unaligned).

Vowels: nine men say "ae", 7 to 29 steps of 12 coefficients; a bidirectional network names the man:

    a→<t> = GRU(a→<t-1>, x<t>),  a←<t> = GRU(a←<t+1>, x<t>),  ŷ = softmax(W [a→<T>; a←<1>] + b)

Digits: three to seven of them in a row, as a spectrogram x<t>. Nobody says where each begins, so
the network has an eleventh answer, blank, and the loss sums over all ways π to spread the digits y:

    p<t> = softmax(W [a→<t>; a←<t>] + b),   L = -log Σ_π Π_t p<t>(π<t>)        (CTC, Graves 2006)

The digits are spoken by espeak-ng, in the test by voices never heard, or by people (--recordings, a
folder with files like 7_jackson_32.wav of the Free Spoken Digit Dataset). The vowels are UCI's
Japanese Vowels, from the package sktime. Baselines: logistic regression on the mean over time; the
same CTC with a network that sees every step alone.

    python examples/speech.py
    python examples/speech.py --recordings free-spoken-digit-dataset/recordings
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _common import Report, Run, Score, data_file, example, need
from _training import Descent
from _voices import Spoken, recorded, synthesised

import tinygrad_rnn as tg
from tinygrad_rnn import data, decoding, metrics, nn
from tinygrad_rnn.nn import functional as F

BLANK = 10
FOLDER = "sktime/datasets/data/JapaneseVowels/JapaneseVowels_"


def read_vowels(part: str) -> list[tuple[np.ndarray, int]]:
    """Utterances f32[T,12] and speakers 0 to 8; part is TRAIN or TEST."""
    text = data_file("sktime", f"{FOLDER}{part}.ts").read_text(encoding="utf-8")
    found = []
    for line in text.split("@data", 1)[1].split():
        *columns, speaker = line.split(":")
        x = np.array([column.split(",") for column in columns], np.float32).T
        found.append((x, int(speaker) - 1))
    return found


class Listener(nn.Module):
    """Sound f32[T,B,I] and lengths -> scores of K answers: f32[T,B,K], or f32[B,K] of the whole."""

    def __init__(self, inputs: int, hidden: int, answers: int, layers: int) -> None:
        self.rnn = self.single = None
        if layers:
            self.rnn = nn.GRU(
                inputs, hidden, layers, bidirectional=True, dropout=0.3 * (layers > 1)
            )
        else:
            self.single = nn.Linear(inputs, 2 * hidden)
        self.dropout, self.head = nn.Dropout(0.3), nn.Linear(2 * hidden, answers)

    def forward(self, x: tg.Tensor, lengths: tg.Tensor, whole: bool = False) -> tg.Tensor:
        if self.rnn is None:
            return self.head(self.dropout(tg.relu(self.single(x))))
        states, last = self.rnn(x, lengths=lengths)
        ends = tg.concat([last[-2], last[-1]], -1)
        return self.head(self.dropout(ends if whole else states))


def train(
    run: Run, name: str, model: Listener, loader: data.Loader, epochs: int, lr: float, loss_of
):
    """Learn from the batches of `epochs` epochs; the last loss."""
    descent = Descent(model, lr)

    @tg.jit
    def step(*batch: tg.Tensor) -> tg.Tensor:
        loss = loss_of(model, *batch)
        loss.backward()
        descent.step()
        return loss

    for _ in descent.steps(run, epochs, name):
        for batch in loader:
            run.show(step(*batch))
    return run.loss


def vowels(run: Run, hidden: int, epochs: int, lr: float) -> tuple[float, float, float]:
    """The last loss, the share of speakers named rightly, and that of the baseline."""
    training, test = read_vowels("TRAIN"), read_vowels("TEST")

    def arrange(samples):
        x, lengths = data.pad_sequences([x for x, _ in samples], length=29)
        return x, lengths, np.array([speaker for _, speaker in samples])

    def loss_of(model, x, lengths, y):
        return F.cross_entropy(model(x + 0.1 * noise.normal(x.shape), lengths, whole=True), y)

    noise = tg.Generator(run.seed)
    loader = data.Loader(training, 30, shuffle=True, seed=run.seed, collate=arrange, drop_last=True)
    model = Listener(12, hidden, 9, layers=1)
    loss = train(run, "vowels", model, loader, epochs, lr, loss_of)
    x, lengths, y = arrange(test)
    with tg.no_grad():
        right = metrics.accuracy(model(tg.tensor(x), lengths, whole=True), y)
    linear = need("sklearn.linear_model", "scikit-learn").LogisticRegression(max_iter=1000)
    means, means_test = (np.array([x.mean(axis=0) for x, _ in s]) for s in (training, test))
    linear.fit(means, [speaker for _, speaker in training])
    return loss, right, linear.score(means_test, y)


def arrange_digits(samples: list[Spoken]) -> tuple[np.ndarray, ...]:
    x, lengths = data.pad_sequences([x for x, _ in samples], multiple=32)
    return x, lengths, *data.pad_sequences([y for _, y in samples], batch_first=True, length=7)


def digits(run: Run, name: str, model: Listener, spoken, epochs: int, lr: float):
    """The last loss; digit errors on the test: as read step by step, and by beam search."""
    (training, test), noise = spoken, tg.Generator(run.seed)

    def loss_of(model, x, lengths, y, counts):
        x = x + 0.3 * noise.normal(x.shape)
        return F.ctc_loss(F.log_softmax(model(x, lengths)), y, lengths, counts, blank=BLANK)

    loader = data.Loader(
        training, 32, shuffle=True, seed=run.seed, drop_last=True, collate=arrange_digits,
        lengths=[len(x) for x, _ in training],
    )  # fmt: skip
    loss = train(run, name, model, loader, epochs, lr, loss_of)
    x, lengths, *_ = arrange_digits(test)
    with tg.no_grad():
        logp = F.log_softmax(model(tg.tensor(x), lengths)).numpy()
    wanted = [y.tolist() for _, y in test]
    simple = decoding.ctc_greedy(logp, lengths, BLANK)
    best = [h[0].tokens for h in decoding.ctc_beam_search(logp, lengths, BLANK, 8)]
    return loss, metrics.error_rate(simple, wanted), metrics.error_rate(best, wanted), logp


def draw(run: Run, spoken: Spoken, logp: np.ndarray, bars: dict[str, float]) -> None:
    """One utterance: its sound, what the network answers at every step; and all errors."""
    x, y = spoken
    axes = run.axes(
        "Digits without alignment: CTC", 3, 1, gridspec_kw={"height_ratios": [2, 2, 1.3]}
    )
    axes[0].imshow(x.T, origin="lower", aspect="auto", cmap="magma")
    axes[0].set(
        title=f"x<t>: log energy in {x.shape[1]} bands, 16 ms per step", ylabel="band", xticks=[]
    )
    axes[0].grid(False)
    p = np.exp(logp[: len(x)])
    axes[1].plot(p[:, BLANK], color="#BBBBBB")
    colors = {digit: f"C{k}" for k, digit in enumerate(sorted(set(p.argmax(axis=1)) - {BLANK}))}
    for digit, color in colors.items():
        axes[1].plot(p[:, digit], color=color)
    heard = p.argmax(axis=1)
    for t in np.flatnonzero(np.diff(heard, prepend=BLANK)):
        if heard[t] != BLANK:
            style = {"color": colors[heard[t]], "fontweight": "bold"}
            axes[1].text(t, 1.04, str(heard[t]), **style)
    said = " ".join(map(str, y))
    axes[1].set(
        title=f"p<t>, grey: blank; said was {said}",
        xlim=(0, len(x) - 1),
        ylim=(0, 1.18),
        xlabel="t",
    )
    axes[2].barh(list(bars), list(bars.values()), color=["#999999", "#0072B2"] * 2)
    axes[2].bar_label(axes[2].containers[0], fmt="{:.1%}", padding=4)
    axes[2].set(title="errors on the test", xlim=(0, 1.15 * max(bars.values())), xticks=[])
    axes[2].tick_params(axis="y", labelsize=12)
    axes[2].invert_yaxis()


@example(
    quick={"utterances": 64, "epochs": 20, "vowel_epochs": 20, "hidden": 16, "lr": 0.01},
    recordings=("", "folder of recordings: DIGIT_PERSON_NUMBER.wav; default: espeak-ng speaks"),
    utterances=(1500, "rows of digits to learn from"),
    epochs=(14, "times to hear the digits"),
    vowel_epochs=(80, "times to hear the vowels"),
    hidden=(64, "H, size of the states"),
    lr=(5e-3, "Adam's first step size"),
)
def main(
    run: Run,
    recordings: str,
    utterances: int,
    epochs: int,
    vowel_epochs: int,
    hidden: int,
    lr: float,
) -> Report:
    _, right, baseline = vowels(run, hidden // 2, vowel_epochs, lr)
    make = (lambda *args: recorded(Path(recordings), *args)) if recordings else synthesised
    spoken = make(utterances, run.rng)
    bands = spoken[0][0][0].shape[1]
    simple = Listener(bands, hidden, 11, layers=0)
    _, _, worse, _ = digits(run, "digits, single steps", simple, spoken, epochs, lr)
    model = Listener(bands, hidden, 11, layers=2)
    loss, greedy, errors, logp = digits(run, "digits", model, spoken, epochs, lr)
    run.say(f"the likeliest path at every step: {greedy:.1%} errors; beam search: {errors:.1%}")
    bars = {
        "vowels: mean, logistic regression": 1 - baseline,
        "vowels: bidirectional GRU": 1 - right,
        "digits: every step alone": worse,
        "digits: deep bidirectional GRU": errors,
    }
    k = max(range(len(spoken[1])), key=lambda k: len(spoken[1][k][0]))
    draw(run, spoken[1][k], logp[:, k], bars)
    return Report(
        loss,
        Score("speakers named", right, at_least=0.95, baseline=("mean over time", baseline)),
        Score("digit errors", errors, at_most=0.05, baseline=("every step alone", worse)),
    )


if __name__ == "__main__":
    main()
