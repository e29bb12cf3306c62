"""Recurrent: any cell, run over time by `scan`. The one road from cells to layers.

In: a cell, a sequence [T, B, I] (or a tree of such), perhaps a state and lengths.
Out: outputs [T, B, H] and the final state. Knows no gates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..scan import scan
from ..tensor import Tensor
from ..tree import flatten, tree_map
from ..types import Shape
from .cell import Carry, sequence
from .checks import check_dtype, check_features
from .lengths import length_mask, select
from .module import Module


class Recurrent(Module):
    """Run `cell` over the first axis of the input (the second, with batch_first).

        carry = state
        for t in 0 … T-1 (T-1 … 0 with reverse):  carry, y[t] = cell(carry, x[t])

    `cell` is an nn cell or any function `(carry, x) -> (carry, y)`; a function without an
    attribute `initial_carry(batch_shape, dtype, backend)` needs `initial_carry=` here or a state
    in every call. x is [T, B, I], or [T, I] for a single sequence, or a tree of tensors that all
    begin with [T, B]. A cell whose inputs have other than one axis of features says so in an
    attribute `input_ndim`.

    With `lengths` [B] each sample behaves as if it were alone: after its length the state stands
    still and the outputs are 0; `reverse` starts at its last valid step; nothing in the padding,
    NaN included, reaches a value or a gradient.

    >>> import tinygrad_rnn as tg
    >>> def leaky(carry, x):
    ...     carry = 0.9 * carry + x
    ...     return carry, carry
    >>> y, last = tg.nn.Recurrent(leaky)(tg.ones((3, 2, 1)), state=tg.zeros((2, 1)), lengths=[1, 3])
    >>> last.numpy().round(2).tolist()
    [[1.0], [2.71...]]
    """

    def __init__(
        self,
        cell: Any,
        reverse: bool = False,
        batch_first: bool = False,
        *,
        initial_carry: Callable[..., Carry] | None = None,
    ):
        if not callable(cell):
            raise ArgumentError(
                f"{self.where()}: got {type(cell).__name__}, expected a cell: a function "
                f"(carry, x) -> (carry, y)."
            )
        self.cell, self.reverse, self.batch_first = cell, reverse, batch_first
        self._initial = initial_carry

    def forward(self, x: Any, state: Carry = None, lengths: Any = None) -> tuple[Any, Carry]:
        xs = tree_map(ops.asarray, x)
        first, batched = self.check_input(xs)
        swap = self.batch_first and batched
        if swap:
            xs = tree_map(lambda a: ops.swapaxes(a, 0, 1), xs)
            first = flatten(xs)[0][0]
        batch_shape = first.shape[1 : first.ndim - self.feature_axes]
        carry = self.check_state(state, first, batch_shape)
        if lengths is None:
            step, noise = sequence(self.cell, first.shape[0], carry)
            carry, ys = scan(step, carry, (xs, noise), reverse=self.reverse)
        else:
            mask = length_mask(lengths, first.shape[0], batch_shape, self.where(), first.backend)
            carry, ys = self.masked(xs, carry, mask)
        return (tree_map(lambda a: ops.swapaxes(a, 0, 1), ys) if swap else ys), carry

    def masked(self, xs: Any, carry: Carry, mask: Tensor) -> tuple[Any, Any]:
        """The loop with frozen states at masked steps; padding is replaced by 0 before the cell."""
        where = self.where()
        xs = tree_map(lambda a: select(mask, a, ops.zeros_like(a), where, "input"), xs)
        step, noise = sequence(self.cell, mask.shape[0], carry)

        def masked_step(carry: Carry, inputs: Any) -> tuple[Carry, Any]:
            on, rest = inputs
            new, y = step(carry, rest)
            return tree_map(lambda a, b: select(on, a, b, where, "state"), new, carry), y

        carry, ys = scan(masked_step, carry, (mask, (xs, noise)), reverse=self.reverse)
        return carry, tree_map(lambda a: select(mask, a, ops.zeros_like(a), where, "output"), ys)

    # --- the state -----------------------------------------------------------------------------

    def summary(self, state: Carry) -> Tensor:
        """What a layer above reads of a final state: its first leaf (h)."""
        h: Tensor = flatten(state)[0][0]
        return h

    def initial_state(self, batch_shape: Shape, dtype: Any = None, backend: Any = None) -> Carry:
        """The state that is used when none is given."""
        make = self._initial or getattr(self.cell, "initial_carry", None)
        if make is None:
            raise ArgumentError(
                f"{self.where()}: the cell is a plain function, so there is no initial state; pass "
                f"state=..., or build Recurrent(cell, initial_carry=function of (batch_shape, "
                f"dtype, backend))."
            )
        return make(batch_shape, dtype, backend)

    def check_state(self, state: Carry, x: Tensor, batch_shape: Shape) -> Carry:
        """The state to start from; a given one must look like the initial one."""
        known = self._initial or getattr(self.cell, "initial_carry", None)
        if state is not None and known is None:
            return tree_map(ops.asarray, state)
        dtype = x.dtype if x.dtype.is_float else None
        expected = self.initial_state(batch_shape, dtype, x.backend)
        if state is None:
            return expected
        given = tree_map(ops.asarray, state)
        want, got = (tree_map(lambda a: a.type, tree) for tree in (expected, given))
        if flatten(want) != flatten(got):
            hint = ""
            if batch_shape and not self.batch_first and x.ndim > 2:
                leaf = flatten(given)[0][0] if flatten(given)[0] else None
                if leaf is not None and leaf.ndim == 2 and leaf.shape[0] == x.shape[0]:
                    hint = " Is the input batch-first? Then build the layer with batch_first=True."
            raise ShapeError(
                f"{self.where()}: the state is {got}, expected {want} for an input {x.type}.{hint}"
            )
        return given

    # --- the input -----------------------------------------------------------------------------

    @property
    def feature_axes(self) -> int:
        """How many axes of one step's input are features (1 unless the cell says otherwise)."""
        return int(getattr(self.cell, "input_ndim", 1))

    def check_input(self, xs: Any) -> tuple[Tensor, bool]:
        """The first leaf, and whether the input has a batch axis."""
        leaves = flatten(xs)[0]
        if not leaves:
            raise ArgumentError(
                f"{self.where()}: the input has no tensors; to run a cell without inputs use "
                f"scan(cell, carry, None, length=T)."
            )
        first: Tensor = leaves[0]
        axes = 1 + self.feature_axes
        if first.ndim < axes:
            raise ShapeError(
                f"{self.where()}: input is {first.type}, expected at least {axes} axes: "
                f"[T, B, I], or [T, I] for a single sequence."
            )
        size = getattr(self.cell, "input_size", None)
        if size is not None:
            check_features(self.where(), first, size)
            check_dtype(self.where(), first, self)
        return first, first.ndim > axes

    def extra_repr(self) -> str:
        flags = [name for name in ("reverse", "batch_first") if getattr(self, name)]
        plain = [] if isinstance(self.cell, Module) else [getattr(self.cell, "__name__", "cell")]
        return ", ".join([*plain, *(f"{name}=True" for name in flags)])
