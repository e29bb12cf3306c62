"""The three lines that test a backend, and what this one adds."""

import tinygrad_rnn as tg
from tinygrad_rnn.testing import BackendConformance


class TestProfiler(BackendConformance):
    backend = "profiler"


def test_products_of_a_loop_are_counted():
    with tg.use_backend("profiler") as profiler:
        w, x = tg.ones((3, 3)), tg.ones((7, 2, 3))
        profiler.reset()
        tg.scan(lambda h, x: ((h @ w + x).tanh(), None), x[0], x)
    assert profiler.rows["contract"][0] == profiler.rows["tanh"][0] == 7
    assert profiler.rows["tanh"][2] == 7 * 2 * 3 * 4  # bytes of seven results of f32[2,3]
    assert profiler.table().split()[:4] == ["primitive", "calls", "ms", "MB"]
