"""Compiles one elementary function over an array, as vectors of this CPU and lane by lane."""

from __future__ import annotations

import functools

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic
from tinygrad_rnn_numba import vmath
from tinygrad_rnn_numba.target import target


def _intrinsic(name: str, bits: int, lanes: int):
    """f(source, target, count) on addresses; count is a multiple of the lanes."""

    @intrinsic
    def run(typingctx, source, out, count):
        def codegen(context, builder, signature, args):
            element = ir.FloatType() if bits == 32 else ir.DoubleType()
            kind = ir.VectorType(element, lanes) if lanes else element
            source, out = (builder.inttoptr(a, kind.as_pointer()) for a in args[:2])
            steps = builder.sdiv(args[2], ir.Constant(ir.IntType(64), max(lanes, 1)))
            before = builder.block
            loop, done = (builder.append_basic_block(n) for n in ("loop", "done"))
            builder.branch(loop)
            builder.position_at_end(loop)
            i = builder.phi(ir.IntType(64))
            i.add_incoming(ir.Constant(ir.IntType(64), 0), before)
            x = builder.load(builder.gep(source, [i]), align=bits // 8)
            y = getattr(vmath, name)(vmath.Lanes(builder, bits, lanes), x)
            builder.store(y, builder.gep(out, [i]), align=bits // 8)
            after = builder.add(i, ir.Constant(ir.IntType(64), 1))
            i.add_incoming(after, builder.block)
            builder.cbranch(builder.icmp_signed("<", after, steps), loop, done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return numba.types.void(*[numba.types.intp] * 3), codegen

    return run


@functools.cache
def compiled(name: str, bits: int, vectors: bool):
    lanes = target().lanes(bits // 8) if vectors else 0
    body = _intrinsic(name, bits, lanes)

    @numba.njit([numba.void(*[numba.intp] * 3)], error_model="numpy")
    def loop(source, out, count):
        body(source, out, count)

    return loop


def evaluate(name: str, x: np.ndarray, vectors: bool = True) -> np.ndarray:
    """`name` of every element of x."""
    lanes = target().lanes(x.itemsize) if vectors else 1
    padded = np.zeros(-(-max(x.size, 1) // lanes) * lanes, x.dtype)
    padded[: x.size] = x
    out = np.empty_like(padded)
    compiled(name, 8 * x.itemsize, vectors)(padded.ctypes.data, out.ctypes.data, padded.size)
    return out[: x.size]
