"""Steps that users write as plain functions: compiled ones, and refused ones that say so."""

from __future__ import annotations

import numpy as np
import pytest
from tinygrad_rnn_numba import loops

import tinygrad_rnn as tg
from tinygrad_rnn.backend import get_backend, optimize
from tinygrad_rnn.lower import Unsupported

from .compare import distance

T, B, H = 4, 5, 6


def leaky(h, x, W, b):
    a = tg.sigmoid(b)
    h = (1 - a) * h + a * tg.tanh(h @ W + x)
    return h, h


def attention_over_units(h, x, W, b):
    """A soft choice among the units of a row, and a count of the large ones."""
    p = tg.softmax(h @ W + b, axis=-1)
    many = tg.sum((p > 0.2).astype(h.dtype), axis=-1, keepdims=True)
    h = tg.tanh(p * h * H + x / (1 + many))
    return h, (h, many)


def multiplicative(h, x, W, b):
    m = (x @ W) * (h @ W.T)
    h = tg.where(m > 0, tg.tanh(m + b), 0.1 * m)
    return h, tg.concat([h, m], -1)


def two_orders(h, x, W, b):
    """An explicit Runge-Kutta step of an ordinary differential equation."""
    f = lambda h: tg.tanh(h @ W + x + b) - h  # noqa: E731
    k = f(h)
    h = h + 0.05 * (k + f(h + 0.1 * k))
    return h, None


def rows_look_at_each_other(h, x, W, b):
    h = tg.tanh(h - tg.mean(h, axis=0, keepdims=True) + x @ W + b)
    return h, h


def running_sums(h, x, W, b):
    h = tg.tanh(tg.cumsum(h, axis=-1) * 0.3 + x @ W + b)
    return h, h


def rows_attend(h, x, W, b):
    p = tg.softmax(h @ h.T, axis=-1)
    h = tg.tanh(p @ h + x @ W + b)
    return h, h


def whole_quotients(h, x, W, b):
    h = tg.tanh(h @ W + b + x + (h * 4.0) // 1.5)
    return h, h


COMPILED = [leaky, attention_over_units, multiplicative, two_orders]
REFUSED = {
    rows_look_at_each_other: "sum", running_sums: "cumsum", rows_attend: "product",
    whole_quotients: "'floordiv'",
}  # fmt: skip


def outputs(step, arrays, backend, second=True):
    with tg.use_backend(backend):
        leaves = [tg.tensor(a) for a in arrays]
        for t in leaves:
            t.requires_grad = True
        h, x, W, b = leaves
        carry, ys = tg.scan(lambda h, x: step(h, x, W, b), h, x)
        values = [carry, *tg.tree.flatten(ys)[0]]
        sum((y * y + y).sum() for y in values).backward(create_graph=second)
        first = [t.grad for t in leaves]
        if second:
            for t in leaves:
                t.grad = None
            sum((g * g).sum() for g in first).backward()
            values += [t.grad for t in leaves]
        return [v.detach().numpy() for v in (*values, *first)]


def operands(rng, dtype):
    shapes = [(B, H), (T, B, H), (H, H), (H,)]
    return [(0.7 * rng.normal(size=s)).astype(dtype) for s in shapes]


@pytest.mark.parametrize("step", [*COMPILED, *REFUSED], ids=lambda f: f.__name__)
def test_values_and_gradients(step, rng):
    arrays = operands(rng, "f8")
    truth = outputs(step, arrays, "numpy")
    for a, b in zip(outputs(step, arrays, "numba"), truth, strict=True):
        assert a.shape == b.shape and distance(a, b) <= 1e-9
    single = [a.astype("f4") for a in arrays]
    numpy, numba = outputs(step, single, "numpy"), outputs(step, single, "numba")
    for a, c, b in zip(numba, numpy, outputs(step, [a.astype("f8") for a in single], "numpy")):
        assert a.dtype == c.dtype and distance(a, b) <= 4 * distance(c, b) + 2e-6


@pytest.fixture
def refused(monkeypatch):
    """The reasons for which loops were left to NumPy."""
    reasons = []

    def noting(node, lower=loops.lower):
        try:
            return lower(node)
        except Unsupported as reason:
            reasons.append(str(reason))
            raise

    monkeypatch.setattr(loops, "lower", noting)
    return reasons


def gated_before_the_product(h, x, W, b):
    h = tg.tanh((h * x) @ W + b)
    return h, None


def the_last_input(h, x, W, b):
    """Stacks of the carry before and after a step, which is an operand."""
    return x, (h, x)


def powers(h, x, W, b):
    """The same of a carry that is a product."""
    after = h @ W
    return after, (h, after)


def windows(h, x, W, b):
    """Slices that overlap, of a matrix that they do not divide."""
    h = tg.tanh(h + x)
    return h, (h, tg.sin(h[:, :4]) * tg.cos(h[:, 2:]))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("step", [gated_before_the_product, the_last_input, powers, windows])
def test_values_of_steps_of_unusual_form(step, reverse, rng, refused):
    """In reverse, what is written beyond a row's end stays there."""
    arrays = operands(rng, "f8")
    found = []
    for backend in ("numpy", "numba"):
        with tg.use_backend(backend):
            h, x, W, b = map(tg.tensor, arrays)
            end, ys = tg.scan(lambda h, x, W=W, b=b: step(h, x, W, b), h, x, reverse=reverse)
            found.append([v.numpy() for v in (end, *tg.tree.flatten(ys)[0])])
    assert not refused
    for a, b in zip(*found, strict=True):
        assert a.shape == b.shape and distance(a, b) <= 1e-12


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("step", [leaky, attention_over_units, multiplicative])
def test_first_derivatives_are_compiled(step, dtype, rng, refused):
    outputs(step, operands(rng, dtype), "numba", second=False)
    assert not refused


@pytest.mark.parametrize("shape", [(H,), (1, H), (), (1,), (1, 1), (B, 1), (B, H)], ids=str)
def test_shared_parameters_of_every_shape(shape, rng, refused):
    """Through a function inside the step: their gradients are summed after the loop."""
    found = []
    h, x, b = (rng.normal(size=s) for s in ((B, H), (T, B, H), shape))
    for backend in ("numpy", "numba"):
        with tg.use_backend(backend):
            leaves = [tg.tensor(np.asarray(a)) for a in (h, x, b)]
            for t in leaves:
                t.requires_grad = True
            w = leaves[2]
            step = lambda h, x, w=w: (tg.tanh(h * tg.sigmoid(w) + x + tg.exp(w)), h)  # noqa: E731
            c, y = tg.scan(step, *leaves[:2])
            ((c * c).sum() + (y * y).sum()).backward()
            found.append([t.grad.numpy() for t in leaves])
    assert all(distance(a, b) <= 1e-12 for a, b in zip(*found, strict=True))
    assert not refused


def report(step, arrays):
    with tg.use_backend("numba"):
        h, x, W, b = [tg.tensor(a) for a in arrays]
        graph = tg.trace(lambda h, x: tg.scan(lambda h, x: step(h, x, W, b), h, x))(h, x)
        return dict(get_backend().report(optimize(graph)))


@pytest.mark.parametrize("step", COMPILED, ids=lambda f: f.__name__)
def test_compiled_and_reported(step, rng):
    assert report(step, operands(rng, "f4"))["scan"] == "compiled"


@pytest.mark.parametrize("step", REFUSED, ids=lambda f: f.__name__)
def test_refused_and_reported(step, rng):
    said = report(step, operands(rng, "f4"))["scan"]
    assert said.startswith("loop over NumPy kernels: ") and REFUSED[step] in said


def test_a_loop_forgets_the_weights_of_its_last_run(rng):
    h, x, W, b = operands(rng, "f8")
    for weights in (W, W.T.copy(), W + 1.0, W[::-1].copy()):
        found = []
        for backend in ("numpy", "numba"):
            with tg.use_backend(backend):
                given = [tg.tensor(a) for a in (h, x, weights, b)]
                step = lambda h, x, given=given: leaky(h, x, *given[2:])  # noqa: E731
                found.append([v.numpy() for v in tg.scan(step, *given[:2])])
        assert all(distance(a, b) <= 1e-12 for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("reverse", [False, True])
def test_the_last_carry_does_not_keep_the_stack_of_all(reverse, rng):
    with tg.use_backend("numba"):
        h, x, W, b = map(tg.tensor, operands(rng, "f8"))
        end, ys = tg.scan(lambda h, x: leaky(h, x, W, b), h, x, reverse=reverse)
    assert np.array_equal(end.numpy(), ys.numpy()[0 if reverse else -1])
    assert not np.shares_memory(end._value.data, ys._value.data)


def test_masks_and_counters(rng):
    """Booleans and integers as carries, inputs and outputs."""

    def step(carry, inputs):
        h, alive, n = carry
        x, stop = inputs
        h = tg.where(alive, tg.tanh(h + x), h)
        n = n + alive.astype("int64")
        alive = alive & ~stop
        return (h, alive, n), (h, alive, n)

    x, stop = rng.normal(size=(T, B, H)), rng.random((T, B, 1)) < 0.3
    found = {}
    for backend in ("numpy", "numba"):
        with tg.use_backend(backend):
            start = tg.zeros((B, H), "float64"), tg.full((B, 1), True), tg.zeros((B, 1), "int64")
            end, ys = tg.scan(step, start, (tg.tensor(x), tg.tensor(stop)))
            found[backend] = [v.numpy() for v in (*end, *ys)]
    for a, b in zip(found["numba"], found["numpy"], strict=True):
        assert a.dtype == b.dtype and distance(a, b) <= 1e-12


def test_infinities_and_nan_stay_where_they_are(rng):
    """Rows are independent: what is wrong in one row is wrong in that row alone."""
    x = rng.normal(size=(T, 9, H))
    x[1, 3, 2], x[2, 7, 0] = np.nan, np.inf
    W = rng.normal(size=(H, H))
    found = {}
    for backend in ("numpy", "numba"):
        with tg.use_backend(backend):
            w, xs = tg.tensor(W), tg.tensor(x)
            _, y = tg.scan(
                lambda h, x, w=w: (tg.relu(h @ w + x), tg.exp(h)), tg.zeros((9, H), "float64"), xs
            )
            found[backend] = y.numpy()
    a, b = found["numba"], found["numpy"]
    assert np.array_equal(np.isnan(a), np.isnan(b))
    rows = [r for r in range(9) if r not in (3, 7)]
    assert np.isfinite(a[:2]).sum() and np.allclose(a[:, rows], b[:, rows], rtol=1e-9)
    assert np.array_equal(np.isposinf(a), np.isposinf(b))


def test_views_are_read_as_they_are(rng):
    """Operands that are transposed, cut, reversed or spread."""
    base = rng.normal(size=(H, B, T))
    found = []
    for backend in ("numpy", "numba"):
        with tg.use_backend(backend):
            x = tg.tensor(base).permute(2, 1, 0)[::-1]
            h = tg.broadcast_to(tg.tensor(base[0, :1, :1]), (B, H))
            w = tg.tensor(base[:, :, :1].reshape(H, B)).T[:, :].T @ tg.ones((B, H), "float64") * 0.1
            _, y = tg.scan(lambda h, x: (tg.tanh(h @ w.T + x), h), h, x)  # noqa: B023
            found.append(y.numpy())
    assert distance(found[1], found[0]) <= 1e-12


@pytest.mark.parametrize("reduce", [tg.sum, tg.max], ids=lambda f: f.__name__)
def test_sums_and_maxima_of_rows_are_outputs_and_carries(reduce, rng, refused):
    """What a reduction makes is written once, where it is kept: as a stack, a carry, or both."""

    def step(carry, x):
        h, total = carry
        h = tg.tanh(h + x)
        row = reduce(h, 1)
        return (h, row), (row, reduce(tg.sign(h) * 0.3, 1), h * total.reshape(B, 1))

    h, x = rng.normal(size=(B, H)), rng.normal(size=(T, B, H))
    found = {}
    for backend in ("numpy", "numba"):
        with tg.use_backend(backend):
            end, ys = tg.scan(step, (tg.tensor(h), tg.zeros((B,), "float64")), tg.tensor(x))
            found[backend] = [v.numpy() for v in (*end, *ys)]
    assert not refused
    for a, b in zip(found["numba"], found["numpy"], strict=True):
        assert a.dtype == b.dtype and distance(a, b) <= 1e-12


@pytest.mark.parametrize("layout", ["bsh", "sbh", "hsb"])
def test_attention_over_a_memory_of_every_row(layout, rng):
    """Products with a matrix for each row: wherever its axes lie, with masks, to second order."""
    B, S, H = 5, 7, 19
    shape = [{"b": B, "s": S, "h": H}[c] for c in layout]
    memory, start = rng.normal(size=shape), rng.normal(size=(B, H))
    xs, W = rng.normal(size=(4, B, H)), rng.normal(size=(H, H)) / 3
    alive = np.arange(S) < np.array([7, 1, 3, 6, 2])[:, None]

    def attend(h, x, memory, W):
        scores = tg.einsum(f"bh,{layout}->bs", h, memory)
        weights = tg.softmax(tg.where(tg.tensor(alive), scores, -1e9))
        context = tg.einsum(f"bs,{layout}->bh", weights, memory)
        h = tg.tanh(h @ W + x + context)
        return h, tg.concat([h, weights], -1)

    def values(start, xs, memory, W):
        c, ys = tg.scan(lambda h, x: attend(h, x, memory, W), start, xs)
        return (c * c).sum() + (ys**3).sum()

    def all_of_it(*args):
        first = tg.grad(values, (0, 1, 2, 3))
        second = tg.grad(lambda *a: sum((g * g).sum() for g in first(*a)), (0, 2))
        return values(*args), *first(*args), *second(*args)

    found = []
    for backend in ("numpy", "numba"):
        with tg.use_backend(backend):
            f = tg.jit(all_of_it)
            found.append([y.numpy() for y in f(*map(tg.tensor, (start, xs, memory, W)))])
            ran = get_backend().report(optimize(f.recordings[0].graph))
    assert {how for name, how in ran if name == "scan"} == {"compiled"}
    for a, b in zip(*found, strict=True):
        assert distance(b, a) <= 1e-11


def test_a_refused_loop_inside_a_refused_loop_is_reported(rng):
    def inner(c, x):
        return tg.tanh(x + tg.cumsum(c, 0)), None

    def outer(c, x):
        end, _ = tg.scan(inner, c, x)
        return tg.tanh(end + tg.cumsum(c, 0)), end

    def run(c, x):
        return tg.scan(outer, c, x)[0]

    c, x = rng.normal(size=H), rng.normal(size=(T, 2, H))
    graph = optimize(tg.trace(run)(tg.tensor(c), tg.tensor(x)))
    said = [how for name, how in get_backend("numba").report(graph) if name == "scan"]
    assert len(said) == 2 and all(how.startswith("loop over NumPy kernels: ") for how in said)


def one_column(h, x, W, b):
    """Products of one column, read for all columns, kept, and as a state of their own."""
    gate = tg.sigmoid(h @ W[:, :1])
    return tg.tanh(h * gate + x @ W + b), (gate * h, h @ W[:, 1:2])


def test_products_of_one_column(rng):
    arrays = operands(rng, "f8")
    for a, b in zip(outputs(one_column, arrays, "numba"), outputs(one_column, arrays, "numpy")):
        assert distance(a, b) <= 1e-11
    assert report(one_column, arrays)["scan"] == "compiled"
    h, x, W, _ = arrays
    found = []
    for backend in ("numpy", "numba"):
        with tg.use_backend(backend):
            w, u = tg.tensor(W), tg.tensor(W[:, :1])

            def step(carry, x):
                h, c, _ = carry
                return (tg.tanh(h + x + c), h @ u, c), c * h  # noqa: B023

            start = tg.tensor(h), tg.tensor(h[:, :1]), tg.tensor(h[:, 1:2])
            carry, ys = tg.scan(step, start, tg.tensor(x) @ w)
            found.append([*[t.numpy() for t in carry], ys.numpy()])
    for a, b in zip(*found, strict=True):
        assert distance(b, a) <= 1e-11
