"""Compiling and running: addresses, threads over blocks of rows, the caches.

A loop is a function `(numbers, block)`: `numbers` is the address of an array of integers, `block`
says which rows. One driver runs any loop on all blocks in parallel.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

I64 = ir.IntType(64)


@intrinsic  # type: ignore[misc]
def load(typingctx: Any, address: Any, index: Any) -> Any:
    """The integer number `index` of the array at `address`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base = builder.inttoptr(args[0], I64.as_pointer())
        return builder.load(builder.gep(base, [args[1]]))

    return types.intp(types.intp, types.intp), codegen


@intrinsic  # type: ignore[misc]
def call(typingctx: Any, function: Any, numbers: Any, block: Any) -> Any:
    """The compiled loop at an address, on one block."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [I64, I64])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), codegen


@njit([types.void(types.intp, types.intp, types.intp)], parallel=True, nogil=True)  # type: ignore[misc]
def _drive(function: int, numbers: int, blocks: int) -> None:
    for block in prange(blocks):
        call(function, numbers, block)


def drive(function: int, numbers: np.ndarray, blocks: int) -> None:
    """Run a compiled loop on all blocks of rows, in threads of their own."""
    if blocks == 1:
        _one(function, address(numbers))
    else:
        _drive(function, address(numbers), blocks)


@njit([types.void(types.intp, types.intp)], nogil=True)  # type: ignore[misc]
def _one(function: int, numbers: int) -> None:
    call(function, numbers, 0)


_SIGNATURE = types.void(types.intp, types.intp)
_compiled: dict[str, Any] = {}


def compiled(structure: str, source: str, scope: dict[str, Any]) -> int:
    """The address of the compiled loop; one per structure."""
    found = _compiled.get(structure)
    if found is None:
        namespace = dict(scope)
        exec(compile(source, "<loop>", "exec"), namespace)
        found = _compiled[structure] = numba.cfunc(_SIGNATURE, nopython=True, error_model="numpy")(namespace["loop"])
    return found.address  # type: ignore[no-any-return]


def address(a: np.ndarray) -> int:
    return a.__array_interface__["data"][0]  # type: ignore[no-any-return]


def contiguous(a: Any) -> np.ndarray:
    return np.ascontiguousarray(a)


def threads() -> int:
    """How many blocks may run at once."""
    return int(os.environ.get("TINYGRAD_RNN_THREADS", 0)) or numba.get_num_threads()




def function(loop: Any) -> int:
    """The address of a compiled function `(numbers, block)` that is written in Python here."""
    made = _fixed[loop] = numba.cfunc(_SIGNATURE, nopython=True, error_model="numpy")(loop)
    return made.address  # type: ignore[no-any-return]


_fixed: dict[Any, Any] = {}


def get(bits: int) -> Any:
    """intrinsic(address): the float there."""
    kind, element = (types.float32, ir.FloatType()) if bits == 32 else (types.float64, ir.DoubleType())

    @intrinsic  # type: ignore[misc]
    def read(typingctx: Any, where: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(builder.inttoptr(args[0], element.as_pointer()), align=bits // 8)

        return kind(types.intp), codegen

    return read


def put(bits: int) -> Any:
    """intrinsic(address, value): write a float."""
    kind, element = (types.float32, ir.FloatType()) if bits == 32 else (types.float64, ir.DoubleType())

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
