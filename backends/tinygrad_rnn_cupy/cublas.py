"""cuBLAS for loops: the library that CuPy is linked with, called without CuPy.

CuPy (14) refuses to call cuBLAS while a graph is captured, because cuBLAS may then take memory of
its own. Here it gets memory before: a workspace, one for every device, so streams take turns.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from collections.abc import Iterator
from typing import Any

import cupy
import numpy as np
from cupy.cuda import cublas

from tinygrad_rnn.extend import BackendError

#: What NVIDIA recommends for devices since sm_90; cuBLAS chooses its algorithms by it.
WORKSPACE = 32 << 20

_int, _long, _pointer = ctypes.c_int, ctypes.c_longlong, ctypes.c_void_p
_matrix = [_pointer, _int, _int, _long]
SIGNATURES: dict[str, list[Any]] = {
    "cublasSetStream_v2": [_pointer, _pointer],
    "cublasSetWorkspace_v2": [_pointer, _pointer, ctypes.c_size_t],
    "cublasGemmStridedBatchedEx": [
        _pointer, _int, _int, _int, _int, _int, _pointer, *_matrix, *_matrix, _pointer, *_matrix,
        _int, _int, _int,
    ],
}  # fmt: skip


@functools.cache
def library() -> Any:
    """cuBLAS, found as CuPy's binding finds it: a library's symbols are those of its needs too."""
    found = ctypes.CDLL(cublas.__file__)
    for name, types in SIGNATURES.items():
        getattr(found, name).argtypes = types
    return found


def call(name: str, *args: int) -> None:
    """Call a function of cuBLAS that returns a status."""
    status = getattr(library(), name)(*args)
    if status:
        raise BackendError(f"{name} failed with status {status} of cuBLAS.")


class Workspace:
    """Memory in which cuBLAS works while loops run on a device."""

    def __init__(self) -> None:
        self.memory = cupy.empty(WORKSPACE, np.uint8)
        self.lock = threading.Lock()
        self.done = cupy.cuda.Event(disable_timing=True)
        self.stream: int | None = None

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Inside, loops are enqueued on the current stream, after those of other streams."""
        stream = cupy.cuda.get_current_stream()
        with self.lock:
            if self.stream not in (None, stream.ptr):
                stream.wait_event(self.done)
            try:
                yield
            finally:
                self.done.record(stream)
                self.stream = stream.ptr

    def use(self) -> None:
        """Products that follow are enqueued on the current stream and work in this memory, until
        CuPy's next call of cuBLAS sets its own stream and with it cuBLAS's own memory again."""
        handle = cupy.cuda.Device().cublas_handle
        call("cublasSetStream_v2", handle, cupy.cuda.get_current_stream().ptr)
        call("cublasSetWorkspace_v2", handle, self.memory.data.ptr, WORKSPACE)


_workspaces: dict[int, Workspace] = {}
_lock = threading.Lock()


def workspace() -> Workspace:
    """The one of the current device."""
    device = cupy.cuda.Device().id
    with _lock:
        if device not in _workspaces:
            _workspaces[device] = Workspace()
        return _workspaces[device]
