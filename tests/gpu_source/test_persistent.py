"""Persistent kernels: all blocks of a grid as fibers that wait for each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn

from . import fake
from .compare import agree, distance, results
from .test_cells import CELLS

Forced = Callable[..., Any]


@pytest.fixture
def forced(backend: Any, monkeypatch: Any) -> Forced:
    """A backend whose loops are persistent kernels of a given shape, wherever that is possible."""
    choice, persistent = fake.submodule(backend, "choice"), fake.submodule(backend, "persistent")

    def make(columns: int, groups: int, warps: int = 2, weights_16: bool = True) -> Any:
        def choose(problem: Any, device: Any, road: str) -> Any:
            blocks, rows = -(-problem.width // columns), -(-problem.rows // groups)
            shape = persistent.Shape(
                -(-problem.rows // rows), blocks, rows, columns, warps, problem.kind, weights_16
            )
            return choice.Choice(shape, 1.0, 2.0, "forced")

        monkeypatch.setattr(fake.submodule(backend, "loops"), "choose", choose)
        return type(backend)()  # programs are compiled for a backend: this one has none yet

    return make


@pytest.fixture
def thread_order(monkeypatch: Any) -> Callable[[int], None]:
    return lambda seed: monkeypatch.setattr(fake.modules, "seed", seed)


def how(backend: Any, make: Callable[[], Any], x: np.ndarray, dtype: str = "float32") -> list[str]:
    """How the loops of a layer run, forwards and backwards."""
    layer = make().to(backend, dtype)
    with tg.use_backend(backend):
        t = tg.tensor(x, dtype, requires_grad=True)

        def loss(t: Any) -> Any:
            y, _ = layer(t)
            (y * y).sum().backward()
            return t.grad, [p.grad for p in layer.parameters()]

        found = tg.explain(loss)(t)
        return [text for name, text in backend.report(found.graph) if name == "scan"]


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "peephole", "zoneout"])
def test_cells(forced, name, rng):
    def make():
        return nn.Recurrent(CELLS[name](6, 10))

    backend, x = forced(columns=4, groups=2), rng.normal(size=(5, 9, 6))
    assert all(text.startswith("persistent") for text in how(backend, make, x))
    agree(backend, make, x, dtypes=("f8", "f4") if name == "lstm" else ("f8",))


@pytest.mark.parametrize("columns, groups, warps", [(10, 1, 1), (1, 1, 2), (3, 3, 1), (7, 5, 3)])
def test_shapes(forced, columns, groups, warps, rng):
    def make():
        return nn.Recurrent(CELLS["lstm"](3, 10))

    agree(forced(columns, groups, warps), make, rng.normal(size=(4, 9, 3)), dtypes=("f8",))


def test_rows_in_tiles(forced, rng):
    """More rows than a block multiplies at once."""

    def make():
        return nn.Recurrent(CELLS["gru"](3, 6))

    agree(forced(3, 1), make, rng.normal(size=(3, 37, 3)), dtypes=("f8",))


def test_ragged_and_both_ways(forced, rng):
    lengths = np.array([6, 0, 3, 1, 5])
    agree(
        forced(4, 2), lambda: nn.LSTM(4, 7, bidirectional=True, rng=3), rng.normal(size=(6, 5, 4)),
        lengths=lengths, dtypes=("f8",),
    )  # fmt: skip


@pytest.mark.parametrize("T", [0, 1, 2])
def test_few_steps_from_a_state(forced, T, rng):
    def make():
        return nn.Recurrent(nn.LSTMCell(3, 6, rng=0), reverse=True)

    state = (rng.normal(size=(4, 6)), rng.normal(size=(4, 6)))
    agree(forced(4, 2), make, rng.normal(size=(T, 4, 3)), state, dtypes=("f8",))


@pytest.mark.parametrize("weights_16", [True, False])
def test_tf32(forced, weights_16, rng):
    """As exact as TF32 is, in the kernel as in cuBLAS, and not more: the choice is respected."""
    backend, x = forced(4, 2, weights_16=weights_16), rng.normal(size=(4, 9, 3)).astype("f4")

    def make():
        return nn.Recurrent(CELLS["lstm"](3, 10))

    truth = results(make, "numpy", "f8", x)
    backend.settings.tf32 = True
    try:
        there = [text for text in how(backend, make, x) if "tf32" in text]
        coarse = results(make, backend, "f4", x)
    finally:
        backend.settings.tf32 = False
    assert len(there) == 2
    errors = [distance(a, b) for a, b in zip(coarse, truth, strict=True)]
    assert max(errors) < 3e-3 and errors[0] > 1e-5
    assert max(map(distance, results(make, backend, "f4", x), truth)) < 2e-6


@pytest.mark.parametrize("road", ["persistent", "graph"])
@pytest.mark.parametrize("dtype, limit", [("float16", 6e-3), ("bfloat16", 4e-2)])
def test_half_precision(backend, forced, dtype, limit, road, rng):
    """Stored in 16 bits, summed in 32."""
    backend, x = forced(4, 2) if road == "persistent" else backend, rng.normal(size=(4, 5, 3))
    kind = tg.types.as_dtype(dtype)

    def make() -> Any:
        return nn.Recurrent(CELLS["gru"](3, 6))

    def run(backend: Any, dtype: str) -> list[np.ndarray]:
        layer = make().to(backend, dtype)
        with tg.use_backend(backend):
            t = tg.tensor(x, dtype, requires_grad=True)
            y, _ = layer(t)
            (y * y).sum().backward()
            found = (y, t.grad, *[p.grad for p in layer.parameters()])
            with fake.allowed_to_wait():
                return [v.detach().numpy() for v in found]

    start = "persistent" if road == "persistent" else "CUDA graph"
    roads = how(backend, make, x, dtype)
    assert len(roads) == 2 and all(text.startswith(start) for text in roads)
    assert road == "graph" or all(f", {kind.short}" in text for text in roads)
    for a, b in zip(run(backend, dtype), run("numpy", "float64"), strict=True):
        assert a.dtype == kind and distance(a, b) < limit


def test_the_order_of_threads_decides_nothing(forced, thread_order, rng):
    """Not one bit."""
    backend, x = forced(3, 2), rng.normal(size=(5, 7, 3))
    found = []
    for seed in (1, 2, 3, 4):
        thread_order(seed)
        found.append(results(lambda: nn.Recurrent(CELLS["lstm"](3, 9)), backend, "f4", x))
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


WAIT = "exchange.wait((u32)(s + 1));"
LOOP = "for (int i = threadIdx.x; i < blocks; i += blockDim.x)"
TELL = "if (threadIdx.x == 0) publish(flags + me, step);"
#: what is broken -> the text in the source, and what stands there instead
BROKEN = {
    "nobody waits": (WAIT, "sync_block();"),
    "waits for the step before": (WAIT, "exchange.wait((u32)s);"),
    "waits for a step too many": (WAIT, "exchange.wait((u32)(s + 3));"),
    "waits for itself only": (LOOP, "for (int i = me; i == me; i += blocks)"),
    "never tells": (TELL, ""),
    "tells before all have stored": ("sync_block();\n        " + TELL, TELL),
    "one slot": ("(s & 1) * P::PADDED_ROWS", "0 * P::PADDED_ROWS"),
    "goes on before all have seen": ("            }\n        sync_block();", "            }"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_protocol_is_noticed(forced, thread_order, monkeypatch, what, rng):
    """What the emulator is for: each of these faults gives wrong numbers or stops for ever."""
    backend, x = forced(3, 1, warps=2), rng.normal(size=(6, 5, 3))
    old, new = BROKEN[what]
    compile_ = fake.modules.compile_for_host

    def broken(source: str) -> bytes:
        if "persistent(" in source:
            assert old in source, "the source has changed, and this test with it"
            source = source.replace(old, new)
        return compile_(source)

    def make() -> Any:
        return nn.Recurrent(CELLS["lstm"](3, 9))

    truth = results(make, "numpy", "f8", x)
    monkeypatch.setattr(fake.modules, "compile_for_host", broken)
    monkeypatch.setattr(fake.submodule(backend, "compiler"), "_modules", {})
    for seed in range(1, 9):
        thread_order(seed)
        try:
            found = results(make, backend, "f8", x)
        except AssertionError as error:
            assert "never comes" in str(error)
            return
        if max(map(distance, found, truth)) > 1e-9:
            return
    pytest.fail("nobody noticed")
