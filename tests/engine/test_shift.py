"""Stacks shifted by one become views of one buffer only where they are what they look like."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from oracles import same, seeded

import tinygrad_rnn as tg
from tinygrad_rnn.backend import optimize
from tinygrad_rnn.passes.shift import share_stacks

T, H = 4, 3
ROWS = {
    "the first carry": lambda h, other: tg.reshape(h, (1, H)),
    "another carry": lambda h, other: tg.reshape(other, (1, H)),
    "zeros": lambda h, other: tg.zeros((1, H), h.dtype),
    "ones": lambda h, other: tg.ones((1, H), h.dtype),
}
CUTS = {"all but the last": slice(0, T - 1), "all but the first": slice(1, T)}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("zero", [False, True])
def test_only_what_is_shifted_is_shared(zero, reverse):
    h, other = (tg.tensor(seeded(n).normal(size=H)) for n in ("h", "other"))
    xs = tg.tensor(seeded("xs").normal(size=(T, H)))
    shared = []
    for row, cut, behind in itertools.product(ROWS, CUTS, (False, True)):

        def run(h, other, xs, row=row, cut=cut, behind=behind):
            start = tg.zeros((H,), h.dtype) if zero else h
            step = lambda c, x: ((n := tg.tanh(c + x)), n)  # noqa: E731
            _, ys = tg.scan(step, start, xs, reverse=reverse)
            parts = [ROWS[row](h, other), ys[CUTS[cut]]]
            return tg.concat(parts[::-1] if behind else parts, 0) * 2.0, ys

        plain = optimize(tg.trace(run)(h, other, xs))
        graph = share_stacks(plain)
        graph.verify()
        if graph is not plain:
            shared.append((row, cut, behind))
        given = [np.asarray(t.numpy()) for t in (h, other, xs)]
        for a, b in zip(graph.interpret(*given), plain.interpret(*given), strict=True):
            same(a, b)
    cut = "all but the first" if reverse else "all but the last"
    assert shared == [("zeros" if zero else "the first carry", cut, reverse)]
