"""Device memory: a clear error when there is none left, and a report of who has it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import cupy

from tinygrad_rnn.extend import BackendError

from . import devices


class DeviceMemoryError(BackendError, MemoryError):
    """The device has no memory left for what was asked."""


class Memory(NamedTuple):
    """Bytes of the current device: `used` by tensors of this process, `held` by its memory pool
    (used or ready to be used again), `free` and `total` of the device."""

    used: int
    held: int
    free: int
    total: int

    def __str__(self) -> str:
        used, held, free, total = (f"{n / 2**20:,.1f} MiB" for n in self)
        return f"{used} used by tensors, {held} held by the pool, {free} of {total} free"


def memory() -> Memory:
    """What is in use now, without waiting for the device."""
    pool = cupy.get_default_memory_pool()
    free, total = cupy.cuda.runtime.memGetInfo()
    return Memory(pool.used_bytes(), pool.total_bytes(), free, total)


#: How CuPy's pool, the CUDA runtime (graphs), the driver (modules) and cuBLAS say that they lack
#: memory, among other things that the last three say.
EMPTY = (
    cupy.cuda.memory.OutOfMemoryError, cupy.cuda.runtime.CUDARuntimeError,
    cupy.cuda.driver.CUDADriverError, cupy.cuda.cublas.CUBLASError,
)  # fmt: skip
NAMES = ("cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED")


def _is_empty(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(name in str(error) for name in NAMES)


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function on the device that was chosen, its errors for want of memory turned into ours.
    What the pool holds unused is given back, so the process can go on."""

    @functools.wraps(function, updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        devices.follow()
        try:
            return function(*args, **kwargs)
        except EMPTY as error:
            if not _is_empty(error):
                raise
            cupy.get_default_memory_pool().free_all_blocks()
            raise DeviceMemoryError(
                f"out of GPU memory: {error}. Now: {memory()}. Use a smaller batch or shorter "
                "chunks, checkpoint(...), or give back tensors that are no longer needed."
            ) from error

    return run
