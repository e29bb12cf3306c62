"""Counter-based random bits: the same on every backend, a function of (seed, stream, step) only.

Philox4x32-10: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2,
3", SC 2011.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..primitive import Arg, Flags, Operands, Primitive, Sample, bind
from ..types import Shape, Type, uint32

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox(state: Any, shape: Shape) -> Any:
    """The bits; word w of the result is word w % 4 of block w // 4.

    state: uint32[4] = key low, key high, stream, step. Counter of block i: (i low, i high, stream,
    step).
    """
    n = 1
    for d in shape:
        n *= d
    k0, k1, stream, step = (int(v) for v in np.asarray(state))
    block = np.arange(-(-n // 4), dtype=np.uint64)
    c0, c1 = block & _LOW, block >> _32
    c2, c3 = np.full_like(block, stream), np.full_like(block, step)
    for _ in range(10):
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (
            (p1 >> _32) ^ c1 ^ np.uint64(k0),
            p1 & _LOW,
            (p0 >> _32) ^ c3 ^ np.uint64(k1),
            p0 & _LOW,
        )
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    words = np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)
    return words.reshape(-1)[:n].reshape(shape)


class RandomBits(Primitive, name="random_bits"):
    """uint32 random bits of a shape from a uint32[4] state."""

    reference = staticmethod(lambda state, shape: philox(state, shape))
    samples = (
        Sample((Arg((4,), 0, 2**32, "uint32"),), {"shape": (3, 5)}),
        Sample((Arg((4,), 0, 2**32, "uint32"),), {"shape": ()}),
        Sample((Arg((4,), 0, 2**32, "uint32"),), {"shape": (0, 2)}),
    )

    @staticmethod
    def type(state: Type, *, shape: Shape) -> Type:
        if state is not Type((4,), uint32):
            raise ArgumentError(f"random_bits: the state is {state}, expected u32[4].")
        return Type(shape, uint32)

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, *, shape: Shape) -> Any:
        from .movement import narrow, reshape

        rows = [
            bind(cls, reshape(narrow(args[0], 0, i, i + 1), (4,)), shape=shape) for i in range(size)
        ]
        concat = [reshape(r, (1, *shape)) for r in rows]
        from .movement import Concat

        return bind(Concat, *concat, axis=0)
