"""One training step of an LSTM (loss, gradients of all parameters and of x): derived or by hand.

Run as a process: `python numpy_lstm.py derived|hand T B I H` prints the median milliseconds. The
hand-written side does what an expert writes in NumPy: the input projection of all steps in one
product, one recurrent product per step, weight gradients in one product after the loop.
"""

from __future__ import annotations

import sys

import numpy as np
from timing import median_ms

CONFIGS = ((100, 16, 64, 64), (50, 32, 64, 128), (50, 64, 128, 256))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def by_hand(x, W, U, b, h, c, target):
    """Forward and backward of an LSTM with loss sum((h_t - target_t)^2) / 2."""
    (T, B, _), H = x.shape, U.shape[1]
    z = x @ W.T + b
    hs, cs = np.empty((T + 1, B, H), x.dtype), np.empty((T + 1, B, H), x.dtype)
    gates, tanhs = np.empty((T, B, 4 * H), x.dtype), np.empty((T, B, H), x.dtype)
    hs[0], cs[0] = h, c
    for t in range(T):
        a = z[t] + hs[t] @ U.T
        i, f = sigmoid(a[:, :H]), sigmoid(a[:, H : 2 * H])
        g, o = np.tanh(a[:, 2 * H : 3 * H]), sigmoid(a[:, 3 * H :])
        cs[t + 1] = f * cs[t] + i * g
        tanhs[t] = np.tanh(cs[t + 1])
        hs[t + 1] = o * tanhs[t]
        gates[t, :, :H], gates[t, :, H : 2 * H] = i, f
        gates[t, :, 2 * H : 3 * H], gates[t, :, 3 * H :] = g, o
    dy = hs[1:] - target
    loss = 0.5 * np.sum(dy * dy)
    dz = np.empty_like(gates)
    dh, dc = np.zeros_like(h), np.zeros_like(c)
    for t in reversed(range(T)):
        i, f = gates[t, :, :H], gates[t, :, H : 2 * H]
        g, o = gates[t, :, 2 * H : 3 * H], gates[t, :, 3 * H :]
        dh = dh + dy[t]
        dc = dc + dh * o * (1 - tanhs[t] * tanhs[t])
        dz[t, :, :H] = dc * g * i * (1 - i)
        dz[t, :, H : 2 * H] = dc * cs[t] * f * (1 - f)
        dz[t, :, 2 * H : 3 * H] = dc * i * (1 - g * g)
        dz[t, :, 3 * H :] = dh * tanhs[t] * o * (1 - o)
        dh, dc = dz[t] @ U, dc * f
    flat = dz.reshape(T * B, -1)
    dW, dU, db = flat.T @ x.reshape(T * B, -1), flat.T @ hs[:-1].reshape(T * B, -1), flat.sum(0)
    return loss, dW, dU, db, dz @ W, dh, dc


def derived(x, W, U, b, h, c, target):
    import tinygrad_rnn as tg

    arrays = [tg.tensor(a) for a in (x, W, U, b, h, c)]
    goal = tg.tensor(target)

    def loss(x, W, U, b, h, c):
        def cell(state, x):
            h, c = state
            i, f, g, o = tg.chunk(tg.linear(x, W, b) + tg.linear(h, U), 4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            return (h, c), h

        _, ys = tg.scan(cell, (h, c), x)
        d = ys - goal
        return 0.5 * (d * d).sum()

    step = tg.jit(tg.value_and_grad(loss, tuple(range(6))))
    return step, arrays


def main(side: str, T: int, B: int, I: int, H: int) -> None:
    rng = np.random.default_rng(0)

    def draw(*shape):
        return (rng.standard_normal(shape) / np.sqrt(H)).astype(np.float32)

    data = (draw(T, B, I), draw(4 * H, I), draw(4 * H, H), draw(4 * H), draw(B, H), draw(B, H))
    target = draw(T, B, H)
    if side == "hand":
        run = lambda: by_hand(*data, target)  # noqa: E731
    else:
        step, arrays = derived(*data, target)
        _, grads = step(*arrays)
        expected = by_hand(*data, target)
        for got, want in zip((grads[i] for i in (1, 2, 3, 0, 4, 5)), expected[1:]):
            np.testing.assert_allclose(got.numpy(), want, rtol=2e-3, atol=2e-3)
        run = lambda: step(*arrays)  # noqa: E731
    print(median_ms(run))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
