"""Zoneout, RecurrentDropout, Residual, Dropout: masks, expectations, composition, modes."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn

I, H, T, B = 3, 4, 6, 5
f64 = {"dtype": "float64"}


def host(a):
    return tg.tree.tree_map(lambda a: a.detach().numpy(), a)


def same(a, b, tol=1e-13):
    for p, q in zip(tg.tree.flatten(a)[0], tg.tree.flatten(b)[0], strict=True):
        assert np.shape(p) == np.shape(q) and np.allclose(p, q, rtol=tol, atol=tol)


# --- dropout --------------------


def test_dropout_limits_and_scale(rng):
    """D32: p = 0 identity, p = 1 zeros, expectation kept, off in evaluation."""
    x = tg.tensor(rng.normal(size=(50, 40)), requires_grad=True)
    drop = nn.Dropout(0.3, rng=0)
    y, y2 = drop(x).detach().numpy(), drop(x).detach().numpy()
    assert not np.array_equal(y, y2), "a new mask at every call"
    kept = y != 0
    assert abs(kept.mean() - 0.7) < 0.03
    same(y[kept], x.detach().numpy()[kept] / 0.7)
    assert drop.eval()(x) is x and nn.Dropout(0.0)(x) is x
    full = nn.Dropout(1.0)(x)
    full.sum().backward()
    assert not full.detach().numpy().any() and not x.grad.numpy().any()


def test_dropout_mask_is_the_same_in_backward(rng):
    x = tg.tensor(rng.normal(size=(30, 4)), requires_grad=True)
    y = nn.Dropout(0.5, rng=1)(x)
    y.sum().backward()
    same(x.grad.numpy(), np.where(y.detach().numpy() != 0, 2.0, 0.0))


def test_dropout_of_poison(rng):
    """A dropped NaN does not reach the value or the gradient."""
    x = tg.tensor(np.full((64,), np.nan), requires_grad=True)
    y = nn.Dropout(1.0)(x)
    y.sum().backward()
    assert not y.detach().numpy().any() and not x.grad.numpy().any()


def test_dropout_acts_between_layers_only(rng):
    x = tg.tensor(rng.normal(size=(T, B, I)))
    layer = nn.LSTM(I, H, num_layers=2, dropout=1.0, **f64)
    y, (h, _) = layer(x)
    first = layer.stack.layers[0](x)[1]
    same(host(h[0]), host(first[0]))  # the first layer reads the input as it is
    below = layer.stack.layers[1](tg.zeros((T, B, H), "float64"))[0]
    same(host(y), host(below))  # the second layer reads zeros, its own outputs are whole
    assert np.abs(host(y)).min() > 0
    plain = nn.LSTM(I, H, num_layers=2, **f64)
    plain.load_state_dict(layer.state_dict())
    same(host(layer.eval()(x)), host(plain(x)))
    with pytest.warns(UserWarning, match="one layer"):
        nn.GRU(I, H, dropout=0.5)


def test_seeded_dropout_repeats(rng):
    x = tg.tensor(rng.normal(size=(T, B, I)))
    layer = nn.LSTM(I, H, num_layers=3, dropout=0.5, rng=3, **f64)
    twin = nn.LSTM(I, H, num_layers=3, dropout=0.5, rng=3, **f64)
    same(host(layer(x)), host(twin(x)))
    tg.manual_seed(5)
    a = nn.functional.dropout(x, 0.5).numpy()
    tg.manual_seed(5)
    assert np.array_equal(a, nn.functional.dropout(x, 0.5).numpy())


# --- zoneout --------------------


def test_zoneout_limits(rng):
    cell = nn.LSTMCell(I, H, **f64)
    x = tg.tensor(rng.normal(size=(T, B, I)))
    state = tuple(tg.tensor(rng.normal(size=(B, H))) for _ in range(2))
    plain = nn.Recurrent(cell)(x, state)
    same(host(nn.Recurrent(nn.Zoneout(cell, 0.0))(x, state)), host(plain))
    y, end = nn.Recurrent(nn.Zoneout(cell, 1.0))(x, state)
    same(host(end), host(state), 0)
    same(host(y), np.broadcast_to(host(state[0]), (T, B, H)), 0)


def test_zoneout_keeps_at_its_rate_and_emits_what_it_keeps(rng):
    n = 200
    cell = nn.Zoneout(nn.LSTMCell(I, n, **f64), (0.2, 0.6), rng=0)
    carry = tuple(tg.tensor(rng.normal(size=(B, n)) + 10) for _ in range(2))
    (h, c), y = cell(carry, tg.tensor(rng.normal(size=(B, I))))
    assert abs((host(h) == host(carry[0])).mean() - 0.2) < 0.05
    assert abs((host(c) == host(carry[1])).mean() - 0.6) < 0.05
    same(host(y), host(h), 0)
    again, _ = cell(carry, tg.zeros((B, I), "float64"))
    assert not np.array_equal(host(again[0]) == host(carry[0]), host(h) == host(carry[0]))


def test_zoneout_in_evaluation_is_the_expectation(rng):
    inner = nn.GRUCell(I, H, **f64)
    cell = nn.Zoneout(inner, 0.3, rng=1)
    h, x = tg.tensor(rng.normal(size=(H,))), tg.tensor(rng.normal(size=(I,)))
    many = 4000
    wide = tg.tensor(np.broadcast_to(h.numpy(), (many, H)).copy())
    drawn, _ = cell(wide, tg.tensor(np.broadcast_to(x.numpy(), (many, I)).copy()))
    expected, _ = cell.eval()(h, x)
    same(host(expected), 0.3 * host(h) + 0.7 * host(inner(h, x)[0]))
    assert np.abs(host(drawn).mean(0) - host(expected)).max() < 0.05


def test_zoneout_masks_change_with_time(rng):
    cell = nn.Zoneout(lambda carry, x: (carry + 1.0, carry), 0.5, rng=0)
    _, end = nn.Recurrent(cell)(tg.zeros((40, 100, 1)), tg.zeros((100, 1)))
    counts = host(end)[:, 0]  # binomial: neither all nor nothing, as one mask for all steps gives
    assert 15 < counts.mean() < 25 and counts.min() > 5 and counts.max() < 35


def test_zoneout_leaves_integers_alone():
    def count(carry, x):
        return (carry[0] + x, carry[1] + 1), carry[0]

    state = tg.zeros((B, 1)), tg.zeros((B, 1), "int64")
    _, (_, n) = nn.Recurrent(nn.Zoneout(count, 0.5, rng=0))(tg.ones((T, B, 1)), state)
    assert (n.numpy() == T).all()


# --- recurrent (variational) dropout --------------------


@pytest.mark.parametrize("make", [nn.RNNCell, nn.LSTMCell, nn.GRUCell, nn.LayerNormGRUCell])
def test_recurrent_dropout_of_everything(make, rng):
    """p = 1: the products see no state; the memory passes by."""
    cell = make(I, H, **f64)
    x = tg.tensor(rng.normal(size=(B, I)))
    carry = tg.tree.tree_map(
        lambda a: tg.tensor(rng.normal(size=a.shape)), cell.initial_carry((B,), "float64")
    )
    got = nn.RecurrentDropout(cell, 1.0)(carry, x)
    keep = {name: p.numpy() for name, p in cell.state_dict().items()}
    cell.weight_hh.assign_(tg.zeros_like(cell.weight_hh))
    same(host(got), host(cell(carry, x)))
    cell.load_state_dict(keep)


def test_variational_mask_is_constant_in_time_and_differs_between_samples(rng):
    """With W_hh = 1 and a linear path, h shows its own mask at every step."""
    cell = nn.RNNCell(1, 8, nonlinearity="relu", recurrent_init="identity", **f64)
    cell.weight_ih.assign_(tg.ones((8, 1), "float64"))
    drop = nn.RecurrentDropout(cell, 0.5, rng=0)
    layer = nn.Recurrent(drop)
    x = tg.ones((4, 6, 1), "float64")
    y = host(layer(x)[0])
    mask = (y[1] - 1.0) / y[0]  # y1 = 1 + mask * y0
    assert set(np.unique(mask)) == {0.0, 2.0}
    for t in (2, 3):
        same((y[t] - 1.0) / y[t - 1], mask)
    assert len({tuple(m) for m in mask}) > 1
    assert not np.array_equal(host(layer(x)[0]), y), "a new mask for every sequence"
    same(host(layer.eval()(x)[0])[:, 0, 0], np.arange(1.0, 5.0))


def test_input_mask_is_constant_in_time(rng):
    cell = nn.RNNCell(5, 5, nonlinearity="relu", bias=False, **f64)
    cell.weight_ih.assign_(tg.eye(5, dtype="float64"))
    cell.weight_hh.assign_(tg.zeros((5, 5), "float64"))
    drop = nn.RecurrentDropout(cell, 0.0, input_p=0.4, rng=0)
    y = host(nn.Recurrent(drop)(tg.ones((3, 7, 5), "float64"))[0])
    assert set(np.unique(y.round(12))) == {0.0, round(1 / 0.6, 12)}
    same(y[0], y[1])
    same(y[0], y[2])
    with pytest.raises(tg.errors.ArgumentError, match="input_p needs a cell with an attribute"):
        nn.RecurrentDropout(lambda c, x: (c, x), input_p=0.1)


def test_memory_does_not_grow(rng):
    """A held GRU state is not multiplied by 1 / (1 - p) at every step."""
    cell = nn.GRUCell(I, H, **f64)
    shut = np.zeros(3 * H)
    shut[H : 2 * H] = 1e3
    cell.bias_ih.assign_(tg.tensor(shut))
    state = tg.tensor(rng.normal(size=(B, H)))
    _, end = nn.Recurrent(nn.RecurrentDropout(cell, 0.5))(tg.zeros((50, B, I), "float64"), state)
    same(host(end), host(state), 0)


# --- composition --------------------


def test_wrappers_compose_in_any_order(rng, gradients):
    x = rng.normal(size=(T, B, H))
    orders = [
        lambda c: nn.Residual(nn.Zoneout(nn.RecurrentDropout(c, 0.5, 0.2, rng=1), 0.3, rng=2)),
        lambda c: nn.Residual(nn.RecurrentDropout(nn.Zoneout(c, 0.3, rng=2), 0.5, 0.2, rng=1)),
        lambda c: nn.Zoneout(nn.Residual(nn.Zoneout(c, 0.1, rng=3)), 0.2, rng=4),
        lambda c: nn.RecurrentDropout(nn.RecurrentDropout(c, 0.5, rng=5), 0.5, rng=6),
    ]
    for make in orders:
        layer = nn.Recurrent(make(nn.LSTMCell(H, H, **f64)))
        y, _, found = gradients(layer, x, None, [6, 0, 3, 1, 6])
        assert y.shape == (T, B, H) and len(found) == 5
        assert all(np.isfinite(g).all() and g.any() for g in found.values())


def test_wrapped_gradient_is_that_of_the_drawn_masks(rng):
    """The derivative of a random layer at fixed masks: compared with differences at one seed."""
    cell = nn.LSTMCell(H, H, **f64)
    x, d = rng.normal(size=(T, B, H)), rng.normal(size=(T, B, H))

    def run(x):
        wrapped = nn.Zoneout(nn.RecurrentDropout(cell, 0.5, 0.2, rng=1), 0.3, rng=2)
        y, _ = nn.Recurrent(wrapped)(x)
        return tg.sin(y).sum()

    g = tg.grad(run)(tg.tensor(x)).detach().numpy()
    e = 1e-5
    slope = (run(tg.tensor(x + e * d)).item() - run(tg.tensor(x - e * d)).item()) / (2 * e)
    assert abs((g * d).sum() - slope) < 1e-8 * max(1, abs(slope))


def test_residual_refuses_other_sizes():
    layer = nn.Recurrent(nn.Residual(nn.GRUCell(3, 4)))
    with pytest.raises(tg.errors.ShapeError, match=r"f32\[2,3\] and the output f32\[2,4\]"):
        layer(tg.zeros((5, 2, 3)))


def test_random_layers_inside_jit(rng):
    """A compiled training step draws new masks at every call, the same as eagerly."""

    def make():
        return nn.Recurrent(
            nn.Zoneout(nn.RecurrentDropout(nn.LSTMCell(I, H, rng=0, **f64), 0.5, rng=1), 0.3, rng=2)
        )

    x = tg.tensor(rng.normal(size=(T, B, I)))
    eager, compiled = make(), make()
    run = tg.jit(lambda x: compiled(x)[0])
    seen = []
    for _ in range(3):
        a, b = host(eager(x)[0]), host(run(x))
        same(a, b, 1e-12)
        seen.append(b)
    assert not np.array_equal(seen[0], seen[1])
    same(host(eager.eval()(x)[0]), host((compiled.eval(), run(x))[1]), 1e-12)  # mode is guarded
