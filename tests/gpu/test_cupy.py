"""The CuPy backend where there is a GPU: it computes what NumPy computes. Skipped elsewhere.

What is named "sanitizer" is small enough for compute-sanitizer; "long" takes minutes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim
from tinygrad_rnn.nn import functional as F

LAYERS: dict[str, Callable[[int, int], Any]] = {
    "RNN": lambda i, h: nn.RNN(i, h, num_layers=2),
    "LSTM": lambda i, h: nn.LSTM(i, h, num_layers=2, bidirectional=True),
    "GRU": lambda i, h: nn.GRU(i, h),
    "GRU, reset before": lambda i, h: nn.Recurrent(nn.GRUCell(i, h, reset_after=False)),
    "peephole LSTM": lambda i, h: nn.Recurrent(nn.PeepholeLSTMCell(i, h)),
    "layer-norm LSTM": lambda i, h: nn.Recurrent(nn.LayerNormLSTMCell(i, h)),
}
ROADS = ("persistent", "graph", "launches")


@pytest.fixture(scope="module")
def cupy() -> Any:
    """The backend; without CuPy's pool where compute-sanitizer is to see the bounds of arrays."""
    try:
        found = tg.get_backend("cupy")
    except tg.errors.BackendError as error:
        pytest.skip(str(error))
    if os.environ.get("TINYGRAD_RNN_TEST_POOL") == "off":
        import cupy

        cupy.cuda.set_allocator(None)
    return found


@pytest.fixture
def settings(cupy: Any) -> Iterator[Any]:
    """The backend's settings, put back afterwards."""
    found = cupy.settings
    before = found.tf32, found.loops
    yield found
    found.tf32, found.loops = before


def gradients(
    make: Callable[[], Any], backend: str, lengths: Any, dtype: str = "float64",
    shape: tuple[int, int, int] = (6, 4, 5), runs: int = 1,
) -> list[np.ndarray]:  # fmt: skip
    """Output and gradients of a seeded layer, computed on a backend, several times over."""
    rng = np.random.default_rng(7)
    with tg.use_backend(backend):
        tg.manual_seed(3)
        layer = make().to(dtype)
        given = rng.normal(size=shape).astype(tg.types.as_dtype(dtype).np)
        weights = tg.tensor(rng.normal(size=(*shape[:2], layer(tg.tensor(given))[0].shape[-1])))
        for _ in range(runs):
            x = tg.tensor(given, requires_grad=True)
            for p in layer.parameters():
                p.grad = None
            y, _ = layer(x, lengths=lengths)
            (y * weights.astype(dtype)).sum().backward()
        found = [y.detach(), x.grad, *(p.grad for p in layer.parameters())]
        return [value.numpy().astype("f8") for value in found]


def agree(here: list[np.ndarray], there: list[np.ndarray], limit: float) -> None:
    for i, (a, b) in enumerate(zip(here, there, strict=True)):
        scale = max(1.0, float(np.abs(b).max(initial=0)))
        off = float(np.abs(a - b).max(initial=0)) / scale
        assert off <= limit, f"result {i} {a.shape}: off by {off:.3g}, more than {limit}"


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("lengths", [None, [6, 0, 3, 1]], ids=["full", "ragged"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_agree_with_numpy(settings, name, lengths, road):
    """Three runs: the second replays what the first one captured."""
    settings.loops = road

    def make() -> Any:
        return LAYERS[name](5, 7)

    here = gradients(make, "cupy", lengths, runs=3)
    agree(here, gradients(make, "numpy", lengths), 1e-9)


@pytest.mark.parametrize(
    "kind, limit", [("float32", 2e-4), ("tf32", 3e-2), ("float16", 3e-2), ("bfloat16", 1e-1)]
)
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("sizes", [(33, 16, 64, 128), (20, 5, 30, 200), (9, 70, 8, 96)], ids=str)
def test_single_precision_on_both_roads(settings, name, kind, limit, sizes):
    T, B, I, H = sizes
    settings.tf32, dtype = kind == "tf32", "float32" if kind == "tf32" else kind
    make = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}[name]
    truth = gradients(lambda: make(I, H), "numpy", None, "float64", (T, B, I))
    for road in ("persistent", "graph"):
        settings.loops = road
        here = gradients(lambda: make(I, H), "cupy", None, dtype, (T, B, I), runs=3)
        agree(here, truth, limit)


@pytest.mark.parametrize("kind", ["float32", "tf32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_persistent_kernels_under_a_sanitizer(settings, name, kind):
    """Small, and with all that can go wrong: several blocks and groups, rows that do not fill."""
    settings.loops, settings.tf32 = "persistent", kind == "tf32"
    make, dtype = {"LSTM": nn.LSTM, "GRU": nn.GRU}[name], "float32" if kind == "tf32" else kind
    truth = gradients(lambda: make(3, 40), "numpy", None, "float64", (4, 9, 3))
    here = gradients(lambda: make(3, 40), "cupy", None, dtype, (4, 9, 3))
    agree(here, truth, {"float64": 1e-9, "float32": 1e-5, "bfloat16": 1e-1}.get(kind, 3e-2))


def test_the_same_bits_at_every_run(settings):
    for road in ("persistent", "graph"):
        settings.loops = road
        first = gradients(lambda: nn.LSTM(16, 64), "cupy", None, "float32", (50, 16, 16))
        for _ in range(3):
            again = gradients(lambda: nn.LSTM(16, 64), "cupy", None, "float32", (50, 16, 16))
            assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_the_road_is_shown(settings, cupy):
    settings.loops = "auto"
    with tg.use_backend("cupy"):
        layer = nn.LSTM(8, 256)
        found = tg.explain(lambda x: layer(x)[0])(tg.ones((9, 16, 8)))
    (how,) = [how for name, how in cupy.report(found.graph) if name == "scan"]
    assert how.startswith("persistent kernel")


def test_random_numbers_have_the_same_bits(cupy):
    draws = []
    for backend in ("cupy", "numpy"):
        with tg.use_backend(backend):
            draws.append(tg.Generator(5).uniform((1000,)).numpy())
    assert np.array_equal(*draws)


def test_running_out_of_memory_is_survived(cupy):
    with tg.use_backend("cupy"):
        small = tg.ones((1000,))
        with pytest.raises(tg.errors.BackendError, match="out of GPU memory") as found:
            tg.ones((1 << 20, 1 << 20))
        assert isinstance(found.value, MemoryError)
        assert (small + small).sum().item() == 2000.0
        assert cupy.memory().used > 0


@pytest.mark.parametrize("library", ["cupy", "torch"])
def test_arrays_of_others_enter_and_leave_without_a_copy(cupy, library):
    xp = pytest.importorskip(library)
    make, address = {
        "cupy": (lambda: xp.arange(12, dtype="float32"), lambda a: a.data.ptr),
        "torch": (lambda: xp.arange(12, dtype=xp.float32, device="cuda"), lambda a: a.data_ptr()),
    }[library]
    theirs = make()
    with tg.use_backend("cupy"):
        x = tg.from_dlpack(theirs)
        assert x._value.data.data.ptr == address(theirs)
        assert (x * x).sum().item() == sum(k * k for k in range(12))
        assert address(xp.from_dlpack(x)) == address(theirs)


@pytest.mark.parametrize("road", ["persistent", "graph"])
def test_long_training_keeps_its_memory(settings, cupy, road):
    """10,000 compiled steps use no more GPU memory than the first hundred."""
    settings.loops = road
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
        used, free = [], []
        for k in range(10_000):
            step(x)
            if k in (100, 9_999):
                cupy.synchronize()
                used.append(cupy.memory().used)
                free.append(cupy.memory().free)
    assert used[1] <= used[0]
    assert free[1] >= free[0] - (1 << 20)  # nothing grows outside of the pool either
