"""Indices: repeated, out of range, of small dtypes, and beyond 2**31."""

from __future__ import annotations

import importlib.util
import re

import numpy as np
import pytest
from gallery import close, slope, slopes

import tinygrad_rnn as tg
from tinygrad_rnn import nn

numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="needs Numba")


def test_only_the_last_copy_is_remembered(backend):
    """https://github.com/pytorch/pytorch/issues/1528: y[[0, 0]] had the gradient of the last
    copy only; the other was dropped, on every device."""
    index = tg.tensor([0, 0, 2, 0])
    c = np.array([1.0, 10.0, 100.0, 1000.0])
    g = slope(lambda y: y[index] * tg.tensor(c), np.ones(3))
    assert g == [1011, 0, 100]


def test_a_word_that_occurs_twice(backend, rng):
    """https://github.com/apache/mxnet/issues/9172 and
    https://github.com/tenstorrent/tt-metal/issues/6232: the gradient of an embedding was wrong
    wherever a word occurred twice. Here it is that of the product with one-hot rows."""
    ids, table = np.array([[2, 2, 5], [0, 2, 5]]), rng.normal(size=(6, 4))
    c = tg.tensor(rng.normal(size=(2, 3, 4)))
    (rows,) = slopes(lambda w: nn.functional.embedding(tg.tensor(ids), w) * c, table)
    (product,) = slopes(lambda w: (tg.one_hot(ids, 6, "float64") @ w) * c, table)
    close(rows, product, 1e-14)


def test_duplicates_overwrite_under_another_backend(backend):
    """https://github.com/pymc-devs/pytensor/pull/2242: "silent wrong numbers": one backend
    scattered by gather, add and put back, which keeps the last of equal indices. Here
    duplicates add up."""
    index, updates = tg.tensor([1, 1, 0, 1]), tg.tensor([1.0, 2.0, 4.0, 8.0])
    for how in (lambda f: f, tg.jit):
        assert how(lambda i, u: tg.scatter_add(3, i, u))(index, updates).tolist() == [4, 11, 0]

    def step(c, x):
        return c + tg.scatter_add(3, x, tg.ones((2,))), None

    pairs = tg.tensor([[0, 0], [1, 2], [2, 2]])
    assert tg.scan(step, tg.zeros((3,)), pairs)[0].tolist() == [2, 1, 3]


def test_a_value_that_was_overwritten_gets_a_gradient(backend):
    """https://github.com/pytorch/pytorch/issues/473 and /146299: of values written to one place
    only the last is read, but all of them got its gradient."""
    index = tg.tensor([0, 0, 3, 0])

    def f(v):
        x = tg.zeros((5,), "float64")
        x[index] = v
        return x * tg.tensor(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))

    assert slope(f, np.arange(4.0)) == [0, 0, 4, 1]


def test_one_value_written_twice_to_one_place(backend):
    """https://github.com/pytorch/pytorch/issues/57006: index_fill counted a place as often as
    it was named. Here the gradient of the value counts the places that hold it."""
    for index in ([3, 0], [2, 2]):
        places = tg.tensor(index)

        def f(v, places=places):
            x = tg.zeros((5, 5), "float64")
            x[places] = v
            return x

        assert slope(f, np.array(-2.5)) == 5 * len(set(index))


def test_an_index_of_one_byte(backend, rng):
    """https://github.com/jax-ml/jax/issues/16836: x[uint8(128)] read x[199]. (Here `take`
    refused int8, and one_hot of uint8 made two ones, until this exhibit was put up.)"""
    x = tg.arange(200)
    assert x[tg.tensor(np.array(128, "uint8"))].item() == 128
    assert tg.take(x, np.array([128, 199], "uint8")).tolist() == [128, 199]
    assert tg.take(x, np.array([-1, 127], "int8")).tolist() == [199, 127]
    assert tg.one_hot(np.array([3], "uint8"), 300).sum().item() == 1
    table = rng.normal(size=(100, 100))
    i = rng.integers(0, 100, (100, 3)).astype("int8")
    close(tg.take_along_axis(tg.tensor(table), tg.tensor(i), 1), np.take_along_axis(table, i, 1))


def test_the_row_below(backend):
    """https://github.com/rs-station/careless/issues/150 quotes the manual: out of range, gather
    raises on one device and reads 0 on another. Here it raises everywhere, compiled too, and
    one past the end of a row is not the start of the next (it was, until this exhibit was put
    up)."""
    x = tg.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    row, column = tg.tensor([[3], [0]]), tg.tensor([0, 3])
    for how in (lambda f: f, tg.jit):
        for f, i in (
            (lambda x, i: tg.take_along_axis(x, i, 1), row),
            (lambda x, i: tg.take(x, i, 1), column),
            (lambda x, i: x[tg.tensor([0, 1]), i], column),
        ):
            with pytest.raises(IndexError):
                how(f)(x, i)


@numba
def test_addresses_of_thirty_two_bits(rng):
    """https://github.com/tinygrad/tinygrad/issues/3604, /3961,
    https://github.com/ml-explore/mlx/issues/1338 and
    https://github.com/pytorch/pytorch/issues/186057: an index expression overflowed 32 bits.
    Here the generated code itself is read: addresses have 64 bits from the start."""
    from tinygrad_rnn_numba import levels

    from tinygrad_rnn.backend import optimize
    from tinygrad_rnn.explanation import scans
    from tinygrad_rnn.lower import lower

    lstm = nn.LSTM(3, 4, bidirectional=True)
    x = tg.tensor(rng.normal(size=(5, 2, 3)).astype("f4"))

    def run(x):
        y, _ = lstm(x, lengths=tg.tensor([5, 2]))
        return tg.grad(lambda x: lstm(x)[0].sum())(x), y

    graph = optimize(tg.trace(run)(x))
    programs = [lower(node) for node in scans(graph)]
    assert len(programs) >= 4
    for program in programs:
        for k, level in enumerate(program.levels):
            text = levels.text(program, k)
            pointers = [line for line in text.splitlines() if "getelementptr" in line]
            assert pointers or not (level.loops or level.columns)
            assert all(re.search(r", i64 [%0-9]", line) for line in pointers)
            assert "sext i32" not in text and "zext i32" not in text  # a narrow index made wide
