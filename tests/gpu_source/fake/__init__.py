"""A module with CuPy's interface that computes on the host, for tests without a GPU.

It is stricter than CuPy: whatever would wait for the device raises unless the test allows it, and
uninitialised memory holds NaN. Kernels are compiled by g++ and run by the emulator; cuBLAS is
NumPy. It is no backend and never ships.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any

from . import arrays, cublas, device, memory, modules

PARTS = ("cupy", "cupy.cuda", "cupyx", "cupyx.scipy", "cupyx.scipy.special")


def make() -> dict[str, types.ModuleType]:
    """The modules by name."""
    found = {name: types.ModuleType(name) for name in PARTS}
    cupy, cuda = found["cupy"], found["cupy.cuda"]
    for name, value in arrays.functions().items():
        setattr(cupy, name, value)
    cuda.runtime, cuda.memory, cuda.cublas = device.runtime, memory, cublas.module()
    cuda.function, cuda.nvrtc, cuda.driver = modules.function, modules.nvrtc, modules.driver
    for name in ("Stream", "Event", "Device", "get_current_stream", "is_available"):
        setattr(cuda, name, getattr(device, name))
    cupy.cuda = cuda
    cupy.get_default_memory_pool = memory.get_default_memory_pool
    found["cupyx.scipy.special"].erf = arrays.erf
    return found


@contextlib.contextmanager
def instead_of_cupy() -> Iterator[None]:
    """Inside, `import cupy` gives the fake; what was imported before is put back afterwards."""
    fakes = make()
    mine = [n for n in sys.modules if n.split(".")[0] in ("cupy", "cupyx", "tinygrad_rnn_cupy")]
    before = {name: sys.modules.pop(name) for name in mine}
    sys.modules.update(fakes)
    try:
        yield
    finally:
        for name in list(sys.modules):
            if name.split(".")[0] in ("cupy", "cupyx", "tinygrad_rnn_cupy"):
                del sys.modules[name]
        sys.modules.update(before)


def backend_class() -> Any:
    """CupyBackend of a copy of its package that sees no other CuPy than the fake."""
    with instead_of_cupy():
        cls = importlib.import_module("tinygrad_rnn_cupy.backend").CupyBackend
        sys.modules["tinygrad_rnn_cupy.cublas"].library = cublas.library  # type: ignore[attr-defined]
        _copies[cls] = {n: m for n, m in sys.modules.items() if n.startswith("tinygrad_rnn_cupy.")}
        return cls


_copies: dict[type, dict[str, types.ModuleType]] = {}


def submodule(backend: Any, name: str) -> types.ModuleType:
    """A module of the copy that a backend comes from."""
    return _copies[type(backend)][f"tinygrad_rnn_cupy.{name}"]


def compiled(source: str) -> modules.Module:
    """A module, compiled for the host and (where NVRTC is installed) for a GPU."""
    program = modules.nvrtc.createProgram(source, "test.cu", [], [])
    modules.nvrtc.compileProgram(program, ["-arch=sm_90", "-std=c++17"])
    module = modules.Module()
    module.load(modules.nvrtc.getCUBIN(program))
    return module


allowed_to_wait = device.allowed_to_wait
