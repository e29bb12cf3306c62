"""Every kernel generated for the layers that people use is machine code for the GPUs that they
have. NVRTC needs no GPU for that."""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np
import pytest
from tinygrad_rnn_cupy.choice import Device, Room, choose, problem_of
from tinygrad_rnn_cupy.persistent import Body
from tinygrad_rnn_cupy.persistent_source import PersistentSource
from tinygrad_rnn_cupy.source import device_code, options
from tinygrad_rnn_cupy.steps import Cycle

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import BackendError
from tinygrad_rnn.explanation import scans
from tinygrad_rnn.loop_program import LoopProgram
from tinygrad_rnn.lower import lower
from tinygrad_rnn.passes.shift import share_stacks

from . import nvrtc

DEVICES = ("80", "90", "100")
needs_nvrtc = pytest.mark.skipif(
    nvrtc.library() is None, reason=f"NVRTC is not installed: {nvrtc.INSTALL}"
)

LAYERS: dict[str, Any] = {
    "RNN": lambda h: nn.RNN(5, h),
    "LSTM": lambda h: nn.LSTM(5, h),
    "GRU": lambda h: nn.GRU(5, h),
    "layer-norm LSTM": lambda h: nn.Recurrent(nn.LayerNormLSTMCell(5, h)),
    "bidirectional": lambda h: nn.LSTM(5, h, bidirectional=True),
}


@functools.cache
def programs(
    name: str, ragged: bool = False, second: bool = False, dtype: str = "float32", hidden: int = 7,
    batch: int = 3,
) -> tuple[LoopProgram, ...]:  # fmt: skip
    """All loops of forward and backward (and of backward through backward), lowered."""
    layer = LAYERS[name](hidden).to(dtype)
    x = tg.ones((4, batch, 5), dtype)
    x.requires_grad = True
    lengths = np.arange(batch) % 5 if ragged else None

    def step(x: Any) -> Any:
        y, _ = layer(x, lengths=lengths)
        leaves = [x, *layer.parameters()]
        (y * y).sum().backward(create_graph=second)
        grads = [p.grad for p in leaves]
        if second:
            for p in leaves:
                p.grad = None
            sum((g * g).sum() for g in grads).backward()
        return [p.grad for p in leaves]

    graph = share_stacks(tg.explain(step)(x).graph)
    return tuple(lower(node, halves=True) for node in scans(graph))


def sources(*args: Any, **kwargs: Any) -> set[str]:
    """The modules of these loops as graphs of launches."""
    return {Cycle(program).source for program in programs(*args, **kwargs)}


def compiled(source: str, device: str, *more: str) -> str:
    """What NVRTC says of a source for a device."""
    flags, exact = options(device, nvrtc.supported())
    assert exact
    code, log = nvrtc.cubin(source, (*flags, *more))
    assert code[:4] == b"\x7fELF"
    return log


@needs_nvrtc
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_compile(name: str, device: str) -> None:
    found = sources(name) | sources(name, ragged=True)
    assert len(found) >= 3
    for source in found:
        compiled(source, device)


@needs_nvrtc
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_layers_in_halves_compile(dtype: str) -> None:
    for source in sources("layer-norm LSTM", ragged=True, dtype=dtype):
        compiled(source, "80")


@needs_nvrtc
@pytest.mark.parametrize("device", DEVICES)
def test_second_order_compiles(device: str) -> None:
    found = sources("LSTM", second=True, dtype="float64")
    assert len(found) >= 4
    for source in found:
        compiled(source, device)


@needs_nvrtc
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["float64", "float32", "tf32", "float16", "bfloat16"])
def test_persistent_kernels_compile(kind: str, device: str) -> None:
    """At sizes that people use; no register is spilled to memory."""
    dtype = "float32" if kind == "tf32" else kind
    about = Device(132, 232448) if device != "80" else Device(108, 166912)
    count = 0
    for name, hidden, batch in (("LSTM", 1024, 16), ("GRU", 512, 64), ("RNN", 256, 1)):
        for program in programs(name, dtype=dtype, hidden=hidden, batch=batch):
            body = Body(program)
            problem = problem_of(program, body, kind == "tf32")
            shape = choose(problem, about, "persistent").shape
            if shape is not None:
                source = PersistentSource(body, shape, Room.of(problem, shape).bytes).source
                log = compiled(source, device, "--ptxas-options=-v")
                assert re.search(r"\b0 bytes spill stores", log), log
                count += 1
    assert count >= 4


def test_source_is_ours_alone() -> None:
    """Nothing is included, floats are exact, and every name is of our making."""
    for source in sources("layer-norm LSTM", ragged=True):
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
    flags, exact = options("88", [80, 90])
    assert "-arch=compute_80" in flags and not exact
    with pytest.raises(BackendError, match=r"sm_70, .* sm_75 and younger.*cuda12"):
        options("70", [90, 75])
