"""The CuPy backend where there is a GPU: it computes what NumPy computes. Skipped elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim
from tinygrad_rnn.nn import functional as F

LAYERS: dict[str, Callable[[], Any]] = {
    "RNN": lambda: nn.RNN(5, 7, num_layers=2),
    "LSTM": lambda: nn.LSTM(5, 7, num_layers=2, bidirectional=True),
    "GRU": lambda: nn.GRU(5, 7),
    "layer-norm LSTM": lambda: nn.Recurrent(nn.LayerNormLSTMCell(5, 7)),
}


@pytest.fixture(scope="module")
def cupy() -> Any:
    try:
        return tg.get_backend("cupy")
    except tg.errors.BackendError as error:
        pytest.skip(str(error))


def gradients(make: Callable[[], Any], backend: str, lengths: Any) -> list[np.ndarray]:
    """Output and gradients of a seeded layer in float64, computed on a backend."""
    rng = np.random.default_rng(7)
    with tg.use_backend(backend):
        tg.manual_seed(3)
        layer = make().to("float64")
        x = tg.tensor(rng.normal(size=(6, 4, 5)), requires_grad=True)
        y, _ = layer(x, lengths=lengths)
        (y * tg.tensor(rng.normal(size=y.shape))).sum().backward()
        found = [y.detach(), x.grad, *(p.grad for p in layer.parameters())]
        return [value.numpy() for value in found]


@pytest.mark.parametrize("lengths", [None, [6, 0, 3, 1]], ids=["full", "ragged"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_agree_with_numpy(cupy: Any, name: str, lengths: Any) -> None:
    here = gradients(LAYERS[name], "cupy", lengths)
    there = gradients(LAYERS[name], "numpy", lengths)
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_random_numbers_have_the_same_bits(cupy: Any) -> None:
    draws = []
    for backend in ("cupy", "numpy"):
        with tg.use_backend(backend):
            draws.append(tg.Generator(5).uniform((1000,)).numpy())
    assert np.array_equal(*draws)


def test_long_training_keeps_its_memory(cupy: Any) -> None:
    """10,000 compiled steps use no more GPU memory than the first hundred."""
    import cupy as cp

    with tg.use_backend("cupy"):
        model = nn.LSTM(8, 16)
        optimizer = optim.Adam(model.parameters(), lr=1e-3)

        @tg.jit
        def step(x: tg.Tensor) -> tg.Tensor:
            y, _ = model(x)
            loss = F.mse_loss(y, tg.zeros_like(y))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        x = tg.ones((5, 4, 8))
        used = []
        for k in range(10_000):
            step(x)
            if k in (100, 9_999):
                used.append(cp.get_default_memory_pool().used_bytes())
    assert used[1] <= used[0]
