"""Sequences of different lengths: what the padding did."""

from __future__ import annotations

import numpy as np
import pytest
from gallery import close, host, randomize

import tinygrad_rnn as tg
from tinygrad_rnn import nn

LENGTHS = [5, 3, 0, 4]


def layer(kind, rng, **options):
    return randomize(kind(3, 4, **options), rng)


def batch(rng, fill=0.0):
    x = rng.normal(size=(5, 4, 3)).astype("f4")
    for b, n in enumerate(LENGTHS):
        x[n:, b] = fill
    return x


def test_the_backward_direction_begins_with_padding(backend, rng):
    """https://github.com/pytorch/pytorch/issues/1811, /517,
    https://github.com/deeplearning4j/deeplearning4j/issues/1030 and
    https://github.com/lmnt-com/haste/issues/12: reversed with its padding, a short sequence is
    read from its zeros, and biases make a state of them. Here each sample is as if it were
    alone."""
    lstm = layer(nn.LSTM, rng, bidirectional=True)
    x = batch(rng)
    y, (h, c) = lstm(tg.tensor(x), lengths=LENGTHS)
    for b, n in enumerate(LENGTHS):
        alone, (h1, c1) = lstm(tg.tensor(x[:n, b : b + 1]))
        close(host(y)[:n, b], host(alone)[:, 0], 1e-5)
        close(host(h)[:, b], host(h1)[:, 0], 1e-5)
        close(host(c)[:, b], host(c1)[:, 0], 1e-5)
    without = host(lstm(tg.tensor(x))[0])
    assert np.abs(without[0, 1] - host(y)[0, 1]).max() > 1e-2  # lengths matter


def test_a_packed_batch_differs_from_its_samples(backend, rng):
    """https://github.com/pytorch/pytorch/issues/3662: users packed with lengths in another
    order than the samples and got numbers all the same. Here lengths stand beside the samples
    in any order."""
    gru = layer(nn.GRU, rng)
    x = batch(rng)
    y, h = gru(tg.tensor(x), lengths=LENGTHS)
    order = [2, 0, 3, 1]
    y2, h2 = gru(tg.tensor(x[:, order].copy()), lengths=[LENGTHS[i] for i in order])
    close(host(y)[:, order], y2, 1e-5)
    close(host(h)[:, order], h2, 1e-5)


def test_lengths_must_be_sorted(backend, rng):
    """https://github.com/pytorch/pytorch/issues/8026 and /4927: "lengths array has to be sorted
    in decreasing order", so every user sorted, and forgot to restore the order."""
    gru = layer(nn.GRU, rng)
    x = tg.tensor(batch(rng))
    for lengths in ([0, 1, 2, 3], [3, 0, 5, 1], [5, 5, 5, 5]):
        assert host(gru(x, lengths=lengths)[0]).any((2,)).sum(0).tolist() == lengths


def test_a_sequence_of_padding_alone(backend, rng):
    """https://github.com/tensorflow/tensorflow/issues/36139, /43103 and /33148:
    CUDNN_STATUS_BAD_PARAM for a sample that is padding from the first step on. Here its state
    is the initial one."""
    lstm = layer(nn.LSTM, rng)
    h0, c0 = (tg.tensor(rng.normal(size=(1, 4, 4)).astype("f4")) for _ in "hc")
    x = tg.tensor(batch(rng))
    for lengths in (LENGTHS, [0, 0, 0, 0]):
        y, (h, c) = lstm(x, (h0, c0), lengths=lengths)
        for b in [b for b, n in enumerate(lengths) if n == 0]:
            assert not host(y)[:, b].any()
            assert np.array_equal(host(h)[:, b], host(h0)[:, b])
            assert np.array_equal(host(c)[:, b], host(c0)[:, b])


def test_whatever_lies_in_the_padding(backend, rng):
    """https://github.com/keras-team/keras/issues/3086 asks what masking does to layers that do
    not know it. Here NaN in the padding reaches no output, state or gradient, and gets gradient
    0."""
    gru = layer(nn.GRU, rng, bidirectional=True)
    seen = []
    ct = tg.tensor(rng.normal(size=(5, 4, 8)).astype("f4"))
    clean = batch(rng)
    for fill in (0.0, np.nan, np.inf, -1e30):
        x = clean.copy()
        for b, n in enumerate(LENGTHS):
            x[n:, b] = fill
        leaf = tg.tensor(x, requires_grad=True)
        gru.zero_grad()
        y, h = gru(leaf, lengths=LENGTHS)
        ((y * ct).sum() + tg.sin(h).sum()).backward()
        seen.append([host(v) for v in (y, h, leaf.grad, gru.weight_hh_l0_reverse.grad)])
        assert all(not host(leaf.grad)[n:, b].any() for b, n in enumerate(LENGTHS))
    for other in seen[1:]:
        for a, b in zip(seen[0], other, strict=True):
            assert np.array_equal(a, b)


def test_a_mask_of_the_wrong_shape():
    """https://github.com/tensorflow/tensorflow/issues/45035: the shape of a mask was not
    checked on the GPU. Here lengths are counted, and the likely mistake is named."""
    gru = nn.GRU(3, 4)
    with pytest.raises(ValueError, match="is the input batch-first"):
        gru(tg.zeros((5, 4, 3)), lengths=[1, 2, 3, 4, 5])
    with pytest.raises(ValueError, match=r"lengths\[1\] is 6, expected 0 to 5"):
        gru(tg.zeros((5, 2, 3)), lengths=[1, 6])
    with pytest.raises(ValueError, match=r"lengths\[0\] is -1"):
        gru(tg.zeros((5, 2, 3)), lengths=[-1, 6])
