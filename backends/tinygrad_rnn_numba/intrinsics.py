"""Reading and writing memory at addresses, for functions that Numba compiles."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

I64 = ir.IntType(64)


@intrinsic  # type: ignore[misc]
def load(typingctx: Any, address: Any, index: Any) -> Any:
    """The integer number `index` of the array at `address`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base = builder.inttoptr(args[0], I64.as_pointer())
        return builder.load(builder.gep(base, [args[1]]))

    return types.intp(types.intp, types.intp), codegen


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
