"""explain: the loops of a function, and how the backend runs them."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

import tinygrad_rnn as tg


def accumulate(step):
    return lambda h, xs: tg.scan(step, h, xs)[1]


ARGS = tg.tensor(np.ones((2, 3))), tg.tensor(np.ones((4, 2, 3)))


def test_the_text_names_loops_products_and_the_backend():
    text = str(tg.explain(accumulate(lambda h, x: ((h * x).tanh(), h)))(*ARGS))
    assert "backend numpy" in text and "how they run: " in text and "1 x loop over kernels" in text
    assert "loop 0: 4 steps forwards, 0 products and" in text
    assert "carry (f64[2,3])" in text and "tanh(" in text


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="needs Numba")
def test_what_is_not_compiled_is_said():
    def of(step):
        with tg.use_backend("numba"):
            return str(tg.explain(accumulate(step))(*[t.to("numba") for t in ARGS]))

    assert "1 x compiled" in of(lambda h, x: ((h * x).tanh(), h))
    inner = of(lambda h, x: (tg.scan(lambda c, r: (c * r, c), h[0], x)[1], h))
    assert "1 x loop over NumPy kernels: " in inner and "1 x compiled" in inner
