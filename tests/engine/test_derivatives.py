"""Derivatives of functions: known answers, the laws of differentiation, nesting."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import close, same, seeded

import tinygrad_rnn as tg


def f64(*shape: int, seed: str = "x") -> tg.Tensor:
    return tg.tensor(seeded(f"{seed}{shape}").normal(size=shape) * 0.7)


def model(w, x):
    return tg.tanh(x @ w) @ w.T + tg.sin(x)


# --- known answers -------------------------------------------------------------------------------


def test_powers_to_any_order():
    def f(x):
        return x**5

    x, want = tg.tensor(1.5, dtype="float64"), [5, 20, 60, 120, 120, 0]
    for n, c in enumerate(want, 1):
        f = tg.grad(f)
        assert f(x).item() == pytest.approx(c * 1.5 ** max(0, 5 - n), rel=1e-13)


def test_hessian_of_a_quadratic_form():
    a, x = f64(3, 3), f64(3)
    h = tg.hessian(lambda x: x @ a @ x)(x)
    close(h, a.numpy() + a.numpy().T, 1e-13)
    close(tg.hvp(lambda x: x @ a @ x, x, f64(3, seed="v")), h @ f64(3, seed="v"), 1e-13)


def test_jacobian_shapes_and_values():
    w, x = f64(3, 4), f64(2, 3)
    jac = tg.jacobian(lambda x: tg.sin(x @ w))(x)
    want = np.einsum("bj,ij,bc->bjci", np.cos(x.numpy() @ w.numpy()), w.numpy(), np.eye(2))
    close(jac, want, 1e-13)
    jac_w = tg.jacobian(lambda w, x: x @ w, 0)(w, x)
    close(jac_w, np.einsum("bi,jk->bjik", x.numpy(), np.eye(4)), 1e-13)


def test_value_and_grad_with_trees_and_aux():
    params = {"w": f64(3), "b": [f64()]}

    def loss(p, x):
        y = (p["w"] * x).sum() + p["b"][0]
        return y * y, {"y": y, "n": 3}

    (value, aux), g = tg.value_and_grad(loss, has_aux=True)(params, f64(3, seed="in"))
    y = (params["w"].numpy() * f64(3, seed="in").numpy()).sum() + params["b"][0].item()
    assert (
        value.item() == pytest.approx(y * y)
        and aux["y"].item() == pytest.approx(y)
        and aux["n"] == 3
    )
    close(g["w"], 2 * y * f64(3, seed="in").numpy(), 1e-13)
    assert g["b"][0].item() == pytest.approx(2 * y)
    gradient, aux = tg.grad(loss, has_aux=True)(params, f64(3, seed="in"))
    close(gradient["w"], g["w"], 0)
    assert not value.requires_grad and not g["w"].requires_grad and not aux["y"].requires_grad


def test_argnums():
    def f(a, b, c):
        return (a * b * b * c).sum()

    a, b, c = f64(2, seed="a"), f64(2, seed="b"), f64(2, seed="c")
    close(tg.grad(f, 1)(a, b, c), 2 * (a * b * c).numpy(), 1e-14)
    ga, gc = tg.grad(f, (0, 2))(a, b, c)
    close(ga, (b * b * c).numpy(), 1e-14)
    close(gc, (a * b * b).numpy(), 1e-14)
    close(tg.grad(f, -1)(a, b, c), gc, 0)
    (only,) = tg.grad(f, (0,))(a, b, c)
    close(only, ga, 0)


# --- laws ----------------------------------------------------------------------------------------


def test_pullback_is_linear_and_keeps_zero():
    _ys, pull = tg.vjp(model, f64(3, 2), f64(4, 3))
    u, v = f64(4, 3, seed="u"), f64(4, 3, seed="v")
    for whole, a, b in zip(pull(2.5 * u - v), pull(u), pull(v)):
        close(whole, 2.5 * a.numpy() - b.numpy(), 1e-13)
    for g in pull(tg.zeros_like(u)):
        assert (g.numpy() == 0).all()
    for g, again in zip(pull(u), pull(u)):
        same(g, again)


def test_jvp_and_vjp_are_adjoint():
    args = f64(3, 2), f64(4, 3)
    tangents, u = (f64(3, 2, seed="t"), f64(4, 3, seed="t")), f64(4, 3, seed="u")
    y, dy = tg.jvp(model, args, tangents)
    same(y, model(*args))
    left = (dy * u).sum().item()
    right = sum((a * b).sum().item() for a, b in zip(tg.vjp(model, *args)[1](u), tangents))
    assert left == pytest.approx(right, rel=1e-12)
    h = 1e-6
    moved = [model(*[a + s * h * t for a, t in zip(args, tangents)]).numpy() for s in (1, -1)]
    close(dy, (moved[0] - moved[1]) / (2 * h), 1e-8)


def test_jvp_of_one_argument_and_of_trees():
    _y, dy = tg.jvp(tg.sin, f64(3), tg.ones_like(f64(3)))
    close(dy, np.cos(f64(3).numpy()), 1e-14)
    (_a, _b), (da, db) = tg.jvp(
        lambda p: (p["x"] ** 2, p["x"].sum()), ({"x": f64(2)},), ({"x": tg.ones_like(f64(2))},)
    )
    close(da, 2 * f64(2).numpy(), 1e-14)
    assert db.item() == 2.0


def test_jvp_of_jvp():
    def f(x):
        return tg.sin(x) * x

    x, v = f64(3), f64(3, seed="v")
    _, second = tg.jvp(lambda x: tg.jvp(f, (x,), (v,))[1], (x,), (v,))
    n = x.numpy()
    close(second, (2 * np.cos(n) - n * np.sin(n)) * v.numpy() ** 2, 1e-12)


def test_jacobian_is_stacked_vjps_and_jvps():
    x, w = f64(3), f64(3, 3)

    def f(x):
        return tg.tanh(x @ w) * x

    jac = tg.jacobian(f)(x)
    eye = np.eye(3)
    rows = np.stack([tg.vjp(f, x)[1](tg.tensor(e))[0].numpy() for e in eye])
    columns = np.stack([tg.jvp(f, (x,), (tg.tensor(e),))[1].numpy() for e in eye], axis=1)
    close(jac, rows, 1e-13)
    close(jac, columns, 1e-13)


def test_hessian_is_symmetric_and_hvp_agrees():
    w = f64(3, 3)

    def f(x):
        return (tg.tanh(x @ w) ** 3 * x).sum()

    h, v = tg.hessian(f)(f64(3)).numpy(), f64(3, seed="v")
    close(h, h.T, 1e-13)
    close(tg.hvp(f, f64(3), v), h @ v.numpy(), 1e-12)
    (out,) = tg.hvp(f, (f64(3),), (v,))
    close(out, h @ v.numpy(), 1e-12)


def test_hvp_of_several_arguments():
    def f(a, b):
        return (a * a * b).sum()

    a, b, u, v = (f64(2, seed=s) for s in "abuv")
    ha, hb = tg.hvp(f, (a, b), (u, v))
    close(ha, 2 * (b * u + a * v).numpy(), 1e-13)
    close(hb, 2 * (a * u).numpy(), 1e-13)


def test_sums_constants_and_unused_inputs():
    f, g = (lambda x: (x**3).sum()), (lambda x: tg.sin(x).sum())
    x = f64(3)
    close(
        tg.grad(lambda x: 2 * f(x) - g(x))(x),
        2 * tg.grad(f)(x).numpy() - tg.grad(g)(x).numpy(),
        1e-13,
    )
    for fn in (lambda a, b: (a * a).sum(), lambda a, b: tg.tensor(3.0)):
        ga, gb = tg.grad(fn, (0, 1))(x, tg.tensor(np.ones((2, 3), np.float32)))
        assert gb.type is tg.Type((2, 3), tg.float32) and (gb.numpy() == 0).all()
        assert ga.type is x.type


def test_equal_leaves_stay_two():
    a, b = tg.tensor([1.0, 2.0], requires_grad=True), tg.tensor([1.0, 2.0], requires_grad=True)
    (a * 3.0 + b * 5.0).sum().backward()
    assert a.grad.tolist() == [3.0, 3.0] and b.grad.tolist() == [5.0, 5.0]
    for wrap in (lambda f: f, tg.jit):
        ga, gb = wrap(tg.grad(lambda a, b: (a * a * b).sum(), (0, 1)))(a.detach(), a.detach())
        assert ga.tolist() == [2.0, 8.0] and gb.tolist() == [1.0, 4.0]
    ga, gb = tg.grad(lambda a, b: (a * a * b).sum(), (0, 1))(a, a)
    assert ga.tolist() == [2.0, 8.0] and gb.tolist() == [1.0, 4.0]


def test_fan_out_and_shared_subexpressions():
    def shared(x):
        s = tg.sin(x)
        return (s * s + s * x).sum()

    def apart(x):
        return (tg.sin(x) * tg.sin(x) + tg.sin(x) * x).sum()

    for wrap in (tg.grad, lambda f: tg.jit(tg.grad(f))):
        close(wrap(shared)(f64(4)), wrap(apart)(f64(4)), 1e-14)


def test_homogeneous_and_invariant_functions():
    x = f64(5)
    g = tg.grad(lambda x: x.norm())(x)
    assert (x * g).sum().item() == pytest.approx(x.norm().item())
    g = tg.grad(lambda x: tg.prod(x))(x)
    assert (x * g).sum().item() == pytest.approx(5 * tg.prod(x).item())
    ct = f64(5, seed="c")
    for f in (
        lambda x: (tg.softmax(x) * ct).sum(),
        lambda x: (tg.log_softmax(x) * ct).sum(),
        lambda x: tg.var(x),
    ):
        assert tg.grad(f)(x).sum().item() == pytest.approx(0, abs=1e-14)
    g = tg.grad(lambda x: (x / x.norm() * ct).sum())(x)
    assert (x * g).sum().item() == pytest.approx(0, abs=1e-14)


def test_gradients_have_the_dtype_of_their_input():
    x, w = tg.tensor([1.0, 2.0]), tg.tensor(np.array([1.0, 3.0]))
    gx, gw = tg.grad(lambda x, w: (x * w).sum(), (0, 1))(x, w)
    assert gx.dtype == tg.float32 and gw.dtype == tg.float64
    h = x.astype("float16")
    assert tg.grad(lambda h: (h * 2).sum())(h).dtype == tg.float16
