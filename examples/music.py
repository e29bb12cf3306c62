"""Folk songs: read thousands of tunes, then write new ones (a sequence that goes on by itself).

A tune is a sequence of events x_1 ... x_T: its metre, notes with their lengths, bar lines, the end.

    h_t = LSTM(h_{t-1}, E[x_t]),  p(x_{t+1} | x_1 ... x_t) = softmax(V h_t + c)
    L = mean over t of -log2 p(x_{t+1} | x_1 ... x_t)        bits per event

New tunes are drawn from p, event by event, each drawn event being read before the next one.
Baselines: counted p(x_{t+1} | x_t) (bigrams) and p(x_{t+1} | x_{t-1}, x_t) (trigrams), smoothed by
Witten and Bell's method (1991). They forget what was two notes ago; the network repeats motifs,
counts the beats of a bar, and knows when a line should end.

    python examples/music.py                       songs of the Essen collection, from music21
    python examples/music.py --tunes my_tunes.abc
"""

from __future__ import annotations

from collections.abc import Sequence

import _tunes
import numpy as np
from _common import COLORS, Report, Run, Score, example
from _ngrams import NGram
from _training import Descent, forever

import tinygrad_rnn as tg
from tinygrad_rnn import data, decoding, nn
from tinygrad_rnn.nn import functional as F

METRES = ["M:3/4", "M:6/8", "M:4/4", "M:2/4"]  # of the tunes written
PADDING = -1


class Composer(nn.Module):
    """Events int64[T,B] and a state -> scores of the next events f32[T,B,V] and the state after."""

    def __init__(self, events: int, embed: int, hidden: int, dropout: float) -> None:
        self.embedding, self.dropout = nn.Embedding(events, embed), nn.Dropout(dropout)
        self.rnn = nn.Recurrent(nn.LSTMCell(embed, hidden))
        self.head = nn.Linear(hidden, events)

    def forward(self, x: tg.Tensor, state=None):
        h, state = self.rnn(self.dropout(self.embedding(x)), state)
        return self.head(self.dropout(h)), state

    def bits(self, tunes: Sequence[np.ndarray]) -> list[np.ndarray]:
        """-log2 p of every event but the first of each tune."""
        found = []
        for k in range(0, len(tunes), 64):
            part = tunes[k : k + 64]
            x, y = pairs(part)
            with tg.no_grad():
                logp = F.log_softmax(self(tg.tensor(x))[0]).numpy() / np.log(2)
            for b, tune in enumerate(part):
                t = np.arange(len(tune) - 1)
                found.append(-logp[t, b, y[t, b]])
        return found

    def write(self, metres: np.ndarray, length: int, banned: np.ndarray, **options):
        """Tunes that begin with `metres` and go on until <eos>, without the events `banned`."""

        def step(x: tg.Tensor, state):
            scores, state = self(tg.expand_dims(x, 0), state)
            return scores[0] - 1e9 * banned, state

        with tg.no_grad():
            start = self.rnn.initial_state((len(metres),))
            drawn = decoding.sample(step, start, metres, length, **options)
        return [[int(metre), *tune] for metre, tune in zip(metres, drawn)]


def pairs(tunes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Events and those after them, int64[T,B] each, padded."""
    x, _ = data.pad_sequences([tune[:-1] for tune in tunes], multiple=16)
    y, _ = data.pad_sequences([tune[1:] for tune in tunes], multiple=16, value=PADDING)
    return x, y


def train(run: Run, model: Composer, tunes: list[np.ndarray], epochs: int, lr: float) -> float:
    loader = data.Loader(
        tunes, 32, shuffle=True, seed=run.seed, lengths=[len(t) for t in tunes], collate=pairs
    )
    descent = Descent(model, lr, decay=0.01)

    @tg.jit
    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        scores, _ = model(x)
        loss = F.cross_entropy(scores, y, ignore_index=PADDING)
        loss.backward()
        descent.step()
        return loss

    for _, batch in zip(descent.steps(run, epochs * len(loader)), forever(loader)):
        run.show(step(*batch) / np.log(2), "bits per event")
    return run.loss


def draw_tune(axis, words: list[str], title: str) -> None:
    """A piano roll: time to the right, pitch upwards."""
    for at, note in _tunes.timeline(words):
        if note is None:
            axis.axvline(at, color="gray", linewidth=0.7, zorder=0)
        elif note.pitch is not None:
            axis.barh(
                note.pitch, note.length - 0.3, left=at, align="center", height=0.9, color=COLORS[0]
            )
    scale = [0, 2, 4, 5, 7, 9, 11]
    keys = [12 * octave + k for octave in (-1, 0, 1) for k in scale]
    axis.set_yticks(keys, [("C", "", "E", "", "G", "", "")[scale.index(k % 12)] for k in keys])
    pitches = [note.pitch for note in _tunes.notes(words) if note.pitch is not None]
    axis.set(xticks=[], ylim=(min(pitches, default=0) - 2, max(pitches, default=12) + 2))
    axis.set_title(title, fontsize=15)


def draw_bits(axis, found: dict[str, list[np.ndarray]]) -> None:
    """Bits per event, the further a tune goes on."""
    edges = np.array([0, 4, 8, 16, 24, 32, 40, 48, 64])
    for (name, bits), color in zip(found.items(), (COLORS[1], COLORS[7], COLORS[6])):
        at = np.concatenate([np.arange(len(b)) for b in bits])
        sums, counts = (np.histogram(at, edges, weights=w)[0] for w in (np.concatenate(bits), None))
        axis.plot((edges[1:] + edges[:-1]) / 2, sums / counts, "o-", color=color, label=name)
        axis.text(edges[-1], (sums / counts)[-1], name, va="center", fontsize=14)
    axis.set(
        xlabel="events of the tune heard", ylabel="bits per event", xlim=(0, 76), ylim=(0, None)
    )


@example(
    quick={"songs": 500, "epochs": 4, "hidden": 64, "lr": 0.02},
    tunes=("", "an ABC file; default: the German songs of music21's Essen collection"),
    songs=(10_000, "how many tunes to use at most"),
    epochs=(10, "times to read them"),
    hidden=(256, "H, size of the state"),
    embed=(64, "size of an event's vector"),
    lr=(0.004, "Adam's first step size"),
    dropout=(0.2, "share of activations left out"),
    temperature=(0.8, "of the tunes written; small: the likeliest events"),
)
def main(
    run: Run, tunes: str, songs: int, epochs: int, hidden: int, embed: int, lr: float,
    dropout: float, temperature: float,
) -> Report:  # fmt: skip
    found = _tunes.read(tunes)
    found = [found[k] for k in run.rng.permutation(len(found))[:songs]]
    if len(found) < 50:
        raise SystemExit(
            f"--tunes {tunes}: {len(found)} tunes are too few to learn from; 50 are the least"
        )
    cut = len(found) // 10
    vocabulary = data.Vocabulary.from_tokens(
        [word for tune in found[cut:] for word in tune], min_count=2, go=None
    )
    numbers = [vocabulary.encode(tune, eos=True) for tune in found]
    test, learned = numbers[:cut], numbers[cut:]
    model = Composer(len(vocabulary), embed, hidden, dropout)
    loss = train(run, model, learned, epochs, lr)

    bits = {"LSTM": model.bits(test)}
    bits |= {
        name: NGram(learned, n, len(vocabulary)).bits(test)
        for name, n in (("trigrams", 3), ("bigrams", 2))
    }
    reached = {name: float(np.concatenate(b).mean()) for name, b in bits.items()}

    metres = [metre for metre in METRES if metre in vocabulary][:3]
    banned = np.array([word.startswith("M:") or word == "<unk>" for word in vocabulary.tokens])
    drawn = model.write(
        vocabulary.encode(metres * 8), 150, banned, eos=vocabulary.special("eos"),
        temperature=temperature, rng=run.seed,
    )  # fmt: skip
    wrote = [vocabulary.decode(tune) for tune in drawn]
    read = " | ".join(" ".join(tune) for tune in found[cut:])
    axes = run.axes("Tunes that nobody has sung", 2, 2).flat
    for k, metre in enumerate(metres, 1):
        words = max((tune for tune in wrote if tune[0] == metre), key=len)  # the longest of eight
        abc = _tunes.to_abc(words, k, f"Tune {k} of seed {run.seed}")
        (run.out / f"tune_{k}.abc").write_text(abc, encoding="utf-8")
        (run.out / f"tune_{k}.mid").write_bytes(_tunes.to_midi(_tunes.notes(words)))
        print(abc)
        copied = _tunes.longest_copy(words[1:], f" {read} ")
        draw_tune(axes[k - 1], words, f"tune_{k}.mid: at most {copied} events in a row copied")
    draw_bits(axes[3], bits)
    whole = [full for tune in wrote for full in _tunes.full_bars(tune)]
    bigrams = ("bigrams", reached["bigrams"])
    return Report(
        loss,
        Score(
            "bits per event",
            reached["LSTM"],
            at_most=reached["bigrams"],
            baseline=bigrams,
            form=".2f",
        ),
        Score("trigrams", reached["trigrams"], form=".2f"),
        Score("bars of the right length in what it wrote", float(np.mean(whole or [0]))),
    )


if __name__ == "__main__":
    main()
