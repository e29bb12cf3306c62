"""All cells on the Numba backend against NumPy's: values, gradients, gradients of gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tinygrad_rnn_numba import calls, runtime

import tinygrad_rnn as tg
from tinygrad_rnn import fuse, nn

from .compare import agree, results

CELLS = {
    "rnn": lambda i, h: nn.RNNCell(i, h, rng=1),
    "relu": lambda i, h: nn.RNNCell(i, h, nonlinearity="relu", rng=1),
    "lstm": lambda i, h: nn.LSTMCell(i, h, rng=1),
    "gru": lambda i, h: nn.GRUCell(i, h, rng=1),
    "gru before": lambda i, h: nn.GRUCell(i, h, reset_after=False, rng=1),
    "mgu": lambda i, h: nn.MinimalGatedUnitCell(i, h, rng=1),
    "ln gru": lambda i, h: nn.LayerNormGRUCell(i, h, rng=1),
    "jordan": lambda i, h: nn.JordanCell(i, h, 2, rng=1),
    "lstm 1997": lambda i, h: nn.LSTM1997Cell(i, h, rng=1),
    "coupled": lambda i, h: nn.CoupledLSTMCell(i, h, rng=1),
    "peephole": lambda i, h: nn.PeepholeLSTMCell(i, h, rng=1),
    "ln lstm": lambda i, h: nn.LayerNormLSTMCell(i, h, rng=1),
    "residual": lambda i, h: nn.Residual(nn.LSTMCell(h, h, rng=1)),
    "zoneout": lambda i, h: nn.Zoneout(nn.GRUCell(i, h, rng=1), 0.3).eval(),
}


@pytest.mark.parametrize("name", CELLS)
def test_cell(name, rng):
    i, h = (6, 17) if name != "residual" else (17, 17)
    x = rng.normal(size=(5, 9, i))
    agree(lambda: nn.Recurrent(CELLS[name](i, h)), x, single=True)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "mgu", "peephole", "ln lstm"])
def test_second_order(name, rng):
    agree(lambda: nn.Recurrent(CELLS[name](3, 5)), rng.normal(size=(3, 4, 3)), second=True)


@pytest.mark.parametrize("name", ["lstm", "gru", "ln lstm"])
def test_sizes(name, rng, monkeypatch):
    """Every remainder of rows and of columns; one compiled loop for all but the smallest."""
    monkeypatch.setattr(fuse, "GROUP", math.inf)  # whether groups are worth it depends on sizes
    shapes = [
        (2, b, 3, h) for b, h in zip((2, 3, 5, 8, 9, 16, 17, 2), (2, 15, 16, 17, 33, 48, 49, 50))
    ]
    shapes += [(t, 4, 2, 5) for t in (0, 1, 2, 5)] + [(3, 0, 2, 5)]
    T, B, i, h = shapes.pop(4)
    agree(lambda: nn.Recurrent(CELLS[name](i, h)), rng.normal(size=(T, B, i)))
    before = set(runtime._compiled)
    for T, B, i, h in shapes:
        agree(lambda: nn.Recurrent(CELLS[name](i, h)), rng.normal(size=(T, B, i)))  # noqa: B023
    more = [s for s in set(runtime._compiled) - before if not s.startswith("gemm")]
    assert not more, more
    for B, h in ((1, 5), (5, 1), (1, 1), (1, 17), (17, 1)):
        agree(lambda: nn.Recurrent(CELLS[name](2, h)), rng.normal(size=(3, B, 2)))  # noqa: B023


@pytest.mark.parametrize("make", [nn.LSTM, nn.GRU, nn.RNN])
def test_ragged_bidirectional_stacks(make, rng):
    x = rng.normal(size=(6, 5, 4))
    lengths = np.array([6, 0, 3, 1, 5])
    for both in (False, True):
        agree(
            lambda: make(4, 7, num_layers=2, bidirectional=both, rng=3),  # noqa: B023
            x, lengths=lengths, single=both,
        )  # fmt: skip


def test_states_are_used_and_differentiated(rng):
    x = rng.normal(size=(4, 5, 3))
    state = (rng.normal(size=(5, 8)), rng.normal(size=(5, 8)))
    agree(lambda: nn.Recurrent(nn.LSTMCell(3, 8, rng=0)), x, state)
    agree(lambda: nn.Recurrent(nn.LSTMCell(3, 8, rng=0), reverse=True), x, state, second=True)


def test_padding_never_matters(rng):
    x = rng.normal(size=(5, 4, 3)).astype("f4")
    lengths = np.array([5, 2, 0, 3])
    poisoned = np.where(np.arange(5)[:, None, None] < lengths[:, None], x, np.float32(np.nan))
    a = results(lambda: nn.LSTM(3, 6, rng=0), "numba", "f4", x, lengths=lengths)
    b = results(lambda: nn.LSTM(3, 6, rng=0), "numba", "f4", poisoned, lengths=lengths)
    for u, v in zip(a, b):
        assert np.array_equal(u, v)


@pytest.mark.parametrize("name", ["lstm", "ln lstm"])
def test_threads_decide_nothing(name, rng, monkeypatch):
    """The same bits again for the same number of threads; the values for any number."""
    x = rng.normal(size=(7, 33, 5))

    def run(dtype):
        return results(lambda: nn.Recurrent(CELLS[name](5, 19)), "numba", dtype, x)

    for dtype, tol in (("f4", 1e-5), ("f8", 1e-13)):
        found = {}
        for count in ("1", "2", "5"):
            monkeypatch.setenv("TINYGRAD_RNN_THREADS", count)
            found[count] = run(dtype)
            for a, b in zip(found[count], run(dtype), strict=True):
                assert np.array_equal(a, b)
        for count in ("2", "5"):
            for a, b in zip(found[count], found["1"], strict=True):
                assert np.allclose(a, b, rtol=tol, atol=tol)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", ["lstm", "mgu", "ln lstm"])
def test_a_gang_computes_what_one_thread_computes(name, rows, rng, monkeypatch):
    """Threads that share the columns of products and wait for each other: the same values."""
    x = rng.normal(size=(7, rows, 5))
    driven = []
    monkeypatch.setattr(calls, "WORTH_WAITING", 0)
    drive = runtime.drive_gang
    monkeypatch.setattr(runtime, "drive_gang", lambda *a: driven.append(drive(*a)))
    for dtype in ("f4", "f8"):
        found = {}
        for count in ("1", "3"):
            monkeypatch.setenv("TINYGRAD_RNN_THREADS", count)
            driven.clear()
            found[count] = results(lambda: nn.Recurrent(CELLS[name](5, 67)), "numba", dtype, x)
            assert bool(driven) == (count == "3" and runtime.gangs())
        for a, b in zip(found["3"], found["1"], strict=True):
            assert np.allclose(a, b, rtol=1e-5 if dtype == "f4" else 1e-13, atol=1e-6)


def test_all_steps_of_training_stay_on_the_backend(rng):
    with tg.use_backend("numba"):
        layer = nn.LSTM(3, 6, rng=0)
        x = tg.tensor(rng.normal(size=(5, 4, 3)).astype("f4"))
        optimizer = tg.optim.SGD(layer.parameters(), lr=0.1)

        @tg.jit
        def step(x):
            y, _ = layer(x)
            loss = (y * y).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        losses = [step(x).item() for _ in range(5)]
        assert all(p.backend.name == "numba" for p in layer.parameters())
    assert losses == sorted(losses, reverse=True)
