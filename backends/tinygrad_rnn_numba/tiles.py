"""Register-tiled matrix products on packed constant operands, as Numba intrinsics.

C[rows, N] = A[rows, K] @ B with B packed to [panels, K, panel width]: the tile keeps rows x vectors
accumulators in registers and does one fused multiply-add per accumulator and k. C and the packed B
are padded to whole panels, so only rows have a remainder.
"""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .target import target

I64 = ir.IntType(64)


def panel_width(itemsize: int) -> int:
    return target().vectors * target().lanes(itemsize)


def padded(n: int, itemsize: int) -> int:
    """n rounded up to whole panels."""
    w = panel_width(itemsize)
    return -(-n // w) * w


@functools.cache
def tile(bits: int, rows: int) -> Any:
    """intrinsic(a, lda, b, c, ldc, k): C[rows, panel] = A[rows, k] @ B[k, panel]; strides in elements."""
    lanes, vectors, size = target().lanes(bits // 8), target().vectors, bits // 8

    @intrinsic  # type: ignore[misc]
    def product(typingctx: Any, a: Any, lda: Any, b: Any, c: Any, ldc: Any, k: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            a, lda, b, c, ldc, k = args
            element = ir.FloatType() if bits == 32 else ir.DoubleType()
            vector = ir.VectorType(element, lanes)
            name = f"llvm.fma.v{lanes}f{bits}"
            module = builder.module
            fma = module.globals.get(name) or ir.Function(module, ir.FunctionType(vector, [vector] * 3), name)
            const = functools.partial(ir.Constant, I64)
            a, b, c = (builder.inttoptr(p, element.as_pointer()) for p in (a, b, c))
            row = [builder.gep(a, [builder.mul(lda, const(i))]) for i in range(rows)]
            out = [builder.gep(c, [builder.mul(ldc, const(i))]) for i in range(rows)]

            def at(p: Any, i: Any) -> Any:
                return builder.bitcast(builder.gep(p, [i]), vector.as_pointer())

            before = builder.block
            loop, done = (builder.append_basic_block(n) for n in ("product", "product_end"))
            zero = ir.Constant(vector, [0.0] * lanes)
            builder.cbranch(builder.icmp_signed(">", k, const(0)), loop, done)
            builder.position_at_end(loop)
            i = builder.phi(I64)
            i.add_incoming(const(0), before)
            sums = [[builder.phi(vector) for _ in range(vectors)] for _ in range(rows)]
            panel = [
                builder.load(at(b, builder.add(builder.mul(i, const(vectors * lanes)), const(j * lanes))), align=size)
                for j in range(vectors)
            ]
            new = []
            for r in range(rows):
                scalar = builder.load(builder.gep(row[r], [i]))
                every = splat(builder, scalar, lanes)
                new.append([builder.call(fma, [every, panel[j], sums[r][j]]) for j in range(vectors)])
            following = builder.add(i, const(1))
            i.add_incoming(following, loop)
            for r in range(rows):
                for j in range(vectors):
                    sums[r][j].add_incoming(zero, before)
                    sums[r][j].add_incoming(new[r][j], loop)
            builder.cbranch(builder.icmp_signed("<", following, k), loop, done)
            builder.position_at_end(done)
            for r in range(rows):
                for j in range(vectors):
                    final = builder.phi(vector)
                    final.add_incoming(zero, before)
                    final.add_incoming(new[r][j], loop)
                    new[r][j] = final
            for r in range(rows):
                for j in range(vectors):
                    builder.store(new[r][j], at(out[r], const(j * lanes)), align=size)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), codegen

    return product


def splat(builder: ir.IRBuilder, scalar: Any, lanes: int) -> Any:
    kind = ir.VectorType(scalar.type, lanes)
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))


@functools.cache
def product(bits: int) -> Any:
    """njit function (a, lda, b, c, ldc, k, n, rows): all rows and panels of one product."""
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
