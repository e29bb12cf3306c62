"""What stays in a loop: its products and their sizes, its nodes, what it keeps for the way back."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.explanation import Loop, scans
from tinygrad_rnn.extend import primitives
from tinygrad_rnn.primitive import bind

T, B, I, H = 5, 2, 3, 4


def f64(*shape: int, seed: int = 0) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).normal(size=shape))


def names(loop: Loop) -> list[str]:
    return sorted(node.op.name for node in loop.body.nodes)


def read_by_products(loop: Loop) -> list[tuple[int, ...]]:
    """The shape of what changes from step to step in every product."""
    return [n.inputs[0].type.shape for n in loop.body.nodes if n.op.name == "contract"]


def explained(step, *more, derivative=False):
    xs, h = f64(T, B, I), f64(B, H)

    def run(h, xs, *more):
        final, ys = tg.scan(lambda c, x: step(c, x, *more), h, xs)
        return final.sum() if ys is None else final.sum() + ys.sum()

    f = tg.grad(run, tuple(range(2 + len(more)))) if derivative else run
    return tg.explain(f)(h, xs, *more)


def test_a_product_of_joined_operands_leaves_the_loop_in_part():
    w = f64(I + H, H, seed=1)
    report = explained(lambda h, x, w: (tg.tanh(tg.concat([x, h], 1) @ w), None), w)
    (loop,) = report.loops
    assert read_by_products(loop) == [(B, H)] and report.products_outside == 1
    assert "concat" not in names(loop)


@pytest.mark.parametrize("order", range(3))
def test_what_does_not_depend_on_the_carry_is_added_up_before_the_loop(order):
    w, u, b = f64(I, H, seed=1), f64(H, H, seed=2), f64(H, seed=3)

    def step(h, x, w, u, b):
        terms = [h @ u, x @ w, b]
        a, c, d = terms[order:] + terms[:order]
        return tg.tanh(a + c + d), None

    (loop,) = explained(step, w, u, b).loops
    assert names(loop) == ["add", "contract", "tanh"]


def test_several_products_of_the_carry_are_one():
    us = [f64(H, H, seed=k) for k in range(3)]

    def step(h, x, *us):
        a, b, c = (h @ u for u in us)
        return tg.tanh(a) * tg.sigmoid(b) + c, None

    forward, backward = explained(step, *us, derivative=True).loops
    assert (forward.products, backward.products) == (1, 1)
    assert read_by_products(forward) == [(B, H)] and read_by_products(backward) == [(B, 3 * H)]


def test_products_of_two_variables_stay_two():
    """Of the carry and of the input (which leaves), of h and of c: nothing to join."""
    u, v = f64(H, H, seed=1), f64(H, H, seed=2)
    xs, h = f64(T, B, H), f64(B, H)

    def run(h, c, xs):
        def step(carry, x):
            h, c = carry
            return (tg.tanh(h @ u + x @ u), tg.tanh(c @ v) * h), None

        return tg.scan(step, (h, c), xs)[0]

    report = tg.explain(run)(h, h, xs)
    assert report.loops[0].products == 2 and report.products_outside == 1


def test_a_product_that_only_outputs_need_leaves_the_loop():
    u, v = f64(H, H, seed=1), f64(H, I, seed=2)
    report = explained(lambda h, x, u, v: (tg.tanh(h @ u), (h @ v + 1.0) * x), u, v)
    assert report.loops[0].products == 1 and report.products_outside == 1


def test_an_output_that_reads_the_same_product_does_not_keep_another_one():
    u, v = f64(H, H, seed=1), f64(H, H, seed=2)

    def step(h, x, u, v):
        new = tg.tanh(h @ u)
        return new, new @ v + h @ v

    report = explained(step, u, v)
    assert report.loops[0].products == 1 and report.products_outside >= 1


def test_a_loop_inside_that_the_carry_does_not_feed_leaves_too():
    u = f64(I, I, seed=1)
    u2 = f64(H, H, seed=2)

    def step(h, x, u, u2):
        inner, _ = tg.scan(lambda c, _: (tg.tanh(c @ u), None), x, None, length=3)
        return tg.tanh(h @ u2) + inner.sum(), None

    report = explained(step, u, u2)
    outer = [loop for loop in report.loops if loop.length == T]
    assert [loop.products for loop in outer] == [1]


def test_a_loop_inside_is_split_too():
    w, u = f64(I, H, seed=1), f64(H, H, seed=2)

    def step(h, x, w, u):
        inner = lambda c, v: (tg.tanh(c @ u + v @ w), None)  # noqa: E731
        return tg.scan(inner, h, tg.stack([x, x * 2.0, -x]))[0], None

    report = explained(step, w, u)
    (inner,) = [loop for loop in report.loops if loop.length == 3]
    assert read_by_products(inner) == [(B, H)]


def test_what_joins_weights_is_done_once():
    """The gates' weights are joined, and turned for the way back, before the loop."""
    us = [f64(H, H, seed=k) for k in range(3)]

    def step(h, x, *us):
        a, b, c = (h @ u for u in us)
        return tg.tanh(a + x[:, :1]) * tg.sigmoid(b) + c, None

    for loop in explained(step, *us, derivative=True).loops:
        fixed = {v for v in loop.body.inputs if v.type.shape[:1] in ((H,), (3 * H,))}
        reads = [n for n in loop.body.nodes if n.op.name != "contract" and {*n.inputs} & fixed]
        assert not reads and loop.products == 1


def test_a_carry_that_stays_needs_no_loop_of_its_own():
    def run(c, xs):
        def step(carry, x):
            h, s = carry
            return (tg.tanh(h * s + x), s), None

        (h, s), _ = tg.scan(step, (c, c * 2.0), xs)
        return (h * s).sum()

    report = tg.explain(tg.grad(run, (0, 1)))(f64(B, H), f64(T, B, H))
    assert [loop.reverse for loop in report.loops] == [False, True]
    assert report.loops[1].residual_bytes == 0


def test_a_carry_that_turns_out_to_stay_becomes_a_const():
    def run(c, xs):
        return tg.scan(lambda p, x: ((tg.tanh(p[0] * p[1] + x), p[1].T.T), None), (c, c * 2.0), xs)

    (loop,) = tg.explain(run)(f64(B, H), f64(T, B, H)).loops
    assert loop.carry == (f"f64[{B},{H}]",)


def test_a_product_that_only_a_sum_needs_leaves_the_loop():
    u, v = f64(H, H, seed=1), f64(H, H, seed=2)

    def run(h, xs):
        def step(carry, x):
            h, total = carry
            z = tg.tanh(h @ v)
            return (tg.tanh(h @ u + x), total + z), z

        return tg.scan(step, (h, tg.zeros_like(h)), xs)

    report = tg.explain(run)(f64(B, H), f64(T, B, H))
    assert report.loops[0].products == 1 and report.products_outside == 1


def test_gradients_of_weights_are_products_after_the_loop():
    u = f64(H, H, seed=1)
    report = explained(lambda h, x, u: (tg.tanh(h @ u), None), u, derivative=True)
    forward, backward = report.loops
    assert forward.products == backward.products == 1 and report.products_outside == 1
    assert backward.carry == (f"f64[{B},{H}]",)


def test_what_is_saved_for_the_way_back():
    """Products, not what moves inputs about, and nothing twice."""
    u = f64(H, H, seed=1)

    def kept(step, save):
        def run(h, xs, u):
            return tg.scan(lambda c, x: (step(c, x, u), None), h, xs, save=save)[0].sum()

        report = tg.explain(tg.grad(run, (0, 1, 2)))(f64(B, H), f64(T, B, H), u)
        return report.loops[0].residuals

    row = f"f64[{B},{H}]"
    assert kept(lambda h, x, u: tg.tanh(h @ u), "auto") == (row,)
    assert kept(lambda h, x, u: tg.tanh(h @ u + x[:, ::-1] * 2.0), "auto") == (row,)
    gated = lambda h, x, u: tg.tanh(h @ u) * tg.sigmoid(h)  # noqa: E731
    assert len(kept(gated, "auto")) == 3 and kept(gated, "carry") == (row,)


def test_what_is_computed_again_for_the_way_back():
    """Movements of inputs are; products and random numbers are kept, even of inputs alone."""
    u, states = f64(H, H, seed=1), tg.tensor(np.arange(T * 4, dtype="uint32").reshape(T, 4))

    def stacks(factor):
        def run(h, xs, u):
            step = lambda c, x: (tg.tanh(c * factor(*x, u)), None)  # noqa: E731
            return tg.scan(step, h, (xs, states))[0].sum()

        graph = tg.trace(tg.grad(run, (0, 1, 2)))(f64(B, H), f64(T, B, H), u)
        return len(next(iter(scans(graph))).outputs)

    def noise(x, state, u):
        bits = bind(primitives["random_bits"], state, shape=(B, H))
        return bits.astype("float64")

    assert stacks(lambda x, state, u: x[:, ::-1]) == 2
    assert stacks(lambda x, state, u: x @ u) == stacks(noise) == 3


def test_dead_stacks_and_carries_are_gone():
    def run(h, xs):
        def step(carry, x):
            a, b, c = carry
            return (tg.tanh(a + x), b + a, c * 2.0), (a, b * 3.0)

        (a, _, _), (ys, _) = tg.scan(step, (h, h, h), xs)
        return a, ys

    (loop,) = tg.explain(run)(f64(B, H), f64(T, B, H)).loops
    assert loop.carry == (f"f64[{B},{H}]",) and names(loop) == ["add", "tanh"]
    graph = tg.explain(run)(f64(B, H), f64(T, B, H)).graph
    assert [len(node.outputs) for node in scans(graph)] == [2]


def test_equal_operands_are_one():
    x = f64(T, B, H)

    def run(h, xs):
        def step(c, pair):
            a, b = pair
            return tg.tanh(c + a * b), None

        return tg.scan(step, h, (xs, xs))[0]

    graph = tg.explain(run)(f64(B, H), x).graph
    assert [len(node.inputs) for node in scans(graph)] == [2]
