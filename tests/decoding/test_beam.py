"""Beam search against trying all sequences, against a plain one, and against greedy decoding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import decoding

V, EOS = 4, 2


class Model:
    """A random recurrent network in NumPy: s' = tanh(A s + E[token]), logits = O s'."""

    def __init__(self, seed, size=5):
        rng = np.random.default_rng(seed)
        self.A, self.E = rng.normal(size=(size, size)), rng.normal(size=(V, size)) * 2
        self.O = rng.normal(size=(size, V)) * 1.5
        self.start = rng.normal(size=(3, size))

    def logp(self, token, s):
        s = np.tanh(s @ self.A.T + self.E[token])
        x = s @ self.O
        return x - np.log(np.exp(x).sum(-1, keepdims=True)), s

    def step(self, tokens, state):
        x, s = self.logp(tokens.numpy(), state["s"].numpy())
        return x + 3.0, {"s": s}  # logits are only known up to a constant

    def score(self, s, first, tokens):
        total, token = 0.0, first
        for next_token in tokens:
            p, s = self.logp(token, s)
            total, token = total + p[next_token], next_token
        return total


def everything(length, eos):
    """All sequences that can come out: they end with eos, or are `length` long."""
    for n in range(1, length + 1):
        for tokens in itertools.product(range(V), repeat=n):
            ended = eos is not None and tokens[-1] == eos
            if (eos is None or eos not in tokens[:-1]) and (ended or n == length):
                yield tokens


@pytest.mark.parametrize("penalty", [0.0, 1.3])
@pytest.mark.parametrize("eos", [EOS, None])
@pytest.mark.parametrize("seed", range(3))
def test_a_wide_beam_is_exact(seed, eos, penalty):
    model, length = Model(seed), 4
    found = decoding.beam_search(
        model.step, {"s": model.start}, [0, 1, 3], length,
        eos=eos, beam_width=V**length, length_penalty=penalty,
    )  # fmt: skip
    for b, first in enumerate([0, 1, 3]):
        scores = {t: model.score(model.start[b], first, t) for t in everything(length, eos)}
        order = sorted(scores, key=lambda t: -scores[t] / ((5 + len(t)) / 6) ** penalty)
        assert len(found[b]) == len(order)
        for hypothesis, tokens in zip(found[b], order, strict=True):
            shown = tokens[:-1] if eos is not None and tokens[-1] == eos else tokens
            assert hypothesis.tokens == list(shown)
            assert abs(hypothesis.score - scores[tokens]) < 1e-10


def plain(model, s, first, length, K):
    """The same search for one sequence, written the long way."""
    beam = [(0.0, (), s)]
    for _ in range(length):
        grown = []
        for score, tokens, s in beam:
            if tokens and tokens[-1] == EOS:
                grown.append((score, tokens, s))
                continue
            p, new = model.logp(tokens[-1] if tokens else first, s)
            grown += [(score + p[v], (*tokens, v), new) for v in range(V)]
        beam = sorted(grown, key=lambda c: -c[0])[:K]
    return [(list(t[:-1] if t[-1] == EOS else t), score) for score, t, _ in beam]


@pytest.mark.parametrize("K", [1, 2, 3, 7])
@pytest.mark.parametrize("seed", range(4))
def test_a_narrow_beam_is_the_plain_one_for_each_sequence_alone(seed, K):
    model, length = Model(seed + 10), 6
    found = decoding.beam_search(
        model.step, {"s": model.start}, [0, 1, 3], length, eos=EOS, beam_width=K
    )
    for b, first in enumerate([0, 1, 3]):
        wanted = plain(model, model.start[b], first, length, K)
        assert [h.tokens for h in found[b]] == [tokens for tokens, _ in wanted]
        assert np.allclose([h.score for h in found[b]], [score for _, score in wanted])
    if K == 1:
        greedy = decoding.greedy(model.step, {"s": model.start}, [0, 1, 3], length, eos=EOS)
        assert [h[0].tokens for h in found] == greedy


def test_beam_search_finds_what_greedy_misses():
    """The likeliest first token leads into a desert of many poor ones."""
    p = np.full((4, 4), 0.25)
    p[0] = [0.0, 0.6, 0.4, 0.0]
    p[2] = [0.0, 0.0, 0.0, 1.0]
    p[3] = [0.0, 0.0, 0.0, 1.0]

    def step(tokens, state):
        with np.errstate(divide="ignore"):
            return np.log(p[tokens.numpy()]), state

    assert decoding.greedy(step, None, [0], 3)[0][0] == 1
    ((best, *_),) = decoding.beam_search(step, None, [0], 3, beam_width=2)
    assert best.tokens == [2, 3, 3] and abs(best.score - np.log(0.4)) < 1e-12


def test_what_the_step_hands_through_stays_with_its_sequence():
    """A leaf that never changes is not copied; others follow their candidate."""
    model, seen = Model(5), []

    def step(tokens, state):
        logits, new = model.step(tokens, {"s": state["s"]})
        seen.append(state["memory"])
        return logits + 0 * state["memory"].numpy(), {**state, **new}

    memory = tg.tensor([[1.0], [2.0], [3.0]])
    state = {"s": model.start, "memory": memory}
    found = decoding.beam_search(step, state, [0, 1, 3], 5, beam_width=3)
    wanted = decoding.beam_search(model.step, {"s": model.start}, [0, 1, 3], 5, beam_width=3)
    assert found == wanted
    assert all(m is seen[0] for m in seen)
    assert seen[0].tolist() == [[1.0]] * 3 + [[2.0]] * 3 + [[3.0]] * 3


def test_refusals():
    model = Model(0)
    for options, text in (
        ({"beam_width": 0}, "beam_width is 0"),
        ({"eos": 4}, "eos=4 is none of the 4 tokens"),
    ):
        with pytest.raises(tg.errors.ArgumentError, match=text):
            decoding.beam_search(model.step, {"s": model.start}, [0, 1, 3], 2, **options)
    with pytest.raises(tg.errors.ShapeError, match=r"first axis of 2.*swapaxes"):
        decoding.beam_search(model.step, {"s": model.start}, [0, 1], 2)
