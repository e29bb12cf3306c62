"""Compiling kernels for the host, and launching them in the emulator."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import itertools
import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import nvrtc as real
from .device import enqueue, state

HOST = Path(__file__).parents[1] / "host"
FLAGS = (
    "-O1 -pipe -shared -fPIC -std=c++17 -ffp-contract=off -fno-strict-aliasing -Wall -Werror "
    "-Wl,-Bsymbolic"
).split()
QUIET = "-Wno-unused-function -Wno-unused-variable -Wno-unknown-pragmas".split()
COMPILER = shutil.which("g++") or shutil.which("clang++")
FAILURES = {1: "threads wait for what never comes", 2: "a thread ended while others wait for it"}
SIGNATURE = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\(.*?\) )?(\w+)\(([^)]*)\)')
_one_at_a_time = threading.Lock()
#: kernels launched so far
launches = 0
#: functions are known by numbers that never come again
_pointers = itertools.count(1)
#: changes the order in which the emulator runs threads
seed = 1


@functools.cache
def folder() -> Path:
    """A directory for what is compiled, gone with the process."""
    folder._keep = tempfile.TemporaryDirectory(prefix="tinygrad_rnn_host_")
    return Path(folder._keep.name)


def build(source: Path, out: Path, *flags: str) -> None:
    assert COMPILER, "no C++ compiler"
    command = [COMPILER, *FLAGS, *QUIET, *flags, str(source), "-o", str(out)]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[:8000]


@functools.cache
def emulator() -> ctypes.CDLL:
    out = folder() / "emulator.so"
    build(HOST / "emulator.cpp", out)
    return ctypes.CDLL(str(out), mode=ctypes.RTLD_GLOBAL)


class Module:
    """A host library behind the interface of a loaded CUDA module."""

    def load(self, binary: bytes) -> None:
        emulator()
        self.library = ctypes.CDLL(binary.decode())

    def get_function(self, name: str) -> Function:
        return Function(self.library, name)


class Function:
    def __init__(self, library: Any, name: str):
        self.name, self.call, self.ptr = name, library[f"call_{name}"], next(_pointers)

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: tuple[Any, ...],
        shared_mem: int = 0,
        enable_cooperative_groups: bool = False,
    ) -> None:
        assert all(type(a) is np.int64 for a in args), "every argument is an int64"
        assert np.prod(block) <= 1024 and min(grid) > 0 and grid[0] < 2**31
        assert all(n < 2**16 for n in grid[1:])
        assert shared_mem <= _allowed.get(self.ptr, 48 << 10)
        if enable_cooperative_groups:
            assert np.prod(grid) <= state.attributes["MultiProcessorCount"]
        numbers = (ctypes.c_longlong * max(len(args), 1))(*[int(a) for a in args])
        three = [(ctypes.c_uint * 3)(*x, *(1,) * (3 - len(x))) for x in (grid, block)]

        def run() -> None:
            global launches
            with _one_at_a_time:
                launches += 1
                failure = emulator().emulate(
                    self.call, numbers, *three, shared_mem, int(enable_cooperative_groups), seed
                )
            assert not failure, f"{self.name}: {FAILURES[failure]}"

        enqueue(run)


_compiled: dict[str, bytes] = {}


def compile_for_host(source: str) -> bytes:
    """The path of a library with a `call_NAME(arguments)` for every kernel."""
    key = hashlib.sha256(source.encode()).hexdigest()[:24]
    if key not in _compiled:
        calls = []
        for name, parameters in SIGNATURE.findall(source):
            kinds = [p.rpartition(" ")[0] for p in parameters.split(",")]
            kinds = [k + " *" if "*" in p else k for k, p in zip(kinds, parameters.split(","))]
            args = ", ".join(
                f"(i64 *)a[{i}]" if "*" in k else f"a[{i}]" for i, k in enumerate(kinds)
            )
            calls.append(f'extern "C" void call_{name}(const i64 *a) {{ {name}({args}); }}')
        path = folder() / f"{key}.cpp"
        path.write_text("\n".join(['#include "device.hpp"', source, *calls]))
        build(path, path.with_suffix(".so"), f"-I{HOST}")
        _compiled[key] = str(path.with_suffix(".so")).encode()
    return _compiled[key]


class NVRTCError(Exception):
    pass


#: all that has been compiled
sources: list[str] = []


def _create(source: str, name: str, headers: Any, names: Any) -> int:
    sources.append(source)
    return len(sources) - 1


def _compile(program: int, options: Any) -> None:
    """NVRTC itself, where it is installed, must find nothing wrong."""
    if real.library() is not None:
        real.cubin(sources[program], tuple(options))


nvrtc = SimpleNamespace(
    NVRTCError=NVRTCError,
    getSupportedArchs=lambda: (80, 90, 100),
    getVersion=lambda: (13, 0),
    createProgram=_create,
    compileProgram=_compile,
    getCUBIN=lambda program: compile_for_host(sources[program]),
    getProgramLog=lambda program: "",
    destroyProgram=lambda program: None,
)
function = SimpleNamespace(Module=Module, Function=Function)


def _set_attribute(function: int, attribute: int, value: int) -> None:
    assert attribute == 8 and value <= state.attributes["MaxSharedMemoryPerBlockOptin"]
    _allowed[function] = value


#: bytes of shared memory that functions may be launched with, where that was asked for
_allowed: dict[int, int] = {}
driver = SimpleNamespace(
    CUDADriverError=type("CUDADriverError", (RuntimeError,), {}),
    CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8, funcSetAttribute=_set_attribute,
    occupancyMaxActiveBlocksPerMultiprocessor=lambda function, threads, shared: 1,
)  # fmt: skip
