"""cuBLAS's general product, on addresses, columns first; by CuPy's binding and by itself."""

from __future__ import annotations

import ctypes
import threading
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np

from .device import enqueue, get_current_stream, here

KINDS = {0: np.dtype("f4"), 1: np.dtype("f8"), 2: np.dtype("f2"),
         14: np.dtype(ml_dtypes.bfloat16)}  # fmt: skip
F32, TF32, F64 = 68, 77, 70
#: how products were asked to be summed, for tests to look at
asked: list[int] = []


def _view(at: int, dtype: Any, ld: int, shape: tuple[int, int], batch: tuple[int, int]) -> Any:
    """[batch, rows, columns] of a matrix stored by columns; every element that is there and none
    beyond."""
    count, stride = batch
    rows, columns = shape
    assert ld >= max(rows, 1)
    size = (count - 1) * stride + (columns - 1) * ld + rows
    memory = np.frombuffer(
        (ctypes.c_char * (size * dtype.itemsize)).from_address(at), dtype, count=size
    )
    steps = tuple(s * dtype.itemsize for s in (stride, 1, ld))
    return np.lib.stride_tricks.as_strided(memory, (count, rows, columns), steps)


def _tf32(x: np.ndarray) -> np.ndarray:
    """To 10 bits of mantissa."""
    return ((x.view(np.uint32) + 0x1000) & 0xFFFFE000).view(np.float32)


def _of_cupy(*args: int) -> None:
    """CuPy's binding, which refuses to be captured."""
    if here.recording is not None:
        raise NotImplementedError("calling cuBLAS API during stream capture is unsupported")
    _set_stream(args[0], get_current_stream().ptr)
    gemm_strided(*args)


class _Handle(threading.local):
    """What cuBLAS knows of a thread's handle."""

    stream = 0
    workspace: int | None = None


handle_state = _Handle()


def _set_stream(handle: int, stream: int) -> int:
    handle_state.stream, handle_state.workspace = stream, None
    return int(handle != 7)


def _set_workspace(handle: int, at: int, size: int) -> int:
    handle_state.workspace = at
    return int(handle != 7 or at == 0 or size <= 0)


def _own_gemm(*args: int) -> int:
    assert handle_state.stream == get_current_stream().ptr, "a product on another stream"
    assert handle_state.workspace, "cuBLAS would take memory of its own"
    gemm_strided(*args)
    return 0


def library() -> Any:
    """The library itself, as `tinygrad_rnn_cupy.cublas` calls it."""
    return SimpleNamespace(
        cublasSetStream_v2=_set_stream, cublasSetWorkspace_v2=_set_workspace,
        cublasGemmStridedBatchedEx=_own_gemm,
    )  # fmt: skip


def gemm_strided(
    handle, ta, tb, m, n, k, alpha, a, a_kind, lda, a_step, b, b_kind, ldb, b_step, beta, c,
    c_kind, ldc, c_step, count, how, algorithm,
):  # fmt: skip
    dtype = KINDS[c_kind]
    assert handle == 7 and a_kind == b_kind == c_kind and algorithm == -1
    assert (how == F64) == (dtype == np.float64) and how in (F32, TF32, F64)
    sums = np.dtype("f8") if how == F64 else np.dtype("f4")
    one, zero = (np.frombuffer((ctypes.c_char * sums.itemsize).from_address(p), sums)[0]
                 for p in (alpha, beta))  # fmt: skip
    assert (one, zero) == (1, 0)
    asked.append(how)

    def run() -> None:
        left = _view(a, dtype, lda, (k, m) if ta else (m, k), (count, a_step))
        right = _view(b, dtype, ldb, (n, k) if tb else (k, n), (count, b_step))
        left, right = (np.ascontiguousarray(x, sums) for x in (left, right))
        if how == TF32:
            left, right = _tf32(left), _tf32(right)
        out = _view(c, dtype, ldc, (m, n), (count, c_step))
        out[...] = np.matmul(
            left.swapaxes(1, 2) if ta else left, right.swapaxes(1, 2) if tb else right
        )

    enqueue(run)


def module() -> Any:
    return SimpleNamespace(
        CUBLASError=type("CUBLASError", (RuntimeError,), {}),
        CUBLAS_OP_N=0, CUBLAS_OP_T=1, CUBLAS_COMPUTE_32F=F32, CUBLAS_COMPUTE_32F_FAST_TF32=TF32,
        CUBLAS_COMPUTE_64F=F64, CUBLAS_GEMM_DEFAULT=-1, gemmStridedBatchedEx=_of_cupy,
    )  # fmt: skip
