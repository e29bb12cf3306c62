"""Softmax, its relatives and losses, where numbers end and where nothing is left."""

from __future__ import annotations

import numpy as np
import pytest
from gallery import close, host, slope, slopes

import tinygrad_rnn as tg
from tinygrad_rnn.nn import functional as F

INF = np.inf


def test_a_row_that_is_masked_completely(backend, rng):
    """https://github.com/pytorch/pytorch/issues/41508 (open since 2020),
    https://github.com/tracel-ai/burn/pull/4697 and
    https://github.com/iree-org/iree/issues/24175: one fully masked row made the gradients of
    all shared weights NaN. Here such a row is zeros, and its gradient too."""
    w, x = rng.normal(size=(3, 3)), rng.normal(size=(2, 3))
    mask = tg.tensor([[True, False, True], [False, False, False]])

    def attention(w, x):
        scores = tg.where(mask, x @ w, -INF)
        return tg.softmax(scores, axis=1) @ tg.tensor(np.array([[1.0], [2.0], [5.0]]))

    gw, gx = slopes(attention, w, x)
    assert np.isfinite(gw).all() and np.abs(gw).max() > 0 and gx[1].tolist() == [0, 0, 0]
    assert host(attention(tg.tensor(w), tg.tensor(x)))[1, 0] == 0


def test_the_logarithm_of_nothing(backend):
    """https://github.com/pytorch/pytorch/issues/31829 and /49724: where every term is -inf
    logsumexp is -inf, and its gradient was NaN instead of 0."""
    x = np.array([[-INF, -INF], [0.0, -INF]])
    assert host(tg.logsumexp(tg.tensor(x), 1)).tolist() == [-INF, 0]
    assert slope(lambda x: tg.where(True, tg.logsumexp(x, 1), 0.0), x) == [[0, 0], [1, 0]]
    nested = slope(
        lambda x: tg.logsumexp(tg.stack([tg.logsumexp(x[0]), x[1, 0]])),
        np.array([[-INF] * 2, [2.0, 0]]),
    )
    assert nested == [[0, 0], [1, 0]]


def test_softplus_overflows(backend):
    """https://github.com/tracel-ai/burn/issues/5373 and
    https://github.com/tenstorrent/tt-metal/pull/56397: log(1 + exp(100)) was infinite in
    float32, its gradient NaN in one library and 0 in another."""
    x = np.array([-200.0, 0.0, 50.0, 100.0, 1e30], "f4")
    assert host(tg.softplus(tg.tensor(x))).tolist() == pytest.approx([0, np.log(2), 50, 100, 1e30])
    assert slope(tg.softplus, x) == pytest.approx([0, 0.5, 1, 1, 1], abs=1e-30)


def test_cross_entropy_of_confident_mistakes(backend):
    """https://github.com/FluxML/NNlib.jl/issues/68: logits of -431, 279 and 427 had a gradient
    of NaN, which divided by a softmax of zero."""
    logits = np.array([[-431.0, 279.0, 427.0], [-1047.0, -981.0, 1891.0]])
    (g,) = slopes(lambda x: F.cross_entropy(x, tg.tensor([0, 0]), reduction="none"), logits)
    close(g, [[-1, 0, 1], [-1, 0, 1]])
    assert F.cross_entropy(tg.tensor(logits), tg.tensor([0, 0]), reduction="sum").item() == 3796


def test_nothing_left_to_average(backend):
    """https://github.com/pytorch/pytorch/issues/70348, /75181 and
    https://github.com/nvidia-cosmos/cosmos-rl/pull/155: if every target is ignored, 0 / 0 is
    NaN and poisons the weights. Here the loss is 0, and so is its gradient."""
    x, target = np.ones((3, 4)), tg.tensor([-100] * 3)
    assert F.cross_entropy(tg.tensor(x), target).item() == 0
    assert slope(lambda x: F.cross_entropy(x, target), x) == [[0] * 4] * 3


def test_a_class_that_does_not_exist(backend):
    """https://github.com/pytorch/pytorch/issues/12670: a target of -4 was accepted and read
    foreign memory. Here it is refused (it counted from the end until this exhibit was put up)."""
    for bad in (-4, 5):
        target = tg.tensor([1, 2, bad])
        with pytest.raises(
            IndexError, match=rf"target\[2\] is {bad}, expected a class from 0 to 4"
        ):
            F.cross_entropy(tg.zeros((3, 5)), target, ignore_index=-1)
        with pytest.raises(IndexError):
            tg.jit(F.cross_entropy)(tg.zeros((3, 5)), target)


def test_targets_that_broadcast(backend):
    """https://github.com/pytorch/pytorch/issues/16045, /16413 and
    https://github.com/tensorflow/tensorflow/issues/37770: [n, 1] against [n] is [n, n], and a
    model trains on the wrong thing without a word. Here losses want equal shapes."""
    for loss in (F.mse_loss, F.l1_loss, F.huber_loss, F.binary_cross_entropy_with_logits):
        with pytest.raises(ValueError, match=r"f32\[3\].*f32\[3,1\].*equal shapes"):
            loss(tg.zeros((3,)), tg.zeros((3, 1)))


def test_labels_with_an_axis_too_many():
    """https://github.com/elixir-nx/axon/pull/662: labels [batch, 1] broadcast against the
    log-probabilities, "and the loop trains happily on a meaningless loss"."""
    with pytest.raises(ValueError, match=r"targets of shape \(8,\), got i64\[8,1\]"):
        F.cross_entropy(tg.zeros((8, 3)), tg.zeros((8, 1), "int64"))
