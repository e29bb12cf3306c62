"""argsort, and where something is: what indexing by masks, sorting and sets are made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError, TraceError
from ..graph import Var
from ..primitive import Arg, Flags, Operands, Primitive, Sample, bind
from ..tensor import Tensor
from ..trace import state
from ..types import Type, int64, normalize_axis
from .complexes import imag, real
from .elementwise import Cast, Invert
from .functions import as_tensor
from .gathering import Take
from .movement import narrow, reshape
from .reduction import Sum
from .shaping import flip


class ArgSort(Primitive, name="argsort"):
    """The indices that sort an axis; equal elements keep their order, NaN comes last."""

    reference = staticmethod(
        lambda x, axis: np.argsort(np.real(x), axis, kind="stable").astype(np.int64)
    )
    samples = (
        Sample((Arg((3, 4)),), {"axis": 1}),
        Sample((Arg((5, 2), 0, 3, "int64"),), {"axis": 0}),
        Sample((Arg((2, 0)),), {"axis": 1}),
    )

    @staticmethod
    def type(x: Type, *, axis: int) -> Type:
        if x.dtype.is_complex:
            raise DTypeError(f"argsort of {x}: complex numbers have no order; sort by their parts.")
        return Type(x.shape, int64)

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, *, axis: int) -> Any:
        return bind(cls, *args, axis=axis + 1)


def argsort(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that sort along an axis; equal elements keep their order, whatever `stable`.

    NaN is larger than every number.

    >>> from tinygrad_rnn import tensor
    >>> argsort(tensor([2.0, 3.0, 1.0])).tolist()
    [2, 0, 1]
    """
    t = as_tensor("argsort", x)
    a = normalize_axis(axis, t.ndim, "argsort")
    if not descending:
        return bind(ArgSort, t, axis=a)
    # from the end, so that equal elements come in their old order when the result is turned round
    return flip(t.shape[a] - 1 - bind(ArgSort, flip(t, a), axis=a), a)


def lexical(x: Tensor) -> Tensor:
    """The order of a vector; of complex numbers by real parts, then by imaginary parts."""
    if not x.dtype.is_complex:
        return bind(ArgSort, x, axis=0)
    first = bind(ArgSort, imag(x), axis=0)
    then = bind(ArgSort, bind(Take, real(x), first, axis=0), axis=0)
    out: Tensor = bind(Take, first, then, axis=0)
    return out


def nonzero(x: Any) -> tuple[Tensor, ...]:
    """The indices of the elements that are not zero, one vector per axis, in C order.

    How many there are depends on values: not inside jit, scan and vmap.

    >>> from tinygrad_rnn import tensor
    >>> [i.tolist() for i in nonzero(tensor([[0, 3], [4, 0]]))]
    [[0, 1], [1, 0]]
    """
    t = as_tensor("nonzero", x)
    if not t.ndim:
        raise ShapeError("nonzero of a 0-d tensor; use x != 0.")
    zero = t == 0 if not t.dtype.is_bool else bind(Invert, t)
    flat = bind(Cast, reshape(zero, (t.size,)), dtype=int64)
    count = t.size - how_many("nonzero", bind(Sum, flat, axes=(0,)))
    places = narrow(bind(ArgSort, reshape(zero, (t.size,)), axis=0), 0, 0, count)
    out = []
    for n in t.shape[:0:-1]:
        rest = places // max(n, 1)
        out.append(places - rest * n)
        places = rest
    return (places, *out[::-1])


def how_many(name: str, count: Tensor) -> int:
    """A number on which the shape of the result of `name` depends."""
    if state.tracer is not None and type(count._value.data) is Var:
        raise TraceError(
            f"{name}: the shape of the result depends on values, which are not known while "
            f"{state.tracer.what} is being recorded. Call it outside, or keep the shape: where(...)"
            " instead of a boolean mask, sort instead of unique_values."
        )
    return int(count.detach().item())
