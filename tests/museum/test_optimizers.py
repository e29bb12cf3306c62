"""Optimizers, clipping, schedules."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gallery import close, host

import tinygrad_rnn as tg
from tinygrad_rnn import optim

PLAIN = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8}


def leaf(values, grad=None):
    p = tg.tensor(np.asarray(values, "f8"), requires_grad=True)
    if grad is not None:
        p.grad = tg.tensor(np.asarray(grad, "f8"))
    return p


def test_decay_of_the_new_parameter(backend):
    """https://github.com/huggingface/transformers/issues/14539 and
    https://github.com/bitsandbytes-foundation/bitsandbytes/issues/2010: AdamW decayed the
    parameter that had just been updated. Here the old one: (1 - eta decay) theta - eta m /
    (sqrt(v) + eps)."""
    theta, g = np.array([2.0, -3.0]), np.array([0.5, 0.25])
    p = leaf(theta, g)
    optim.AdamW([p], weight_decay=0.5, **PLAIN).step()
    close(p, (1 - 0.1 * 0.5) * theta - 0.1 * g / (np.abs(g) + 1e-8))


def test_decay_without_the_learning_rate(backend):
    """https://github.com/FluxML/Optimisers.jl/issues/182: the decay of AdamW was not multiplied
    by the learning rate, the source "of extreme misbehaviour from the model I've been trying to
    port"."""
    for lr in (0.1, 0.01):
        p = leaf([2.0], [0.0])
        optim.AdamW([p], lr=lr, weight_decay=0.5).step()
        close(p, [2.0 * (1 - lr * 0.5)])


def test_the_decoupled_decay_is_coupled_again(backend):
    """https://github.com/keras-team/keras/issues/19051: AdamW became a subclass of Adam and
    with it "Adam with L2 regularization". Here their steps differ, and Adam's is that of g +
    decay theta."""
    theta, g = np.array([2.0, -3.0]), np.array([0.5, 0.25])
    p, q, r = leaf(theta, g), leaf(theta, g), leaf(theta, g + 0.5 * theta)
    optim.AdamW([p], weight_decay=0.5, **PLAIN).step()
    optim.Adam([q], weight_decay=0.5, **PLAIN).step()
    optim.Adam([r], **PLAIN).step()
    close(q, r, 1e-14)
    assert np.abs(host(p) - host(q)).max() > 0.05


def test_a_decay_that_forgets_the_parameter():
    """https://github.com/e-sensing/torchopt/pull/14: the decay of AdamW was a constant, not a
    multiple of the parameter. Zero stays zero, and twice as much decays twice as much."""
    p = leaf([0.0, 1.0, 2.0], [0.0, 0.0, 0.0])
    optim.AdamW([p], lr=0.1, weight_decay=1.0).step()
    close(p, [0.0, 0.9, 1.8])


def test_clipping_what_is_not_finite(backend):
    """https://github.com/pytorch/pytorch/issues/46849 and
    https://github.com/facebookresearch/habitat-lab/issues/2226: clip_grad_norm_ let NaN and
    infinity pass in silence. Here the norm tells, and `error_if_nonfinite` raises before
    anything changes."""
    for bad in (math.nan, math.inf):
        p, q = leaf([1.0], [bad]), leaf([1.0], [3.0])
        with pytest.raises(ArithmeticError, match="the total norm"):
            optim.clip_grad_norm_([p, q], 1.0, error_if_nonfinite=True)
        assert q.grad.tolist() == [3.0]
        norm = optim.clip_grad_norm_([p, q], 1.0).item()
        assert not math.isfinite(norm)


def test_clipping_to_a_negative_norm():
    """https://github.com/pytorch/pytorch/issues/31367: a negative max_norm was accepted "and
    even worse, reverses all the gradients"."""
    p = leaf([1.0], [3.0])
    with pytest.raises(ValueError, match=r"max_norm is -1\.0"):
        optim.clip_grad_norm_([p], -1.0)
    assert p.grad.tolist() == [3.0]


def test_the_norm_of_one_overflows(backend):
    """https://github.com/keras-team/keras/issues/14075: c / n with an infinite n was multiplied
    into every gradient. Here half-precision gradients are squared in float32, so the norm is
    finite."""
    p = tg.tensor(np.array([300.0, 400.0], "f2"), requires_grad=True)
    p.grad = tg.tensor(np.array([300.0, 400.0], "f2"))
    assert optim.clip_grad_norm_([p], 1.0).item() == 500
    close(host(p.grad).astype("f8"), [0.6, 0.8], 1e-3)


def test_a_schedule_forgets_where_it_was(backend):
    """https://github.com/pytorch/pytorch/issues/60265,
    https://github.com/Lightning-AI/pytorch-lightning/issues/4655, /5455 and
    https://github.com/ultralytics/yolov5/issues/292: resumed, the cosine jumped, the steps
    lagged an epoch behind, or making the schedule reset the rate. Here every resumption
    continues."""

    def made():
        optimizer = optim.SGD([leaf([1.0])], lr=0.5)
        return optimizer, optim.lr_scheduler.warmup_cosine(optimizer, 3, 12)

    optimizer, schedule = made()
    rates = []
    for _ in range(12):
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    for stop in range(1, 12):
        optimizer, schedule = made()
        for _ in range(stop):
            schedule.step()
        saved = optimizer.state_dict(), schedule.state_dict()
        optimizer, schedule = made()
        optimizer.load_state_dict(saved[0])
        schedule.load_state_dict(saved[1])
        rest = []
        for _ in range(stop, 12):
            rest.append(optimizer.param_groups[0]["lr"])
            schedule.step()
        assert rest == rates[stop:]


def test_a_parameter_that_is_listed_twice():
    """https://github.com/pytorch/pytorch/issues/40967: a parameter listed twice in one group
    was updated twice, in two groups refused. Here the second listing is refused and named."""
    w, v = leaf([1.0]), leaf([2.0])
    with pytest.raises(ValueError, match="given twice"):
        optim.SGD([w, v, w], lr=0.1)
    optimizer = optim.SGD([w], lr=0.1)
    with pytest.raises(ValueError, match="given twice"):
        optimizer.add_param_group({"params": [w]})
