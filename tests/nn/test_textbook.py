"""Derived gradients equal the textbook's: explicit sums of Jacobian products, written in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.nn import functional as F

T, I, H, C = 6, 3, 4, 5


def softmax(o):
    e = np.exp(o - o.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def vanilla(rng):
    """s_t = tanh(U x_t + W s_{t-1}), o_t = softmax(V s_t), L = Σ_t L_t: values in NumPy."""
    U, W, V = (rng.normal(size=s) for s in ((H, I), (H, H), (C, H)))
    x, target = rng.normal(size=(T, I)), rng.integers(0, C, size=T)
    s = [rng.normal(size=H)]
    for t in range(T):
        s.append(np.tanh(U @ x[t] + W @ s[-1]))
    return U, W, V, x, target, np.array(s)


def test_vanilla_network_is_the_double_sum(rng, close):
    """dL/dW = Σ_t Σ_{k<=t} dL_t/ds_t (Π_{j=k+1..t} ds_j/ds_{j-1}) ds_k/dW, dL/dU likewise."""
    U, W, V, x, target, s = vanilla(rng)
    error = softmax(s[1:] @ V.T) - np.eye(C)[target]  # dL_t/do_t
    dV = sum(np.outer(error[t], s[t + 1]) for t in range(T))
    dW, dU, ds0 = np.zeros_like(W), np.zeros_like(U), np.zeros(H)
    slope = [np.diag(1 - a**2) for a in s]  # slope[t + 1] belongs to step t
    for t in range(T):
        for k in range(t + 1):
            row = error[t] @ V
            for j in range(t, k, -1):
                row = row @ slope[j + 1] @ W
            row = row @ slope[k + 1]
            dW += np.outer(row, s[k])
            dU += np.outer(row, x[k])
        row = error[t] @ V
        for j in range(t, -1, -1):
            row = row @ slope[j + 1] @ W
        ds0 += row

    layer = nn.RNN(I, H, bias=False, dtype="float64")
    layer.load_state_dict({"weight_ih_l0": U, "weight_hh_l0": W})
    head = nn.Parameter(V)
    start = tg.tensor(s[:1], requires_grad=True)
    y, _ = layer(x, start)
    F.cross_entropy(F.linear(y, head), target, reduction="sum").backward()
    close(y, s[1:], 1e-14)
    close(head.grad, dV, 1e-13, "dL/dV")
    close(layer.weight_hh_l0.grad, dW, 1e-12, "dL/dW")
    close(layer.weight_ih_l0.grad, dU, 1e-12, "dL/dU")
    close(start.grad[0], ds0, 1e-12, "dL/ds_0")


def test_shared_weights_get_the_sum_over_their_copies(rng, close):
    """Pretend that every step has its own copy of the weights, then add up."""
    U, W, V, x, target, s = vanilla(rng)

    def loss(U, W, shared):
        def step(h, inputs):
            x, u, w = inputs
            h = tg.tanh((U if shared else u) @ x + (W if shared else w) @ h)
            return h, h

        copies = (None, None) if shared else (U, W)
        _, y = tg.scan(step, tg.tensor(s[0]), (tg.tensor(x), *copies))
        return F.cross_entropy(y @ tg.tensor(V.T), target, reduction="sum")

    many = [tg.tensor(np.repeat(a[None], T, 0)) for a in (U, W)]
    dU, dW = tg.grad(loss, (0, 1))(tg.tensor(U), tg.tensor(W), True)
    dU_each, dW_each = tg.grad(loss, (0, 1))(*many, False)
    assert dU_each.shape == (T, H, I) and np.abs(dW_each.numpy()).min() > 0
    close(dU_each.sum(axis=0), dU, 1e-13)
    close(dW_each.sum(axis=0), dW, 1e-13)


@pytest.mark.parametrize("cell_type", [nn.LSTMCell, nn.LSTM1997Cell])
def test_lstm_is_the_closed_forms(cell_type, rng, close):
    """dE/do = dh tanh c, dE/dc = dh o (1 - tanh² c) + what arrives from c(t+1), then the gates."""
    old = cell_type is nn.LSTM1997Cell
    cell = cell_type(I, H, dtype="float64")
    for p in cell.parameters():
        p.assign_(tg.tensor(rng.normal(size=p.shape)))
    x, h0, c0, w = (rng.normal(size=s) for s in ((T, I), H, H, (T, H)))
    p = {k: v.numpy() for k, v in cell.state_dict().items()}

    h, c, run = h0, c0, []
    for t in range(T):
        z = p["weight_ih"] @ x[t] + p["bias_ih"] + p["weight_hh"] @ h + p["bias_hh"]
        parts = np.split(z, 3 if old else 4)
        i, g, o = sigmoid(parts[0]), np.tanh(parts[-2]), sigmoid(parts[-1])
        f = np.ones(H) if old else sigmoid(parts[1])
        run.append((i, f, g, o, h, c))
        c = f * c + i * g
        h = o * np.tanh(c)
    ends = [r[5] for r in run[1:]] + [c]
    dh, dc = np.zeros(H), np.zeros(H)
    d = {k: np.zeros_like(v) for k, v in p.items()}
    dx = np.zeros_like(x)
    for t in reversed(range(T)):
        i, f, g, o, h_before, c_before = run[t]
        dh = dh + w[t]  # E = Σ w_t · h_t
        do = dh * np.tanh(ends[t])
        dc = dc + dh * o * (1 - np.tanh(ends[t]) ** 2)
        di, da, df = dc * g, dc * i, dc * c_before
        dz = [di * i * (1 - i), df * f * (1 - f), da * (1 - g**2), do * o * (1 - o)]
        dz = np.concatenate(dz[:1] + dz[2:] if old else dz)
        d["weight_ih"] += np.outer(dz, x[t])
        d["weight_hh"] += np.outer(dz, h_before)
        d["bias_ih"] += dz
        d["bias_hh"] += dz
        dx[t] = p["weight_ih"].T @ dz
        dh, dc = p["weight_hh"].T @ dz, dc * f

    xt, ht, ct = (tg.tensor(a, requires_grad=True) for a in (x, h0, c0))
    y, _ = nn.Recurrent(cell)(xt, (ht, ct))
    (y * tg.tensor(w)).sum().backward()
    for name, expected in d.items():
        close(getattr(cell, name).grad, expected, 1e-12, name)
    close(xt.grad, dx, 1e-12, "x")
    close(ht.grad, dh, 1e-12, "h_0")
    close(ct.grad, dc, 1e-12, "c_0")


def test_gates_themselves(rng, close):
    """dE/di, dE/df, dE/da, dE/do, dE/dc of every step, seen through numbers added to them."""
    W, U = rng.normal(size=(4 * H, H)), rng.normal(size=(4 * H, I))
    x, h0, c0, w = (rng.normal(size=s) for s in ((T, I), H, H, (T, H)))
    Wt, Ut = tg.tensor(W), tg.tensor(U)

    def run(extra):
        def step(carry, inputs):
            (h, c), (x, (ei, ef, ea, eo, ec)) = carry, inputs
            i, f, a, o = tg.chunk(Ut @ x + Wt @ h, 4)
            i, f, o = tg.sigmoid(i) + ei, tg.sigmoid(f) + ef, tg.sigmoid(o) + eo
            a = tg.tanh(a) + ea
            c_new = f * c + i * a + ec
            h = o * tg.tanh(c_new)
            return (h, c_new), (h, (i, f, a, o, c, c_new))

        _, (h, values) = tg.scan(step, (tg.tensor(h0), tg.tensor(c0)), (tg.tensor(x), extra))
        return (h * tg.tensor(w)).sum(), values

    zeros = tuple(tg.zeros((T, H), "float64") for _ in range(5))
    (gi, gf, ga, go, gc), (i, f, a, o, c, c_new) = tg.grad(run, has_aux=True)(zeros)
    i, f, a, o, c, c_new = (v.numpy() for v in (i, f, a, o, c, c_new))
    dz = [gi * i * (1 - i), gf * f * (1 - f), ga * (1 - a * a), go * o * (1 - o)]
    dz = np.concatenate([v.numpy() for v in dz], axis=-1)
    dh = w + np.vstack([dz[1:] @ W, np.zeros(H)])
    arrives = np.vstack([gc.numpy()[1:] * f[1:], np.zeros(H)])
    close(go, dh * np.tanh(c_new), 1e-13, "do")
    close(gc, dh * o * (1 - np.tanh(c_new) ** 2) + arrives, 1e-13, "dc")
    close(gi, gc.numpy() * a, 1e-13, "di")
    close(ga, gc.numpy() * i, 1e-13, "da")
    close(gf, gc.numpy() * c, 1e-13, "df")
