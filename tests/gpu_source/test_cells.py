"""Cells on generated CUDA, run on the host, against NumPy: values, gradients, and theirs."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn

from . import fake
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
def test_cell(backend, name, rng):
    i, h = (6, 17) if name != "residual" else (17, 17)
    dtypes = ("f8", "f4") if name in ("lstm", "ln gru", "jordan") else ("f8",)
    agree(
        backend, lambda: nn.Recurrent(CELLS[name](i, h)), rng.normal(size=(5, 9, i)), dtypes=dtypes
    )


@pytest.mark.parametrize("name", CELLS)
def test_every_loop_is_compiled(backend, name):
    cell = nn.Recurrent(CELLS[name](4, 4)).to(backend)
    with tg.use_backend(backend):
        x = tg.tensor(np.ones((3, 2, 4), "f4"), requires_grad=True)

        def loss(x):
            y, _ = cell(x)
            (y * y).sum().backward()
            return x.grad, [p.grad for p in cell.parameters()]

        found = tg.explain(loss)(x)
        how = [how for name, how in backend.report(found.graph) if name == "scan"]
    assert how and all("CuPy kernels" not in h for h in how), how


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "peephole", "ln lstm"])
def test_second_order(backend, name, rng):
    def make():
        return nn.Recurrent(CELLS[name](3, 5))

    agree(backend, make, rng.normal(size=(3, 4, 3)), second=True, dtypes=("f8",))


@pytest.mark.parametrize("name", ["lstm", "gru", "ln lstm"])
def test_sizes(backend, name, rng):
    """Rows and columns that fill blocks and that do not; all sizes share their kernels, but for one
    unit, whose gates are single columns."""
    shapes = [(2, 3, 3, 40), (3, 33, 2, 5), (2, 1, 4, 2), (1, 5, 3, 33), (2, 140, 2, 3)]
    shapes += [(t, 4, 2, 5) for t in (0, 1, 2)] + [(3, 0, 2, 5)]
    agree(backend, lambda: nn.Recurrent(CELLS[name](3, 150)), rng.normal(size=(2, 3, 3)))

    def modules() -> set[str]:
        """Loops only: groups outside of them are cut by size."""
        return {s for s in fake.modules.sources if "setup(" in s}

    before = modules()
    for T, B, i, h in shapes:
        agree(
            backend, lambda: nn.Recurrent(CELLS[name](i, h)),  # noqa: B023
            rng.normal(size=(T, B, i)), dtypes=("f8",),
        )  # fmt: skip
    assert modules() == before
    one = rng.normal(size=(2, 1, 4))
    agree(backend, lambda: nn.Recurrent(CELLS[name](4, 1)), one, dtypes=("f8",))


@pytest.mark.parametrize("make", [nn.LSTM, nn.GRU, nn.RNN])
def test_ragged_bidirectional_stacks(backend, make, rng):
    x = rng.normal(size=(6, 5, 4))
    lengths = np.array([6, 0, 3, 1, 5])
    agree(
        backend, lambda: make(4, 7, num_layers=2, bidirectional=True, rng=3), x, lengths=lengths,
        dtypes=("f8",),
    )  # fmt: skip


def test_padding_never_matters(backend, rng):
    x = rng.normal(size=(5, 4, 3)).astype("f4")
    lengths = np.array([5, 2, 0, 3])
    poisoned = np.where(np.arange(5)[:, None, None] < lengths[:, None], x, np.float32(np.nan))
    a = results(lambda: nn.LSTM(3, 6, rng=0), backend, "f4", x, lengths=lengths)
    b = results(lambda: nn.LSTM(3, 6, rng=0), backend, "f4", poisoned, lengths=lengths)
    for u, v in zip(a, b, strict=True):
        assert np.array_equal(u, v)


@pytest.mark.parametrize("name", ["lstm", "gru", "ln lstm"])
@pytest.mark.parametrize("T", [1, 2, 3, 6, 7])
def test_graphs_replay_the_loop(backend, name, T, rng, small_graphs):
    """First call: kernel by kernel; then graphs, with other arrays than those captured."""

    def make():
        return nn.Recurrent(CELLS[name](3, 5))

    for _ in range(3):
        state = rng.normal(size=(4, 5))
        state = state if name == "gru" else (state, rng.normal(size=(4, 5)))
        agree(backend, make, rng.normal(size=(T, 4, 3)), state, dtypes=("f8",))
    assert fake.device.state.captures > 0


def test_backwards_in_time(backend, rng, small_graphs):
    state = (rng.normal(size=(5, 8)), rng.normal(size=(5, 8)))

    def make():
        return nn.Recurrent(nn.LSTMCell(3, 8, rng=0), reverse=True)

    for T in (5, 4):
        for _ in range(2):
            agree(backend, make, rng.normal(size=(T, 5, 3)), state, dtypes=("f8",))
