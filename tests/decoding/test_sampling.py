"""Sampling: what is kept, how often it is drawn, and that states follow their sequences."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import decoding, nn


def table_step(p):
    """A step of a Markov chain: the next token depends on this one; the state counts."""

    def step(tokens, state):
        with np.errstate(divide="ignore"):
            return np.log(p[tokens.numpy()]), state + 1

    return step


def test_probabilities_by_hand():
    x = np.log([[0.5, 0.25, 0.125, 0.125], [0.1, 0.2, 0.3, 0.4]])
    p = decoding.probabilities
    assert np.allclose(p(x), np.exp(x))
    assert np.allclose(p(x, top_k=2), [[2 / 3, 1 / 3, 0, 0], [0, 0, 3 / 7, 4 / 7]])
    assert np.allclose(p(x, top_k=9), np.exp(x))
    assert np.allclose(p(x, top_p=0.5), [[1, 0, 0, 0], [0, 0, 3 / 7, 4 / 7]])
    assert np.allclose(p(x, top_p=0.51), [[2 / 3, 1 / 3, 0, 0], [0, 0, 3 / 7, 4 / 7]])
    assert np.allclose(p(x, top_p=1e-9), [[1, 0, 0, 0], [0, 0, 0, 1]])
    assert np.allclose(p(x, temperature=0), [[1, 0, 0, 0], [0, 0, 0, 1]])
    hot = np.exp(x / 2)
    assert np.allclose(p(x, temperature=2), hot / hot.sum(1, keepdims=True))
    # of equal ones the first, and the nucleus is taken of what top_k left
    assert np.allclose(p(x[0], top_k=3), [4 / 7, 2 / 7, 1 / 7, 0])
    assert np.allclose(p(x[1], top_k=2, top_p=0.5), [0, 0, 0, 1])


@pytest.mark.parametrize("seed", range(5))
def test_the_nucleus_is_the_smallest_set_that_reaches_p(seed):
    rng = np.random.default_rng(seed)
    x, top_p = rng.normal(size=7) * 2, rng.uniform()
    p = np.exp(x) / np.exp(x).sum()
    kept = decoding.probabilities(x, top_p=top_p) > 0
    assert p[kept].sum() >= top_p and p[kept].min() > p[~kept].max(initial=0)
    assert p[kept].sum() - p[kept].min() < top_p


def test_tokens_are_drawn_as_often_as_they_should():
    p = np.array([[0.0, 0.7, 0.2, 0.1]] * 4)
    drawn = decoding.sample(table_step(p), np.zeros(4000), [0] * 4000, 3, rng=3)
    share = np.bincount(np.array(drawn).ravel(), minlength=4) / 12000
    assert share[0] == 0 and np.abs(share - p[0]).max() < 0.015
    again = decoding.sample(table_step(p), np.zeros(4000), [0] * 4000, 3, rng=3)
    assert drawn == again != decoding.sample(table_step(p), np.zeros(4000), [0] * 4000, 3, rng=4)


def test_draw_never_takes_what_has_no_probability():
    p = np.array([[0.0, 0.3, 0.0, 0.7, 0.0]])
    for u, token in ((0.0, 1), (0.29, 1), (0.31, 3), (1.0, 3)):
        assert decoding.sampling.draw(p, np.array([[u]])).tolist() == [token]


def test_sequences_end_before_eos():
    p = np.roll(np.eye(5), 1, axis=1)  # 0 1 2 3 4 0 …
    step = table_step(p)
    assert decoding.greedy(step, np.zeros(3), [0, 2, 3], 9, eos=4) == [[1, 2, 3], [3], []]
    assert decoding.greedy(step, np.zeros(2), [0, 2], 2, eos=4) == [[1, 2], [3]]
    assert decoding.greedy(step, np.zeros(2), [0, 2], 0) == [[], []]
    assert decoding.greedy(step, np.zeros(1), [3], 4) == [[4, 0, 1, 2]]


@pytest.mark.parametrize("compiled", [False, True])
def test_a_recurrent_network_writes_what_a_loop_writes(compiled):
    """The state (h, c) is carried along; parameters get no gradients."""
    embedding, cell, head = (
        nn.Embedding(7, 4, rng=0),
        nn.LSTMCell(4, 5, rng=1),
        nn.Linear(5, 7, rng=2),
    )
    for p in head.parameters():
        p.assign_(5 * p.detach())

    def step(tokens, state):
        state, h = cell(state, embedding(tokens))
        return head(h), state

    start = tuple(
        tg.tensor(np.random.default_rng(0).normal(size=(3, 5)).astype("f4")) for _ in "hc"
    )
    token, state, wanted = tg.tensor([1, 2, 3]), start, []
    for _ in range(6):
        logits, state = step(token, state)
        token = logits.argmax(axis=-1)
        wanted.append(token.tolist())
    found = decoding.greedy(tg.jit(step) if compiled else step, start, tg.tensor([1, 2, 3]), 6)
    assert found == np.array(wanted).T.tolist()
    assert len({tuple(f) for f in found}) > 1


def test_refusals():
    p, ok = np.full((2, 2), 0.5), np.zeros(1)
    step = table_step(p)
    error = tg.errors.ArgumentError
    for options, text in (
        ({"temperature": -1}, "temperature is -1"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
    ):
        with pytest.raises(error, match=text):
            decoding.sample(step, ok, [0], 2, **options)
    with pytest.raises(error, match="length is -1"):
        decoding.sample(step, ok, [0], -1)
    with pytest.raises(error, match=r"first is int64 of shape \[\]"):
        decoding.sample(step, ok, 0, 2)
    with pytest.raises(tg.errors.ShapeError, match=r"first axis of 2"):
        decoding.sample(step, ok, [0, 1], 2)
    with pytest.raises(tg.errors.ShapeError, match=r"shape \[2\], expected \[1, V\]"):
        decoding.sample(lambda t, s: (np.zeros(2), s), ok, [0], 2)
    with pytest.raises(tg.errors.DTypeError, match=r"must return \(logits, state\)"):
        decoding.sample(lambda t, s: np.zeros((1, 2)), ok, [0], 2)
    with pytest.raises(error, match="NaN"):
        decoding.sample(lambda t, s: (np.full((1, 2), np.nan), s), ok, [0], 2)
