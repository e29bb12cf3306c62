"""The rule that chooses between a persistent kernel and a graph of launches, and what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tinygrad_rnn_cupy.choice import Device, Problem, Room, choose
from tinygrad_rnn_cupy.settings import Settings

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.types import as_dtype

from . import fake

H200, A100 = Device(132, 232448), Device(108, 166912)


def lstm(H: int, B: int, dtype: str = "float32", tf32: bool = False, back: bool = False) -> Problem:
    """The recurrent product of an LSTM: [B, H] @ [H, 4H], or [B, 4H] @ [4H, H] backwards."""
    k, n, sums = (4 * H, H, 1) if back else (H, 4 * H, 4)
    return Problem(B, k, n, H, sums, 1, as_dtype(dtype), tf32)


@pytest.mark.parametrize("device", [H200, A100, Device(4, 101376)], ids=["H200", "A100", "small"])
def test_what_is_chosen_fits(device: Device) -> None:
    count = 0
    for H in (1, 7, 64, 200, 512, 1024, 1536):
        for B in (1, 3, 16, 100):
            for dtype, tf32 in (("float32", False), ("float32", True), ("float64", False),
                                ("float16", False), ("bfloat16", False)):  # fmt: skip
                for back in (False, True):
                    problem = lstm(H, B, dtype, tf32, back)
                    shape = choose(problem, device).shape
                    if shape is not None:
                        count += 1
                        assert shape.groups * shape.blocks <= device.processors
                        assert (
                            shape.columns * shape.blocks >= H > shape.columns * (shape.blocks - 1)
                        )
                        assert shape.rows * shape.groups >= B > shape.rows * (shape.groups - 1)
                        assert Room.of(problem, shape).bytes <= device.shared
                        assert shape.elements <= 8
    assert count > 20


def test_known_cases() -> None:
    assert choose(lstm(1024, 16), H200).shape is not None
    assert choose(lstm(1024, 16, "float16", back=True), H200).shape is not None
    assert choose(lstm(256, 64, tf32=True, back=True), H200).shape is not None
    # the weights do not fit at all; they fit, but their traffic costs more than launches
    assert "do not fit" in choose(lstm(2048, 16), H200).why
    slow = choose(lstm(1024, 128, back=True), H200)
    assert slow.shape is None and slow.persistent > slow.graph
    old = choose(lstm(256, 16, "float16"), H200._replace(tensor_cores=False), "persistent")
    assert old.shape is None and "older than sm_80" in old.why
    limited = choose(lstm(256, 16), H200._replace(cooperative=False), "persistent")
    assert limited.shape is None and "may not wait" in limited.why
    # asked for, it is taken all the same
    assert choose(lstm(1024, 128), H200, "persistent").shape is not None
    assert choose(lstm(64, 4), H200, "graph").shape is None


def loops(backend: Any, layer: Any, T: int = 5, B: int = 4) -> list[str]:
    """What the report says of the loops of a layer's forward pass."""
    layer.to(backend)
    with tg.use_backend(backend):
        found = tg.explain(lambda x: layer(x)[0])(tg.ones((T, B, 3)))
        return [text for name, text in backend.report(found.graph) if name == "scan"]


def test_the_report_says_how_and_why(backend: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(backend.settings, "_loops", "auto")
    (text,) = loops(backend, nn.LSTM(3, 16))
    assert text.startswith("persistent kernel, ") and "us per step, as a graph" in text
    (text,) = loops(backend, nn.Recurrent(nn.LayerNormLSTMCell(3, 16)))
    assert text.startswith("CUDA graph, per step 1 cuBLAS products and 1 fused kernels")
    assert text.endswith("not persistent: a sum over the row in every step")
    (text,) = loops(backend, nn.Recurrent(nn.GRUCell(3, 16, reset_after=False)))
    assert text.endswith("not persistent: 2 products per step")
    found = tg.explain(lambda x: nn.LSTM(3, 4, rng=0).to(backend)(x)[0])
    with tg.use_backend(backend):
        assert "persistent kernel" in str(found(tg.ones((2, 2, 3))))


def test_users_may_choose(backend: Any, rng: np.random.Generator) -> None:
    """The same numbers on every road; programs that are compiled already follow too."""
    layer = nn.LSTM(3, 8, rng=0).to(backend)
    x = rng.normal(size=(5, 4, 3)).astype("f4")
    found = {}
    try:
        for road in ("auto", "graph", "persistent", "launches"):
            backend.settings.loops = road
            with tg.use_backend(backend), tg.no_grad():
                for _ in range(3):
                    before = fake.device.state.captures
                    y, _ = layer(tg.tensor(x))
                    captured = fake.device.state.captures - before
                    assert captured == 0 or road == "graph"
                with fake.allowed_to_wait():
                    found[road] = y.numpy()
        assert loops(backend, nn.LSTM(3, 8))[0].startswith("launches, per step")
        with pytest.raises(ArgumentError, match="expected one of auto, persistent, graph"):
            backend.settings.loops = "fast"
    finally:
        backend.settings.loops = "graph"
    for y in found.values():
        assert np.allclose(y, found["auto"], rtol=0, atol=1e-6)
    assert np.array_equal(found["graph"], found["launches"])


def test_the_environment_may_choose(monkeypatch: Any) -> None:
    monkeypatch.setenv("TINYGRAD_RNN_TF32", "1")
    monkeypatch.setenv("TINYGRAD_RNN_CUDA_LOOPS", "graph")
    assert Settings().key == (True, "graph")
    monkeypatch.setenv("TINYGRAD_RNN_TF32", "yes")
    with pytest.raises(ArgumentError, match="TINYGRAD_RNN_TF32 is 'yes', expected one of 0, 1"):
        Settings()
