"""Tensor.backward: accumulation, release, orders, graphs of 100,000 nodes, memory."""

from __future__ import annotations

import gc
import tracemalloc
import weakref

import numpy as np
import pytest
from oracles import close

import tinygrad_rnn as tg


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(list(values), dtype="float64", requires_grad=True)


def test_accumulates_until_reset():
    x = leaf(1, 2)
    for k in range(1, 4):
        (x * x).sum().backward()
        assert x.grad.tolist() == [2.0 * k, 4.0 * k]
    x.grad = None
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_two_backwards_through_shared_parts():
    x = leaf(2)
    y = x * x
    (y * 3).sum().backward(retain_graph=True)
    (y * 5).sum().backward()
    assert x.grad.tolist() == [32.0]


def test_released_graph():
    x = leaf(2)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match=r"released.*retain_graph.*detach"):
        y.backward()
    assert x.grad.tolist() == [4.0]
    z = (x * x).sum()
    z.backward(retain_graph=True)
    z.backward()
    assert x.grad.tolist() == [12.0]


def test_a_state_that_is_carried_over_says_detach():
    w, h = leaf(0.5), tg.tensor([1.0], dtype="float64")
    h = tg.tanh(h * w)
    h.sum().backward()
    h = tg.tanh(h * w)
    with pytest.raises(RuntimeError, match="detach"):
        h.sum().backward()


def test_cotangent():
    x = leaf(1, 2)
    (x * x).backward(tg.tensor(np.array([1.0, 10.0])))
    assert x.grad.tolist() == [2.0, 40.0]
    with pytest.raises(RuntimeError, match=r"f64\[2\].*scalar"):
        (x * x).backward()
    with pytest.raises(ValueError, match=r"f32\[2\].*f64\[2\]"):
        (x * x).backward(tg.tensor([1.0, 1.0]))
    with pytest.raises(ValueError, match=r"f64\[\].*f64\[2\]"):
        (x * x).backward(tg.tensor(np.array(1.0)))


def test_create_graph_gives_second_derivatives():
    x = leaf(2, 3)
    (x**3).sum().backward(create_graph=True)
    g = x.grad
    assert g.requires_grad
    x.grad = None
    g.sum().backward()
    assert x.grad.tolist() == [12.0, 18.0]


def test_gradient_penalty():
    w, x = leaf(0.3, -0.8), leaf(1.5, 0.5)
    y = tg.tanh(w * x).sum()
    y.backward(create_graph=True)
    penalty = (x.grad * x.grad).sum()
    w.grad = x.grad = None
    penalty.backward()
    want = tg.grad(lambda w: (tg.grad(lambda x: tg.tanh(w * x).sum())(x.detach()) ** 2).sum())(
        w.detach()
    )
    close(w.grad, want, 1e-13)


def test_gradients_are_not_recorded_without_create_graph():
    x = leaf(2)
    (x**3).sum().backward()
    assert not x.grad.requires_grad


def test_no_grad_and_requires_grad():
    x = leaf(2)
    for f in (tg.negative, tg.exp, lambda x: x + x):
        assert f(x).requires_grad and f(x).requires_grad  # the second time by a shorter road
        with tg.no_grad():
            assert not f(x).requires_grad
    with tg.no_grad():
        assert not (x * x).requires_grad
        with tg.enable_grad():
            assert (x * x).requires_grad
        assert not tg.is_grad_enabled()
    assert tg.is_grad_enabled()

    @tg.no_grad()
    def f(x):
        return x * x

    assert not f(x).requires_grad
    with pytest.raises(RuntimeError, match="requires_grad"):
        f(x).backward()
    x.requires_grad = False
    assert not (x * x).requires_grad
    y = leaf(1) * 2
    with pytest.raises(RuntimeError, match=r"leaves.*'mul'.*detach"):
        y.requires_grad = False


def test_no_grad_is_left_when_an_error_is_raised():
    with pytest.raises(ZeroDivisionError), tg.no_grad():
        raise ZeroDivisionError
    assert tg.is_grad_enabled()
    guard = tg.no_grad()
    with guard, guard:
        assert not tg.is_grad_enabled()
    assert tg.is_grad_enabled()


def test_integers_carry_no_gradient():
    x = leaf(2.7, -1.2)
    y = x.astype("int64").astype("float64")
    assert not y.requires_grad
    z = (x * y + tg.floor(x)).sum()
    z.backward()
    assert x.grad.tolist() == [2.0, -1.0]
    assert not (x > 0).requires_grad and not x.argmax().requires_grad


def test_gradients_do_not_share_memory_with_anything():
    a, b = leaf(1, 2), leaf(3, 4)
    ct = tg.tensor(np.array([1.0, 1.0]))
    (a + b).backward(ct)
    before = b.grad.numpy().copy()
    a.grad.assign_(a.grad * 100)
    assert b.grad.tolist() == before.tolist() and ct.tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="read-only"):
        a.grad.numpy()[0] = 5


def test_setting_items_keeps_recorded_values():
    x = leaf(1, 2, 3)
    y = x * x
    z = y.sum()
    y[1] = 100.0
    (z + y.sum()).backward()
    assert x.grad.tolist() == [4.0, 4.0, 12.0]
    with pytest.raises(RuntimeError, match="in place"):
        x[0] = 1.0
    with pytest.raises(RuntimeError, match="in place"):
        x += 1.0
    with tg.no_grad():
        x += 1.0
        x[0] = 7.0
    assert x.tolist() == [7.0, 3.0, 4.0] and x.requires_grad and x.is_leaf


# --- long and many -------------------------------------------------------------------------------


def test_100_000_nodes_forward_backward_and_freed():
    x = tg.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y * 1.0
    probe = weakref.ref(y._value.inputs[0])
    y.backward(retain_graph=True)
    assert x.grad.item() == 1.0
    del y
    assert probe() is None
    y = x
    for _ in range(100_000):
        y = y + x
    y.backward()
    assert x.grad.item() == 1.0 + 100_001


def test_100_000_nodes_never_differentiated():
    x = tg.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = -y
    probe = weakref.ref(y._value.inputs[0])
    del y
    assert probe() is None


def test_the_tape_dies_by_reference_counts_alone():
    gc.disable()
    try:
        for consume in (
            lambda y: y.backward(),
            lambda y: y.backward(retain_graph=True),
            lambda y: None,
        ):
            w = leaf(0.5, 0.3)
            h = tg.tanh(w * 2)
            c, ys = tg.scan(
                lambda c, x, w=w: (tg.tanh(c * w + x), c), h, tg.ones((4, 2), "float64")
            )
            y = (tg.softmax(ys) * c).sum()
            probes = [
                weakref.ref(v)
                for v in (h._value, c._value, ys._value, y._value, c._value.inputs[0])
            ]
            consume(y)
            del h, c, ys, y
            assert [p() for p in probes] == [None] * len(probes)
    finally:
        gc.enable()


def test_functional_derivatives_leave_nothing_behind():
    gc.disable()
    try:
        x = tg.tensor(np.ones(3))
        seen = []

        def f(x):
            y = tg.sin(x) * x
            seen.append(weakref.ref(y._value))
            return y.sum()

        for fn in (tg.grad(f), tg.grad(lambda x: tg.grad(f)(x).sum()), tg.hessian(f)):
            fn(x)
        tg.hvp(f, x, x)
        tg.jvp(f, (x,), (x,))
        assert len(seen) >= 5 and [s() for s in seen] == [None] * len(seen)
    finally:
        gc.enable()


@pytest.mark.parametrize("compiled", [False, True])
def test_memory_is_flat_over_training_steps(compiled):
    """10,000 steps with the garbage collector off; the state is carried over, detached."""
    w = tg.tensor(np.full((2, 2), 0.3, np.float32), requires_grad=True)
    state = tg.zeros((1, 2))
    x = tg.ones((2, 1, 2))

    def step():
        end, ys = tg.scan(lambda c, r: ((new := tg.tanh(c @ w + r)), new), state, x)
        (ys * ys).sum().backward()
        with tg.no_grad():
            w.assign_(w - 0.001 * w.grad)
        w.grad = None
        state.assign_(end.detach())

    train = tg.jit(step) if compiled else step
    steps = 10_000 if compiled else 3_000
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            train()
        tracemalloc.start()
        for _ in range(20):
            train()
        first, objects = tracemalloc.get_traced_memory()[0], len(gc.get_objects())
        tracemalloc.stop()
        for _ in range(steps - 100):
            train()
        assert len(gc.get_objects()) - objects < 100
        tracemalloc.start()
        for _ in range(20):
            train()
        assert tracemalloc.get_traced_memory()[0] < first + 20_000
    finally:
        tracemalloc.stop()
        gc.enable()
