"""Matrix products by cuBLAS: one road for eager products, compiled graphs and loops.

In: row-major matrices. Halves are multiplied exactly and summed in float32. float32 is multiplied
as it is, or in TF32 (10 bits of mantissa) where `tf32` asks for it: the same choice everywhere.
Integers and complex numbers are left to CuPy.
"""

from __future__ import annotations

import math
from typing import Any

import cupy
import numpy as np
from cupy.cuda import cublas, runtime

from tinygrad_rnn.extend import DType

from .cublas import call
from .settings import Settings

_ONE = {np.dtype(d): np.array(1, d) for d in ("f4", "f8")}
_ZERO = {np.dtype(d): np.array(0, d) for d in ("f4", "f8")}


def kinds(name: str, tf32: bool) -> tuple[int, int, Any]:
    """cuBLAS's names of an element type and of how products are summed, and the dtype of sums."""
    if name == "float64":
        return runtime.CUDA_R_64F, cublas.CUBLAS_COMPUTE_64F, np.dtype("f8")
    data = {
        "float16": runtime.CUDA_R_16F,
        "bfloat16": runtime.CUDA_R_16BF,
        "float32": runtime.CUDA_R_32F,
    }[name]
    fast = tf32 and name == "float32"
    how = cublas.CUBLAS_COMPUTE_32F_FAST_TF32 if fast else cublas.CUBLAS_COMPUTE_32F
    return data, how, np.dtype("f4")


class Gemm:
    """out[m, n] = left[m, k] @ right[k, n] on addresses; `rowwise`: every row of left has a matrix
    right[m, k, n] of its own."""

    def __init__(self, dtype: DType, m: int, n: int, k: int, rowwise: bool, tf32: bool):
        # to cuBLAS, which thinks in columns, this is out^T = right^T @ left^T
        data, how, sums = kinds(dtype.name, tf32)
        plain = cublas.CUBLAS_OP_N
        self.head = (plain, plain, n, 1 if rowwise else m, k, _ONE[sums].ctypes.data)
        self.data, self.how, self.zero = data, how, _ZERO[sums].ctypes.data
        self.lds = max(n, 1), max(k, 1)
        self.batch = (k * n, k, n, m) if rowwise else (0, 0, 0, 1)

    def __call__(self, out: int, left: int, right: int) -> None:
        """Enqueue the product where `Workspace.use` said."""
        (ld_n, ld_k), (per_right, per_left, per_out, count) = self.lds, self.batch
        call(
            "cublasGemmStridedBatchedEx", cupy.cuda.Device().cublas_handle, *self.head,
            right, self.data, ld_n, per_right, left, self.data, ld_k, per_left,
            self.zero, out, self.data, ld_n, per_out, count, self.how, cublas.CUBLAS_GEMM_DEFAULT,
        )  # fmt: skip


class Products:
    """What contractions are made of. cuBLAS itself sums halves in float32."""

    def __init__(self, settings: Settings):
        self.settings = settings

    def multiply(self, left: Any, right: Any, out: Any = None) -> Any:
        return cupy.multiply(left, right, out)

    def matmul(self, left: Any, right: Any, out: Any = None) -> Any:
        if left.dtype.kind in "biuc":
            return cupy.matmul(left, right, out)
        return matmul(left, right, out, self.settings.tf32)


def matmul(left: Any, right: Any, out: Any, tf32: bool) -> Any:
    """left[..., m, k] @ right[..., k, n] of floats, by one call of cuBLAS."""
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    m, k, n = left.shape[-2], left.shape[-1], right.shape[-1]
    shape = (*batch, m, n)
    target = out if out is not None and out.flags.c_contiguous else cupy.empty(shape, left.dtype)
    if target.size and not k:
        target[...] = 0
    elif target.size:
        _product(left, right, target, batch, tf32)
    if out is not None and target is not out:
        out[...] = target
        return out
    return target


def _product(left: Any, right: Any, out: Any, batch: tuple[int, ...], tf32: bool) -> None:
    m, n, k = out.shape[-2], out.shape[-1], left.shape[-1]
    count = math.prod(batch)
    (left, left_turned), (right, right_turned) = (_readable(x, batch) for x in (left, right))
    data, how, sums = kinds(out.dtype.name, tf32)
    ops = [cublas.CUBLAS_OP_T if turned else cublas.CUBLAS_OP_N
           for turned in (right_turned, left_turned)]  # fmt: skip
    lds = (k if right_turned else n), (m if left_turned else k)
    strides = [0 if x.ndim == 2 else x.shape[-1] * x.shape[-2] for x in (right, left)]
    cublas.gemmStridedBatchedEx(
        cupy.cuda.Device().cublas_handle, *ops, n, m, k, _ONE[sums].ctypes.data,
        right.data.ptr, data, lds[0], strides[0], left.data.ptr, data, lds[1], strides[1],
        _ZERO[sums].ctypes.data, out.data.ptr, data, n, m * n, count, how,
        cublas.CUBLAS_GEMM_DEFAULT,
    )  # fmt: skip


def _readable(x: Any, batch: tuple[int, ...]) -> tuple[Any, bool]:
    """`x` as cuBLAS can read it, [rows, columns] or [batch..., rows, columns] without gaps, and
    whether its matrices are stored turned."""
    if x.ndim > 2 and x.shape[:-2] != batch:
        x = cupy.broadcast_to(x, (*batch, *x.shape[-2:]))
    if x.flags.c_contiguous:
        return x, False
    if x.swapaxes(-1, -2).flags.c_contiguous:
        return x, True
    return cupy.ascontiguousarray(x), False
