"""What recurrent networks are known to do: carousels, accumulators, held states, norms, limits."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn

H, B = 4, 3
f64 = {"dtype": "float64"}
OPEN, SHUT = 1e3, -1e3  # σ is exactly 1.0 and 0.0 there


def gated(cell, **levels):
    """Zero weights; gate biases by index, so that only biases decide."""
    for p in cell.parameters():
        p.assign_(tg.zeros_like(p))
    bias = np.zeros(cell.bias_ih.shape)
    for k, value in levels.items():
        n = int(k[1:])
        bias[n * cell.hidden_size : (n + 1) * cell.hidden_size] = value
    cell.bias_ih.assign_(tg.tensor(bias))
    return cell


def state(rng, n=2):
    return tuple(tg.tensor(rng.normal(size=(B, H))) for _ in range(n))


def test_constant_error_carousel(rng):
    """D18: f = 1, i = 0 keeps c bitwise for 10,000 steps, and d c_T / d c_0 is the identity."""
    cell = gated(nn.LSTMCell(2, H, **f64), g0=SHUT, g1=OPEN)
    cell.weight_ih.assign_(tg.tensor(rng.normal(size=cell.weight_ih.shape)))
    cell.weight_hh.assign_(tg.tensor(rng.normal(size=cell.weight_hh.shape)))
    h, c = state(rng)
    x = tg.tensor(rng.normal(size=(10_000, B, 2)))
    layer = nn.Recurrent(cell)
    _, (_, end) = layer(x, (h, c))
    assert np.array_equal(end.detach().numpy(), c.numpy())
    weights = tg.tensor(rng.normal(size=(B, H)))
    g = tg.grad(lambda c: (layer(x, (h, c))[1][1] * weights).sum())(c)
    assert np.array_equal(g.detach().numpy(), weights.numpy())


def test_lstm_of_1997_holds_its_state(rng):
    """Input gate shut: c is kept bitwise for 1,000 steps, and so is the error."""
    cell = gated(nn.LSTM1997Cell(2, H, **f64), g0=SHUT)
    cell.weight_ih.assign_(tg.tensor(rng.normal(size=cell.weight_ih.shape)))
    h, c = state(rng)
    layer = nn.Recurrent(cell)
    x = tg.tensor(rng.normal(size=(1_000, B, 2)))
    _, (_, end) = layer(x, (h, c))
    assert np.array_equal(end.detach().numpy(), c.numpy())
    g = tg.grad(lambda c: layer(x, (h, c))[1][1].sum())(c)
    assert np.array_equal(g.detach().numpy(), np.ones((B, H)))


@pytest.mark.parametrize("kind", ["lstm", "1997"])
def test_open_gates_accumulate(kind, rng, close):
    """D19: i = f = 1: c_T = c_0 + Σ tanh(W x_t)."""
    cell = nn.LSTMCell(2, H, **f64) if kind == "lstm" else nn.LSTM1997Cell(2, H, **f64)
    gated(cell, g0=OPEN, **({"g1": OPEN} if kind == "lstm" else {}))
    at = 2 * H if kind == "lstm" else H
    W = np.zeros(cell.weight_ih.shape)
    W[at : at + H] = rng.normal(size=(H, 2))
    cell.weight_ih.assign_(tg.tensor(W))
    h, c = state(rng)
    x = rng.normal(size=(7, B, 2))
    _, (_, end) = nn.Recurrent(cell)(tg.tensor(x), (h, c))
    close(end, c.numpy() + np.tanh(x @ W[at : at + H].T).sum(0), 1e-13)


def test_shut_forget_gate_forgets(rng):
    """D20: f = 0: no dependence on the memory before."""
    cell = nn.LSTMCell(2, H, **f64)
    cell.weight_hh.assign_(tg.zeros_like(cell.weight_hh))
    bias = np.zeros(4 * H)
    bias[H : 2 * H] = SHUT
    cell.bias_ih.assign_(tg.tensor(bias))
    h, c = state(rng)
    x = tg.tensor(rng.normal(size=(3, B, 2)))
    assert not tg.grad(lambda c: nn.Recurrent(cell)(x, (h, c))[0].sum())(c).detach().numpy().any()


def test_coupled_gates_interpolate(rng):
    cell = gated(nn.CoupledLSTMCell(2, H, **f64), g0=OPEN)
    h, c = state(rng)
    _, (_, end) = nn.Recurrent(cell)(tg.zeros((9, B, 2), "float64"), (h, c))
    assert np.array_equal(end.detach().numpy(), c.numpy())
    cell = gated(nn.CoupledLSTMCell(2, H, **f64), g0=SHUT, g1=0.5)
    _, (_, end) = nn.Recurrent(cell)(tg.zeros((1, B, 2), "float64"), (h, c))
    assert np.array_equal(end.detach().numpy(), np.full((B, H), np.tanh(0.5)))


@pytest.mark.parametrize("after", [True, False])
def test_gru_update_gate(after, rng, close):
    """D21: z = 1 holds the state exactly, z = 0 overwrites it."""
    cell = gated(nn.GRUCell(2, H, reset_after=after, **f64), g1=OPEN)
    (h,) = state(rng, 1)
    x = tg.tensor(rng.normal(size=(50, B, 2)))
    _, end = nn.Recurrent(cell)(x, h)
    assert np.array_equal(end.detach().numpy(), h.numpy())
    cell = gated(nn.GRUCell(2, H, reset_after=after, **f64), g1=SHUT, g2=0.3)
    close(nn.Recurrent(cell)(x, h)[1], np.full((B, H), np.tanh(0.3)), 1e-15)


@pytest.mark.parametrize("after", [True, False])
def test_gru_reset_gate(after, rng, close):
    """D22: r = 0: the candidate ignores h, except b_hn, which only reset-after silences."""
    cell = nn.GRUCell(2, H, reset_after=after, **f64)
    bias = np.zeros(3 * H)
    bias[:H], bias[H : 2 * H] = SHUT, SHUT
    cell.bias_ih.assign_(tg.tensor(bias))
    x, (h,) = tg.tensor(rng.normal(size=(1, B, 2))), state(rng, 1)
    layer = nn.Recurrent(cell)
    assert not tg.grad(lambda h: layer(x, h)[0].sum())(h).detach().numpy().any()
    W = cell.weight_ih.detach().numpy()[2 * H :]
    b_hn = 0.0 if after else cell.bias_hh.detach().numpy()[2 * H :]
    close(layer(x, h)[0][0], np.tanh(x.numpy()[0] @ W.T + b_hn), 1e-14)


def test_gru_forms_agree_when_the_reset_gate_is_open(rng, close, gradients):
    """D22: r = 1 and b_hn = 0."""
    a, b = nn.GRUCell(2, H, **f64), nn.GRUCell(2, H, reset_after=False, **f64)
    bias, back = a.bias_ih.detach().numpy().copy(), a.bias_hh.detach().numpy().copy()
    bias[:H], back[2 * H :] = OPEN, 0.0
    a.bias_ih.assign_(tg.tensor(bias))
    a.bias_hh.assign_(tg.tensor(back))
    b.load_state_dict(a.state_dict())
    x, h = rng.normal(size=(5, B, 2)), rng.normal(size=(B, H))
    y, _, g = gradients(nn.Recurrent(a), x, h)
    y2, _, g2 = gradients(nn.Recurrent(b), x, h)
    close(y, y2, 1e-13)
    for name in g:
        close(g[name], g2[name], 1e-12, name)


def test_orthogonal_linear_recurrence_keeps_norms(rng, close):
    """D23: 1,000 steps of h' = Q h keep |h| and the gradient's norm."""
    Q = np.linalg.qr(rng.normal(size=(H, H)))[0]
    W = tg.tensor(Q)
    layer = nn.Recurrent(lambda h, x: ((h @ W.T) + x, h))
    h = tg.tensor(rng.normal(size=(B, H)))
    x = tg.zeros((1_000, B, H), "float64")
    _, end = layer(x, h)
    close(np.linalg.norm(end.numpy(), axis=1), np.linalg.norm(h.numpy(), axis=1), 1e-12)
    w = tg.tensor(rng.normal(size=(B, H)))
    g = tg.grad(lambda h: (layer(x, h)[1] * w).sum())(h)
    close(np.linalg.norm(g.detach().numpy(), axis=1), np.linalg.norm(w.numpy(), axis=1), 1e-12)


def test_identity_rnn_holds(rng):
    """D24: an identity-initialised ReLU network holds a positive state exactly."""
    cell = nn.RNNCell(2, H, nonlinearity="relu", recurrent_init="identity", **f64)
    h = tg.tensor(rng.uniform(size=(B, H)))
    _, end = nn.Recurrent(cell)(tg.zeros((100, B, 2), "float64"), h)
    assert np.array_equal(end.detach().numpy(), h.numpy())


def test_linear_recurrence_is_its_sum(rng, close):
    """D25: h_T = W^T h_0 + Σ W^{T-1-t} U x_t, and its gradient."""
    T, U, W = 6, rng.normal(size=(H, 2)), rng.normal(size=(H, H)) * 0.5
    x, h = rng.normal(size=(T, B, 2)), rng.normal(size=(B, H))
    Ut, Wt = tg.tensor(U), tg.tensor(W)
    layer = nn.Recurrent(lambda c, x: (x @ Ut.T + c @ Wt.T,) * 2)
    power = [np.linalg.matrix_power(W, k) for k in range(T + 1)]
    total = h @ power[T].T + sum(x[t] @ U.T @ power[T - 1 - t].T for t in range(T))
    close(layer(tg.tensor(x), tg.tensor(h))[1], total, 1e-13)
    w = rng.normal(size=(B, H))
    g = tg.grad(lambda x: (layer(x, tg.tensor(h))[1] * tg.tensor(w)).sum())(tg.tensor(x))
    close(g, np.stack([w @ power[T - 1 - t] @ U for t in range(T)]), 1e-13)


def test_small_weights_contract(rng):
    """D26: |d h_T / d h_{T-k}| <= ‖W‖^k for tanh."""
    cell = nn.RNNCell(2, H, **f64)
    W = rng.normal(size=(H, H))
    W *= 0.7 / np.linalg.norm(W, 2)
    cell.weight_hh.assign_(tg.tensor(W))
    layer = nn.Recurrent(cell)
    for k in (1, 5, 20):
        x, h = tg.tensor(rng.normal(size=(k, 2))), tg.tensor(rng.normal(size=(H,)))
        J = tg.jacobian(lambda h: layer(x, h)[1])(h).detach().numpy()  # noqa: B023
        assert np.linalg.norm(J, 2) <= 0.7**k * (1 + 1e-12)


def test_hidden_units_may_be_permuted(rng, close):
    """D27."""
    a, b = nn.LSTMCell(2, H, **f64), nn.LSTMCell(2, H, **f64)
    order = rng.permutation(H)
    rows = np.concatenate([order + k * H for k in range(4)])
    p = {k: v.numpy() for k, v in a.state_dict().items()}
    b.load_state_dict({
        "weight_ih": p["weight_ih"][rows], "weight_hh": p["weight_hh"][rows][:, order],
        "bias_ih": p["bias_ih"][rows], "bias_hh": p["bias_hh"][rows],
    })  # fmt: skip
    h, c = state(rng)
    x = tg.tensor(rng.normal(size=(5, B, 2)))
    y, _ = nn.Recurrent(a)(x, (h, c))
    y2, _ = nn.Recurrent(b)(x, (h[:, order], c[:, order]))
    close(y.detach().numpy()[..., order], y2, 1e-14)


def test_tanh_network_without_bias_is_odd(rng):
    """D28."""
    layer = nn.RNN(2, H, 2, bias=False, **f64)
    x, h = rng.normal(size=(5, B, 2)), rng.normal(size=(2, B, H))
    y, end = layer(tg.tensor(x), tg.tensor(h))
    y2, end2 = layer(tg.tensor(-x), tg.tensor(-h))
    assert np.array_equal(y.detach().numpy(), -y2.detach().numpy())
    assert np.array_equal(end.detach().numpy(), -end2.detach().numpy())


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_two_biases_have_one_gradient(kind, rng, randomize, gradients):
    """D29: b_ih and b_hh get the same gradient, except GRU's candidate (reset after)."""
    layer = randomize(kind(2, H, 2, bidirectional=True, **f64), rng)
    _, _, g = gradients(layer, rng.normal(size=(5, B, 2)), None, [5, 2, 0])
    n = 2 * H if kind is nn.GRU else None
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        a, b = g[f"bias_ih_{suffix}"], g[f"bias_hh_{suffix}"]
        assert np.allclose(a[:n], b[:n], rtol=1e-13, atol=1e-13)
        assert n is None or not np.allclose(a[n:], b[n:])


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_zero_state_is_the_default_and_has_a_gradient(kind, rng, close, gradients):
    """D31."""
    layer = kind(2, H, 2, **f64)
    x = rng.normal(size=(5, B, 2))
    zeros = (np.zeros((2, B, H)),) * 2 if kind is nn.LSTM else np.zeros((2, B, H))
    y, _, g = gradients(layer, x, zeros)
    y2, _, g2 = gradients(layer, x)
    close(y, y2, 0)
    assert g["state0"].any()
    for name in g2:
        close(g[name], g2[name], 0)


def test_truncated_backpropagation(rng):
    """D7: a detached state stops the gradient, the values stay."""
    layer = nn.Recurrent(nn.GRUCell(2, H, **f64))
    x = tg.tensor(rng.normal(size=(6, B, 2)), requires_grad=True)
    _, middle = layer(x[:3])
    y, _ = layer(x[3:], middle.detach())
    whole, _ = layer(x)
    assert np.allclose(y.detach().numpy(), whole.detach().numpy()[3:], rtol=0, atol=1e-15)
    y.sum().backward()
    assert not x.grad.numpy()[:3].any() and x.grad.numpy()[3:].any()


def test_parameter_gradients_add_over_the_batch(rng, close, gradients):
    """D13."""
    layer = nn.LSTM(2, H, bidirectional=True, **f64)
    x = rng.normal(size=(5, 4, 2))
    _, _, whole = gradients(layer, x, separable=True)
    _, _, a = gradients(layer, x[:, :1], separable=True)
    _, _, b = gradients(layer, x[:, 1:], separable=True)
    for name in whole:
        if name != "x":
            close(whole[name], a[name] + b[name], 1e-12, name)
