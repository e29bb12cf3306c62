"""Loops: what went wrong in the scans of JAX and Theano."""

from __future__ import annotations

import numpy as np
import pytest
from gallery import close, host, slope, slopes

import tinygrad_rnn as tg


def test_the_sequence_has_no_gradient(backend):
    """https://github.com/jax-ml/jax/issues/753: d xs[i] / d ns[j] should be a triangle of ones;
    reverse mode gave zeros, forward mode was right."""

    def run(ns):
        def step(x, n):
            x = x + 1.0 * n
            return x, x

        return tg.scan(step, tg.tensor(np.array(0.0)), ns)[1]

    triangle = np.tril(np.ones((5, 5)))
    ns = tg.tensor(np.arange(5.0))
    close(tg.jacobian(run)(ns), triangle)
    close(tg.jit(tg.jacobian(run))(ns), triangle)
    columns = [host(tg.jvp(run, ns, tg.tensor(v))[1]) for v in np.eye(5)]
    close(np.stack(columns, 1), triangle)


def test_half_of_the_carry_is_not_used(backend):
    """https://github.com/jax-ml/jax/issues/1082: grad(jit(scan)) raised TypeError as soon as
    one leaf of the final carry was not read."""

    def loss(param):
        def step(carry, _):
            return {k: v + carry["a"] for k, v in carry.items()}, tg.zeros((), "float64")

        carry = {"a": param, "b": tg.zeros((), "float64")}
        final, _ = tg.scan(step, carry, tg.arange(2))
        return final["a"] * param

    assert slope(loss, np.array(1.5)) == 4 * 2 * 1.5
    assert tg.grad(tg.jit(loss))(tg.tensor(1.5)).item() == 12


def test_a_carry_that_the_step_replaces(backend):
    """https://github.com/jax-ml/jax/issues/1361: a carry that is read nowhere and overwritten
    by a captured value broke the shapes under grad(jit)."""

    def run(x):
        def step(carry, i):
            count, _, _ = carry
            old = x
            return (count + 1, old - 1.0 * i, old), None

        start = (tg.tensor(0), x, tg.zeros((), "float64"))
        return tg.scan(step, start, tg.arange(3, dtype="float64"))[0]

    assert slope(lambda x: run(x)[1], np.array(0.5)) == 1
    assert slope(lambda x: run(x)[2], np.array(0.5)) == 1
    assert tg.jit(run)(tg.tensor(0.5, dtype="float64"))[0].item() == 3


def test_a_gradient_inside_the_step_is_differentiated_and_compiled(backend):
    """https://github.com/jax-ml/jax/issues/757 and /758: jit(jacfwd) of a scan whose step takes
    a gradient failed, and so did training through an integer in the carry."""

    def run(a):
        def step(carry, _):
            i, x = carry
            return (i + 1, tg.grad(tg.cos)(x)), None

        return tg.scan(step, (tg.tensor(0), a), None, length=4)[0][1]

    def unrolled(a):
        for _ in range(4):
            a = -tg.sin(a)
        return a

    want = tg.grad(unrolled)(tg.tensor(0.5, dtype="float64")).item()
    assert slope(run, np.array(0.5)) == pytest.approx(want, rel=1e-14)
    one = tg.tensor(1.0, dtype="float64")
    forward = tg.jit(lambda x: tg.jvp(run, x, one)[1])
    assert forward(tg.tensor(0.5, dtype="float64")).item() == pytest.approx(want, rel=1e-14)


def test_a_choice_inside_a_loop(backend):
    """https://github.com/jax-ml/jax/issues/5900: a power as a loop with `cond` inside had the
    gradient 324; 3**4 has 108."""

    def power(x, n):
        def step(carry, k):
            value, more = carry
            value = tg.where(more, value * x, value)
            return (value, more & (k + 1 < n)), value

        start = (tg.ones((), "float64"), tg.tensor(True))
        return tg.scan(step, start, tg.arange(7))[0][0]

    x = np.array(3.0)
    assert host(power(tg.tensor(x), 4)) == 81
    assert slope(lambda x: power(x, 4), x) == 108


def test_a_closure_is_taken_for_a_constant(backend):
    """https://github.com/jax-ml/jax/issues/9567: inside scan a product with a captured variable
    was believed not to depend on it, "silently setting a few gradients to zero, somewhere out
    there"."""

    def f(x, y):
        return tg.scan(lambda c, _: (c, c * x), y, None, length=3)[1]

    gx, gy = slopes(f, np.array(2.0), np.array(5.0))
    assert (gx, gy) == (15, 6)


def test_the_transpose_of_a_sum_as_a_loop(backend):
    """https://github.com/jax-ml/jax/issues/12051: a loop that adds a captured vector ten times
    could not be transposed. Here jvp is the transpose of the pullback, and needs exactly that."""
    p = np.arange(4.0)

    def f(p):
        return tg.scan(lambda x, _: (x + p, None), tg.zeros_like(p), None, length=10)[0]

    assert slope(f, p) == [10] * 4
    assert host(tg.jvp(f, tg.tensor(p), tg.tensor(p + 1))[1]).tolist() == [10, 20, 30, 40]


def test_a_product_pushed_out_of_a_truncated_loop(backend, rng):
    """https://github.com/Theano/Theano/issues/4652: the optimiser moved a product out of a loop
    whose gradient was truncated, with operands of different lengths. Here chunks are cut by
    detach, and the gradient of the weights is the sum over the chunks."""
    w, xs = rng.normal(size=(3, 3)) * 0.5, rng.normal(size=(6, 2, 3))

    def chunk(w, h, xs):
        return tg.scan(lambda h, x: (tg.tanh(x + h @ w), h), h, xs)

    def truncated(w):
        h, total = tg.zeros((2, 3), "float64"), tg.zeros((), "float64")
        for k in range(0, 6, 2):
            h, hs = chunk(w, h.detach(), tg.tensor(xs[k : k + 2]))
            total = total + (hs * hs).sum() + tg.sin(h).sum()
        return total

    (g,) = slopes(truncated, w)
    apart, h = 0, np.zeros((2, 3))
    for k in range(0, 6, 2):

        def alone(w, h=h, k=k):
            h, hs = chunk(w, tg.tensor(h), tg.tensor(xs[k : k + 2]))
            return (hs * hs).sum() + tg.sin(h).sum()

        apart = apart + slopes(alone, w)[0]
        h = host(chunk(tg.tensor(w), tg.tensor(h), tg.tensor(xs[k : k + 2]))[0])
    close(g, apart)


def test_a_loop_that_ends_early_has_its_gradient_at_the_wrong_end(backend):
    """https://github.com/Theano/Theano/issues/5439: x[i]**2 until x[i] = 5, of 20 elements: the
    last six had the gradient, at the values of the first six. Here steps after the end are
    masked."""
    x = np.arange(20.0)

    def until_five(x):
        def step(going, v):
            return going & (v < 5.0), tg.where(going, v * v, 0.0)

        return tg.scan(step, tg.tensor(True), x)[1]

    assert slope(until_five, x) == [2.0 * v if v <= 5 else 0.0 for v in x]


def test_sequences_longer_than_the_loop(backend):
    """https://github.com/Theano/Theano/pull/166: sequences were not cut to the number of steps,
    so reversing them for the gradient began with foreign elements. Here lengths must agree."""
    xs = tg.arange(5, dtype="float32")
    with pytest.raises(ValueError, match="number of time steps differs"):
        tg.scan(lambda c, x: (c + x, None), tg.tensor(0.0), xs, length=3)
    g = slope(lambda x: tg.scan(lambda c, v: (c + v * v, None), x[0], x[:3])[0], np.arange(5.0))
    assert g == [1, 2, 4, 0, 0]


def test_a_loop_of_no_steps(backend, rng):
    """https://github.com/Theano/Theano/issues/3276: "we didn't implement the case where scan
    does 0 iterations", met in the gradient of a loop over x[1:]. Here it is the initial state."""
    w = rng.normal(size=(2, 2))

    def f(w, x):
        return tg.scan(lambda h, v: (v + h @ w, h), x[0], x[1:])[0]

    x = rng.normal(size=(1, 2))
    gw, gx = slopes(f, w, x)
    assert gw.tolist() == [[0, 0], [0, 0]] and gx.tolist() == [[1, 1]]
    close(f(tg.tensor(w), tg.tensor(x)), x[0])


def test_a_step_that_only_returns_what_it_captured(backend):
    """https://github.com/Theano/Theano/issues/1647: IndexError in the gradient of a loop whose
    every result is a captured weight."""
    out = slope(lambda w: tg.scan(lambda c, _: (c, w), tg.zeros(()), None, length=2)[1][-1], 0.5)
    assert out == 1
    assert slope(lambda w: tg.scan(lambda c, _: (w, w), w, None, length=2)[1], 0.5) == 2


def test_a_loop_over_the_results_of_a_loop(backend, rng):
    """https://github.com/Theano/Theano/issues/2619: a loop of softmax after a loop of cross
    entropies crashed in the gradient, though neither had a state."""
    x, t, w = rng.normal(size=(4, 3, 2)), rng.integers(0, 2, (4, 3)), rng.normal(size=(2, 2))

    def loss(w):
        _, y = tg.scan(lambda c, x: (c, tg.log_softmax(x @ w)), None, tg.tensor(x))
        _, each = tg.scan(
            lambda c, r: (c, -tg.take_along_axis(r[0], r[1][:, None], 1).mean()),
            None,
            (y, tg.tensor(t)),
        )
        return each.mean()

    def flat(w):
        return tg.nn.functional.cross_entropy(tg.tensor(x) @ w, tg.tensor(t))

    close(slopes(loss, w)[0], slopes(flat, w)[0], 1e-14)
