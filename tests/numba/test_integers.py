"""Integers inside a step: compiled where there is code for them, else named and run by NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.backend import get_backend, optimize

COMPILED = {
    "and": lambda x: x & 3,
    "invert": lambda x: ~x,
    "maximum": lambda x: tg.maximum(x, 1),
    "neg": lambda x: -x,
    "equal": lambda x: x == 2,
    "where": lambda x: tg.where(x > 0, x, 0),
    "mod": lambda x: x % 3,  # this and the next are done before the loop, for all steps
    "floordiv": lambda x: x // 2,
}
REFUSED = {
    "abs": lambda x: abs(x),
    "sign": lambda x: tg.sign(x),
    "pow": lambda x: x**5,
    "sum": lambda x: x.sum(1, keepdims=True),
    "max": lambda x: x.max(1, keepdims=True),
    "shift_left": lambda x: x << 1,
}


@pytest.mark.parametrize("name", [*COMPILED, *REFUSED])
def test_integers(name):
    f = {**COMPILED, **REFUSED}[name]
    rng = np.random.default_rng(0)
    h, w = rng.standard_normal((3, 5)), rng.standard_normal((5, 5))
    x = rng.integers(-4, 5, (4, 3, 5)).astype("int32")

    def run(h, x, w):
        def step(h, x):
            h = tg.tanh(h @ w * 0.3 + f(x).astype("float64"))
            return h, h

        return tg.scan(step, h, x)[1]

    found = []
    for backend in ("numpy", "numba"):
        with tg.use_backend(backend):
            compiled = tg.jit(run)
            found.append(compiled(*map(tg.tensor, (h, x, w))).numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-12)
    report = dict(get_backend("numba").report(optimize(compiled.recordings[0].graph)))
    if name in COMPILED:
        assert report["scan"] == "compiled"
    else:
        assert (
            report["scan"].startswith("loop over NumPy kernels") and f"'{name}'" in report["scan"]
        )
