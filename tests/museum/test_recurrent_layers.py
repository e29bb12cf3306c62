"""Fused recurrent kernels of others: states, layers, directions, conventions, stale weights."""

from __future__ import annotations

import numpy as np
import pytest
from gallery import close, host, randomize

import tinygrad_rnn as tg
from tinygrad_rnn import nn


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def parameters(layer):
    return {name: host(p) for name, p in layer.named_parameters()}


def test_the_reset_gate_comes_before_or_after(backend, rng):
    """https://github.com/keras-team/keras/pull/9112 and /8307: two definitions of the GRU went
    under one name, and weights of one were loaded into the other. Here the argument is
    `reset_after`."""
    x, h0 = rng.normal(size=(2, 3, 2)), rng.normal(size=(1, 3, 4))
    found = {}
    for after in (True, False):
        gru = randomize(nn.GRU(2, 4, reset_after=after, dtype="float64"), np.random.default_rng(1))
        p, h = parameters(gru), h0[0]
        for t in range(2):
            ir, iz, inn = np.split(x[t] @ p["weight_ih_l0"].T + p["bias_ih_l0"], 3, 1)
            W, b = np.split(p["weight_hh_l0"], 3), np.split(p["bias_hh_l0"], 3)
            r, z = sigmoid(ir + h @ W[0].T + b[0]), sigmoid(iz + h @ W[1].T + b[1])
            hn = r * (h @ W[2].T + b[2]) if after else (r * h) @ W[2].T + b[2]
            h = (1 - z) * np.tanh(inn + hn) + z * h
        found[after] = host(gru(tg.tensor(x), tg.tensor(h0))[1])[0]
        close(found[after], h)
    assert np.abs(found[True] - found[False]).max() > 1e-3


def test_gates_in_the_wrong_order(backend, rng):
    """https://github.com/keras-team/keras/issues/8720: cuDNN's gates were read in another
    order; the tests passed, because biases are zero at first. Here all biases of this exhibit
    are random."""
    lstm = randomize(nn.LSTM(2, 3, dtype="float64"), rng)
    p = parameters(lstm)
    x, h, c = rng.normal(size=(4, 2)), rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    gates = x @ p["weight_ih_l0"].T + p["bias_ih_l0"] + h @ p["weight_hh_l0"].T + p["bias_hh_l0"]
    i, f, g, o = np.split(gates, 4, 1)
    c1 = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    y, (h2, c2) = lstm(tg.tensor(x[None]), (tg.tensor(h[None]), tg.tensor(c[None])))
    close(host(y)[0], sigmoid(o) * np.tanh(c1))
    close(host(h2)[0], sigmoid(o) * np.tanh(c1))
    close(host(c2)[0], c1)


def test_states_of_upper_layers_are_never_read(backend, rng):
    """https://github.com/pytorch/pytorch/pull/95137: several layers read the wrong slice of the
    initial state, and nobody noticed, because tests begin with zeros; with batch_first the
    gradients lacked transposes. Here two layers are two layers, states and gradients included."""
    both = randomize(nn.LSTM(3, 2, 2, batch_first=True, dtype="float64"), rng)
    one, two = nn.LSTM(3, 2, dtype="float64"), nn.LSTM(2, 2, dtype="float64")
    for k, single in enumerate((one, two)):
        single.load_state_dict(
            {n.replace(f"_l{k}", "_l0"): p for n, p in both.state_dict().items() if f"_l{k}" in n}
        )
    x, ct = rng.normal(size=(4, 5, 3)), rng.normal(size=(4, 5, 2))
    h0, c0 = rng.normal(size=(2, 4, 2)), rng.normal(size=(2, 4, 2))

    def stacked(x, h, c):
        y, (h, c) = both(x, (h, c))
        return (y * tg.tensor(ct)).sum() + tg.sin(h).sum() + (c * c).sum()

    def composed(x, h, c):
        y, (ha, ca) = one(x.swapaxes(0, 1), (h[:1], c[:1]))
        y, (hb, cb) = two(y, (h[1:], c[1:]))
        ends = tg.sin(ha).sum() + tg.sin(hb).sum() + (ca * ca).sum() + (cb * cb).sum()
        return (y.swapaxes(0, 1) * tg.tensor(ct)).sum() + ends

    args = [tg.tensor(a) for a in (x, h0, c0)]
    for a, b in zip(tg.grad(stacked, (0, 1, 2))(*args), tg.grad(composed, (0, 1, 2))(*args)):
        close(a, b)


def test_only_the_last_state_is_used(backend, rng):
    """https://github.com/pytorch/pytorch/issues/96416: without a gradient of the outputs the
    state gradients of an LSTM could not be computed, the outputs times zero cured it."""
    lstm = randomize(nn.LSTM(2, 3), rng)
    x = rng.normal(size=(4, 2, 2)).astype("f4")

    def last(x, zero):
        y, (_, c) = lstm(x)
        return tg.sin(c).sum() + (y * 0.0).sum() if zero else tg.sin(c).sum()

    a, b = (tg.grad(lambda x, zero=zero: last(x, zero))(tg.tensor(x)) for zero in (False, True))
    close(a, b, 1e-6)
    assert np.abs(host(a)).min() > 0


def test_three_layers_in_two_directions(backend, rng):
    """https://github.com/apache/mxnet/pull/18203 (fixes #17898): with more than two layers the
    gradient of the outputs was overwritten before the second direction had read it, and middle
    layers of a GRU used a wrong pointer. Here the complex-step-checked loop is the reference."""
    gru = randomize(nn.GRU(2, 2, 3, bidirectional=True, dtype="float64"), rng)
    x, ct = rng.normal(size=(3, 2, 2)), rng.normal(size=(3, 2, 4))

    def by_hand(x):
        for layer in gru.stack.layers:
            halves = []
            for cell, back in ((layer.fwd.cell, False), (layer.bwd.cell, True)):
                h, out = tg.zeros((2, 2), "float64"), {}
                for t in range(3)[:: -1 if back else 1]:
                    h, out[t] = cell(h, x[t])
                halves.append(tg.stack([out[t] for t in range(3)]))
            x = tg.concat(halves, axis=-1)
        return x

    gru.zero_grad()
    leaf = tg.tensor(x, requires_grad=True)
    (by_hand(leaf) * tg.tensor(ct)).sum().backward()
    want = {n: host(p.grad) for n, p in gru.named_parameters()} | {"x": host(leaf.grad)}
    gru.zero_grad()
    leaf = tg.tensor(x, requires_grad=True)
    (gru(leaf)[0] * tg.tensor(ct)).sum().backward()
    got = {n: host(p.grad) for n, p in gru.named_parameters()} | {"x": host(leaf.grad)}
    for name, g in want.items():
        close(got[name], g)
        assert np.abs(g).max() > 1e-6, name


def test_a_bias_without_gradient(backend, rng):
    """https://github.com/apache/mxnet/issues/17818: the recurrent bias of the top layer had the
    gradient 0 on one device. Here both biases of a sum have one gradient, in every layer."""
    lstm = randomize(nn.LSTM(2, 3, 2), rng)
    lstm(tg.tensor(rng.normal(size=(4, 2, 2)).astype("f4")))[0].sum().backward()
    for k in (0, 1):
        a, b = (host(getattr(lstm, f"bias_{s}_l{k}").grad) for s in ("ih", "hh"))
        close(a, b, 1e-6)
        assert np.abs(a).min() > 0


def test_several_layers_of_another_width(backend, rng):
    """https://github.com/apache/mxnet/issues/17479: with more than one layer and input_size
    unlike hidden_size, everything above the first layer was wrong. Here a layer is its cells,
    unrolled."""
    rnn = randomize(nn.RNN(5, 2, 2), rng)
    x = rng.normal(size=(3, 2, 5)).astype("f4")
    y = tg.tensor(x)
    for layer in rnn.stack.layers:
        h, out = tg.zeros((2, 2)), []
        for t in range(3):
            h, _ = layer.cell(h, y[t])
            out.append(h)
        y = tg.stack(out)
    close(rnn(tg.tensor(x))[0], y, 1e-5)


def test_weights_changed_after_the_first_call(backend, rng):
    """https://github.com/apache/mxnet/issues/16037: weights were packed at the first call and
    never looked at again. Here constants of a loop are packed at every call."""
    gru = randomize(nn.GRU(3, 4), rng)
    x = tg.tensor(rng.normal(size=(4, 2, 3)).astype("f4"))
    run = tg.jit(lambda x: gru(x)[0])
    before = host(run(x))
    for p in gru.parameters():
        p.assign_(host(p) * np.float32(-0.5))
    fresh = nn.GRU(3, 4)
    fresh.load_state_dict(gru.state_dict())
    close(run(x), fresh(x)[0], 1e-6)
    close(gru(x)[0], fresh(x)[0], 1e-6)
    assert np.abs(host(run(x)) - before).max() > 1e-2


def test_the_wrong_input_size_is_tolerated():
    """https://github.com/pytorch/pytorch/issues/114874: an LSTM of input_size 13 ran on 2
    features if no state was given. Here it is refused with and without one, by every layer and
    cell."""
    x = tg.zeros((5, 3, 2))
    for kind in (nn.RNN, nn.LSTM, nn.GRU):
        layer = kind(13, 4, 2)
        state = (tg.zeros((2, 3, 4)),) * 2 if kind is nn.LSTM else tg.zeros((2, 3, 4))
        for given in (None, state):
            with pytest.raises(ValueError, match=r"2 features .*input_size=13"):
                layer(x, given)


def test_an_error_about_the_error():
    """https://github.com/pytorch/pytorch/issues/5860: an input of the wrong size ended in
    "NameError: name 'fn' is not defined". Here the message has both sizes and the type that was
    given."""
    lstm = nn.LSTM(3, 2)
    states = (tg.zeros((1, 4, 2)), tg.zeros((1, 4, 2)))
    with pytest.raises(ValueError, match=r"input has 5 features \(f32\[6,4,5\], last axis\)"):
        lstm(tg.zeros((6, 4, 5)), states)


def test_a_state_of_the_wrong_shape():
    """https://github.com/pytorch/pytorch/pull/3925 and
    https://github.com/PetrochukM/PyTorch-NLP/issues/62: only the first of the two states was
    checked, cells checked nothing, or the layer began from zeros. Here both are checked, by
    layers and cells."""
    lstm, cell = nn.LSTM(3, 2), nn.LSTMCell(3, 2)
    good, bad = tg.zeros((1, 4, 2)), tg.zeros((1, 4, 3))
    for state in ((good, bad), (bad, good), (good, tg.zeros((1, 5, 2)))):
        with pytest.raises(ValueError, match="the state is"):
            lstm(tg.zeros((6, 4, 3)), state)
    with pytest.raises(ValueError, match="the carry is"):
        cell((good[0], bad[0]), tg.zeros((4, 3)))
