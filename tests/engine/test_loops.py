"""What stays in a loop: products per step, weight gradients, residuals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import close, seeded

import tinygrad_rnn as tg
from tinygrad_rnn import nn

T, B, I, H = 6, 3, 5, 4


class LayerNormLSTM(nn.Module):
    """A user's cell: nothing in the library knows it."""

    def __init__(self) -> None:
        rng = seeded("cell")
        self.w = nn.Parameter(rng.normal(size=(4 * H, I)) * 0.4)
        self.u = nn.Parameter(rng.normal(size=(4 * H, H)) * 0.4)
        self.gain = nn.Parameter(rng.normal(size=4 * H))
        self.bias = nn.Parameter(rng.normal(size=4 * H))

    def forward(self, carry: Any, x: tg.Tensor) -> Any:
        h, c = carry
        z = x @ self.w.T + h @ self.u.T
        z = (z - z.mean(-1, keepdims=True)) / tg.sqrt(
            tg.var(z, -1, keepdims=True) + 1e-5
        ) * self.gain + self.bias
        i, f, g, o = tg.split(z, 4, -1)
        c = tg.sigmoid(f) * c + tg.sigmoid(i) * tg.tanh(g)
        h = tg.sigmoid(o) * tg.tanh(c)
        return (h, c), h


def per_gate_lstm(params: Any, carry: Any, x: tg.Tensor) -> Any:
    """Every gate with its own products, on the concatenation of x and h."""
    h, c = carry
    xh = tg.concat([x, h], -1)
    i, f, g, o = (xh @ params[f"w{k}"] + params[f"b{k}"] for k in "ifgo")
    c = tg.sigmoid(f) * c + tg.sigmoid(i) * tg.tanh(g)
    h = tg.sigmoid(o) * tg.tanh(c)
    return (h, c), h


def training(make: Any) -> tuple[Any, Any, list[tg.Tensor]]:
    model = make()
    params = list(model.parameters())
    x = tg.tensor(seeded("x").normal(size=(T, B, I)))

    def loss(x):
        y, _ = model(x)
        total = (y * y).sum()
        total.backward()
        return total

    return loss, x, params


MODELS = {
    "rnn": lambda: nn.RNN(I, H, dtype="float64", rng=0),
    "lstm": lambda: nn.LSTM(I, H, dtype="float64", rng=0),
    "gru": lambda: nn.GRU(I, H, dtype="float64", rng=0),
    "user": lambda: nn.Recurrent(LayerNormLSTM()),
}


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_one_product_in_the_forward_and_one_in_the_backward_loop(name):
    loss, x, params = training(MODELS[name])
    report = tg.explain(loss)(x)
    assert [(loop.products, loop.length, loop.reverse) for loop in report.loops] == [
        (1, T, False),
        (1, T, True),
    ]
    shapes = {f"f64[{','.join(map(str, p.shape))}]" for p in params}
    for loop in report.loops:
        assert shapes.isdisjoint(loop.carry), f"a weight gradient is carried: {loop.carry}"
    text = str(report)
    assert (
        "2 loops" in text
        and "1 products" in text
        and (name == "rnn" or "bytes per step" in text)
        and "contract" in text
    )
    forward, backward = report.loops
    assert forward.residual_bytes == sum(
        8 * B * int(r.split(",")[-1][:-1]) for r in forward.residuals
    )
    assert not backward.residuals and backward.residual_bytes == 0
    assert all(p.grad is None for p in params)


def user_loss(cell: LayerNormLSTM) -> Any:
    def loss(x):
        zeros = tg.zeros((B, H), "float64")
        _, y = tg.scan(lambda c, r: cell(c, r), (zeros, zeros), x)
        (y * y).sum().backward()

    return loss


def test_a_users_layer_norm_lstm():
    cell = LayerNormLSTM()
    report = tg.explain(user_loss(cell))(tg.tensor(seeded("x").normal(size=(T, B, I))))
    assert [loop.products for loop in report.loops] == [1, 1]
    weights = {
        f"f64[{4 * H},{I}]",
        f"f64[{4 * H},{H}]",
        f"f64[{4 * H}]",
        f"f64[{I},{4 * H}]",
        f"f64[{H},{4 * H}]",
    }
    for loop in report.loops:
        assert weights.isdisjoint(loop.carry)


def test_separate_gates_become_one_product():
    rng = seeded("gates")
    params = {f"w{k}": tg.tensor(rng.normal(size=(I + H, H)) * 0.4) for k in "ifgo"}
    params |= {f"b{k}": tg.tensor(rng.normal(size=H)) for k in "ifgo"}
    x = tg.tensor(rng.normal(size=(T, B, I)))

    def loss(params, x):
        zeros = tg.zeros((B, H), "float64")
        return (tg.scan(lambda c, r: per_gate_lstm(params, c, r), (zeros, zeros), x)[1] ** 2).sum()

    step = tg.value_and_grad(loss, (0, 1))
    report = tg.explain(step)(params, x)
    assert [loop.products for loop in report.loops] == [1, 1]
    value, grads = tg.jit(step)(params, x)
    want, wanted = step(params, x)
    close(value, want, 1e-13)
    for k in params:
        close(grads[0][k], wanted[0][k], 1e-12)
    close(grads[1], wanted[1], 1e-12)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_optimised_gradients_are_those_of_the_recorded_graph(name):
    loss, x, params = training(MODELS[name])
    loss(x)
    eager = [p.grad.detach().numpy() for p in params]
    for p in params:
        p.grad = None
    tg.jit(loss)(x)
    for p, g in zip(params, eager):
        close(p.grad, g, 1e-12)


def test_inference_saves_nothing():
    model = nn.LSTM(I, H, rng=0)
    with tg.no_grad():
        report = tg.explain(lambda x: model(x)[0])(tg.ones((T, B, I)))
    assert [(loop.products, loop.residual_bytes) for loop in report.loops] == [(1, 0)]


def test_checkpointed_loops_save_the_carry_alone():
    w = tg.tensor(seeded("w").normal(size=(H, H)))
    x = tg.tensor(seeded("x").normal(size=(T, B, H)))

    def loss(save):
        def f(w):
            def step(c, r):
                return (tg.tanh(tg.sigmoid(tg.sin(c @ w) * c) + r), None)

            return tg.scan(step, tg.zeros((B, H), "float64"), x, save=save)[0].sum()

        return tg.grad(f)

    auto, carry = (tg.explain(loss(s))(w).loops[0] for s in ("auto", "carry"))
    assert carry.residual_bytes == 8 * B * H < auto.residual_bytes


def test_work_that_does_not_depend_on_the_carry_leaves_the_loop():
    w, v = (tg.tensor(seeded(s).normal(size=(H, H))) for s in "wv")
    h, x = tg.zeros((B, H), "float64"), tg.tensor(seeded("x").normal(size=(T, B, H)))

    def products(step):
        loops = tg.explain(lambda x: tg.scan(step, h, x))(x).loops
        return sum(loop.products for loop in loops)

    assert products(lambda c, r: (c + r @ w, None)) == 0
    assert products(lambda c, r: (c * tg.tanh(r @ w) + (w @ v)[0], None)) == 0
    assert products(lambda c, r: (tg.tanh(c + r), c @ w)) == 0
    assert products(lambda c, r: (tg.tanh(c @ w + r @ v), tg.tanh(c @ v) @ w)) == 1
    assert products(lambda c, r: (tg.tanh(tg.tanh(c @ w) @ v + r), None)) == 2


def test_elementwise_work_stays_in_the_loop():
    x = tg.ones((T, B))
    report = tg.explain(
        lambda x: tg.scan(lambda c, r: (c + tg.sin(r) * tg.cos(r), None), tg.zeros((B,)), x)
    )(x)
    outside = [n.op.name for n in report.graph.nodes if n.op.name in ("sin", "cos")]
    assert not outside or not report.loops


def test_numbers_in_the_report():
    report = tg.explain(
        lambda x: tg.scan(lambda c, r: (tg.sin(c) + r, c), tg.zeros((2,)), x, reverse=True)
    )(tg.ones((T, 2)))
    (loop,) = report.loops
    assert (loop.length, loop.reverse, loop.products, loop.carry) == (T, True, 0, ("f32[2]",))
    assert report.products_outside == 0 and "backwards" in str(report)
    assert tg.explain(lambda x: x * 2.0)(tg.ones((2,))).loops == []
    jitted = tg.explain(tg.jit(lambda x: x @ x))(tg.ones((2, 2)))
    assert jitted.products_outside == 1
    assert isinstance(np.asarray(loop.nodes).item(), int)


def test_deep_and_shared_sums_inside_a_step():
    """An inner loop unrolled in Python: sums hundreds deep, and one that doubles at every node."""
    w, x = tg.tensor(seeded("w").normal(size=(2, 2)) * 0.3), tg.ones((3, 2), "float64")

    def unrolled(w):
        def step(c, r):
            for _ in range(400):
                c = tg.tanh(c @ w + r)
            return c, c

        return tg.scan(step, tg.ones((2,), "float64"), x)[1].sum()

    def doubling(w):
        def step(c, r):
            d = w @ r
            for _ in range(40):
                d = (d + d) * 0.5
            return c + d, None

        return tg.scan(step, tg.zeros((2,), "float64"), x)[0].sum()

    for f in (unrolled, doubling):
        close(tg.jit(tg.grad(f))(w), tg.grad(f)(w), 1e-12)
    report = tg.explain(tg.grad(unrolled))(w)
    assert all("f64[2,2]" not in loop.carry for loop in report.loops)
