"""Compiles CUDA source to machine code with NVRTC, without CuPy and without a GPU."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from pathlib import Path

INSTALL = "pip install nvidia-cuda-nvrtc"


@functools.cache
def library() -> ctypes.CDLL | None:
    """NVRTC from its wheel (any CUDA version), or from the system; None if it is not there."""
    found: list[Path] = []
    for name in ("nvidia", "nvidia.cuda_nvrtc"):
        spec = importlib.util.find_spec("nvidia") and importlib.util.find_spec(name)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            found += sorted(Path(place).glob("**/libnvrtc.so.*"), reverse=True)
    for path in [*found, Path("libnvrtc.so")]:
        try:
            return ctypes.CDLL(str(path))
        except OSError:
            continue
    return None


def supported() -> list[int]:
    """Compute capabilities that this NVRTC has code for."""
    count = ctypes.c_int()
    _check(library().nvrtcGetNumSupportedArchs(ctypes.byref(count)))
    archs = (ctypes.c_int * count.value)()
    _check(library().nvrtcGetSupportedArchs(archs))
    return list(archs)


@functools.cache
def cubin(source: str, flags: tuple[str, ...]) -> tuple[bytes, str]:
    """The machine code of `source` and what the compiler says of it; AssertionError if there is
    none."""
    program = ctypes.c_void_p()
    nvrtc = library()
    _check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"loop.cu", 0, 0, 0))
    try:
        options = (ctypes.c_char_p * len(flags))(*[f.encode() for f in flags])
        status = nvrtc.nvrtcCompileProgram(program, len(flags), options)
        size = ctypes.c_size_t()
        _check(nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size)))
        log = ctypes.create_string_buffer(size.value)
        _check(nvrtc.nvrtcGetProgramLog(program, log))
        assert status == 0, log.value.decode() + "\n" + numbered(source)
        _check(nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)))
        code = ctypes.create_string_buffer(size.value)
        _check(nvrtc.nvrtcGetCUBIN(program, code))
        return code.raw, log.value.decode()
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def numbered(source: str) -> str:
    return "\n".join(f"{i:4} {line}" for i, line in enumerate(source.split("\n"), 1))


def _check(status: int) -> None:
    assert status == 0, f"NVRTC: error {status}"
