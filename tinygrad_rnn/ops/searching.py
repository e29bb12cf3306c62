"""Sorting, searching, counting and sets, on argsort, take and scatter_add."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..errors import ArgumentError, ShapeError
from ..primitive import bind, operands
from ..tensor import Tensor
from ..types import int64
from .creation import full
from .functions import as_tensor, astype, minimum, where
from .gathering import ScatterAdd, Take
from .indexing import take, take_along_axis
from .movement import narrow, reshape
from .reductions import cumsum
from .reductions import sum as sum_
from .shaping import concat
from .sorting import argsort, lexical, nonzero


def sort(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The elements in order along an axis, NaN as the largest; gradients go where they came from.

    >>> from tinygrad_rnn import tensor
    >>> sort(tensor([2.0, 3.0, 1.0]), descending=True).tolist()
    [3.0, 2.0, 1.0]
    """
    t = as_tensor("sort", x)
    return take_along_axis(t, argsort(t, axis, descending), axis)


def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Tensor:
    """Where in the sorted vector `a` the elements of `v` belong: before equal ones, or after them
    (side "right"). By bisection: log2(n) steps for all elements at once.

    >>> from tinygrad_rnn import tensor
    >>> searchsorted(tensor([1.0, 2.0, 2.0, 3.0]), tensor([2.0, 9.0])).tolist()
    [1, 4]
    """
    if side not in ("left", "right"):
        raise ArgumentError(f"searchsorted: side must be 'left' or 'right', got {side!r}.")
    x, y = operands("searchsorted", a, v)
    if x.ndim != 1:
        raise ShapeError(f"searchsorted: expected a sorted vector, got {x.type}.")
    if sorter is not None:
        x = take(x, sorter)
    n = x.shape[0]
    low, high = (full(y.shape, k, int64, y.backend) for k in (0, n))
    for _ in range(n.bit_length()):
        middle = (low + high) // 2
        found = bind(Take, x, minimum(middle, n - 1), axis=0)
        before = found < y if side == "left" else found <= y
        if x.dtype.is_float:  # NaN comes after all numbers
            before = before | (y != y) & (found == found if side == "left" else y != y)
        searching = low < high
        low = where(searching & before, middle + 1, low)
        high = where(searching & ~before, middle, high)
    return low


def count_nonzero(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """How many elements are not zero.

    >>> from tinygrad_rnn import tensor
    >>> count_nonzero(tensor([0.0, 2.0, -1.0])).item()
    2
    """
    t = as_tensor("count_nonzero", x)
    return sum_(astype(t if t.dtype.is_bool else t != 0, int64), axis, keepdims)


# --- sets ----------------------------------------------------------------------------------------


class UniqueAll(NamedTuple):
    """Distinct values, where each occurs first, which one stands at every place, how often."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """Distinct values and how often each occurs."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """Distinct values and which one stands at every place."""

    values: Tensor
    inverse_indices: Tensor


class _Groups:
    """Equal elements next to each other: `order` sorts them, `first` marks where another begins."""

    def __init__(self, x: Any):
        self.x = as_tensor("unique", x)
        self.n = self.x.size
        flat = reshape(self.x, (self.n,))
        self.order = lexical(flat)
        self.sorted = bind(Take, flat, self.order, axis=0)
        one = min(1, self.n)
        before, after = narrow(self.sorted, 0, 0, self.n - one), narrow(self.sorted, 0, one, self.n)
        self.first = concat([full((one,), True, backend=self.x.backend), before != after])
        (self.starts,) = nonzero(self.first)

    def values(self) -> Tensor:
        return bind(Take, self.sorted, self.starts, axis=0)

    def indices(self) -> Tensor:
        return bind(Take, self.order, self.starts, axis=0)

    def inverse(self) -> Tensor:
        number = cumsum(astype(self.first, int64)) - 1
        placed = bind(ScatterAdd, number, self.order, axis=0, size=self.n)
        return reshape(placed, self.x.shape)

    def counts(self) -> Tensor:
        ends = concat([self.starts, full((1,), self.n, int64, self.x.backend)])
        k = self.starts.shape[0]
        return narrow(ends, 0, 1, k + 1) - self.starts


def unique_all(x: Any) -> UniqueAll:
    """Distinct values in ascending order, with all that is known of them; every NaN is distinct.

    Their number depends on values: not inside jit, scan and vmap.

    >>> from tinygrad_rnn import tensor
    >>> found = unique_all(tensor([3, 1, 3]))
    >>> found.values.tolist(), found.indices.tolist(), found.counts.tolist()
    ([1, 3], [1, 0], [1, 2])
    """
    g = _Groups(x)
    return UniqueAll(g.values(), g.indices(), g.inverse(), g.counts())


def unique_counts(x: Any) -> UniqueCounts:
    """Distinct values and how often each occurs; see `unique_all`."""
    g = _Groups(x)
    return UniqueCounts(g.values(), g.counts())


def unique_inverse(x: Any) -> UniqueInverse:
    """Distinct values, and for every element the number of its value; see `unique_all`.

    >>> from tinygrad_rnn import tensor
    >>> unique_inverse(tensor([3, 1, 3])).inverse_indices.tolist()
    [1, 0, 1]
    """
    g = _Groups(x)
    return UniqueInverse(g.values(), g.inverse())


def unique_values(x: Any) -> Tensor:
    """Distinct values in ascending order; see `unique_all`.

    >>> from tinygrad_rnn import tensor
    >>> unique_values(tensor([3, 1, 3])).tolist()
    [1, 3]
    """
    return _Groups(x).values()
