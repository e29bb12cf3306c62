"""Decoders of CTC against the loss, which sums over the same paths."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import decoding
from tinygrad_rnn.nn import functional as F

T, C = 5, 3


def log_probs(seed, *shape):
    return F.log_softmax(tg.tensor(np.random.default_rng(seed).normal(size=shape) * 2)).numpy()


def labellings(steps, blank):
    symbols = [k for k in range(C) if k != blank]
    for n in range(steps + 1):
        yield from itertools.product(symbols, repeat=n)


@pytest.mark.parametrize("blank", [0, 1])
@pytest.mark.parametrize("seed", range(3))
def test_a_wide_beam_gives_every_labelling_its_probability(seed, blank):
    logp = log_probs(seed, T, 1, C)
    ((best, *rest),) = decoding.ctc_beam_search(logp, blank=blank, beam_width=10_000)
    losses = {
        labels: F.ctc_loss(logp, [labels], [T], [len(labels)], blank, reduction="sum").item()
        for labels in labellings(T, blank)
    }
    possible = {labels: loss for labels, loss in losses.items() if loss < np.inf}
    found = {tuple(h.tokens): h.score for h in (best, *rest) if h.score > -np.inf}
    assert set(found) == set(possible)
    assert all(abs(found[labels] + loss) < 1e-10 for labels, loss in possible.items())
    assert tuple(best.tokens) == min(possible, key=possible.get)
    assert best.score == max(found.values())
    assert abs(sum(np.exp(score) for score in found.values()) - 1) < 1e-10


def test_ragged_batches_are_decoded_one_by_one():
    logp = log_probs(7, 6, 3, C)
    lengths = [6, 2, 0]
    poisoned = np.where(
        np.arange(6)[:, None, None] < np.array(lengths)[None, :, None], logp, np.nan
    )
    for decode in (decoding.ctc_greedy, decoding.ctc_beam_search):
        together = decode(tg.tensor(poisoned), lengths)
        assert together == [decode(logp[:n, i])[0] for i, n in enumerate(lengths)]
    assert decoding.ctc_greedy(logp, [0, 0, 0]) == [[], [], []]
    assert decoding.ctc_beam_search(logp, [0, 0, 0])[0] == [([], 0.0)]


def test_greedy_removes_repeats_and_then_blanks():
    for path, labels in (([1, 1, 0, 1], [1, 1]), ([0, 0], []), ([2, 1, 1, 2], [2, 1, 2])):
        assert decoding.ctc_greedy(np.eye(3)[path]) == [labels]
    assert decoding.ctc_greedy(np.eye(3)[[0, 2, 2, 0]], blank=2) == [[0, 0]]


def test_a_narrow_beam_is_not_better_than_a_wide_one():
    logp = log_probs(3, 12, 2, 6)
    scores = [
        [found[0].score for found in decoding.ctc_beam_search(logp, beam_width=w)]
        for w in (1, 4, 64)
    ]
    assert (np.diff(scores, axis=0) >= -1e-12).all()
    for w, score in zip((1, 4, 64), scores):
        for i, found in enumerate(decoding.ctc_beam_search(logp, beam_width=w)):
            loss = F.ctc_loss(
                logp[:, i], found[0].tokens, 12, len(found[0].tokens), reduction="sum"
            )
            assert score[i] <= -loss.item() + 1e-10


def test_refusals():
    with pytest.raises(tg.errors.ShapeError, match=r"\[T, N, C\]"):
        decoding.ctc_greedy(np.zeros(3))
    with pytest.raises(tg.errors.ArgumentError, match=r"lengths are \[7\], expected 1 from 0 to 5"):
        decoding.ctc_greedy(np.zeros((5, 1, 3)), [7])
    with pytest.raises(tg.errors.ArgumentError, match="beam_width is 0"):
        decoding.ctc_beam_search(np.zeros((5, 1, 3)), beam_width=0)
