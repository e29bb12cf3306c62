"""Rules of derivatives and of batching where small samples cannot tell right from wrong."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import close, same, seeded

import tinygrad_rnn as tg
from tinygrad_rnn.errors import GradientError


def f64(*shape: int, seed: str = "x") -> tg.Tensor:
    return tg.tensor(seeded(f"{seed}{shape}").normal(size=shape))


# --- derivatives ---------------------------------------------------------------------------------


def test_a_remainder_falls_with_every_multiple_of_the_divisor():
    a, b = tg.tensor([7.5, -7.5, 7.5]), tg.tensor([2.0, 2.0, -2.0])
    ga, gb = tg.grad(lambda a, b: tg.remainder(a, b).sum(), (0, 1))(a, b)
    assert ga.tolist() == [1, 1, 1] and gb.tolist() == [-3, 4, 4]


def test_operands_that_need_no_gradient_keep_their_place():
    x, fixed = f64(2, 3), f64(2, 4, seed="fixed")
    weights = f64(2, 10, seed="w")

    def joined(x):
        return (tg.concat([fixed, x, fixed[:, :1], x[:, :2]], 1) * weights).sum()

    want = weights.numpy()[:, 4:7].copy()
    want[:, :2] += weights.numpy()[:, 8:]
    same(tg.grad(joined)(x).numpy(), want)
    leaf = tg.tensor(x.numpy(), requires_grad=True)
    joined(leaf).backward()
    same(leaf.grad.numpy(), want)


def test_gradients_come_in_the_order_of_argnums():
    x, y = tg.tensor(2.0), tg.tensor([3.0, 5.0])
    gy, gx = tg.grad(lambda x, y: x * y.sum(), (1, 0))(x, y)
    assert gy.tolist() == [2.0, 2.0] and gx.item() == 8.0
    assert tg.hessian(lambda x, y: x * (y**2).sum(), 1)(x, y).tolist() == [[4, 0], [0, 4]]


def test_a_pullback_is_differentiable_in_its_cotangent():
    x = f64(3)
    _, pullback = tg.vjp(lambda x: tg.tanh(x), x)
    got = tg.grad(
        lambda g: (pullback(g)[0] * tg.tensor([1.0, 10.0, 100.0]).astype("float64")).sum()
    )
    close(got(tg.ones_like(x)).numpy(), (1 - np.tanh(x.numpy()) ** 2) * [1, 10, 100], 1e-13)


def test_only_floating_scalars_have_gradients():
    with pytest.raises(GradientError, match=r"argument\[?0?.*i64\[2\].*argnums"):
        tg.grad(lambda x: x.astype("float32").sum())(tg.tensor([1, 2]))
    for f in (lambda x: x * 2.0, lambda x: (x > 0).all()):
        with pytest.raises(GradientError, match="floating scalar"):
            tg.grad(f)(tg.tensor([1.0, 2.0]))


def test_a_recorded_backward_can_release_the_graph():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = (x**3).sum()
    y.backward(create_graph=True, retain_graph=False)
    assert x.grad.tolist() == [3.0, 12.0]
    with pytest.raises(GradientError, match="released"):
        y.backward()


# --- batching ------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
@pytest.mark.parametrize("batched", [(True, True), (True, False), (False, True)])
def test_gathering_with_rows(axis, shape, batched):
    """Every rank of index along every axis; the gradient is the batched scatter."""
    rng = seeded(f"{axis}{shape}{batched}")
    x = rng.normal(size=(3, 3, 3)) if not batched[0] else rng.normal(size=(5, 3, 3, 3))
    i = rng.integers(0, 3, size=((5,) if batched[1] else ()) + shape)
    axes = tuple(0 if b else None for b in batched)
    f = tg.vmap(lambda x, i: tg.take(x, i, axis), in_axes=axes)
    rows = [np.take(x[k] if batched[0] else x, i[k] if batched[1] else i, axis) for k in range(5)]
    same(f(tg.tensor(x), tg.tensor(i)).numpy(), np.stack(rows))
    g = rng.normal(size=np.shape(rows))
    scatter = tg.vmap(lambda u, i: tg.scatter_add(3, i, u, axis), in_axes=(0, axes[1]))
    want = np.zeros((5, 3, 3, 3))
    for k in range(5):
        np.add.at(want[k], (slice(None),) * axis + (i[k] if batched[1] else i,), g[k])
    close(scatter(tg.tensor(g), tg.tensor(i)).numpy(), want, 1e-13)


def test_axes_from_the_end():
    x = f64(2, 3, 4)
    got = tg.vmap(lambda row: row * 2.0, in_axes=-1)(x)
    same(got.numpy(), np.moveaxis(x.numpy(), -1, 0) * 2.0)


def test_what_no_grad_covered_stays_covered():
    def f(x):
        with tg.no_grad():
            still = x * 10.0
        return (still * x).sum()

    x = f64(4, 3)
    for g in (tg.grad(lambda x: tg.vmap(f)(x).sum()), tg.grad(lambda x: tg.checkpoint(f)(x))):
        close(g(x).numpy(), x.numpy() * 10.0, 1e-13)
    row = tg.tensor(x.numpy()[0], requires_grad=True)
    with tg.no_grad():
        off = tg.vmap(lambda a: a * row)(x)
    assert not off.requires_grad


# --- sums over all steps of a loop ----------------------------------------------------------------


@pytest.mark.parametrize("start", [0.0, 5.0])
def test_an_accumulator_begins_where_it_was_told(start):
    xs = f64(4, 3)
    f = tg.jit(
        lambda xs: tg.scan(lambda c, x: (c + x, None), tg.full((3,), start, xs.dtype), xs)[0]
    )
    close(f(xs).numpy(), start + xs.numpy().sum(0), 1e-13)


@pytest.mark.parametrize(
    ("dtype", "addend", "steps", "want"),
    [("float16", 2.0**-10, 70000, 68.375), ("bfloat16", 2.0**-10, 70000, 68.5),
     ("int8", 1, 300, 44), ("float64", 0.1, 1000, 100.0)],
)
def test_constants_over_more_steps_than_their_dtype_counts(dtype, addend, steps, want):
    def total(x):
        return tg.scan(lambda c, _: (c + x, None), tg.zeros((2,), dtype), None, length=steps)[0]

    got = total(tg.full((2,), addend, dtype))
    assert got.dtype.name == dtype
    close(got.numpy().astype(float), np.full(2, want), 1e-9)


TERMS = {
    "neg": lambda x, w: -x,
    "difference": lambda x, w: x - w,
    "scaled": lambda x, w: x * w,
    "scaled from the left": lambda x, w: w * x,
    "divided": lambda x, w: x / w,
    "divisor": lambda x, w: w / x,
    "two factors that vary": lambda x, w: x * x * w,
    "broadcast": lambda x, w: tg.broadcast_to(x[:1], (3,)),
    "broadcast sum": lambda x, w: x[:1] + x,
    "broadcast factor": lambda x, w: x[:1] * w,
    "padded": lambda x, w: tg.pad(x[:2], (1, 0)),
    "padded with ones": lambda x, w: tg.pad(x[:2], (1, 0), 1.0),
    "concat": lambda x, w: tg.concat([x[1:], w[:1]]),
    "sum of a product": lambda x, w: tg.broadcast_to((x * x).sum(), (3,)),
    "sum of a broadcast product": lambda x, w: tg.outer(x, w * x).sum(0),
    "product": lambda x, w: tg.outer(x, w) @ x,
    "scattered": lambda x, w: tg.scatter_add(3, [0, 2, 0], x),
    "scattered columns": lambda x, w: tg.scatter_add(3, [0, 2], tg.outer(x, x)[:, :2], 1)[1],
    "flipped": lambda x, w: tg.flip(x) + x,
    "unchanging": lambda x, w: w,
}


@pytest.mark.parametrize("name", TERMS)
def test_sums_over_steps(name):
    """Whatever way a pass finds to add up a term of every step: the value is the loop's."""
    term = TERMS[name]
    xs, w = f64(4, 3), f64(3, seed="w") + 3.0

    def run(xs, w):
        return tg.scan(lambda c, x: (c + term(x, w), None), tg.ones((3,), xs.dtype), xs)[0]

    want = np.ones(3) + sum(term(x, w).numpy() for x in tg.unstack(xs))
    close(tg.jit(run)(xs, w).numpy(), want, 1e-12)

    def by_hand(xs, w):
        return sum((term(x, w) for x in tg.unstack(xs)), tg.ones((3,), xs.dtype))

    weights = f64(3, seed="g")
    for loop, plain in zip(
        *(tg.jit(tg.grad(lambda xs, w, f=f: (f(xs, w) * weights).sum(), (0, 1)))(xs, w)
          for f in (run, by_hand))
    ):  # fmt: skip
        close(loop.numpy(), plain.numpy(), 1e-12)


CARRIES = {
    "read after every step": lambda c, x: ((n := c + x), n),
    "read before every step": lambda c, x: (c + x, c),
    "taken away": lambda c, x: (c - x, None),
    "taken from": lambda c, x: (x - c, None),
    "one number": lambda c, x: (c + x[:1], None),
    "one number that is read": lambda c, x: ((n := x[:1] + c), n * x),
}


@pytest.mark.parametrize("start", [tg.zeros, tg.ones])
@pytest.mark.parametrize("name", CARRIES)
def test_what_looks_like_a_sum_over_steps(name, start):
    step, xs = CARRIES[name], f64(4, 3)

    def run(xs):
        end, ys = tg.scan(step, start((3,), xs.dtype), xs)
        return [end] if ys is None else [end, ys]

    c, ys = start((3,), xs.dtype), []
    for x in tg.unstack(xs):
        c, y = step(c, x)
        ys.append(y)
    for got in (tg.jit(run)(xs), run(xs)):
        assert got[0].shape == (3,)
        close(got[0].numpy(), c.numpy(), 1e-14)
        if ys[0] is not None:
            close(got[1].numpy(), tg.stack(ys).numpy(), 1e-14)
