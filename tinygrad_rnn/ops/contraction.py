"""The contraction primitive: einsum of two operands. matmul, einsum, tensordot are built on it.

`a`, `b`, `out` are the axis labels (small integers) of the operands and of the result. Every label
occurs at most once in each; a label of an operand that is not in the result is summed and must be
in both operands; a label in both operands and the result is a batch axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..primitive import Arg, Flags, Operands, Primitive, Sample, bind
from ..tensor import Tensor
from ..types import Type, wide

Labels = tuple[int, ...]


def _letters(labels: Labels) -> str:
    return "".join(chr(ord("a") + i) for i in labels)


def _einsum(x: Any, y: Any, a: Labels, b: Labels, out: Labels) -> Any:
    x, y = np.asarray(x), np.asarray(y)
    spec = f"{_letters(a)},{_letters(b)}->{_letters(out)}"
    dtype = np.result_type(x, y)
    return np.asarray(np.einsum(spec, x, y, dtype=wide(dtype))).astype(dtype)


def _sample(a: Labels, b: Labels, out: Labels) -> Sample:
    sizes = (3, 4, 2, 5, 1, 0)
    return Sample(
        (Arg(tuple(sizes[i] for i in a)), Arg(tuple(sizes[i] for i in b))),
        {"a": a, "b": b, "out": out},
    )


class Contract(Primitive, name="contract"):
    """out = sum over shared labels of a * b; half precision is summed in float32."""

    reference = staticmethod(_einsum)
    samples = (
        _sample((0, 1), (1, 2), (0, 2)),
        _sample((0, 1), (2, 1), (2, 0)),
        _sample((3, 0, 1), (3, 1, 2), (3, 0, 2)),
        _sample((3, 0, 1), (3, 0, 2), (2, 1)),
        _sample((0,), (1,), (1, 0)),
        _sample((0, 1), (0, 1), ()),
        _sample((0, 5), (5, 2), (0, 2)),
    )
    vjp = (
        lambda g, y, x, z, a, b, out: contract(g, z, out, b, a),
        lambda g, y, x, z, a, b, out: contract(g, x, out, a, b),
    )

    @staticmethod
    def type(x: Type, y: Type, *, a: Labels, b: Labels, out: Labels) -> Type:
        if x.dtype is not y.dtype or x.dtype.is_bool:
            raise DTypeError(f"contract: operands {x} and {y} must share a numeric dtype.")
        sizes: dict[int, int] = {}
        for t, labels in ((x, a), (y, b)):
            if len(labels) != t.ndim or len(set(labels)) != len(labels):
                raise ShapeError(f"contract: labels {labels} do not fit {t}.")
            for label, n in zip(labels, t.shape):
                if sizes.setdefault(label, n) != n:
                    raise ShapeError(
                        f"contract: {x} {a} and {y} {b} differ on the axis labelled {label}."
                    )
        lost = (set(a) ^ set(b)) - set(out)
        if lost or set(out) - set(sizes) or len(set(out)) != len(out):
            raise ShapeError(f"contract: {a}, {b} -> {out} is not a contraction of two operands.")
        return Type(tuple([sizes[i] for i in out]), x.dtype)

    @classmethod
    def batch(
        cls, size: int, args: Operands, batched: Flags, *, a: Labels, b: Labels, out: Labels
    ) -> Any:
        new = max((*a, *b), default=-1) + 1
        a2, b2 = ((new, *labels) if flag else labels for labels, flag in zip((a, b), batched))
        return bind(cls, *args, a=a2, b=b2, out=(new, *out))


def contract(x: Tensor, y: Tensor, a: Labels, b: Labels, out: Labels) -> Tensor:
    """The contraction with labels renumbered in order of appearance: equal ones look equal."""
    number: dict[int, int] = {}
    for label in (*a, *b):
        number.setdefault(label, len(number))
    a, b, out = (tuple([number[i] for i in labels]) for labels in (a, b, out))
    result: Tensor = bind(Contract, x, y, a=a, b=b, out=out)
    return result
