"""Derivatives inside derivatives, closures, no_grad, jit."""

from __future__ import annotations

import math

import pytest
from oracles import check_gradients, close, seeded, tensors

import tinygrad_rnn as tg


def f64(*shape: int, seed: str = "x") -> tg.Tensor:
    return tg.tensor(seeded(f"{seed}{shape}").normal(size=shape) * 0.7)


def model(w, x):
    return tg.tanh(x @ w) @ w.T + tg.sin(x)


# --- nesting -------------------------------------------------------------------------------------


def test_no_perturbation_confusion():
    """d/dx [x * d/dy (x + y)] = 1, not 2."""
    f = tg.grad(lambda x: x * tg.grad(lambda y: x + y)(tg.tensor(1.0)))
    assert f(tg.tensor(3.0)).item() == 1.0
    f = tg.grad(lambda x: x * tg.jvp(lambda y: x * y, (tg.tensor(2.0),), (tg.tensor(1.0),))[1])
    assert f(tg.tensor(3.0)).item() == 6.0
    f = tg.grad(lambda x: tg.grad(lambda y: x * y * y)(x))
    assert f(tg.tensor(3.0)).item() == 12.0
    same_name = tg.grad(lambda x: tg.grad(lambda x: x * x)(x) * x)
    assert same_name(tg.tensor(3.0)).item() == 12.0


def test_closure_over_a_tensor_that_requires_grad():
    w = tg.tensor(2.0, requires_grad=True)
    g = tg.grad(lambda x: w * x * x)(tg.tensor(3.0))
    assert g.item() == 12.0 and g.requires_grad
    g.backward()
    assert w.grad.item() == 6.0
    value, g = tg.value_and_grad(lambda x: w * x)(tg.tensor(3.0))
    assert value.requires_grad and g.requires_grad


def test_gradient_of_an_argument_that_requires_grad():
    w = tg.tensor(2.0, requires_grad=True)
    y = tg.grad(lambda x: x**3)(w * 1.0)
    y.backward()
    assert w.grad.item() == 12.0
    z = tg.grad(lambda x: x**3)(w)
    w.grad = None
    z.backward()
    assert w.grad.item() == 12.0


def test_grad_works_inside_no_grad():
    with tg.no_grad():
        assert tg.grad(lambda x: x * x)(tg.tensor(3.0)).item() == 6.0
        _y, pull = tg.vjp(tg.sin, tg.tensor(0.0))
        assert pull(tg.tensor(2.0))[0].item() == 2.0
        assert tg.grad(tg.grad(lambda x: x**3))(tg.tensor(2.0)).item() == 12.0


def test_no_grad_and_detach_inside_grad():
    def f(x):
        with tg.no_grad():
            c = x * x
        return c * x

    assert tg.grad(f)(tg.tensor(3.0)).item() == 9.0
    assert tg.grad(lambda x: x.detach() * x)(tg.tensor(3.0)).item() == 3.0
    for wrap in (tg.jit, tg.checkpoint, tg.vmap):
        x = tg.tensor([3.0])
        assert tg.grad(lambda x, w=wrap: w(f)(x).sum())(x).tolist() == [9.0]
        assert tg.grad(lambda x, w=wrap: w(lambda x: x.detach() * x)(x).sum())(x).tolist() == [3.0]


def test_grad_through_jit_and_jit_of_grad():
    args = f64(3, 2), f64(4, 3)

    def loss(w, x):
        return (model(w, x) ** 2).sum()

    eager = tg.grad(loss, (0, 1))(*args)
    jitted = tg.jit(loss)
    for g in (
        tg.jit(tg.grad(loss, (0, 1))),
        tg.grad(jitted, (0, 1)),
        tg.jit(tg.grad(jitted, (0, 1))),
    ):
        for a, b in zip(g(*args), eager):
            close(a, b, 1e-13)
    w = tensors([args[0].numpy()])[0]
    w.requires_grad = True
    tg.jit(loss)(w, args[1]).backward()
    close(w.grad, eager[0], 1e-13)


def test_complex_functions_by_complex_step():
    check_gradients(model, f64(3, 2), f64(4, 3), what="model")
    check_gradients(lambda x: tg.logsumexp(x, 1), f64(3, 4), what="logsumexp")
    check_gradients(lambda x: tg.softmax(x), f64(3, 4), what="softmax")
    check_gradients(lambda x: tg.prod(x, 1), f64(2, 5), what="prod")
    check_gradients(lambda x: tg.std(x, 0), f64(4, 2), what="std")


def test_integers_have_no_derivative():
    for fn in (tg.grad, tg.jacobian, tg.hessian, tg.value_and_grad):
        with pytest.raises(RuntimeError, match=r"i64\[2\].*floating"):
            fn(lambda x: x.sum())(tg.tensor([1, 2]))
    with pytest.raises(RuntimeError, match=r"\['b'\].*i64"):
        tg.grad(lambda p: p["a"].sum())({"a": tg.tensor([1.0]), "b": tg.tensor([1])})
    with pytest.raises(RuntimeError, match=r"integer|floating"):
        tg.tensor([1, 2], requires_grad=True)
    with pytest.raises(RuntimeError, match="scalar"):
        tg.grad(lambda x: x * 2)(tg.tensor([1.0, 2.0]))
    assert math.isfinite(1.0)


def test_what_nobody_can_differentiate_is_not_recorded():
    """A derivative inside leaves arguments of its own on the tape; nobody can ask for those."""

    def penalty(w):
        g = tg.grad(lambda x: tg.tanh(x @ w).sum())(tg.ones((2, 3), "float64"))
        return (g * g).sum()

    w = tg.tensor(seeded("penalty").normal(size=(3, 3)))
    for f in (tg.grad(penalty), tg.hessian(penalty), lambda w: tg.jvp(penalty, w, w)[1]):
        assert not f(w).requires_grad
    outside = tg.ones_like(w).detach()
    outside.requires_grad = True
    assert tg.grad(lambda w: penalty(w * outside))(w).requires_grad
    value, pull = tg.vjp(penalty, w)
    assert not value.requires_grad and not pull(tg.ones_like(value))[0].requires_grad
    inner = []
    tg.grad(lambda w: inner.append(tg.grad(penalty)(w)) or (inner[0] ** 2).sum())(w)
    assert inner[0].requires_grad
