"""What one eager operation costs: value and gradient of x = tanh(x * w + x), twenty times, 4x4.

Run as a process: `python eager_overhead.py SIDE` prints the median microseconds of one value and
gradient. Sides: ours (value_and_grad), ours-backward (Tensor.backward), autograd (HIPS), mygrad.
Arrays are so small that nothing but the frameworks' own work is measured.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from timing import median_ms

LENGTH = 20
W = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
BATCH = 100  # evaluations of each timed run


def by_hand(w: np.ndarray) -> tuple[float, np.ndarray]:
    """The value and the gradient with respect to w, in float64: what every side must find."""
    w = w.astype(np.float64)
    xs = [w]
    for _ in range(LENGTH):
        xs.append(np.tanh(xs[-1] * w + xs[-1]))
    g, dw = np.ones_like(w), np.zeros_like(w)
    for x, y in zip(reversed(xs[:-1]), reversed(xs[1:])):
        g = g * (1 - y * y)
        dw += g * x
        g = g * (w + 1)
    return float(xs[-1].sum()), dw + g


def chain(tanh: Callable[[Any], Any], w: Any) -> Any:
    x = w
    for _ in range(LENGTH):
        x = tanh(x * w + x)
    return x


def ours() -> Callable[[], tuple[Any, Any]]:
    import tinygrad_rnn as tg

    f = tg.value_and_grad(lambda w: chain(tg.tanh, w).sum())
    w = tg.tensor(W)
    return lambda: f(w)


def ours_backward() -> Callable[[], tuple[Any, Any]]:
    import tinygrad_rnn as tg

    def run() -> tuple[Any, Any]:
        w = tg.tensor(W, requires_grad=True)
        y = chain(tg.tanh, w).sum()
        y.backward()
        return y.detach(), w.grad

    return run


def hips() -> Callable[[], tuple[Any, Any]]:
    import autograd
    import autograd.numpy as anp

    f = autograd.value_and_grad(lambda w: anp.sum(chain(anp.tanh, w)))
    return lambda: f(W)


def mygrad() -> Callable[[], tuple[Any, Any]]:
    import mygrad as mg

    def run() -> tuple[Any, Any]:
        w = mg.tensor(W)
        y = mg.sum(chain(mg.tanh, w))
        y.backward()
        return y, w.grad

    return run


SIDES = {"ours": ours, "ours-backward": ours_backward, "autograd": hips, "mygrad": mygrad}


def main(side: str) -> None:
    run = SIDES[side]()
    value, gradient = (np.asarray(a.numpy() if hasattr(a, "numpy") else a) for a in run())
    for found, expected in zip((value, gradient), by_hand(W)):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)

    def batch() -> None:
        for _ in range(BATCH):
            run()

    print(median_ms(batch) / BATCH * 1e3)


if __name__ == "__main__":
    main(sys.argv[1])
