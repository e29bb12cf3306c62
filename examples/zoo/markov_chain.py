"""Markov chain: which letter follows which, in Moby-Dick.

    p(x_t | x_{t-1}) = (n(x_{t-1}, x_t) + ½) / Σ_k (n(x_{t-1}, k) + ½)

n counts pairs of letters; the surprise of unread chapters is -log2 p, in bits. Markov, 1913, who
counted Pushkin's vowels and consonants.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _common import Run, Score, read_text

import tinygrad_rnn as tg

from ._shared import Found

LETTERS = " abcdefghijklmnopqrstuvwxyz"


def learn(run: Run) -> Found:
    text = read_text(Path(__file__).parents[1] / "data" / "moby_dick.txt").lower()
    text = text[: 100_000 if run.quick else None]
    text = " ".join("".join(c if c in LETTERS else " " for c in text).split())
    x = np.array([LETTERS.index(c) for c in text])
    read, unread, n = x[: len(x) * 4 // 5], x[len(x) * 4 // 5 :], len(LETTERS)

    pairs = tg.tensor(read[:-1] * n + read[1:])
    counts = tg.scatter_add(n * n, pairs, tg.ones(pairs.shape)).reshape((n, n)) + 0.5
    follows = (counts / counts.sum(axis=1, keepdims=True)).numpy()
    letters = np.bincount(read, minlength=n) / len(read)

    bits = -np.log2(follows[unread[:-1], unread[1:]]).mean()
    alone = -np.log2(letters[unread]).mean()
    baseline = ("letters alone", alone)
    score = Score("bits per letter", bits, at_most=3.4, baseline=baseline, form=".2f")

    def draw(axis):
        axis.imshow(np.sqrt(follows), cmap="Blues")
        marks = [letter if letter.strip() else "_" for letter in LETTERS]
        axis.set_xticks(range(n), marks, fontsize=5)
        axis.set_yticks(range(n), marks, fontsize=5)
        axis.tick_params(length=0, pad=1)
        axis.grid(False)

    return Found(score, draw, float(bits) * np.log(2))
