"""What steps are made of when people write them: one compiled loop each, and NumPy's numbers."""

from __future__ import annotations

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.backend import get_backend, optimize

from .compare import distance

T, B, H = 4, 5, 6


def one_column_of_the_input(h, x, W, v):
    return tg.tanh(h @ W + x * x[:, 2:3])


def one_column_of_the_state(h, x, W, v):
    return tg.tanh(x + h @ W) * tg.sigmoid(h[:, 0:1]) + h[:, 5:]


def columns_without_their_axis(h, x, W, v):
    return tg.tanh(h @ W + x) * x[:, 1][:, None] - h[:, 3][:, None]


def columns_of_what_is_computed(h, x, W, v):
    z = tg.tanh(h @ W + x)
    return z * tg.exp(z[:, 4:5]) - (z * h)[:, 1:2]


def shifted_units(h, x, W, v):
    return tg.tanh(tg.roll(h, 1, axis=1) @ W + tg.concat([tg.zeros_like(x[:, :2]), x[:, :-2]], 1))


def a_vector(h, x, W, v):
    return tg.tanh(h @ W + x) * tg.sigmoid(h @ v)[:, None]


def two_vectors_and_a_matrix(h, x, W, v):
    return tg.tanh(h @ W + x + (h @ (v * v))[:, None] * v) * tg.sigmoid(h @ v)[:, None]


def constant_arrays(h, x, W, v):
    z = tg.tanh(h @ W + x * tg.ones(H))
    return tg.where(z > 0, z * tg.full((B, 1), 0.5), tg.zeros((B, H))) + tg.full((B, H), 0.25)


def a_gradient_that_stops(h, x, W, v):
    return tg.tanh(h.detach() @ W + x * v)


def surrogate_gradient(h, x, W, v):
    return spike(0.9 * h + x @ W) * v + 0.5 * h


spike = tg.custom_vjp(
    lambda z: tg.where(z > 0, 1.0, 0.0).astype(z.dtype), lambda g, y, z: g / (1 + tg.abs(z)) ** 2
)

STEPS = [
    one_column_of_the_input, one_column_of_the_state, columns_without_their_axis,
    columns_of_what_is_computed, shifted_units, a_vector, two_vectors_and_a_matrix,
    constant_arrays, a_gradient_that_stops, surrogate_gradient,
]  # fmt: skip


def hows(graph, backend):
    return [how for name, how in get_backend(backend).report(optimize(graph)) if name == "scan"]


def outcome(loss, arrays, backend):
    """The value and its gradients by a compiled function, and how its loops run."""
    with tg.use_backend(backend):
        run = tg.jit(tg.value_and_grad(loss, argnums=tuple(range(len(arrays)))))
        value, grads = run(*map(tg.tensor, arrays))
        return [value.numpy(), *[g.numpy() for g in grads]], hows(run.recordings[0].graph, backend)


@pytest.mark.parametrize("step", STEPS, ids=lambda f: f.__name__)
def test_one_compiled_loop_with_the_same_numbers(step, rng):
    arrays = [0.7 * rng.normal(size=s) for s in ((B, H), (T, B, H), (H, H), (H,))]
    c = rng.normal(size=(T, B, H))

    def loss(h, x, W, v):
        last, ys = tg.scan(lambda h, x: (step(h, x, W, v),) * 2, h, x)
        return (ys * tg.tensor(c)).sum() + (last * last).sum()

    (got, how), (want, _) = (outcome(loss, arrays, b) for b in ("numba", "numpy"))
    assert how == ["compiled"] * 2
    for a, b in zip(got, want, strict=True):
        assert distance(a, b) <= 1e-12


def test_one_row_and_one_step(rng):
    """Where an axis of one element is no axis of rows."""
    for T, B in ((1, 1), (3, 1), (1, 4)):
        arrays = [rng.normal(size=s) for s in ((B, H), (T, B, H), (H, H), (H,))]

        def loss(h, x, W, v):
            def step(h, x):
                z = tg.tanh(h @ W + x) * tg.sigmoid(h @ v)[:, None] + x[:, :1] * tg.ones(H)
                return z, tg.concat([z[:, 1:], tg.zeros((B, 1), "float64")], 1)  # noqa: B023

            last, ys = tg.scan(step, h, x)
            return (ys * ys * ys).sum() + (last * last).sum()

        (got, how), (want, _) = (outcome(loss, arrays, b) for b in ("numba", "numpy"))
        assert how == ["compiled"] * 2
        for a, b in zip(got, want, strict=True):
            assert distance(a, b) <= 1e-12


def test_inputs_that_are_looked_up_counted_and_ordered(rng):
    """What depends on the inputs alone, and a fused loop cannot do, is done before the loop."""
    ids, score = rng.integers(0, 9, (T, B)), rng.normal(size=(T, B, H))
    arrays = [rng.normal(size=s) for s in ((B, H), (9, H), (H, H))]

    def loss(h, table, W):
        def step(h, inputs):
            t, i, s = inputs
            x = tg.take(table, i, axis=0) + tg.cumulative_sum(tg.softmax(s), axis=-1)
            best = tg.argmax(s, axis=-1).astype(h.dtype)[:, None]
            h = tg.where(t % 3 == 0, tg.tanh(h @ W + x), h - 0.1 * best + (t // 2) * 0.1)
            return h, h

        xs = tg.arange(T), tg.tensor(ids), tg.tensor(score)
        last, ys = tg.scan(step, h, xs)
        return (ys * ys).sum() + (last * last * last).sum()

    (got, how), (want, _) = (outcome(loss, arrays, b) for b in ("numba", "numpy"))
    assert how == ["compiled"] * 2
    for a, b in zip(got, want, strict=True):
        assert distance(a, b) <= 1e-12


def test_dropout_in_the_step(rng):
    arrays = [rng.normal(size=s) for s in ((B, H), (T, B, H), (H, H))]
    found = []
    for backend in ("numba", "numpy"):
        drop = nn.Dropout(0.4, rng=tg.Generator(3, backend=backend))

        def loss(h, x, W):
            last, ys = tg.scan(lambda h, x: (tg.tanh(drop(h @ W) + x),) * 2, h, x)  # noqa: B023
            return (ys * ys * ys).sum() + (last * last).sum()

        found.append(outcome(loss, arrays, backend))
    assert found[0][1] == ["compiled"] * 2
    for a, b in zip(found[0][0], found[1][0], strict=True):
        assert distance(a, b) <= 1e-12


@pytest.mark.parametrize("rows", [1, H])
def test_numbers_beside_matrices(rows, rng):
    """A counter, a temperature, a flag and a number per row, as carries and as outputs."""
    arrays = [rng.normal(size=s) for s in ((rows, H), (T, rows, H), (H, H), (H,))]

    def loss(h, x, W, v):
        def step(carry, x):
            h, n, heat, on, row = carry
            z = tg.where(on, tg.tanh(h @ W + x) * heat / (1.0 + n), h + heat)
            row = 0.5 * row + z[:, 0] / (n + 1) * heat
            heat = 0.9 * heat + 0.01
            return (z + row[:, None], n + 1, heat, n < 2, row), (z * v, heat, n, on)

        start = h, tg.tensor(0), tg.tensor(1.5, dtype="float64"), tg.tensor(True), h[:, 1]
        (h, n, heat, _, row), (zs, heats, ns, ons) = tg.scan(step, start, x)
        numbers = heats.sum() * heat + (ns * n).sum() + ons.sum()
        return (zs * zs).sum() + (h * h * h).sum() + (row * row).sum() + numbers

    (got, how), (want, _) = (outcome(loss, arrays, b) for b in ("numba", "numpy"))
    assert how == ["compiled"] * 3  # the numbers ahead, the rows, the way back
    for a, b in zip(got, want, strict=True):
        assert distance(a, b) <= 1e-12


def test_a_number_that_rows_change_is_left_to_numpy(rng):
    """And a vector that all rows share; the numbers are right all the same."""
    arrays = [rng.normal(size=s) for s in ((B, H), (T, B, H), (), (H,))]

    def loss(h, x, c, v):
        def step(carry, x):
            h, c = carry
            h = tg.tanh(h * c + x + v * c)
            return (h, 0.5 * c + h.mean()), h

        (h, c), ys = tg.scan(step, (h, c), x)
        return (h * h).sum() * c + (ys * ys * ys).sum()

    (got, how), (want, _) = (outcome(loss, arrays, b) for b in ("numba", "numpy"))
    assert all(h.startswith("loop over NumPy kernels") for h in how)
    for a, b in zip(got, want, strict=True):
        assert distance(a, b) <= 1e-12


def two_axes(h, x, W, v, m):
    """Attention-like reductions, columns, pieces and masks behind two leading axes."""
    h, total = h
    z = tg.tanh(h @ W + x * m) * tg.sigmoid(h @ v)[..., None]
    z = z / (1 + tg.sum(z * z, axis=-1, keepdims=True)) + v
    z = tg.where(m > 0, z, h) - tg.max(h, axis=-1, keepdims=True)
    z = tg.concat([z[..., 2:], tg.tanh(z[..., :2])], axis=-1)
    total = 0.5 * total + z.mean(axis=-1)
    return (z, total), (z * z, total)


@pytest.mark.parametrize("lead", [(2, 3), (1, 4), (5, 1), (3, 3)], ids=str)
def test_batches_of_batches_are_one_batch(lead, rng):
    shapes = [(*lead, H), (T, *lead, H), (H, H), (H,)]
    arrays = [0.7 * rng.normal(size=s) for s in shapes]
    m = (rng.random((*lead, 1)) < 0.7).astype("f8")

    def loss(h, x, W, v):
        def step(c, x):
            return two_axes(c, x, W, v, tg.tensor(m))

        (h, total), (ys, totals) = tg.scan(step, (h, h[..., 0]), x)
        return (ys * ys).sum() + (h * h * h).sum() + (total * total).sum() + totals.sum()

    (got, how), (want, _) = (outcome(loss, arrays, b) for b in ("numba", "numpy"))
    assert how == ["compiled"] * 2
    for a, b in zip(got, want, strict=True):
        assert distance(a, b) <= 1e-12


def test_two_axes_that_are_looked_at_apart_are_left_to_numpy(rng):
    """An axis of three that three weights, or its neighbour, know; the numbers are right."""
    arrays = [rng.normal(size=s) for s in ((3, 3, H), (T, 3, 3, H), (3, H, H), (3, 3))]

    def members(h, x, W, A):  # an ensemble: every member has a matrix
        return tg.tanh(tg.einsum("ebi,eij->ebj", h, W) + x)

    def mixed(h, x, W, A):
        return tg.tanh(tg.einsum("ebi,ec->cbi", h, A) + x * W[0, 0])

    def spread(h, x, W, A):
        return tg.tanh(h * A + x * A[:, :, None] * W[0, 0])[:, ::-1]

    for step in (members, mixed, spread):
        if step is spread:
            arrays = [a[..., :3] for a in arrays]

        def loss(h, x, W, A):
            last, ys = tg.scan(lambda h, x: (step(h, x, W, A),) * 2, h, x)  # noqa: B023
            return (ys * ys * ys).sum() + (last * last).sum()

        (got, how), (want, _) = (outcome(loss, arrays, b) for b in ("numba", "numpy"))
        assert all(h.startswith("loop over NumPy kernels") for h in how), step
        for a, b in zip(got, want, strict=True):
            assert distance(a, b) <= 1e-11
