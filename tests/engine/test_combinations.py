"""Transformations inside transformations, and many threads at once."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import numpy as np
import pytest
from oracles import check_gradients, close, same, seeded

import tinygrad_rnn as tg


def f64(*shape: int, seed: str = "x") -> tg.Tensor:
    return tg.tensor(seeded(f"{seed}{shape}").normal(size=shape) * 0.7)


def base(x: tg.Tensor) -> tg.Tensor:
    """A vector function with a loop, a product, a softmax and an index."""
    w = f64(3, 3, seed="w")
    end, ys = tg.scan(
        lambda c, r: ((new := tg.tanh(c @ w + r)), new * c), x, tg.stack([x, tg.sin(x)])
    )
    return tg.softmax(end) + ys.sum(0) + x[tg.tensor([2, 0, 0])] * x


#: Functions of functions that keep the value: vector -> vector.
WRAPPERS: dict[str, Any] = {
    "jit": tg.jit,
    "checkpoint": tg.checkpoint,
    "vmap": lambda f: lambda x: tg.vmap(f)(tg.stack([x, x * 0.5]))[0],
    "vmap of nothing": lambda f: lambda x: tg.vmap(lambda _: f(x))(tg.zeros((2,)))[1],
    "scan": lambda f: lambda x: tg.scan(lambda c, _: (f(x), c), x, None, length=1)[0],
    "scan over": lambda f: (
        lambda x: tg.scan(lambda c, r: (c, f(r)), tg.zeros(()), tg.stack([x]))[1][0]
    ),
    "custom": lambda f: tg.custom_vjp(f, lambda g, y, x: tg.vjp(f, x)[1](g)[0]),
    "vjp": lambda f: lambda x: tg.vjp(f, x)[0],
    "jvp": lambda f: lambda x: tg.jvp(f, (x,), (tg.ones_like(x),))[0],
}


@pytest.mark.parametrize(("outer", "inner"), list(itertools.product(WRAPPERS, WRAPPERS)))
def test_wrappers_keep_value_gradient_and_hessian(outer, inner):
    f, x, ct = WRAPPERS[outer](WRAPPERS[inner](base)), f64(3), f64(3, seed="ct")
    close(f(x), base(x), 1e-13)

    def weigh(f):
        return lambda x: (tg.sin(f(x)) * ct).sum()

    close(tg.grad(weigh(f))(x), tg.grad(weigh(base))(x), 1e-12)
    close(tg.hvp(weigh(f), x, ct), tg.hvp(weigh(base), x, ct), 1e-11)
    leaf = f64(3)
    leaf.requires_grad = True
    weigh(f)(leaf).backward()
    close(leaf.grad, tg.grad(weigh(base))(x), 1e-12)


#: Derivatives: vector -> something.
DERIVATIVES: dict[str, Any] = {
    "grad": lambda f: tg.grad(lambda x: f(x).sum()),
    "value_and_grad": lambda f: tg.value_and_grad(lambda x: (f(x) * x).sum()),
    "vjp": lambda f: lambda x: tg.vjp(f, x)[1](tg.cos(x)),
    "jvp": lambda f: lambda x: tg.jvp(f, (x,), (tg.cos(x),))[1],
    "jacobian": tg.jacobian,
    "hessian": lambda f: tg.hessian(lambda x: f(x).sum()),
    "hvp": lambda f: lambda x: tg.hvp(lambda x: (f(x) ** 2).sum(), x, tg.cos(x)),
    "grad of grad": lambda f: tg.grad(lambda x: (tg.grad(lambda x: f(x).sum())(x) ** 2).sum()),
}


def leaves(tree: Any) -> list[tg.Tensor]:
    from tinygrad_rnn.tree import flatten

    return flatten(tree)[0]


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives_inside_transformations(name):
    derive, x = DERIVATIVES[name](base), f64(3)
    want = leaves(derive(x))
    for wrapper in ("jit", "checkpoint", "vmap", "vmap of nothing", "scan over"):

        def one(x):
            return tg.concat([y.reshape(-1) for y in leaves(derive(x))])

        if wrapper == "scan over":
            got = tg.scan(lambda c, r: (c, one(r)), tg.zeros(()), tg.stack([x]))[1][0]
        else:
            got = WRAPPERS[wrapper](one)(x)
        close(got, np.concatenate([y.numpy().reshape(-1) for y in want]), 1e-11, wrapper)
    with tg.no_grad():
        for a, b in zip(leaves(derive(x)), want, strict=True):
            close(a, b, 1e-13)
    assert not any(y.requires_grad for y in want)


def test_derivatives_of_derivatives_by_complex_step():
    for name in ("vjp", "jvp", "hvp"):
        derive = DERIVATIVES[name](base)
        check_gradients(lambda x, d=derive: tuple(leaves(d(x))), f64(3), order=1, what=name)


def test_a_parameter_captured_by_every_derivative_stays_differentiable():
    w = f64(3, seed="w")
    w.requires_grad = True
    x = f64(3)
    for derive, want in (
        (
            tg.grad(lambda x: (w * x * x).sum()),
            lambda w: tg.grad(lambda x: (w * x * x).sum())(x).sum(),
        ),
        (tg.jacobian(lambda x: w * x * x), lambda w: tg.jacobian(lambda x: w * x * x)(x).sum()),
        (
            tg.hessian(lambda x: (w * x**3).sum()),
            lambda w: tg.hessian(lambda x: (w * x**3).sum())(x).sum(),
        ),
        (lambda x: tg.jvp(lambda x: w * x * x, (x,), (x,))[1], lambda w: (2 * w * x * x).sum()),
        (lambda x: tg.hvp(lambda x: (w * x**3).sum(), x, x), lambda w: (6 * w * x * x).sum()),
    ):
        w.grad = None
        out = derive(x)
        assert out.requires_grad
        out.sum().backward()
        close(w.grad, tg.grad(want)(w.detach()), 1e-13)


def test_trees_with_none():
    g = tg.grad(lambda p: (p["a"] * 2).sum())(
        {"a": f64(2), "b": None, "c": [], "d": (f64(1), None)}
    )
    assert g["b"] is None and g["c"] == [] and g["d"][1] is None and g["d"][0].tolist() == [0.0]


def test_threads_do_not_meet():
    """Tapes, traces, backends and gradients modes belong to their thread."""
    x, failures = f64(3), []
    want_grad, want_jit = tg.grad(lambda x: base(x).sum())(x), base(x)
    barrier = threading.Barrier(4)

    def work(k: int) -> None:
        try:
            barrier.wait(timeout=60)
            for n in range(15):
                scale = float(k + 1)
                if k % 2:
                    close(
                        tg.grad(lambda x, s=scale: base(x).sum() * s)(x),
                        want_grad.numpy() * scale,
                        1e-12,
                    )
                else:
                    with tg.no_grad():
                        same(tg.jit(base)(x), want_jit)
                        assert not tg.is_grad_enabled()
                w = tg.tensor([scale], requires_grad=True)
                (w * w * n).sum().backward()
                assert w.grad.item() == 2 * scale * n
            assert tg.is_grad_enabled()
        except Exception as error:
            failures.append((k, error))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(timeout=120)
    assert not failures and not any(t.is_alive() for t in threads)
