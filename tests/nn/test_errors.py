"""Bad input gets an error that names the layer, what was given, what was expected, what to do."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn


class Model(nn.Module):
    def __init__(self, **options):
        self.encoder = nn.LSTM(3, 4, **options)
        self.tower = nn.Sequential(nn.Linear(5, 3), nn.Recurrent(nn.GRUCell(3, 2)))

    def forward(self, x, state=None, lengths=None):
        return self.encoder(x, state, lengths)


@pytest.mark.parametrize("given_state", [False, True])
def test_wrong_feature_size_names_the_layer(given_state):
    state = (tg.zeros((1, 4, 4)),) * 2 if given_state else None
    with pytest.raises(tg.errors.ShapeError) as error:
        Model()(tg.zeros((6, 4, 5)), state)
    assert str(error.value) == (
        "nn.LSTM 'encoder': input has 5 features (f32[6,4,5], last axis), the layer was built with "
        "input_size=3."
    )
    with pytest.raises(tg.errors.ShapeError, match=r"^nn.LSTM: input has 5 features"):
        nn.LSTM(3, 4)(tg.zeros((6, 4, 5)))


def test_errors_name_the_layer_not_its_parts():
    model, x = Model(), tg.zeros((6, 4, 3))
    for lengths, match in [
        ([1, 2, 9, 0], r"^nn.LSTM 'encoder': lengths\[2\] is 9, expected 0 to 6"),
        ([1, 2], r"^nn.LSTM 'encoder': lengths are i64\[2\], expected one for each of the 4"),
    ]:
        with pytest.raises(tg.errors.ArgumentError, match=match):
            model(x, lengths=lengths)


def test_path_through_containers():
    with pytest.raises(
        tg.errors.ShapeError, match=r"^nn.Linear 'tower.0': input has 4 features \(f32\[2,4\]"
    ):
        Model().tower(tg.zeros((2, 4)))
    model = Model()
    model.tower[0] = nn.Linear(5, 7)
    with pytest.raises(
        tg.errors.ShapeError, match=r"^nn.Recurrent 'tower.1': input has 7 features"
    ):
        model.tower(tg.zeros((2, 5)))


LAYERS = [
    lambda: nn.RNN(3, 4),
    lambda: nn.LSTM(3, 4, bidirectional=True),
    lambda: nn.GRU(3, 4, 2),
    lambda: nn.Recurrent(nn.LSTMCell(3, 4)),
    lambda: nn.Recurrent(nn.Zoneout(nn.GRUCell(3, 4))),
    lambda: nn.Bidirectional(nn.GRUCell(3, 4), nn.GRUCell(3, 4)),
    lambda: nn.Stack([nn.GRUCell(3, 4), nn.GRUCell(4, 2)]),
]


@pytest.mark.parametrize("make", LAYERS)
def test_every_layer_refuses(make):
    layer, x = make(), tg.zeros((6, 5, 3))
    with pytest.raises(
        tg.errors.ShapeError, match=r"input has 2 features \(f32\[6,5,2\], last axis\)"
    ):
        layer(tg.zeros((6, 5, 2)))
    with pytest.raises(
        tg.errors.ShapeError, match=r"Axis 0 has 3: are the features there\? Use moveaxis"
    ):
        layer(tg.zeros((3, 5, 6)))
    with pytest.raises(tg.errors.ShapeError, match=r"input is f32\[3\], expected"):
        layer(tg.zeros((3,)))
    with pytest.raises(
        tg.errors.DTypeError, match=r"input is f64\[6,5,3\], the parameters are f32"
    ):
        layer(np.zeros((6, 5, 3)))
    with pytest.raises(
        tg.errors.DTypeError, match=r"input is i64\[6,5,3\], expected f32.*nn.Embedding"
    ):
        layer(tg.zeros((6, 5, 3), "int64"))
    with pytest.raises(tg.errors.ArgumentError, match=r"lengths\[1\] is 7, expected 0 to 6"):
        layer(x, lengths=[6, 7, 0, 1, 2])
    with pytest.raises(tg.errors.ArgumentError, match=r"lengths\[3\] is -1, expected 0 to 6"):
        layer(x, lengths=tg.tensor([6, 0, 0, -1, 2]))
    with pytest.raises(
        tg.errors.ShapeError, match=r"lengths are i64\[2\], expected one for each of the 5"
    ):
        layer(x, lengths=[1, 2])
    with pytest.raises(tg.errors.ShapeError, match=r"is the input batch-first\?"):
        layer(x, lengths=[1, 2, 3, 4, 5, 5])
    with pytest.raises(tg.errors.DTypeError, match=r"lengths are f64\[5\], expected integers"):
        layer(x, lengths=[1.0, 2.0, 3.0, 4.0, 5.0])
    with pytest.raises((tg.errors.ShapeError, tg.errors.DTypeError), match=r"state"):
        layer(x, tg.zeros((9, 9)))
    with pytest.raises(
        tg.errors.ShapeError, match=r"lengths= needs a batch, the input is a single sequence"
    ):
        layer(tg.zeros((6, 3)), lengths=[6])


def test_wrong_ranks():
    with pytest.raises(
        tg.errors.ShapeError, match=r"input is f32\[2,3,4,3\], expected 3 axes \[T, B, I\]"
    ):
        nn.LSTM(3, 4)(tg.zeros((2, 3, 4, 3)))
    with pytest.raises(tg.errors.ShapeError, match=r"expected 3 axes \[B, T, I\]"):
        nn.LSTM(3, 4, batch_first=True)(tg.zeros((2, 3, 4, 3)))
    with pytest.raises(tg.errors.ShapeError, match=r"expected 4 axes \[S, W, B, I\]"):
        nn.Hierarchical(nn.GRUCell(3, 4), nn.GRUCell(4, 2))(tg.zeros((2, 3, 3)))


def test_wrong_states():
    x = tg.zeros((6, 2, 3))
    layer = nn.LSTM(3, 4, 2)
    good = tg.zeros((2, 2, 4))
    with pytest.raises(tg.errors.ShapeError) as error:
        layer(x, (good, tg.zeros((2, 2, 5))))
    assert str(error.value) == (
        "nn.LSTM: the state is f32[2,2,4], f32[2,2,5], expected f32[2,2,4], f32[2,2,4]."
    )
    with pytest.raises(
        tg.errors.ShapeError, match=r"the state is f32\[2,2,4\], expected f32\[2,2,4\], f32"
    ):
        layer(x, good)
    with pytest.raises(
        tg.errors.ShapeError, match=r"Is the input batch-first\? .*batch_first=True"
    ):
        layer(x, (tg.zeros((2, 6, 4)),) * 2)
    with pytest.raises(
        tg.errors.ShapeError, match=r"States are \[L\*D, B, H\] also with batch_first=True"
    ):
        nn.GRU(3, 4, batch_first=True)(x, tg.zeros((6, 1, 4)))
    with pytest.raises(
        tg.errors.ShapeError, match=r"single sequence without batch axis, so is the state"
    ):
        nn.GRU(3, 4)(tg.zeros((6, 3)), tg.zeros((1, 1, 4)))
    with pytest.raises(tg.errors.DTypeError, match=r"must be a tensor, not a <class 'tuple'>"):
        nn.GRU(3, 4)(x, (good,))
    with pytest.raises(
        tg.errors.DTypeError, match=r"the state is f64\[1,2,4\], the input f32\[6,2,3\]"
    ):
        nn.GRU(3, 4)(x, np.zeros((1, 2, 4)))
    h = tg.zeros((2, 4))
    with pytest.raises(
        tg.errors.ShapeError, match=r"state is f32\[2,4\], expected \(f32\[2,4\], f32\[2,4\]\)"
    ):
        nn.Recurrent(nn.LSTMCell(3, 4))(x, h)
    with pytest.raises(tg.errors.ShapeError, match=r"batch-first\?"):
        nn.Recurrent(nn.GRUCell(3, 4))(x, tg.zeros((6, 4)))
    both = nn.Bidirectional(nn.GRUCell(3, 4), nn.GRUCell(3, 4))
    with pytest.raises(tg.errors.ShapeError, match=r"one for each of the 2 directions"):
        both(x, (h,))
    with pytest.raises(
        tg.errors.ShapeError, match=r"state has Tensor, expected a tuple .* the 1 layers"
    ):
        nn.Stack([nn.GRUCell(3, 4)])(x, h)


def test_wrong_hierarchies():
    layer, x = nn.Hierarchical(nn.GRUCell(3, 4), nn.GRUCell(4, 2)), tg.zeros((2, 5, 6, 3))
    with pytest.raises(
        tg.errors.ShapeError, match=r"inner_lengths are i64\[6,2\], expected shape \(2, 6\)"
    ):
        layer(x, inner_lengths=np.ones((6, 2), int))
    with pytest.raises(tg.errors.ArgumentError, match=r"lengths\[0\] is 3, expected 0 to 2"):
        layer(x, lengths=[3, 1, 1, 1, 1, 1])
    with pytest.raises(tg.errors.ArgumentError, match=r"inner was built with batch_first=True"):
        nn.Hierarchical(nn.GRU(3, 4, batch_first=True), nn.GRUCell(4, 2))


def test_carry_without_batch_axes_and_lengths():
    def count(carry, x):
        return carry + 1.0, x

    layer, x = nn.Recurrent(count), tg.zeros((4, 2, 1))
    assert layer(x, tg.zeros(()))[1].item() == 4
    with pytest.raises(
        tg.errors.ShapeError, match=r"every leaf of the state must begin with the axes \(2,\)"
    ):
        layer(x, tg.zeros(()), lengths=[1, 2])


@pytest.mark.parametrize(
    "make,match",
    [
        (lambda: nn.LSTM(0, 4), "input_size must be a positive integer, got 0"),
        (lambda: nn.GRU(3, 2.5), "hidden_size must be a positive integer, got 2.5"),
        (lambda: nn.RNN(3, 4, 0), "num_layers must be a positive integer, got 0"),
        (lambda: nn.RNN(3, 4, nonlinearity="cos"), "'cos', expected 'tanh' or 'relu'"),
        (lambda: nn.LSTM(3, 4, dropout=1.5), "dropout must lie between 0 and 1, got 1.5"),
        (
            lambda: nn.LSTM(3, 4, proj_size=4),
            "proj_size must be 0 .* less than hidden_size=4, got 4",
        ),
        (lambda: nn.LSTMCell(3, 4, proj_size=-1), "less than hidden_size=4, got -1"),
        (lambda: nn.RNNCell(3, 4, recurrent_init="eye"), "recurrent_init is 'eye', expected"),
        (lambda: nn.Zoneout(nn.GRUCell(3, 4), -0.1), "p must lie between 0 and 1, got -0.1"),
        (lambda: nn.Recurrent(3), "got int, expected a cell"),
        (lambda: nn.Zoneout(None), "got NoneType, expected a cell"),
        (lambda: nn.Stack([]), "there are no layers"),
        (lambda: nn.Embedding(3, 4, padding_idx=3), "padding_idx=3 is not a row"),
        (lambda: nn.JordanCell(3, 4, 2, output="softmax"), "output='softmax' one of"),
        (
            lambda: nn.Bidirectional(nn.GRUCell(3, 4), nn.GRUCell(3, 4), merge="stack"),
            "merge is 'stack', expected a function or one of 'concat'",
        ),
        (
            lambda: nn.Bidirectional(nn.GRUCell(3, 4), nn.Recurrent(nn.GRUCell(3, 4))),
            "bwd has reverse=False; expected False and True",
        ),
    ],
)
def test_wrong_construction(make, match):
    with pytest.raises(tg.errors.ArgumentError, match=match):
        make()


def test_sizes_may_be_numbers_of_numpy():
    layer = nn.LSTM(np.int64(3), np.int32(4), num_layers=np.uint8(2))
    assert layer(tg.zeros((2, 5, 3)))[0].shape == (2, 5, 4)
    assert nn.Embedding(np.array([7]).max() + 1, 2)(tg.tensor([7])).shape == (1, 2)


def test_wrong_number_of_rates():
    with pytest.raises(tg.errors.ArgumentError, match="p has 2 rates, the carry has 1 leaves"):
        nn.Recurrent(nn.Zoneout(nn.GRUCell(3, 4), (0.1, 0.2)))(tg.zeros((2, 2, 3)))


def test_other_layers():
    with pytest.raises(
        tg.errors.ShapeError, match=r"nn.Linear: input has 4 features .* in_features=3"
    ):
        nn.Linear(3, 2)(tg.zeros((5, 4)))
    with pytest.raises(
        tg.errors.DTypeError, match=r"nn.Embedding: input is f32\[2\], expected integers"
    ):
        nn.Embedding(3, 4)(tg.zeros(2))
    with pytest.raises(tg.errors.IndexRangeError):
        nn.Embedding(3, 4)(tg.tensor([0, 3]))
    with pytest.raises(
        tg.errors.ShapeError, match=r"nn.LayerNorm: the last axes of the input \(f32\[2,4\]\)"
    ):
        nn.LayerNorm(3)(tg.zeros((2, 4)))
    with pytest.raises(tg.errors.ArgumentError, match=r"the input has no tensors.*scan"):
        nn.Recurrent(nn.GRUCell(3, 4))(None)


def test_cells_called_by_hand():
    cell, h = nn.LSTMCell(3, 4), tg.zeros((2, 4))
    with pytest.raises(tg.errors.ShapeError, match=r"nn.LSTMCell: input has 5 features"):
        cell((h, h), tg.zeros((2, 5)))
    with pytest.raises(
        tg.errors.ShapeError,
        match=r"carry is f32\[2,4\], expected \(\[..., 4\], \[..., 4\]\); a cell is",
    ):
        cell(h, tg.zeros((2, 3)))
    with pytest.raises(tg.errors.ShapeError, match=r"carry is f32\[2,3\], expected \[..., 4\]"):
        nn.GRUCell(4, 4)(tg.zeros((2, 3)), tg.zeros((2, 4)))
    with pytest.raises(tg.errors.ShapeError, match=r"a cell is called as cell\(carry, x\)"):
        nn.GRUCell(3, 4)(tg.zeros((2, 3)), tg.zeros((2, 4)))  # PyTorch's order of arguments


def test_lengths_as_a_number():
    with pytest.raises(tg.errors.ShapeError, match=r"lengths are i64\[\], expected one for each"):
        nn.GRU(3, 4)(tg.zeros((6, 5, 3)), lengths=6)
