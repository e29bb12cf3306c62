"""What kept graphs alive: cycles, states that carry over, gradients with a history.

Everything here must die by reference counts alone, so the collector is off while it is watched.
"""

from __future__ import annotations

import gc
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
from gallery import host, randomize

import tinygrad_rnn as tg
from tinygrad_rnn import nn


@contextmanager
def no_collector():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_a_cycle_in_the_recurrent_layer(backend, rng):
    """https://github.com/pytorch/pytorch/issues/599: CudnnRNN referred to itself, and 800 MB of
    workspace waited for the garbage collector at every step."""
    lstm = randomize(nn.LSTM(3, 4, 2, bidirectional=True), rng)
    x = tg.tensor(rng.normal(size=(4, 2, 3)).astype("f4"))
    with no_collector():
        for backward in (True, False):
            y, state = lstm(x)
            loss = (y * y).sum()
            seen = [weakref.ref(t._value) for t in (y, loss, *state)]
            if backward:
                loss.backward()
            del y, state, loss
            assert all(ref() is None for ref in seen)


def test_an_output_kept_by_its_own_function():
    """https://github.com/pytorch/pytorch/issues/25340: a function that saves its output is a
    cycle. Here a rule is given the output, and the tape does not own what reads it."""
    with no_collector():
        x = tg.tensor(np.ones(3), requires_grad=True)
        for f in (
            tg.tanh,
            tg.checkpoint(lambda x: tg.exp(x) * x),
            tg.custom_vjp(lambda x: x * 2.0, lambda g, y, x: g * y),
            lambda x: tg.scan(lambda c, v: (c + v, tg.exp(c)), x[0], x)[1],
        ):
            y = f(x)
            seen = weakref.ref(y._value)
            del y
            assert seen() is None


def test_a_gradient_of_a_gradient_is_for_ever(backend):
    """https://github.com/pytorch/pytorch/issues/7343 and /3818: backward(create_graph=True)
    made the cycle x -> x.grad -> its history -> x. Here a leaf is known to the tape by a weak
    reference."""
    with no_collector():
        x = tg.tensor(np.ones(3), requires_grad=True)
        (x.tanh() ** 3).sum().backward(create_graph=True)
        assert x.grad.requires_grad
        seen = weakref.ref(x), weakref.ref(x.grad._value)
        del x
        assert seen[0]() is None and seen[1]() is None


def test_gradients_pull_their_history_along():
    """https://github.com/pytorch/pytorch/issues/1346: `.grad` was recorded, added to itself,
    and kept the graphs of all iterations. Here it is recorded only with create_graph=True."""
    w = tg.tensor(np.ones(3), requires_grad=True)
    for k in range(3):
        (w * w * float(k)).sum().backward()
        assert not w.grad.requires_grad
    assert w.grad.tolist() == [6, 6, 6]


def test_the_state_remembers_everything(backend, rng):
    """https://github.com/pytorch/pytorch/issues/2198 and /1536: a state that is handed on holds
    the graph of all steps before, until memory ends. Here detach() lets go of all of it."""
    gru = randomize(nn.GRU(2, 3), rng)
    x = tg.tensor(rng.normal(size=(4, 2, 2)).astype("f4"))
    with no_collector():
        state, seen = tg.zeros((1, 2, 3)), []
        for _ in range(5):
            y, state = gru(x, state)
            seen.append(weakref.ref(y._value))
            (y * y).sum().backward()
            state = state.detach()
            del y
            assert seen[-1]() is None
        y, state = gru(x, state)
        with pytest.raises(RuntimeError, match="detach"):
            (y * y).sum().backward()
            gru(x, state)[0].sum().backward()


def test_a_gradient_taken_inside_a_gradient_leaks(backend):
    """https://github.com/pytorch/pytorch/issues/51978 and /3835: autograd.grad inside backward,
    or a gradient penalty, never gave its graph back."""
    weights = np.full((3, 3), 0.3)
    with no_collector():
        seen = []

        def penalty(w):
            def inner(x):
                y = tg.tanh(x @ w)
                seen.append(weakref.ref(y._value))
                return y.sum()

            g = tg.grad(inner)(tg.ones((2, 3), "float64"))
            return (g * g).sum()

        for _ in range(3):
            g = tg.grad(penalty)(tg.tensor(weights))
            assert np.isfinite(host(g)).all()
        assert len(seen) == 3 and all(ref() is None for ref in seen)
