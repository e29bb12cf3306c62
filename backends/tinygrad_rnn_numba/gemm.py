"""Products outside of loops: C[M, N] = A[M, K] @ B[K, N], threads over columns of C.

Every thread packs the panels of B that it needs, so there is one parallel phase and no barrier, and
no second pool of threads (the BLAS's) that competes with ours.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from tinygrad_rnn_numpy import pool

from tinygrad_rnn.types import Type

from . import objects, runtime
from .target import target
from .tiles import panel_width, tile

#: Rows of A that stay in the cache while all panels of a thread pass: as they lie, or packed, which
#: then should leave room in the first cache; steps of k packed at once.
ROWS, PACKED_ROWS, DEPTH = 128, 64, 256
#: Below this many multiplications a call of NumPy's costs less than ours.
SMALLEST = 1 << 18
#: From this many panels per thread on, packing a turned A pays.
PACKED = 4


@functools.cache
def _function(bits: int) -> int:
    """The address of the compiled product."""
    return runtime.compiled(f"gemm {bits}", lambda: _product(bits))


def _product(bits: int) -> Callable[[int, int], None]:
    """The product in Python; numbers: M, K, N, a, lda, b, strides of k and n, c, work, blocks,
    whether blocks share the rows, the bias or 0, whether A is stored [k, rows], and is packed."""
    from . import intrinsics

    size, step, width = bits // 8, target().rows, panel_width(bits // 8)
    plain, across = _strip(bits, False), _strip(bits, True)
    copy, merge, gather, load = _copier(bits), _merger(bits), _gatherer(bits), intrinsics.load
    fill = _filler(bits)

    def product(numbers: int, block: int) -> None:
        M, K, N = load(numbers, 0), load(numbers, 1), load(numbers, 2)
        a, lda = load(numbers, 3), load(numbers, 4)
        b, sk, sn = load(numbers, 5), load(numbers, 6), load(numbers, 7)
        c, work, blocks = load(numbers, 8), load(numbers, 9), load(numbers, 10)
        bias, turned, packs = load(numbers, 12), load(numbers, 13), load(numbers, 14)
        height = PACKED_ROWS if packs else ROWS
        panels = (N + width - 1) // width
        share, p0, p1, i0, i1 = panels, 0, panels, 0, M
        if load(numbers, 11) == 0:
            share = (panels + blocks - 1) // blocks
            p0, p1 = block * share, min(panels, block * share + share)
        else:
            part = (M + step * blocks - 1) // (step * blocks) * step
            i0, i1 = block * part, min(M, block * part + part)
        mine = work + block * size * (share * DEPTH * width + height * (width + packs * DEPTH))
        edge = mine + size * share * DEPTH * width
        packed = edge + size * height * width
        for k0 in range(0, K, DEPTH):
            depth = min(DEPTH, K - k0)
            for p in range(p0, p1):
                columns = min(width, N - p * width)
                copy(b + size * (k0 * sk + p * width * sn), sk, sn, depth, columns,
                     mine + size * (p - p0) * DEPTH * width)  # fmt: skip
            for i in range(i0, i1, height):
                rows = min(height, i1 - i)
                if packs:
                    gather(a + size * (i + k0 * lda), lda, depth, rows, packed)
                    left, ld, along, after = packed, step, size * depth, size
                elif turned:
                    left, ld, along, after = a + size * (i + k0 * lda), lda, size, size
                else:
                    left, ld, along, after = a + size * (i * lda + k0), lda, size * lda, size * lda
                adds = 1 if k0 > 0 or bias != 0 else 0
                if k0 == 0 and bias != 0:
                    fill(bias, c + size * i * N, N, rows, p0, p1)
                for p in range(p0, p1):
                    panel = mine + size * (p - p0) * DEPTH * width
                    out = c + size * (i * N + p * width)
                    to, ldc, more = out, N, adds
                    if (p + 1) * width > N:
                        to, ldc, more = edge, width, 0
                    if turned:
                        across(left, ld, along, after, panel, to, ldc, depth, rows, more)
                    else:
                        plain(left, ld, along, after, panel, to, ldc, depth, rows, more)
                    if (p + 1) * width > N:
                        merge(edge, out, N, rows, N - p * width, adds)

    return product


@functools.cache
def _strip(bits: int, turned: bool) -> Any:
    """All rows of one panel. `turned`: A is stored [k, rows]. Bytes from row to row: `along` as
    long as there are whole tiles, `after` behind them."""
    size, step = bits // 8, target().rows
    full, four, two, one = (tile(bits, r, turned) for r in (step, 4, 2, 1))

    @objects.inner
    def strip(
        a: int, lda: int, along: int, after: int,
        b: int, c: int, ldc: int, k: int, rows: int, adds: int,
    ) -> None:  # fmt: skip
        i = 0
        while i + step <= rows:
            full(a + i * along, lda, b, c + size * i * ldc, ldc, k, adds)
            i += step
        left = a + i * along
        if i + 4 <= rows:
            four(left, lda, b, c + size * i * ldc, ldc, k, adds)
            left += 4 * after
            i += 4
        if i + 2 <= rows:
            two(left, lda, b, c + size * i * ldc, ldc, k, adds)
            left += 2 * after
            i += 2
        if i < rows:
            one(left, lda, b, c + size * i * ldc, ldc, k, adds)

    return strip


@functools.cache
def _gatherer(bits: int) -> Any:
    """Pack A stored [depth, rows] to [packs, depth, rows of a tile]."""
    from . import intrinsics

    put, get = intrinsics.put(bits), intrinsics.get(bits)
    size, step = bits // 8, target().rows
    row = intrinsics.move(bits, step)

    @objects.inner
    def gather(a: int, lda: int, depth: int, rows: int, out: int) -> None:
        # along the rows of A as it is stored, which lie far apart
        whole = rows - rows % step
        for k in range(depth):
            for i in range(0, whole, step):
                row(a + size * (i + k * lda), out + size * (i * depth + k * step))
        for k in range(depth):
            for j in range(whole, rows):
                put(
                    out + size * (whole * depth + k * step + j - whole),
                    get(a + size * (j + k * lda)),
                )

    return gather


@functools.cache
def _copier(bits: int) -> Any:
    """Pack [depth, columns] of B with strides to rows of a panel, padded with zeros."""
    from . import intrinsics

    put, get = intrinsics.put(bits), intrinsics.get(bits)
    size, width, lanes = bits // 8, panel_width(bits // 8), target().lanes(bits // 8)
    row, turn = intrinsics.move(bits, width), intrinsics.transpose(bits, lanes)

    @objects.inner
    def copy(b: int, sk: int, sn: int, depth: int, columns: int, out: int) -> None:
        if sn == 1 and columns == width:
            for k in range(depth):
                row(b + size * k * sk, out + size * k * width)
            return
        whole_k = whole_j = 0
        if sk == 1:
            whole_k, whole_j = depth - depth % lanes, columns - columns % lanes
            for j in range(0, whole_j, lanes):
                for k in range(0, whole_k, lanes):
                    turn(b + size * (k + j * sn), sn, out + size * (k * width + j), width)
        for k in range(depth):
            first = whole_j if k < whole_k else 0
            for j in range(first, columns):
                put(out + size * (k * width + j), get(b + size * (k * sk + j * sn)))
            for j in range(columns, width):
                put(out + size * (k * width + j), 0.0)

    return copy


@functools.cache
def _filler(bits: int) -> Any:
    """Write a vector into panels p0 … p1 of rows of C."""
    from . import intrinsics

    put, get = intrinsics.put(bits), intrinsics.get(bits)
    size, width = bits // 8, panel_width(bits // 8)
    row = intrinsics.move(bits, width)

    @objects.inner
    def fill(vector: int, c: int, n: int, rows: int, p0: int, p1: int) -> None:
        for i in range(rows):
            for p in range(p0, p1):
                source, out = vector + size * p * width, c + size * (i * n + p * width)
                if (p + 1) * width <= n:
                    row(source, out)
                else:
                    for j in range(n - p * width):
                        put(out + size * j, get(source + size * j))

    return fill


@functools.cache
def _pack_function(bits: int) -> int:
    return runtime.compiled(f"pack {bits}", lambda: _packing(bits))


def _packing(bits: int) -> Callable[[int, int], None]:
    """All panels of several B; numbers: K, N, b, stride of k, stride of n, out, blocks, how many,
    how far apart."""
    from . import intrinsics

    size, width = bits // 8, panel_width(bits // 8)
    copy, load = _copier(bits), intrinsics.load

    def pack(numbers: int, block: int) -> None:
        K, N, b = load(numbers, 0), load(numbers, 1), load(numbers, 2)
        sk, sn, out = load(numbers, 3), load(numbers, 4), load(numbers, 5)
        panels = (N + width - 1) // width
        for q in range(block, panels * load(numbers, 7), load(numbers, 6)):
            p = q % panels
            start = b + size * (q // panels * load(numbers, 8) + p * width * sn)
            columns = min(width, N - p * width)
            copy(start, sk, sn, K, columns, out + size * q * K * width)

    return pack


class Packing:
    """Packs B[K, N], or one for every row, to panels [rows, panels, K, width]; the last panel is
    padded with zeros. `axes`: where in the array the rows (or None), k and n lie."""

    def __init__(self, given: Type, axes: tuple[int | None, int, int]):
        row, k, n = self.axes = axes
        K, N, rows = given.shape[k], given.shape[n], 1 if row is None else given.shape[row]
        size = given.dtype.itemsize
        width = panel_width(size)
        panels = -(-N // width)
        self.dtype, self.size = given.dtype.np, size
        self.shape, self.function = (rows, panels, K, width), _pack_function(8 * size)
        self.blocks = max(1, min(runtime.threads(), rows * panels // 4))
        self.numbers = np.array([K, N, 0, 0, 0, 0, self.blocks, rows, 0], np.int64)

    def __call__(self, b: Any) -> Any:
        """`b` of any strides."""
        out = pool.empty(self.shape, self.dtype)
        numbers = self.numbers.copy()
        numbers[2], numbers[5] = runtime.address(b), runtime.address(out)
        row, k, n = self.axes
        numbers[3], numbers[4] = b.strides[k] // self.size, b.strides[n] // self.size
        numbers[8] = 0 if row is None else b.strides[row] // self.size
        runtime.drive(self.function, numbers, self.blocks)
        return out


@functools.cache
def _merger(bits: int) -> Any:
    """Copy or add the valid columns of the last panel to C."""
    from . import intrinsics

    put, get = intrinsics.put(bits), intrinsics.get(bits)
    size, width = bits // 8, panel_width(bits // 8)

    @objects.inner
    def merge(edge: int, out: int, n: int, rows: int, columns: int, adds: int) -> None:
        for i in range(rows):
            for j in range(columns):
                x = get(edge + size * (i * width + j))
                if adds > 0:
                    x += get(out + size * (i * n + j))
                put(out + size * (i * n + j), x)

    return merge


def suits(M: int, K: int, N: int, dtype: Any) -> bool:
    """Whether a product of these sizes is worth our threads."""
    return M * N * K >= SMALLEST and np.dtype(dtype) in (np.float32, np.float64)


def matmul(left: Any, right: Any, out: Any, bias: Any = None) -> bool:
    """out = left @ right (+ bias) for matrices, if this is a product for us; else False."""
    (M, K), N = left.shape, right.shape[1]
    if not suits(M, K, N, left.dtype):
        return False
    size = left.dtype.itemsize
    if left.strides[1] == size:
        turned, lda = False, left.strides[0]
    elif left.strides[0] == size:
        turned, lda = True, left.strides[1]
    else:
        return False
    if lda % size or right.strides[0] % size or right.strides[1] % size:
        return False
    width = panel_width(size)
    panels = -(-N // width)
    # every thread reads all of A, and packs it if it is turned, unless they share out its rows
    by_rows = int(M > N and (turned or K > N))
    blocks = max(1, min(runtime.threads(), M // target().rows if by_rows else panels))
    share = panels if by_rows else -(-panels // blocks)
    packed = turned and share >= PACKED
    height = PACKED_ROWS if packed else ROWS
    work = pool.empty(
        (blocks * (share * DEPTH * width + height * (width + packed * DEPTH)),), left.dtype
    )
    numbers = np.array(
        [M, K, N, runtime.address(left), lda // size, runtime.address(right),
         right.strides[0] // size, right.strides[1] // size,
         runtime.address(out), runtime.address(work), blocks, by_rows,
         0 if bias is None else runtime.address(bias), turned, packed],
        np.int64,
    )  # fmt: skip
    runtime.drive(_function(8 * size), numbers, blocks)
    return True


@functools.cache
def _dot_function(bits: int) -> int:
    return runtime.compiled(f"column dots {bits}", lambda: _dot(bits))


def _dot(bits: int) -> Callable[[int, int], None]:
    """numbers: K, n, x, y, out, blocks; every thread takes a range of columns."""
    from . import intrinsics

    size, chunk = bits // 8, 2 * target().lanes(bits // 8)
    get, put, load = intrinsics.get(bits), intrinsics.put(bits), intrinsics.load
    row = intrinsics.multiply_add(bits, chunk)

    def dot(numbers: int, block: int) -> None:
        K, n = load(numbers, 0), load(numbers, 1)
        x, y, out, blocks = load(numbers, 2), load(numbers, 3), load(numbers, 4), load(numbers, 5)
        share = (n + blocks - 1) // blocks
        first, last = block * share, min(n, block * share + share)
        for j in range(first, last):
            put(out + size * j, 0.0)
        for k in range(K):
            at = size * k * n
            j = first
            while j + chunk <= last:
                row(x + at + size * j, y + at + size * j, out + size * j)
                j += chunk
            while j < last:
                total = get(out + size * j) + get(x + at + size * j) * get(y + at + size * j)
                put(out + size * j, total)
                j += 1

    return dot


def column_dots(x: Any, y: Any) -> Any:
    """out[j] = sum over k of x[k, j] * y[k, j], for C-contiguous matrices."""
    K, n = x.shape
    out = np.empty(n, x.dtype)
    blocks = max(1, min(runtime.threads(), n // 64))
    numbers = np.array([K, n, *map(runtime.address, (x, y, out)), blocks], np.int64)
    runtime.drive(_dot_function(8 * x.dtype.itemsize), numbers, blocks)
    return out
