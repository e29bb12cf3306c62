"""Every kernel generated for the layers that people use is machine code for the GPUs that they
have. NVRTC needs no GPU for that."""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np
import pytest
from tinygrad_rnn_cupy.source import device_code, options
from tinygrad_rnn_cupy.steps import Cycle

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.explanation import scans
from tinygrad_rnn.lower import lower
from tinygrad_rnn.passes.shift import share_stacks

from . import nvrtc

DEVICES = ("80", "90", "100")
needs_nvrtc = pytest.mark.skipif(
    nvrtc.library() is None, reason=f"NVRTC is not installed: {nvrtc.INSTALL}"
)

LAYERS: dict[str, Any] = {
    "RNN": lambda: nn.RNN(5, 7),
    "LSTM": lambda: nn.LSTM(5, 7),
    "GRU": lambda: nn.GRU(5, 7),
    "layer-norm LSTM": lambda: nn.Recurrent(nn.LayerNormLSTMCell(5, 7)),
    "bidirectional": lambda: nn.LSTM(5, 7, bidirectional=True),
}


@functools.cache
def sources(name: str, ragged: bool, second: bool, dtype: str) -> tuple[str, ...]:
    """The modules of all loops of forward and backward (and backward through backward)."""
    layer = LAYERS[name]().to(dtype)
    x = tg.tensor(np.ones((4, 3, 5), dtype), requires_grad=True)

    def step(x: Any) -> Any:
        y, _ = layer(x, lengths=np.array([4, 0, 2])) if ragged else layer(x)
        leaves = [x, *layer.parameters()]
        (y * y).sum().backward(create_graph=second)
        grads = [p.grad for p in leaves]
        if second:
            for p in leaves:
                p.grad = None
            sum((g * g).sum() for g in grads).backward()
        return [p.grad for p in leaves]

    graph = share_stacks(tg.explain(step)(x).graph)
    return tuple(Cycle(lower(node)).source for node in scans(graph))


@needs_nvrtc
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_compile(name: str, device: str) -> None:
    found = {
        *sources(name, False, False, "float32"),
        *sources(name, True, False, "float32"),
    }
    assert len(found) >= 3
    flags, exact = options(device, nvrtc.supported())
    assert exact
    for source in found:
        assert nvrtc.cubin(source, tuple(flags))[:4] == b"\x7fELF"


@needs_nvrtc
@pytest.mark.parametrize("device", DEVICES)
def test_second_order_compiles(device: str) -> None:
    found = sources("LSTM", False, True, "float64")
    assert len(found) >= 4
    for source in found:
        nvrtc.cubin(source, tuple(options(device, nvrtc.supported())[0]))


def test_source_is_ours_alone() -> None:
    """Nothing is included, floats are exact, and every name is of our making."""
    for source in sources("layer-norm LSTM", True, False, "float32"):
        assert "#include" not in source
        generated = source[source.index('extern "C"') :]
        assert not re.search(r"\d\.\d|\de[-+]?\d", generated), "a float in decimal"
        words = set(re.findall(r"[A-Za-z_]\w*", re.sub(r"//.*|0x[0-9a-f]+U?LL", "", generated)))
        device = "".join(map(device_code, ("types", "ptx", "mathematics", "rows")))
        known = set(re.findall(r"[A-Za-z_]\w*", device)) | {"__global__"}
        known |= set("const for if extern C live row first among blockIdx gridDim shared".split())
        known |= set("rows_0 rows_1 setup advance table way s t b j n".split())
        strange = {w for w in words - known if not re.fullmatch(r"(a|p|r|x|sum)\d+|[kT]", w)}
        assert not strange, strange


def test_devices_that_nvrtc_does_not_know_get_ptx() -> None:
    flags, exact = options("130", [80, 90, 100])
    assert "-arch=compute_100" in flags and not exact
    assert not any("fast" in f or "ftz=true" in f for f in flags)
