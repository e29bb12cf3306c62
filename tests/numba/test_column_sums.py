"""Sums over all rows and steps that the compiled loops gather themselves."""

from __future__ import annotations

import numpy as np
import pytest
from tinygrad_rnn_numba.backend import _grouped

import tinygrad_rnn as tg
from tinygrad_rnn import fuse
from tinygrad_rnn.backend import optimize

H = 33  # more than a vector, and not a multiple


def stacks(h, xs, W, reverse=False):
    def step(h, x):
        h = tg.tanh(h @ W + x)
        return h, (h, h * x, tg.concat([h, x], -1))

    return tg.scan(step, h, xs, reverse=reverse)[1]


def sums(h, xs, W, reverse=False):
    """Of a stack, of two, of one and an operand, of what light operations make of them, of one and
    an array that the loop has not read so far; nobody reads b and c otherwise."""
    other = tg.exp(xs)
    a, b, c = stacks(h, xs, W, reverse)
    return [
        tg.sum(a, axis=(0, 1)), tg.sum(b, axis=(0, 1)), tg.sum(c, axis=(0, 1)),
        tg.einsum("tbi,tbi->i", a, xs), tg.einsum("tbi,tbi->i", a, 1 - xs * a),
        tg.einsum("tbi,tbi->i", other, b), a,
    ]  # fmt: skip


def graph_of(f, *arrays):
    """What Numba runs, and the names of what is left beside loops and groups."""
    with tg.use_backend("numba"):
        traced = tg.explain(f)(*[tg.tensor(a) for a in arrays]).graph
    graph = _grouped(optimize(traced))
    for node in graph.nodes:
        if "body" in node.attrs:
            node.attrs["body"].verify()
    return graph, [n.op.name for n in graph.nodes]


def both(f, *arrays):
    found = []
    for name in ("numba", "numpy"):
        with tg.use_backend(name):
            found.append([y.numpy() for y in tg.jit(f)(*[tg.tensor(a) for a in arrays])])
    return found


def operands(rng, T, B, dtype="float64"):
    shapes = {(B, H): 1.0, (T, B, H): 1.0, (H, H): 0.1}  # a contraction: errors do not grow
    return [(scale * rng.normal(size=s)).astype(dtype) for s, scale in shapes.items()]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("T, B", [(7, 6), (1, 9), (5, 1), (0, 4), (6, 0), (40, 17)])
def test_they_are_what_numpy_sums(T, B, reverse, rng):
    arrays = operands(rng, T, B)

    def f(h, xs, W):
        return sums(h, xs, W, reverse)

    here, there = both(f, *arrays)
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_nothing_is_left_to_sum(rng):
    graph, names = graph_of(sums, *operands(rng, 7, 6))
    assert "sum" not in names and "contract" not in names
    (scan,) = [n for n in graph.nodes if n.op.name == "scan"]
    assert scan.attrs["sums"] == 6
    # h after the last step, its stack, the sums: b and c are stacked no longer
    assert [v.type.shape for v in scan.outputs if v.type.ndim == 3] == [(7, 6, H)]


@pytest.mark.parametrize("B", [1, 2, 5])
def test_few_rows_whose_threads_wait_for_each_other(B, rng, monkeypatch):
    """Every row has its own sums then, so that the number of members decides nothing."""
    from tinygrad_rnn_numba import calls

    monkeypatch.setenv("TINYGRAD_RNN_THREADS", "2")
    monkeypatch.setattr(calls, "WORTH_WAITING", 0)
    made = []
    monkeypatch.setattr(
        calls.Call, "_together",
        lambda self, original=calls.Call._together: made.append(original(self)) or made[-1],
    )  # fmt: skip
    arrays = operands(rng, 11, B)
    for a, b in zip(*both(sums, *arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    assert any(made)


def test_a_factor_made_of_a_column_and_a_vector_of_every_step(rng):
    """What light work makes has the rows of the loop, though no part of it is a matrix."""

    def f(h, xs, W):
        number, vector = xs[:, :, :1], xs[:, :1]

        def step(h, x):
            x, n, v = x
            h = tg.tanh(h @ W + x * n + v)
            return h, h

        ys = tg.scan(step, h, (xs, number, vector))[1]
        return [tg.einsum("tbi,tbi->i", ys, number * vector), ys]

    arrays = operands(rng, 5, 40)
    _, names = graph_of(f, *arrays)
    assert "contract" not in names
    for a, b in zip(*both(f, *arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("threads", ["1", "2", "3"])
def test_the_same_bits_at_every_run(threads, rng, monkeypatch):
    monkeypatch.setenv("TINYGRAD_RNN_THREADS", threads)
    with tg.use_backend("numba"):
        arrays = [tg.tensor(a) for a in operands(rng, 30, 21, "float32")]
        f = tg.jit(sums)
        first = [y.numpy() for y in f(*arrays)]
        for _ in range(5):
            assert all(np.array_equal(a, y.numpy()) for a, y in zip(first, f(*arrays)))


def test_groups(rng, monkeypatch):
    monkeypatch.setattr(fuse, "GROUP", 0)

    def f(x, y):
        z = tg.tanh(x) * y
        return tg.sum(z, axis=(0, 1)), tg.einsum("tbi,tbi->i", z, x), tg.exp(z)

    arrays = rng.normal(size=(5, 3, H)), rng.normal(size=(5, 3, H))
    graph, names = graph_of(f, *arrays)
    assert names == ["fused"]
    assert len(graph.nodes[0].outputs) == 3  # z is not written
    for a, b in zip(*both(f, *arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "f",
    [
        lambda a, xs: tg.sum(a, axis=0),
        lambda a, xs: tg.sum(a, axis=(0, 2)),
        lambda a, xs: tg.sum(tg.exp(a), axis=(0, 1)),
        lambda a, xs: tg.einsum("tbi,tbi->i", a, tg.flip(a, axis=0)),
        lambda a, xs: tg.einsum("tbi,tbj->ij", a, xs),
        lambda a, xs: tg.einsum("tbi,tbi->bi", a, xs),
    ],
    ids=["rows", "columns", "of a function", "another order", "a matrix", "of every row"],
)
def test_other_sums_stay_where_they_are(f, rng):
    def g(h, xs, W):
        return [f(stacks(h, xs, W)[0], xs)]

    arrays = operands(rng, 7, 6)
    graph, _ = graph_of(g, *arrays)
    (scan,) = [n for n in graph.nodes if n.op.name == "scan"]
    assert "sums" not in scan.attrs
    for a, b in zip(*both(g, *arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_a_loop_that_is_not_compiled_keeps_its_stacks(rng):
    def f(h, xs, W):
        def step(h, x):
            h = tg.tanh(tg.cumsum(h, axis=0) @ W + x)
            return h, h

        return [tg.sum(tg.scan(step, h, xs)[1], axis=(0, 1))]

    arrays = operands(rng, 7, 6)
    graph, names = graph_of(f, *arrays)
    assert "sum" in names and all("sums" not in n.attrs for n in graph.nodes)
    for a, b in zip(*both(f, *arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_gradients_of_biases_gains_and_peepholes_are_gathered_in_the_backward_loop(rng):
    with tg.use_backend("numba"):
        for cell in (tg.nn.LSTMCell, tg.nn.PeepholeLSTMCell, tg.nn.LayerNormLSTMCell):
            layer = tg.nn.Recurrent(cell(5, 8))
            x = tg.tensor(rng.normal(size=(9, 6, 5)).astype("float32"))
            w = tg.tensor(rng.normal(size=(9, 6, 8)).astype("float32"))

            def f(x, w, layer=layer):
                layer(x)[0].backward(w)
                return [p.grad for p in layer.parameters()]

            graph = tg.explain(f)(x, w).graph
            left = [n for n in _grouped(optimize(graph)).nodes if n.op.name in ("sum", "contract")]
            assert all(n.output.type.ndim > 1 for n in left), [str(n.output.type) for n in left]
