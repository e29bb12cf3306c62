"""Register-tiled matrix products on packed constant operands, as Numba intrinsics.

C[rows, N] = A[rows, K] @ B with B packed to [panels, K, panel width]: the tile keeps rows x vectors
accumulators in registers and does one fused multiply-add per accumulator and k. C and the packed B
are padded to whole panels, so only rows have a remainder.
"""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir

from . import objects
from .target import target

I64 = ir.IntType(64)


def panel_width(itemsize: int) -> int:
    return target().vectors * target().lanes(itemsize)


def padded(n: int, itemsize: int) -> int:
    """n rounded up to whole panels."""
    w = panel_width(itemsize)
    return -(-n // w) * w


@functools.cache
def tile(bits: int, rows: int, turned: bool = False, panels: int = 1) -> Any:
    """intrinsic(a, lda, b, c, ldc, k, adds): C[rows, panel] = A[rows, k] @ B[k, panel], and what
    was in C if `adds` is not 0.

    Strides are in elements. turned: A is stored [k, rows]. panels: as many at once, which lie one
    after another.
    """
    from numba import types
    from numba.extending import intrinsic

    lanes, vectors, size = target().lanes(bits // 8), target().vectors, bits // 8

    @intrinsic  # type: ignore[misc]
    def product(
        typingctx: Any, a: Any, lda: Any, b: Any, c: Any, ldc: Any, k: Any, adds: Any
    ) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            _emit_tile(builder, args, bits, lanes, vectors, size, rows, turned, panels)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 7), codegen

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
    panels: int,
) -> None:
    a, lda, b, c, ldc, k, adds = args
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

    every_tile = [(r, j) for r in range(rows) for j in range(panels * vectors)]
    apart = builder.mul(k, const(vectors * lanes))
    starts = [builder.gep(b, [builder.mul(apart, const(p))]) for p in range(panels)]
    zero = ir.Constant(vector, [0.0] * lanes)
    source = builder.block
    reading, start = (builder.append_basic_block(n) for n in ("read", "start"))
    builder.cbranch(builder.icmp_signed("!=", adds, const(0)), reading, start)
    builder.position_at_end(reading)
    found = {(r, j): builder.load(at(out[r], const(j * lanes)), align=size) for r, j in every_tile}
    builder.branch(start)
    builder.position_at_end(start)
    first = {key: builder.phi(vector) for key in every_tile}
    for key in every_tile:
        first[key].add_incoming(zero, source)
        first[key].add_incoming(found[key], reading)
    before = builder.block
    loop, done = (builder.append_basic_block(n) for n in ("product", "product_end"))
    builder.cbranch(builder.icmp_signed(">", k, const(0)), loop, done)
    builder.position_at_end(loop)
    i = builder.phi(I64)
    i.add_incoming(const(0), before)
    sums = {key: builder.phi(vector) for key in every_tile}
    column = builder.mul(i, const(vectors * lanes))
    panel = [
        builder.load(at(start, builder.add(column, const(j * lanes))), align=size)
        for start in starts
        for j in range(vectors)
    ]
    step = builder.mul(i, lda) if turned else i
    new = {}
    for r in range(rows):
        every = splat(builder, builder.load(builder.gep(row[r], [step])), lanes)
        for j in range(panels * vectors):
            new[r, j] = builder.call(fma, [every, panel[j], sums[r, j]])
    following = builder.add(i, const(1))
    i.add_incoming(following, loop)
    for key in every_tile:
        sums[key].add_incoming(first[key], before)
        sums[key].add_incoming(new[key], loop)
    again = builder.cbranch(builder.icmp_signed("<", following, k), loop, done)
    if 2 * len(every_tile) > target().registers:
        _keep_rolled(again)
    builder.position_at_end(done)
    finals = {}
    for key in every_tile:
        finals[key] = builder.phi(vector)
        finals[key].add_incoming(first[key], before)
        finals[key].add_incoming(new[key], loop)
    for r, j in every_tile:
        builder.store(finals[r, j], at(out[r], const(j * lanes)), align=size)


def _keep_rolled(branch: Any) -> None:
    """Tell LLVM not to unroll the loop that `branch` closes: two steps of a tall tile at once do
    not fit into the registers."""
    module = branch.function.module
    disable = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    loop = module.add_metadata([disable, disable, ir.Constant(I64, len(module.metadata))])
    loop.operands = (loop, disable)  # a loop's name refers to itself
    branch.set_metadata("llvm.loop", loop)


def splat(builder: ir.IRBuilder, scalar: Any, lanes: int) -> Any:
    kind = ir.VectorType(scalar.type, lanes)
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(
        first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    )


@functools.cache
def product(bits: int) -> Any:
    """Function (a, lda, b, c, ldc, k, p, panels, rows): panels p … panels - 1 of all rows.

    Rows are shared out evenly among tall tiles; few rows take several panels at once.
    """
    size, tallest = bits // 8, target().tallest
    width = panel_width(size)
    strip, low = _choice(bits, tallest, False), _choice(bits, min(4, tallest), True)
    lowest = 4 if tallest > 4 else 2
    groups = tuple(target().panels(max(1, r)) for r in range(lowest + 1))

    @objects.inner
    def run(
        a: int, lda: int, b: int, c: int, ldc: int, k: int, p: int, panels: int, rows: int
    ) -> None:
        if rows <= lowest:
            group = groups[rows]
            while p + group <= panels:
                low(a, lda, b + size * p * k * width, c + size * p * width, ldc, k, rows)
                p += group
        count = (rows + tallest - 1) // tallest
        height, more = rows // count, rows % count
        while p < panels:
            panel, out = b + size * p * k * width, c + size * p * width
            i = 0
            for q in range(count):
                h = height + (1 if q < more else 0)
                strip(a + size * i * lda, lda, panel, out + size * i * ldc, ldc, k, h)
                i += h
            p += 1

    return run


def _choice(bits: int, tallest: int, low: bool) -> Any:
    """Function (a, lda, b, c, ldc, k, rows) that runs the tile of 1 … tallest rows."""
    lines, scope = ["def choose(a, lda, b, c, ldc, k, rows):"], {}
    for r in range(1, tallest + 1):
        scope[f"tile_{r}"] = tile(bits, r, panels=target().panels(r) if low else 1)
        lines.append(f"    {'el' * (r > 1)}if rows == {r}:")
        lines.append(f"        tile_{r}(a, lda, b, c, ldc, k, 0)")
    exec(compile("\n".join(lines), "<tiles>", "exec"), scope)
    return objects.inner(scope["choose"])
