"""Derived gradients are those of the textbook: explicit sums of Jacobian products, closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import close, seeded

import tinygrad_rnn as tg
from tinygrad_rnn import nn


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max())
    return e / e.sum()


@pytest.mark.parametrize("T", [1, 2, 6])
def test_vanilla_rnn_with_softmax_outputs(T):
    """s_t = tanh(U x_t + W s_{t-1}), o_t = softmax(V s_t), L = -sum_t y_t . log o_t.

    dL/dV = sum_t (o_t - y_t) s_t^T and, with J_k = diag(1 - s_k^2) W,
    dL/dW = sum_t sum_{k<=t} [J_t ... J_{k+1}]^T ... : the explicit double sum.
    """
    rng = seeded(f"rnn{T}")
    n, i, k = 4, 3, 5
    U, W, V = rng.normal(size=(n, i)), rng.normal(size=(n, n)) * 0.8, rng.normal(size=(k, n))
    x, s0, y = rng.normal(size=(T, i)), rng.normal(size=n), np.eye(k)[rng.integers(0, k, T)]

    def loss(U, W, V):
        def step(s, xy):
            x, y = xy
            s = tg.tanh(U @ x + W @ s)
            return s, -(tg.log_softmax(V @ s) * y).sum()

        return tg.scan(step, tg.tensor(s0), (tg.tensor(x), tg.tensor(y)))[1].sum()

    states = [s0]
    for t in range(T):
        states.append(np.tanh(U @ x[t] + W @ states[-1]))
    outs = [softmax(V @ s) for s in states[1:]]
    dV = sum(np.outer(o - t, s) for o, t, s in zip(outs, y, states[1:]))
    dW, dU = np.zeros_like(W), np.zeros_like(U)
    for t in range(1, T + 1):
        dL_ds = V.T @ (outs[t - 1] - y[t - 1])
        for j in range(1, t + 1):
            jacobian = np.eye(n)  # d s_t / d s_j, a product of t - j Jacobians
            for m in range(j + 1, t + 1):
                jacobian = np.diag(1 - states[m] ** 2) @ W @ jacobian
            local = (dL_ds @ jacobian) * (1 - states[j] ** 2)
            dW += np.outer(local, states[j - 1])
            dU += np.outer(local, x[j - 1])
    for derive in (tg.grad(loss, (0, 1, 2)), tg.jit(tg.grad(loss, (0, 1, 2)))):
        gU, gW, gV = derive(tg.tensor(U), tg.tensor(W), tg.tensor(V))
        close(gV, dV, 1e-12, "V")
        close(gW, dW, 1e-12, "W")
        close(gU, dU, 1e-12, "U")


def test_gradient_of_a_shared_weight_is_the_sum_over_its_copies():
    rng = seeded("shared")
    T, n = 5, 3
    w, h, x = (
        rng.normal(size=(n, n)),
        tg.tensor(rng.normal(size=(2, n))),
        tg.tensor(rng.normal(size=(T, 2, n))),
    )
    ct = tg.tensor(rng.normal(size=(T, 2, n)))

    def shared(w):
        return (tg.scan(lambda c, r: ((new := tg.tanh(c @ w + r)), new), h, x)[1] * ct).sum()

    def copies(ws):
        def step(c, r):
            return ((new := tg.tanh(c @ r[1] + r[0])), new)

        return (tg.scan(step, h, (x, ws))[1] * ct).sum()

    per_step = tg.grad(copies)(tg.tensor(np.stack([w] * T))).numpy()
    assert np.abs(per_step).min(axis=(1, 2)).all()
    close(tg.grad(shared)(tg.tensor(w)), per_step.sum(0), 1e-13)


def test_lstm_gate_gradients():
    """dc = dh o (1 - tanh(c)^2) + dc', df = dc c_prev, di = dc a, da = dc i, do = dh tanh(c)."""
    rng = seeded("lstm")
    i, f, a, o, c_prev, dh, dc_next = (rng.normal(size=(2, 3)) for _ in range(7))

    def sig(z):
        return 1 / (1 + np.exp(-z))

    def cell(i, f, a, o, c_prev):
        c = tg.sigmoid(f) * c_prev + tg.sigmoid(i) * tg.tanh(a)
        return tg.sigmoid(o) * tg.tanh(c), c

    _, pull = tg.vjp(cell, *map(tg.tensor, (i, f, a, o, c_prev)))
    gi, gf, ga, go, gc = pull((tg.tensor(dh), tg.tensor(dc_next)))
    I, F, A, O = sig(i), sig(f), np.tanh(a), sig(o)
    c = F * c_prev + I * A
    dc = dh * O * (1 - np.tanh(c) ** 2) + dc_next
    close(go, dh * np.tanh(c) * O * (1 - O), 1e-14)
    close(gi, dc * A * I * (1 - I), 1e-14)
    close(gf, dc * c_prev * F * (1 - F), 1e-14)
    close(ga, dc * I * (1 - A**2), 1e-14)
    close(gc, dc * F, 1e-14)


@pytest.mark.parametrize("T", [1, 4])
def test_lstm_layer_by_hand(T):
    """Backpropagation through time of nn.LSTMCell (gates i f g o), written out."""
    rng = seeded(f"layer{T}")
    B, I, H = 2, 3, 4
    cell = nn.LSTMCell(I, H, dtype="float64", rng=0)
    for p in cell.parameters():
        p.assign_(rng.normal(size=p.shape) * 0.5)
    x, h0, c0 = rng.normal(size=(T, B, I)), rng.normal(size=(B, H)), rng.normal(size=(B, H))
    ct = rng.normal(size=(T, B, H))
    leaves = [tg.tensor(v, requires_grad=True) for v in (x, h0, c0)]
    _, ys = tg.scan(lambda c, r: cell(c, r), (leaves[1], leaves[2]), leaves[0])
    (ys * ct).sum().backward()

    wi, wh, bi, bh = (
        p.detach().numpy() for p in (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
    )

    def sig(z):
        return 1 / (1 + np.exp(-z))

    h, c, saved = h0, c0, []
    for t in range(T):
        i, f, g, o = np.split(x[t] @ wi.T + bi + h @ wh.T + bh, 4, -1)
        i, f, g, o = sig(i), sig(f), np.tanh(g), sig(o)
        new = f * c + i * g
        saved.append((i, f, g, o, h, c, new))
        h, c = o * np.tanh(new), new
    dh, dc, dx = np.zeros((B, H)), np.zeros((B, H)), np.zeros_like(x)
    dwi, dwh, db = np.zeros_like(wi), np.zeros_like(wh), np.zeros(4 * H)
    for t in reversed(range(T)):
        i, f, g, o, h, c, new = saved[t]
        dh = dh + ct[t]
        dc = dc + dh * o * (1 - np.tanh(new) ** 2)
        z = np.concatenate(
            [
                dc * g * i * (1 - i),
                dc * c * f * (1 - f),
                dc * i * (1 - g * g),
                dh * np.tanh(new) * o * (1 - o),
            ],
            -1,
        )
        dwi, dwh, db = dwi + z.T @ x[t], dwh + z.T @ h, db + z.sum(0)
        dx[t], dh, dc = z @ wi, z @ wh, dc * f
    for got, want in zip(
        (
            leaves[0].grad,
            leaves[1].grad,
            leaves[2].grad,
            cell.weight_ih.grad,
            cell.weight_hh.grad,
            cell.bias_ih.grad,
            cell.bias_hh.grad,
        ),
        (dx, dh, dc, dwi, dwh, db, db),
    ):
        close(got, want, 1e-12)


def test_constant_error_carousel():
    """f = 1, i = 0: the memory and its error are kept exactly over 1,000 steps."""
    T, H = 1000, 3
    c0 = tg.tensor(seeded("cec").normal(size=H))
    x = tg.tensor(seeded("x").normal(size=(T, H)))

    def run(c0):
        def step(c, r):
            return (
                tg.sigmoid(r * 0 + 1e3) * c + tg.sigmoid(r * 0 - 1e3) * tg.tanh(r),
                None,
            )

        return tg.scan(step, c0, x)[0]

    assert run(c0).tolist() == c0.tolist()
    assert tg.jacobian(run)(c0).tolist() == np.eye(H).tolist()


def test_linear_rnn_closed_form():
    rng = seeded("linear")
    T, n = 6, 3
    W, U, x = rng.normal(size=(n, n)) * 0.6, rng.normal(size=(n, n)), rng.normal(size=(T, n))

    def run(W, U, x):
        return tg.scan(lambda h, r: (W @ h + U @ r, None), tg.zeros((n,), "float64"), x)[0]

    args = tuple(map(tg.tensor, (W, U, x)))
    close(run(*args), sum(np.linalg.matrix_power(W, T - 1 - t) @ U @ x[t] for t in range(T)), 1e-13)
    jac = tg.jacobian(run, 2)(*args).numpy()
    for t in range(T):
        close(jac[:, t], np.linalg.matrix_power(W, T - 1 - t) @ U, 1e-13)


def test_causality():
    """dy_t/dx_s = 0 for s > t, and NaN at x_s leaves y_{<s} as it is."""
    rng = seeded("causal")
    w, x = tg.tensor(rng.normal(size=(2, 2))), rng.normal(size=(5, 2))

    def run(x):
        return tg.scan(
            lambda c, r: ((new := tg.tanh(c @ w + r)), new), tg.zeros((2,), "float64"), x
        )[1]

    jac = tg.jacobian(run)(tg.tensor(x)).numpy()
    for t in range(5):
        assert (jac[t, :, t + 1 :] == 0).all() and (jac[t, :, : t + 1] != 0).any()
    bad = x.copy()
    bad[3] = np.nan
    y = run(tg.tensor(bad)).numpy()
    assert np.array_equal(y[:3], run(tg.tensor(x)).numpy()[:3]) and np.isnan(y[3:]).all()
