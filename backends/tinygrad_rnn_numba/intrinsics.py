"""Reading and writing memory at addresses, for functions that Numba compiles."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .assembly import BARRIER

I64 = ir.IntType(64)


@intrinsic  # type: ignore[misc]
def load(typingctx: Any, address: Any, index: Any) -> Any:
    """The integer number `index` of the array at `address`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base = builder.inttoptr(args[0], I64.as_pointer())
        return builder.load(builder.gep(base, [args[1]]))

    return types.intp(types.intp, types.intp), codegen


@intrinsic  # type: ignore[misc]
def barrier(typingctx: Any, state: Any, members: Any) -> Any:
    """Wait until all members of a gang are here (`state`: what its threads share)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [I64, I64])
        where = builder.add(args[0], ir.Constant(I64, BARRIER))
        found = builder.load(builder.inttoptr(where, I64.as_pointer()))
        builder.call(builder.inttoptr(found, kind.as_pointer()), args)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), codegen


def _float(bits: int) -> tuple[Any, Any]:
    return (types.float32, ir.FloatType()) if bits == 32 else (types.float64, ir.DoubleType())


def get(bits: int) -> Any:
    """intrinsic(address): the float there."""
    kind, element = _float(bits)

    @intrinsic  # type: ignore[misc]
    def read(typingctx: Any, where: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(builder.inttoptr(args[0], element.as_pointer()), align=bits // 8)

        return kind(types.intp), codegen

    return read


def put(bits: int) -> Any:
    """intrinsic(address, value): write a float."""
    kind, element = _float(bits)

    @intrinsic  # type: ignore[misc]
    def write(typingctx: Any, where: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x = context.cast(builder, args[1], signature.args[1], kind)
            builder.store(x, builder.inttoptr(args[0], element.as_pointer()), align=bits // 8)
            return context.get_dummy_value()

        return types.void(types.intp, value), codegen

    return write


def move(bits: int, n: int) -> Any:
    """intrinsic(from, to): n floats that lie next to each other."""
    element = ir.FloatType() if bits == 32 else ir.DoubleType()
    kind = ir.VectorType(element, n)

    @intrinsic  # type: ignore[misc]
    def copy(typingctx: Any, source: Any, target: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x = builder.load(builder.inttoptr(args[0], kind.as_pointer()), align=bits // 8)
            builder.store(x, builder.inttoptr(args[1], kind.as_pointer()), align=bits // 8)
            return context.get_dummy_value()

        return types.void(types.intp, types.intp), codegen

    return copy


def multiply_add(bits: int, n: int) -> Any:
    """intrinsic(x, y, out): out += x * y for n floats that lie next to each other."""
    element = ir.FloatType() if bits == 32 else ir.DoubleType()
    kind = ir.VectorType(element, n)

    @intrinsic  # type: ignore[misc]
    def run(typingctx: Any, x: Any, y: Any, out: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            where = [builder.inttoptr(a, kind.as_pointer()) for a in args]
            a, b, c = (builder.load(p, align=bits // 8) for p in where)
            name = f"llvm.fma.v{n}f{bits}"
            module = builder.module
            fma = module.globals.get(name) or ir.Function(
                module, ir.FunctionType(kind, [kind] * 3), name
            )
            builder.store(builder.call(fma, [a, b, c]), where[2], align=bits // 8)
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, types.intp), codegen

    return run


def transpose(bits: int, n: int) -> Any:
    """intrinsic(source, apart, target, stride): n x n floats turned over.

    Column i of the source lies at source + i * apart and is written across the rows of the target,
    which are `stride` apart (all in floats). n is a power of two.
    """
    element = _float(bits)[1]
    kind, size = ir.VectorType(element, n), bits // 8

    @intrinsic  # type: ignore[misc]
    def run(typingctx: Any, source: Any, apart: Any, target: Any, stride: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            source, apart, target, stride = args

            def at(base: Any, step: Any, i: int) -> Any:
                offset = builder.mul(step, ir.Constant(I64, i * size))
                return builder.inttoptr(builder.add(base, offset), kind.as_pointer())

            rows = [builder.load(at(source, apart, i), align=size) for i in range(n)]
            index = ir.VectorType(ir.IntType(32), n)
            low = ir.Constant(index, [i // 2 + n * (i % 2) for i in range(n)])
            high = ir.Constant(index, [n // 2 + i // 2 + n * (i % 2) for i in range(n)])
            # interleaving the two halves log2(n) times turns the matrix over
            for _ in range(n.bit_length() - 1):
                pairs = [(rows[i], rows[i + n // 2]) for i in range(n // 2)]
                rows = [
                    builder.shuffle_vector(a, b, part) for a, b in pairs for part in (low, high)
                ]
            for i, row in enumerate(rows):
                builder.store(row, at(target, stride, i), align=size)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 4), codegen

    return run
