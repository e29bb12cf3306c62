"""A short loop of states alone, in the step of another loop, is written out there."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.graph import Graph
from tinygrad_rnn.scan import WRITTEN_OUT
from tinygrad_rnn.testing import check_grads

T, B, H = 4, 3, 5


def network(steps, loop, save="auto", tail=False):
    """(W, h, x) -> states [T,B,H]: every step of the outer loop does several of the inner one."""

    def run(W, h, x):
        def inner(c, _):
            a, b = c
            return (tg.tanh(a @ W - 0.3 * b), a), (a if tail else None)

        def outer(c, x):
            c, rest = loop(inner, c, None, steps, save=save)
            return (tg.sin(c[0] + x), c[1]), (c[0], rest)

        return tg.scan(outer, (h, h * 0.5), x)[1][0]

    return run


def python_loop(step, carry, xs, length, save):
    for _ in range(length):
        carry, _ = step(carry, None)
    return carry, None


def loops(f, *args):
    """How many scans there are, at every depth."""

    def count(graph: Graph) -> int:
        inside = [v for n in graph.nodes for v in n.attrs.values() if isinstance(v, Graph)]
        return sum(n.op.name == "scan" for n in graph.nodes) + sum(map(count, inside))

    return count(tg.trace(f)(*args))


@pytest.fixture
def args():
    rng = np.random.default_rng(1)
    shapes = (H, H), (B, H), (T, B, H)
    return [tg.tensor(rng.normal(size=s) * 0.7) for s in shapes]


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_it_is_the_loop_in_python(steps, args):
    written = network(steps, tg.scan)
    assert loops(written, *args) == 1
    want = network(steps, python_loop)(*args).numpy()
    assert np.abs(want).max() > 0.3
    for run in (written, tg.jit(written)):
        np.testing.assert_array_equal(run(*args).numpy(), want)
    check_grads(written, [a.numpy() for a in args], order=2)


def test_what_stays_a_loop(args):
    nodes = 5  # of the inner step
    assert loops(network(WRITTEN_OUT // nodes + 1, tg.scan), *args) == 2  # a long one
    assert loops(network(3, tg.scan, save="carry"), *args) == 2  # one that saves memory
    assert loops(network(3, tg.scan, tail=True), *args) == 2  # one with a stack
    alone = network(3, tg.scan)
    assert loops(lambda W, h, x: alone(W, h, x), *args) == 1
    top = lambda W, h, x: tg.scan(lambda c, _: (tg.tanh(c @ W), None), h, None, 3)[0]  # noqa: E731
    assert loops(top, *args) == 1  # and a loop outside of loops


def test_numba_runs_all_of_it_as_one_program(args):
    pytest.importorskip("numba")
    from tinygrad_rnn.backend import get_backend, optimize

    with tg.use_backend("numba"):
        run = tg.jit(network(3, tg.scan))
        y = run(*[tg.tensor(a.numpy()) for a in args])
        report = get_backend("numba").report(optimize(run.recordings[0].graph))
    assert [how for name, how in report if name == "scan"] == ["compiled"]
    want = network(3, python_loop)(*args).numpy()
    np.testing.assert_allclose(y.numpy(), want, rtol=0, atol=1e-13)
