"""Small promises of modules, cells and losses that larger tests do not see."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn


def host(t: tg.Tensor) -> np.ndarray:
    return t.detach().numpy()


def f64(*shape: int, seed: int = 0) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).normal(size=shape))


# --- cells and layers ----------------------------------------------------------------------------


def test_weights_start_in_their_range():
    for weight, size in (
        (nn.LSTMCell(3, 64, rng=0).weight_ih, 64),
        (nn.GRUCell(3, 64, rng=0).weight_hh, 64),
        (nn.Linear(64, 5, rng=0).weight, 64),
        (nn.Linear(64, 100, rng=0).bias, 64),
    ):
        largest = np.abs(weight.detach().numpy()).max()
        assert 0.9 / np.sqrt(size) < largest <= 1 / np.sqrt(size)


def test_a_carry_is_like_the_parameters():
    h, c = nn.LSTMCell(3, 4, dtype="float64", rng=0).initial_carry((2,))
    assert h.dtype is c.dtype is tg.float64
    assert nn.GRUCell(3, 4, rng=0).initial_carry((2,), "float64").dtype is tg.float64


def test_a_residual_cell_adds_its_input():
    cell = nn.GRUCell(4, 4, dtype="float64", rng=0)
    x, h = f64(2, 4), f64(2, 4, seed=1)
    carry, y = nn.Residual(cell)(h, x)
    plain, z = cell(h, x)
    np.testing.assert_array_equal(host(carry), host(plain))
    np.testing.assert_array_equal(host(y), host(x + z))


def test_variational_dropout_of_a_function_masks_what_comes_first():
    def pair(carry, x):
        h, c = carry
        return (h + x, c + x), h

    cell = nn.RecurrentDropout(pair, p=1.0)
    h, c = f64(2, 3), f64(2, 3, seed=1)
    (new_h, new_c), _ = cell((h, c), tg.zeros((2, 3), "float64"))
    assert not new_h.numpy().any()
    np.testing.assert_array_equal(new_c.numpy(), c.numpy())


def test_nested_variational_dropout_drops_by_both_masks():
    cell = nn.RNNCell(3, 500, dtype="float64", rng=0)
    twice = nn.RecurrentDropout(nn.RecurrentDropout(cell, 0.5, rng=1), 0.5, rng=2)
    seen = []
    cell.f = lambda z: seen.append(z) or z
    cell.bias_ih = cell.bias_hh = None
    with tg.no_grad():
        nn.init.eye_(cell.weight_hh)
        twice(tg.ones((1, 500), "float64"), tg.zeros((1, 3), "float64"))
    values, counts = np.unique(seen[0].numpy(), return_counts=True)
    assert values.tolist() == [0.0, 4.0] and 80 < counts[1] < 170


def test_dropout_of_a_stack_is_between_its_layers():
    x = f64(5, 2, 3)
    layers = [nn.RNNCell(3, 4, dtype="float64", rng=0), nn.RNNCell(4, 4, dtype="float64", rng=1)]
    for count in (1, 2):
        plain, dropped = (nn.Stack(layers[:count], dropout=p, rng=2) for p in (0.0, 1.0))
        a, b = host(plain(x)[0]), host(dropped(x)[0])
        assert (a == b).all() == (count == 1)
    below = nn.Recurrent(layers[1])(tg.zeros((5, 2, 4), "float64"))[0]
    np.testing.assert_array_equal(b, host(below))
    with pytest.warns(UserWarning, match="between layers only"):
        nn.LSTM(3, 4, dropout=0.5)


def test_a_weight_set_by_its_flat_name_is_the_layers():
    lstm = nn.LSTM(3, 4, rng=0)
    names = [name for name, _ in lstm.named_parameters()]
    fresh = nn.Parameter(tg.zeros((16, 3)))
    lstm.weight_ih_l0 = fresh
    assert lstm.stack.layers[0].cell.weight_ih is fresh and lstm.weight_ih_l0 is fresh
    assert [name for name, _ in lstm.named_parameters()] == names
    lstm.stack.layers[0].cell.weight_ih = other = nn.Parameter(tg.ones((16, 3)))
    assert lstm.weight_ih_l0 is other


# --- modules -------------------------------------------------------------------------------------


def test_a_buffer_belongs_to_one_module():
    class Holder(nn.Module):
        pass

    one, other = Holder(), Holder()
    one.register_buffer("table", tg.ones((2,)))
    other.table = tg.ones((3,))
    assert list(one.state_dict()) == ["table"] and not other.state_dict()


def test_a_shared_module_comes_once():
    inner = nn.Linear(2, 2, rng=0)
    both = nn.Sequential(inner, inner)
    assert [name for name, _ in both.named_modules()] == ["", "0"]
    seen = []
    both.apply(seen.append)
    assert seen == [inner, both]


def test_what_is_frozen_stays_frozen_when_it_moves():
    layer = nn.Linear(2, 3, rng=0)
    layer.weight.requires_grad = False
    layer.double()
    assert not layer.weight.requires_grad and layer.bias.requires_grad
    assert layer.weight.dtype is tg.float64


def test_a_seeded_dropout_draws_anew_at_every_call():
    layer, x = nn.Dropout(0.5, rng=3), tg.ones((100,))
    a, b = layer(x).tolist(), layer(x).tolist()
    assert a != b and nn.Dropout(0.5, rng=3)(x).tolist() == a


# --- losses --------------------------------------------------------------------------------------


def test_probabilities_have_their_classes_where_the_logits_have_them():
    logits, p = f64(4, 3, 5), np.random.default_rng(1).dirichlet(np.ones(3), (4, 5))
    last = nn.functional.cross_entropy(logits.transpose((0, 2, 1)), p, reduction="none")
    second = nn.functional.cross_entropy(logits, p.transpose(0, 2, 1), reduction="none", axis=1)
    np.testing.assert_array_equal(last.numpy(), second.numpy())


def test_many_losses_in_half_precision():
    logits = tg.tensor(np.tile(np.array([[0, 10]], np.float16), (7000, 1)))
    loss = nn.functional.cross_entropy(logits, tg.zeros((7000,), "int64"))
    assert loss.dtype is tg.float16 and loss.item() == 10.0
