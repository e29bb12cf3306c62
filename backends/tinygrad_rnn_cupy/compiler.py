"""Compiles generated CUDA, and keeps what is compiled: loaded, one module per source and device; on
disk, one entry per source, kind of device and version of NVRTC.
"""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import cupy
from cupy.cuda import driver, function, nvrtc

from tinygrad_rnn.artifacts import Artifacts
from tinygrad_rnn.extend import BackendError

from .source import options

entries = Artifacts("cuda")
_modules: dict[tuple[str, int], Any] = {}
_lock = threading.Lock()


def module(source: str) -> Any:
    """The module of `source`, loaded on the current device; `.get_function(name)` launches."""
    device = cupy.cuda.Device()
    key = source, device.id
    with _lock:
        if key not in _modules:
            loaded = function.Module()
            loaded.load(binary(source, device.compute_capability))
            _modules[key] = loaded
        return _modules[key]


def allow_shared_memory(function: Any, size: int) -> None:
    """Let a kernel be launched with more shared memory than the 48 KiB that need no asking."""
    if size > 48 << 10:
        driver.funcSetAttribute(
            function.ptr, driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, size
        )


def check_resident(function: Any, blocks: int, threads: int, shared: int) -> None:
    """All blocks of a kernel whose blocks wait for each other must be on the device at once; CuPy
    would launch fewer of them, which wait for ever."""
    each = driver.occupancyMaxActiveBlocksPerMultiprocessor(function.ptr, threads, shared)
    there = each * cupy.cuda.Device().attributes["MultiProcessorCount"]
    if blocks > there:
        raise BackendError(
            f"a persistent kernel needs {blocks} blocks on the device at once, but {there} fit "
            "(is the device shared, or limited?). Set TINYGRAD_RNN_CUDA_LOOPS=graph."
        )


def binary(source: str, capability: str) -> bytes:
    """The machine code (or, for devices that NVRTC does not know, the PTX) of a source."""
    flags, exact = options(capability, nvrtc.getSupportedArchs())
    depends = "\0".join([source, *flags, str(nvrtc.getVersion())])
    name = hashlib.sha256(depends.encode()).hexdigest()
    folder = entries.directory()
    code = entries.read(folder, name) if folder else None
    if code is None:
        code = _compiled(source, flags, exact)
        if folder:
            entries.write(folder, name, code)
    return code


def _compiled(source: str, flags: list[str], exact: bool) -> bytes:
    program = nvrtc.createProgram(source, "loop.cu", [], [])
    try:
        nvrtc.compileProgram(program, flags)
        code: bytes = nvrtc.getCUBIN(program) if exact else nvrtc.getPTX(program)
    except nvrtc.NVRTCError as error:
        log = nvrtc.getProgramLog(program)
        raise BackendError(
            f"generated CUDA code did not compile ({error}); this is a bug of the backend 'cupy', "
            f"please report it with what follows.\n{log}\n{source}"
        ) from error
    finally:
        nvrtc.destroyProgram(program)
    return code
