"""CupyBackend: every primitive on CuPy arrays; nothing synchronises until a value is asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import cupy
import numpy as np
from cupyx.scipy.special import erf
from tinygrad_rnn_numpy import kernels

from tinygrad_rnn.extend import Backend, BackendError, Node, Type

from tinygrad_rnn.lower import Unsupported, lower

from . import eager
from .captured import CapturedLoop
from .steps import Cycle


class CupyBackend(Backend):
    """Arrays are CuPy's on the current device; products go to cuBLAS."""

    name = "cupy"
    kernels: Mapping[str, Callable[..., Any]] = kernels.table(cupy) | eager.table(cupy, erf)

    @classmethod
    def missing(cls) -> str | None:
        if not cupy.cuda.is_available():
            return (
                "CuPy is installed, but it finds no CUDA device or driver. Check `nvidia-smi`, the "
                "driver, and CUDA_VISIBLE_DEVICES; or use the backend 'numba' or 'numpy'."
            )
        try:
            cupy.asarray([1.0]).sum().item()
        except (cupy.cuda.runtime.CUDARuntimeError, ImportError) as error:
            return (
                f"CuPy finds a CUDA device but cannot run a kernel on it ({error}). Install CuPy "
                "with the CUDA components: "
                'pip install "tinygrad-rnn[cuda12]" or "tinygrad-rnn[cuda13]".'
            )
        return None

    def put(self, host: np.ndarray) -> Any:
        return self._guarded(lambda: cupy.array(host, order="C"), host.nbytes)

    def get(self, buffer: Any) -> np.ndarray:
        return cupy.asnumpy(buffer)  # type: ignore[no-any-return]

    def empty(self, type: Type) -> Any:
        return self._guarded(lambda: cupy.empty(type.shape, type.dtype.np), type.nbytes)

    tf32 = False

    def specialize(self, node: Node) -> Callable[..., Any] | None:
        if node.op.name == "scan":
            try:
                program = lower(node)
                return CapturedLoop(node, program, Cycle(program), lambda: self.tf32)
            except Unsupported:
                return None
        if node.op.name == "contract":
            run = kernels.plan(node.attrs["a"], node.attrs["b"], node.attrs["out"])
            return functools.partial(run, cupy)
        return super().specialize(node)

    def takes_out(self, kernel: Callable[..., Any], node: Node) -> bool:
        return isinstance(kernel, cupy.ufunc) and bool(node.output.type.shape)

    def synchronize(self) -> None:
        cupy.cuda.get_current_stream().synchronize()

    @staticmethod
    def _guarded(allocate: Callable[[], Any], nbytes: int) -> Any:
        try:
            return allocate()
        except cupy.cuda.memory.OutOfMemoryError as error:
            free, total = cupy.cuda.runtime.memGetInfo()
            raise BackendError(
                f"out of GPU memory: {nbytes} bytes were asked for, {free} of {total} are free, "
                f"{cupy.get_default_memory_pool().used_bytes()} are used by tensors of this "
                "process. Use a smaller batch or shorter chunks, or checkpoint(...)."
            ) from error
