"""vmap, checkpoint, custom_vjp, and how they combine with the rest."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import check_gradients, close, same, seeded

import tinygrad_rnn as tg


def f64(*shape: int, seed: str = "x") -> tg.Tensor:
    return tg.tensor(seeded(f"{seed}{shape}").normal(size=shape) * 0.7)


# --- vmap ----------------------------------------------------------------------------------------


def test_vmap_axes_and_trees():
    x, w = f64(4, 3), f64(3)

    def f(p, w):
        return {"y": (p["a"] * w).sum(), "z": p["a"] + 1}

    out = tg.vmap(f, (0, None))({"a": x}, w)
    close(out["y"], x.numpy() @ w.numpy(), 1e-14)
    assert out["z"].shape == (4, 3)
    close(
        tg.vmap(lambda a, b: a @ b, (1, 0))(f64(3, 4), f64(4, 3)),
        np.einsum("ib,bi->b", f64(3, 4), f64(4, 3)),
        1e-13,
    )
    close(tg.vmap(lambda a: a * 2, -1)(f64(2, 3)), f64(2, 3).numpy().T * 2, 0)
    constant = tg.vmap(lambda a: tg.ones((2,)))(x)
    assert constant.shape == (4, 2)
    assert tg.vmap(lambda a: a * 2)(tg.zeros((0, 3))).shape == (0, 3)


def test_vmap_nests():
    a, b = f64(3, 2), f64(4, 2)
    table = tg.vmap(lambda x: tg.vmap(lambda y: (x * y).sum())(b))(a)
    close(table, a.numpy() @ b.numpy().T, 1e-14)


def test_vmap_of_scan():
    w, h, xs = f64(2, 2), f64(5, 2), f64(5, 4, 2)

    def run(h, x):
        return tg.scan(lambda c, r: (tg.tanh(c @ w + r), c), h, x)

    got = tg.vmap(run)(h, xs)
    rows = [run(h[i], xs[i]) for i in range(5)]
    for k in (0, 1):
        close(got[k], np.stack([r[k].numpy() for r in rows]), 1e-13)
    shared = tg.vmap(run, (0, None))(h, xs[0])
    close(shared[1][3], run(h[3], xs[0])[1], 1e-13)
    start = tg.vmap(run, (None, 0))(h[0], xs)
    close(start[0][2], run(h[0], xs[2])[0], 1e-13)


def test_gradients_through_vmap():
    def f(w, x):
        return tg.vmap(lambda r: tg.tanh(r @ w) @ w)(x)

    check_gradients(f, f64(3, 3), f64(4, 3), what="vmap")
    x, w = f64(4, 3), f64(3)
    per_row = tg.vmap(tg.grad(lambda w, r: tg.sin((w * r).sum())), (None, 0))(w, x)
    close(per_row, np.cos(x.numpy() @ w.numpy())[:, None] * x.numpy(), 1e-14)
    hessians = tg.vmap(tg.hessian(lambda r: (r**3).sum()))(x)
    close(hessians, 6 * x.numpy()[:, :, None] * np.eye(3), 1e-13)


def test_gradients_through_vmap_of_scan():
    def f(w, h, x):
        def run(h, r):
            return tg.scan(lambda c, r: (tg.tanh(c @ w + r), c * r), h, r)

        return tg.vmap(run)(h, x)

    check_gradients(f, f64(2, 2), f64(3, 2), f64(3, 2, 2), what="vmap of scan")


def test_vmap_inside_scan():
    def f(w, h, x):
        return tg.scan(lambda c, r: (tg.vmap(lambda a, b: tg.tanh(a @ w) * b)(c, r), None), h, x)[0]

    check_gradients(f, f64(2, 2), f64(3, 2), f64(2, 3, 2), what="vmap in scan")
    close(
        tg.jit(f)(f64(2, 2), f64(3, 2), f64(2, 3, 2)), f(f64(2, 2), f64(3, 2), f64(2, 3, 2)), 1e-14
    )


def test_vmap_of_indexing():
    table, ids = f64(5, 2), tg.tensor(np.array([[0, 4, 4], [1, 1, 2]]))
    close(
        tg.vmap(lambda i: tg.take(table, i, 0).sum(0))(ids),
        table.numpy()[ids.numpy()].sum(1),
        1e-14,
    )
    x = f64(3, 5)
    close(
        tg.vmap(lambda r, i: r[i], (0, 0))(x, tg.tensor(np.array([1, 0, -1]))),
        x.numpy()[range(3), [1, 0, 4]],
        0,
    )
    check_gradients(lambda t: tg.vmap(lambda i: t[i] * t[0])(ids), table, what="vmap of indexing")


def test_vmap_errors():
    with pytest.raises(ValueError, match=r"rows.*expected one"):
        tg.vmap(lambda a, b: a)(f64(2), f64(3))
    with pytest.raises(ValueError, match=r"in_axes.*2.*1"):
        tg.vmap(lambda a: a, (0, 0))(f64(2))
    with pytest.raises(ValueError, match=r"axis 0.*f64\[\]"):
        tg.vmap(lambda a: a)(f64())
    with pytest.raises(ValueError, match="no rows"):
        tg.vmap(lambda a: a, (None,))(f64(2))
    with pytest.raises(TypeError, match=r"vmap.*int"):
        tg.vmap(lambda a: 3)(f64(2))


# --- checkpoint ----------------------------------------------------------------------------------


def block(w, x):
    for _ in range(3):
        x = tg.tanh(x @ w) * tg.sigmoid(x)
    return x, (x * x).sum()


def test_checkpoint_is_bitwise_the_same():
    w, x = f64(3, 3), f64(2, 3)
    plain = tg.value_and_grad(lambda w, x: block(w, x)[1], (0, 1))(w, x)
    saved = tg.value_and_grad(lambda w, x: tg.checkpoint(block)(w, x)[1], (0, 1))(w, x)
    same(plain[0], saved[0])
    for a, b in zip(plain[1], saved[1]):
        same(a, b)


def test_checkpoint_saves_only_its_operands():
    w, x = f64(3, 3), f64(2, 3)
    w.requires_grad = True
    y, _ = tg.checkpoint(block)(w, x)
    record = y._value.inputs[0]
    assert len(record.data) == 2


def test_checkpoint_derivatives_of_all_orders():
    check_gradients(tg.checkpoint(block), f64(3, 3), f64(2, 3), what="checkpoint")
    w = f64(3, 3)
    check_gradients(
        lambda x: tg.checkpoint(lambda x: block(w, x)[0])(x), f64(2, 3), what="captured"
    )
    check_gradients(
        lambda w: tg.checkpoint(lambda x: block(w, x)[0])(f64(2, 3)), w, what="gradient of captured"
    )
    third = tg.grad(tg.grad(tg.grad(tg.checkpoint(lambda x: tg.sin(x) * x))))
    assert third(tg.tensor(0.3, dtype="float64")).item() == pytest.approx(
        -3 * np.sin(0.3) - 0.3 * np.cos(0.3)
    )


def test_checkpoint_in_scan_jit_and_vmap():
    def f(w, h, x):
        cell = tg.checkpoint(lambda c, r: tg.tanh(c @ w + r) * c)
        return tg.scan(lambda c, r: ((new := cell(c, r)), new), h, x)

    args = f64(2, 2), f64(2), f64(3, 2)
    check_gradients(f, *args, what="checkpoint in scan")

    def loss(*a):
        return f(*a)[1].sum()

    for a, b in zip(tg.jit(tg.grad(loss, (0, 1, 2)))(*args), tg.grad(loss, (0, 1, 2))(*args)):
        close(a, b, 1e-13)
    close(
        tg.vmap(lambda r: tg.checkpoint(block)(f64(3, 3), r)[0])(f64(2, 3)),
        block(f64(3, 3), f64(2, 3))[0],
        1e-13,
    )


def test_checkpoint_of_random_masks_draws_the_same_mask():
    mask = tg.Generator(3).bernoulli(0.5, (4,))
    x = f64(4)
    grads = tg.grad(lambda x: tg.checkpoint(lambda x: tg.where(mask, x * x, 0.0))(x).sum())(x)
    close(grads, np.where(mask.numpy(), 2 * x.numpy(), 0), 0)


# --- custom_vjp ----------------------------------------------------------------------------------


def test_custom_rule_replaces_the_derived_one():
    twice = tg.custom_vjp(lambda x: x * x, lambda g, y, x: g * 100.0)
    x = f64(3)
    for wrap in (lambda f: f, tg.jit, lambda f: tg.checkpoint(f), lambda f: tg.vmap(f)):
        assert tg.grad(lambda x, w=wrap: w(twice)(x).sum())(x).tolist() == [100.0] * 3
    close(tg.jit(twice)(x), x.numpy() ** 2, 0)


def test_custom_rule_equals_the_derived_one_to_second_order():
    def rule(g, y, a, b):
        return (g * b * y, g * a * y)

    f = tg.custom_vjp(lambda a, b: tg.exp(a * b), rule)
    check_gradients(f, f64(3), f64(3, seed="b"), what="custom")

    def step(c, x):
        return ((new := tg.sin(f(c, x))), new)

    check_gradients(lambda c, x: tg.scan(step, c, x), f64(2), f64(2, 2), what="custom in scan")


def test_custom_rule_for_trees_and_vmap():
    f = tg.custom_vjp(
        lambda p, s: {"out": p["w"] * s, "sum": p["w"].sum()},
        lambda g, y, p, s: ({"w": g["out"] * s + g["sum"]}, (g["out"] * p["w"]).sum()),
    )
    check_gradients(lambda w, s: f({"w": w}, s), f64(3), f64(), what="trees")
    ws, s = f64(4, 3), f64()
    got = tg.grad(
        lambda ws, s: tg.vmap(lambda w, s: f({"w": w}, s)["out"].sum(), (0, None))(ws, s).sum(),
        (0, 1),
    )(ws, s)
    close(got[0], np.full((4, 3), s.item()), 1e-14)
    close(got[1], np.array(ws.numpy().sum()), 1e-13)


def test_clipped_gradient():
    clip = tg.custom_vjp(lambda x: x, lambda g, y, x: tg.clip(g, -1.0, 1.0))

    def f(h, x):
        return tg.scan(lambda c, r: (clip(c * r * 10.0), None), h, x)[0].sum()

    g = tg.grad(f)(f64(2), f64(6, 2))
    assert (np.abs(g.numpy()) <= 10 * np.abs(f64(6, 2).numpy()[0]) + 1e-12).all()


def test_custom_rule_errors():
    x = f64(2)
    with pytest.raises(ValueError, match=r"2 cotangents for 1"):
        tg.grad(lambda x: tg.custom_vjp(lambda x: x, lambda g, y, x: (g, g))(x).sum())(x)
    with pytest.raises(ValueError, match=r"f64\[\].*f64\[2\]"):
        tg.grad(lambda x: tg.custom_vjp(lambda x: x, lambda g, y, x: g.sum())(x).sum())(x)
    w = tg.tensor(np.ones(2), requires_grad=True)
    with pytest.raises(RuntimeError, match=r"captures.*argument"):
        tg.custom_vjp(lambda x: x * w, lambda g, y, x: g)(x)
    with pytest.raises(TypeError, match="int"):
        tg.custom_vjp(lambda x: x, lambda g, y, x: g)(3)


def test_a_rule_may_capture_tensors_anywhere():
    w, k = f64(2, seed="w"), tg.tensor(np.array([1, 0]))
    f = tg.custom_vjp(lambda x: x * x, lambda g, y, x: g * w[k] * tg.tensor(np.array([2.0, 3.0])))
    want = w.numpy()[[1, 0]] * [2.0, 3.0]
    for wrap in (
        lambda f: f,
        tg.jit,
        tg.checkpoint,
        lambda f: lambda x: tg.vmap(f)(tg.stack([x]))[0],
    ):
        wrapped = wrap(f)
        close(tg.grad(lambda x, h=wrapped: h(x).sum())(f64(2)), want, 1e-14)

    def step(c, x):
        return (f(c) + x, None)

    def scanned(x):
        return tg.scan(step, x, tg.zeros((3, 2), "float64"))[0].sum()

    for derive in (tg.grad, lambda f: tg.jit(tg.grad(f))):
        close(derive(scanned)(f64(2)), want**3, 1e-13)


def test_equal_functions_with_different_rules_stay_apart():
    x = tg.tensor(1.0)
    for k in range(30):
        f = tg.custom_vjp(lambda x: x * 1.0, lambda g, y, x, k=k: g * float(k))
        assert tg.jit(tg.grad(f))(x).item() == tg.grad(f)(x).item() == k


def test_rules_under_nested_vmap():
    f = tg.custom_vjp(lambda a, b: a * b, lambda g, y, a, b: (g * b * 10.0, g * a * 100.0))
    a, b = f64(2, 3, seed="a"), f64(4, 3, seed="b")
    table = lambda a, b: tg.vmap(lambda x: tg.vmap(lambda y: f(x, y).sum())(b))(a).sum()  # noqa: E731
    ga, gb = tg.grad(table, (0, 1))(a, b)
    close(ga, np.broadcast_to(10.0 * b.numpy().sum(0), (2, 3)), 1e-12)
    close(gb, np.broadcast_to(100.0 * a.numpy().sum(0), (4, 3)), 1e-12)
