"""Register-tiled matrix products on packed constant operands, as Numba intrinsics.

C[rows, N] = A[rows, K] @ B with B packed to [panels, K, panel width]: the tile keeps rows x vectors
accumulators in registers and does one fused multiply-add per accumulator and k. C and the packed B
are padded to whole panels, so only rows have a remainder.
"""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir

from .target import target

I64 = ir.IntType(64)


def panel_width(itemsize: int) -> int:
    return target().vectors * target().lanes(itemsize)


def padded(n: int, itemsize: int) -> int:
    """n rounded up to whole panels."""
    w = panel_width(itemsize)
    return -(-n // w) * w


@functools.cache
def tile(bits: int, rows: int, turned: bool = False, adds: bool = False) -> Any:
    """intrinsic(a, lda, b, c, ldc, k): C[rows, panel] = A[rows, k] @ B[k, panel].

    Strides are in elements. turned: A is stored [k, rows]. adds: C is added to.
    """
    from numba import types
    from numba.extending import intrinsic

    lanes, vectors, size = target().lanes(bits // 8), target().vectors, bits // 8

    @intrinsic  # type: ignore[misc]
    def product(typingctx: Any, a: Any, lda: Any, b: Any, c: Any, ldc: Any, k: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            _emit_tile(builder, args, bits, lanes, vectors, size, rows, turned, adds)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), codegen

    return product


def _emit_tile(
    builder: ir.IRBuilder,
    args: Any,
    bits: int,
    lanes: int,
    vectors: int,
    size: int,
    rows: int,
    turned: bool,
    adds: bool,
) -> None:
    a, lda, b, c, ldc, k = args
    element = ir.FloatType() if bits == 32 else ir.DoubleType()
    vector = ir.VectorType(element, lanes)
    name = f"llvm.fma.v{lanes}f{bits}"
    module = builder.module
    fma = module.globals.get(name) or ir.Function(
        module, ir.FunctionType(vector, [vector] * 3), name
    )
    const = functools.partial(ir.Constant, I64)
    a, b, c = (builder.inttoptr(p, element.as_pointer()) for p in (a, b, c))
    row = [
        builder.gep(a, [const(i) if turned else builder.mul(lda, const(i))]) for i in range(rows)
    ]
    out = [builder.gep(c, [builder.mul(ldc, const(i))]) for i in range(rows)]

    def at(p: Any, i: Any) -> Any:
        return builder.bitcast(builder.gep(p, [i]), vector.as_pointer())

    every_tile = [(r, j) for r in range(rows) for j in range(vectors)]
    zero = ir.Constant(vector, [0.0] * lanes)
    first = {
        (r, j): builder.load(at(out[r], const(j * lanes)), align=size) if adds else zero
        for r, j in every_tile
    }
    before = builder.block
    loop, done = (builder.append_basic_block(n) for n in ("product", "product_end"))
    builder.cbranch(builder.icmp_signed(">", k, const(0)), loop, done)
    builder.position_at_end(loop)
    i = builder.phi(I64)
    i.add_incoming(const(0), before)
    sums = {key: builder.phi(vector) for key in every_tile}
    column = builder.mul(i, const(vectors * lanes))
    panel = [
        builder.load(at(b, builder.add(column, const(j * lanes))), align=size)
        for j in range(vectors)
    ]
    step = builder.mul(i, lda) if turned else i
    new = {}
    for r in range(rows):
        every = splat(builder, builder.load(builder.gep(row[r], [step])), lanes)
        for j in range(vectors):
            new[r, j] = builder.call(fma, [every, panel[j], sums[r, j]])
    following = builder.add(i, const(1))
    i.add_incoming(following, loop)
    for key in every_tile:
        sums[key].add_incoming(first[key], before)
        sums[key].add_incoming(new[key], loop)
    builder.cbranch(builder.icmp_signed("<", following, k), loop, done)
    builder.position_at_end(done)
    finals = {}
    for key in every_tile:
        finals[key] = builder.phi(vector)
        finals[key].add_incoming(first[key], before)
        finals[key].add_incoming(new[key], loop)
    for r, j in every_tile:
        builder.store(finals[r, j], at(out[r], const(j * lanes)), align=size)


def splat(builder: ir.IRBuilder, scalar: Any, lanes: int) -> Any:
    kind = ir.VectorType(scalar.type, lanes)
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(
        first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    )


@functools.cache
def product(bits: int) -> Any:
    """njit function (a, lda, b, c, ldc, k, n, rows): all rows and panels of one product."""
    from numba import njit

    size, step = bits // 8, target().rows
    width = panel_width(size)
    full, four, two, one = (tile(bits, r) for r in (step, 4, 2, 1))

    @njit(inline="never", error_model="numpy")  # type: ignore[misc]
    def run(a: int, lda: int, b: int, c: int, ldc: int, k: int, n: int, rows: int) -> None:
        for p in range((n + width - 1) // width):
            panel, out = b + size * p * k * width, c + size * p * width
            i = 0
            while i + step <= rows:
                full(a + size * i * lda, lda, panel, out + size * i * ldc, ldc, k)
                i += step
            while i + 4 <= rows:
                four(a + size * i * lda, lda, panel, out + size * i * ldc, ldc, k)
                i += 4
            if i + 2 <= rows:
                two(a + size * i * lda, lda, panel, out + size * i * ldc, ldc, k)
                i += 2
            if i < rows:
                one(a + size * i * lda, lda, panel, out + size * i * ldc, ldc, k)

    return run
