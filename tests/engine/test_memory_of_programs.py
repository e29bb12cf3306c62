"""Where buffers come from, how long they live, and who may write to them."""

from __future__ import annotations

import copy
import threading
import tracemalloc

import numpy as np
from tinygrad_rnn_numpy import pool

import tinygrad_rnn as tg
from tinygrad_rnn.backend import optimize
from tinygrad_rnn.graph import Graph, Node, Var


def test_tensors_copy_what_they_are_made_of():
    for host in (np.zeros(3), np.zeros((100, 100))):
        t = tg.tensor(host)
        host[0] = 5.0
        assert not t.numpy().any()


def test_copies_are_leaves_of_their_own():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    c, (d, e) = copy.copy(w), copy.deepcopy([w, w])
    assert d is e and d is not w
    (w * 2.0 + c * 3.0 + d * 5.0).sum().backward()
    assert [t.grad.tolist() for t in (w, c, d)] == [[2, 2], [3, 3], [5, 5]]


def test_a_constant_of_a_recording_does_not_outlive_it():
    kept = []

    @tg.jit
    def f(x):
        kept.append(tg.tensor(np.array([1.0, 2.0], np.float32)))
        return x * kept[-1]

    assert f(tg.tensor([3.0, 4.0])).tolist() == [3.0, 8.0]
    try:
        value = kept[0] + 1.0
    except RuntimeError as error:
        assert "recorded" in str(error)
    else:
        raise AssertionError(value)


def matrices_of_all_steps(step, T=6, B=2, I=3, N=5):
    """How many stacks of matrices [T, B, N, N] a compiled loop over `step` works with."""
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(T, B, I))
    weights = [tg.tensor(rng.normal(size=(I, N))) for _ in range(3)]
    start = tg.zeros((B, N, N), dtype="float64")
    run = tg.jit(lambda x: tg.scan(lambda C, x: step(C, *[x @ w for w in weights]), start, x)[1])
    by_hand, C = [], start
    for x in xs:
        C, y = step(C, *[tg.tensor(x) @ w for w in weights])
        by_hand.append(y.numpy())
    assert np.allclose(run(tg.tensor(xs)).numpy(), by_hand, rtol=1e-13)
    graph = optimize(run.recordings[0].graph)
    made = [v for node in graph.nodes for v in node.outputs]
    return sum(v.type.size == T * B * N * N for v in made)


def test_matrices_of_two_vectors_are_made_at_each_step():
    """Keys and values for all steps are vectors; what a memory is written with would be large."""

    def spread(C, q, k, v):
        C = tg.sigmoid(q)[:, :, None] * C + v[:, :, None] * k[:, None, :]
        return C, (C * q[:, None, :]).sum(axis=-1)

    def product(C, q, k, v):
        C = C + tg.einsum("bi,bj->bij", v, tg.exp(k))
        return C, tg.einsum("bij,bj->bi", C, q)

    def read_by_a_product(C, q, k, v):
        m = tg.einsum("bi,bj->bij", v, k)
        return 0.5 * C + m, tg.einsum("bij,bj->bi", m, q)

    assert matrices_of_all_steps(spread) == 0
    assert matrices_of_all_steps(product) == 1  # read after the loop, by one product
    assert matrices_of_all_steps(read_by_a_product) == 1


# --- the pool -------------------------------------------------------------------------------------


def address(a: np.ndarray) -> int:
    return a.__array_interface__["data"][0]


def test_large_arrays_begin_at_a_cache_line_and_are_used_again(monkeypatch):
    monkeypatch.setattr(pool, "_blocks", pool._Blocks())
    a, b = (pool.empty((1000, 3), np.float64) for _ in range(2))
    assert address(a) % 64 == address(b) % 64 == 0 and address(a) != address(b)
    view, at = a[5:, 1], address(a)
    del a
    c = pool.empty((1000, 3), np.float64)
    assert address(c) not in (at, address(b))  # a view is still there
    del view
    assert address(pool.empty((3000,), np.float64)) == at


def test_free_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(pool, "_blocks", pool._Blocks())
    monkeypatch.setattr(pool, "LARGEST", 100_000)
    for n in range(5000, 6000):
        pool.empty((n,), np.uint8)
    assert pool._blocks.held <= 100_000
    assert sum(n * len(found) for n, found in pool._blocks.by_size.items()) == pool._blocks.held
    in_use = [pool.empty((20_000,), np.uint8) for _ in range(9)]
    assert pool._blocks.held <= 100_000 and len(in_use) == 9


def test_threads_share_no_blocks():
    pool.empty((5001,), np.uint8)
    found = []
    thread = threading.Thread(target=lambda: found.append(dict(pool._blocks.by_size)))
    thread.start()
    thread.join()
    assert found == [{}] and 5001 in pool._blocks.by_size


# --- programs -------------------------------------------------------------------------------------


def test_a_buffer_lives_until_its_last_reader():
    def chain(x):
        for _ in range(12):
            x = tg.cumsum(x, 0)
        return x.sum()

    x = tg.ones((250_000,), "float64")
    f = tg.jit(chain)
    f(x)
    tracemalloc.start()
    f(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * x.size * 8


def test_a_value_that_is_stacked_twice_lies_in_both_stacks():
    """Without the passes, which would make one stack of two."""
    body = tg.trace(lambda c, x: c + x)(tg.ones((2,)), tg.ones((2,)))
    c = body.outputs[0]
    body = Graph(body.inputs, body.nodes, [c, c, c, body.inputs[1]])
    xs = tg.tensor(np.arange(6.0, dtype=np.float32).reshape(3, 2))
    start = tg.ones((2,))
    attrs = {
        "body": body, "n_const": 0, "n_carry": 1, "length": 3, "reverse": False, "shown": 4,
        "save": "auto",
    }  # fmt: skip
    op = next(n for n in tg.trace(lambda c, xs: tg.scan(lambda c, x: (c + x, c), c, xs))(
        start, xs).nodes if n.op.name == "scan").op  # fmt: skip
    inputs = (Var(start.type), Var(xs.type))
    outputs = tuple(Var(t) for t in op.type(start.type, xs.type, **attrs))
    program = start.backend.compile(Graph(inputs, [Node(op, inputs, attrs, outputs)], outputs))
    final, once, twice, given = program(start.numpy(), xs.numpy())
    want = 1 + np.cumsum(xs.numpy(), 0)
    for stack in (once, twice):
        np.testing.assert_array_equal(stack, want)
    np.testing.assert_array_equal(given, xs.numpy())
    np.testing.assert_array_equal(final, want[-1])
