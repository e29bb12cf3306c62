"""What a cell is.

A cell is a function `(carry, x) -> (carry, y)`; a `Cell` is one with parameters. `Recurrent` runs
it over time, and its derivative is derived. The first leaf of a carry is what the matrix products
read (h), the output y is that same tensor unless the docstring says otherwise.

In: carry [B, H] (or a tuple of such), x [B, I]; any leading axes, or none, in place of B.
Out: the same carry, y [B, H].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from .. import ops
from ..errors import ShapeError
from ..random import as_generator
from ..tensor import Tensor
from ..tree import flatten, tree_map, unflatten
from ..types import Shape
from .checks import check_features, check_positive
from .functional import linear
from .module import Module
from .parameter import Parameter

Carry = Any
Read = Callable[[Tensor], Tensor]
Step = Callable[..., tuple[Carry, Any]]


def identity(x: Tensor) -> Tensor:
    return x


class Cell(Module):
    """Base class of cells with parameters, PyTorch's names and layouts.

    A subclass sets `gates`, a letter for each of its G blocks of rows, and writes
    `forward(carry, x, read=identity)`; `read` is applied to h where a matrix product reads it
    (variational dropout lives there). `keeps` says which gates keep the state when they are open
    (1) or closed (-1); the initialisers of biases read it. weight_ih [G*H, I],
    weight_hh [G*H, R], bias_ih and bias_hh [G*H] start uniform on ±1/sqrt(H); R = H unless the
    state that is fed back has another size.
    """

    gates: ClassVar[str] = "h"
    keeps: ClassVar[Mapping[str, int]] = {}
    input_size: int
    hidden_size: int

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        recurrent_size: int | None = None,
        dtype: Any = None,
        rng: Any = None,
    ):
        check_positive(self.where(), input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        rows, bound = len(self.gates) * hidden_size, 1.0 / math.sqrt(hidden_size)
        rng = as_generator(rng)
        back = hidden_size if recurrent_size is None else recurrent_size
        self.weight_ih = Parameter.uniform((rows, input_size), bound, dtype, rng)
        self.weight_hh = Parameter.uniform((rows, back), bound, dtype, rng)
        self.bias_ih = Parameter.uniform((rows,), bound, dtype, rng) if bias else None
        self.bias_hh = Parameter.uniform((rows,), bound, dtype, rng) if bias else None

    @property
    def carry_sizes(self) -> Any:
        """The size of the carry's last axis; for a carry of several tensors a tuple of sizes."""
        return self.hidden_size

    def initial_carry(
        self, batch_shape: Shape = (), dtype: Any = None, backend: Any = None
    ) -> Carry:
        """The state before the first step: zeros, by default like the parameters."""
        where = self.weight_ih.backend if backend is None else backend
        kind = self.weight_ih.dtype if dtype is None else dtype
        return tree_map(lambda n: ops.zeros((*batch_shape, n), kind, where), self.carry_sizes)

    def __call__(self, carry: Carry, x: Any, read: Read = identity) -> tuple[Carry, Any]:
        carry, x = tree_map(ops.asarray, carry), tree_map(ops.asarray, x)
        last = tree_map(lambda a: a.shape[-1] if a.ndim else None, carry)
        if last != self.carry_sizes:
            given = tree_map(lambda a: a.type, carry)
            sizes = tree_map(lambda n: f"[..., {n}]", self.carry_sizes)
            want = f"({', '.join(sizes)})" if isinstance(sizes, tuple) else sizes
            raise ShapeError(
                f"{self.where()}: the carry is {given}, expected {want}; a cell is called as "
                f"cell(carry, x)."
            )
        check_features(self.where(), flatten(x)[0][0], self.input_size)
        more = () if read is identity else (read,)
        result: tuple[Carry, Any] = super().__call__(carry, x, *more)
        return result

    def sequence(self, length: int, carry: Carry) -> tuple[Step, Any]:
        """(step, noise) for one run over `length` steps: `step(carry, (x, noise_t), read)`.

        Cells that need randomness draw it here, before the loop: what changes with time comes
        back as `noise` (leaves [length, ...]), what does not is captured by `step`.
        """

        def step(carry: Carry, inputs: Any, read: Read = identity) -> tuple[Carry, Any]:
            more = () if read is identity else (read,)
            return self.forward(carry, inputs[0], *more)  # type: ignore[no-any-return]

        return step, None

    def project(self, x: Tensor, h: Tensor) -> Tensor:
        """W_ih x + b_ih + W_hh h + b_hh."""
        return linear(x, self.weight_ih, self.bias_ih) + linear(h, self.weight_hh, self.bias_hh)

    def extra_repr(self) -> str:
        bias = "" if self.bias_ih is not None else ", bias=False"
        return f"{self.input_size}, {self.hidden_size}{bias}"


def sequence(cell: Any, length: int, carry: Carry) -> tuple[Step, Any]:
    """`cell.sequence(length, carry)`, also for a plain function `(carry, x) -> (carry, y)`.

    What a wrapper wants done to h where products read it is done to the first leaf of a plain
    function's carry, because nobody can see into it.
    """
    if hasattr(cell, "sequence"):
        found: tuple[Step, Any] = cell.sequence(length, carry)
        return found

    def step(carry: Carry, inputs: Any, read: Read = identity) -> tuple[Carry, Any]:
        if read is not identity:
            leaves, treedef = flatten(carry)
            carry = unflatten(treedef, [read(leaves[0]), *leaves[1:]])
        result: tuple[Carry, Any] = cell(carry, inputs[0])
        return result

    return step, None
