"""Wrappers around any cell: Zoneout, RecurrentDropout, Residual. They compose.

In: a cell (a `Cell`, a wrapper, or a plain function `(carry, x) -> (carry, y)`). Out: a cell with
the same carry. Random masks are drawn by `sequence`, before the loop, never inside it; calling a
wrapper by hand, `wrapper(carry, x)`, is a sequence of one step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..random import as_generator
from ..tensor import Tensor
from ..tree import flatten, tree_map, unflatten
from ..types import Shape
from .cell import Carry, Read, Step, identity, sequence
from .checks import check_probability
from .module import Module


def draw(rng: Any, p: float, shape: Shape, like: Tensor) -> Tensor:
    """Booleans that are True with probability p, where `like` lives."""
    return as_generator(rng, like.backend).bernoulli(p, shape).to(like.backend)


class CellWrapper(Module):
    """Base class: a cell that holds a cell. A subclass overrides `sequence`."""

    def __init__(self, cell: Any, *, rng: Any = None):
        if not callable(cell):
            raise ArgumentError(
                f"{self.where()}: got {type(cell).__name__}, expected a cell: a function "
                f"(carry, x) -> (carry, y)."
            )
        self.cell = cell
        self.rng = None if rng is None else as_generator(rng)

    @property
    def input_size(self) -> int | None:
        """The size of the inputs' last axis, if the cell knows it."""
        size: int | None = getattr(self.cell, "input_size", None)
        return size

    @property
    def input_ndim(self) -> int:
        """How many axes of a step's input are features."""
        return int(getattr(self.cell, "input_ndim", 1))

    @property
    def initial_carry(self) -> Callable[..., Carry] | None:
        """The cell's own `initial_carry`; None if it is a plain function."""
        found: Callable[..., Carry] | None = getattr(self.cell, "initial_carry", None)
        return found

    def sequence(self, length: int, carry: Carry) -> tuple[Step, Any]:
        return sequence(self.cell, length, carry)

    def forward(self, carry: Carry, x: Any, read: Read = identity) -> tuple[Carry, Any]:
        step, noise = self.sequence(1, carry)
        return step(carry, (x, tree_map(lambda a: a[0], noise)), read)


class Zoneout(CellWrapper):
    """In training, each element of the carry keeps its old value with probability p.

        c' = keep * c + (1 - keep) * cell(c, x),   keep ~ Bernoulli(p), new at every step

    and in evaluation keep is replaced by p. `p` is one rate, or a sequence with one for each leaf
    of the carry, (p_h, p_c) for an LSTM. An output that is a leaf of the carry (as in all cells
    here) is that leaf after zoneout. Krueger et al., 2016, Zoneout.

    >>> import tinygrad_rnn as tg
    >>> cell = tg.nn.Zoneout(tg.nn.LSTMCell(3, 4, rng=0), (0.1, 0.2), rng=1)
    >>> y, (h, c) = tg.nn.Recurrent(cell)(tg.ones((5, 2, 3)))
    >>> bool((y[-1] == h).all())
    True
    """

    def __init__(self, cell: Any, p: float | Sequence[float] = 0.1, *, rng: Any = None):
        super().__init__(cell, rng=rng)
        self.p = tuple(p) if isinstance(p, Sequence) else p
        for rate in self.p if isinstance(self.p, tuple) else (self.p,):
            check_probability(self.where(), p=rate)

    def rates(self, count: int) -> tuple[float, ...]:
        """One rate for each of `count` leaves of the carry."""
        if not isinstance(self.p, tuple):
            return (self.p,) * count
        if len(self.p) != count:
            raise ArgumentError(
                f"{self.where()}: p has {len(self.p)} rates, the carry has {count} leaves."
            )
        return self.p

    def sequence(self, length: int, carry: Carry) -> tuple[Step, Any]:
        inner, noise = sequence(self.cell, length, carry)
        training, leaves = self.training, flatten(carry)[0]
        rates = [
            p if leaf.dtype.is_float else 0.0
            for p, leaf in zip(self.rates(len(leaves)), leaves, strict=True)
        ]

        def mask(p: float, leaf: Tensor) -> Tensor | None:
            if not training or p == 0:
                return None
            return draw(self.rng, p, (length, *leaf.shape), leaf)

        def zone(p: float, keep: Tensor | None, old: Tensor, new: Tensor) -> Tensor:
            if p == 0:
                return new
            return p * old + (1.0 - p) * new if keep is None else ops.where(keep, old, new)

        def step(carry: Carry, inputs: Any, read: Read = identity) -> tuple[Carry, Any]:
            x, (keeps, noise) = inputs
            raw, y = inner(carry, (x, noise), read)
            old, new, treedef = flatten(carry)[0], *flatten(raw)
            zoned = [zone(*args) for args in zip(rates, keeps, old, new, strict=True)]
            replaced = {id(a): b for a, b in zip(new, zoned, strict=True)}
            y = tree_map(lambda a: replaced.get(id(a), a), y)
            return unflatten(treedef, zoned), y

        keeps = [mask(p, leaf) for p, leaf in zip(rates, leaves, strict=True)]
        return step, (keeps, noise)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class RecurrentDropout(CellWrapper):
    """Variational dropout: in training, one mask for the whole sequence.

    `p` drops elements of h where the cell's products read it (the memory itself is never scaled),
    `input_p` elements of x. What is kept is divided by 1 - p. For a plain function, the first
    leaf of the carry is masked as a whole, because nobody can see where it is multiplied.
    Gal, Ghahramani, 2016, A theoretically grounded application of dropout in recurrent networks.

    >>> import tinygrad_rnn as tg
    >>> cell = tg.nn.RecurrentDropout(tg.nn.GRUCell(3, 4, rng=0), p=0.5, input_p=0.2, rng=1)
    >>> y, h = tg.nn.Recurrent(cell)(tg.ones((5, 2, 3)))
    >>> y.shape
    (5, 2, 4)
    """

    def __init__(self, cell: Any, p: float = 0.5, input_p: float = 0.0, *, rng: Any = None):
        super().__init__(cell, rng=rng)
        check_probability(self.where(), p=p, input_p=input_p)
        if input_p and self.input_size is None:
            raise ArgumentError(
                f"{self.where()}: input_p needs a cell with an attribute `input_size`."
            )
        self.p, self.input_p = p, input_p

    def mask(self, p: float, shape: Shape, like: Tensor) -> Read:
        """A function that drops the same elements at every call; the identity for p = 0."""
        if p == 0:
            return identity
        keep = draw(self.rng, 1.0 - p, shape, like)
        factor = ops.astype(keep, like.dtype) * (0.0 if p == 1 else 1.0 / (1.0 - p))
        return lambda a: a * factor

    def sequence(self, length: int, carry: Carry) -> tuple[Step, Any]:
        inner, noise = sequence(self.cell, length, carry)
        if not self.training:
            return inner, noise
        h = flatten(carry)[0][0]
        drop = self.mask(self.p, h.shape, h)
        drop_x = self.mask(self.input_p, (*h.shape[:-1], self.input_size or 0), h)

        def step(carry: Carry, inputs: Any, read: Read = identity) -> tuple[Carry, Any]:
            x, noise = inputs
            if drop_x is not identity:
                leaves, treedef = flatten(x)
                x = unflatten(treedef, [drop_x(leaves[0]), *leaves[1:]])
            if drop is identity:
                return inner(carry, (x, noise), read)
            return inner(carry, (x, noise), lambda h: drop(read(h)))

        return step, noise

    def extra_repr(self) -> str:
        return f"p={self.p}, input_p={self.input_p}"


class Residual(CellWrapper):
    """The output is x + y; the carry is the cell's. Kim, El-Khamy, Lee, 2017; He et al., 2016.

    >>> import tinygrad_rnn as tg
    >>> y, h = tg.nn.Recurrent(tg.nn.Residual(tg.nn.GRUCell(4, 4, rng=0)))(tg.ones((5, 2, 4)))
    >>> y.shape
    (5, 2, 4)
    """

    def sequence(self, length: int, carry: Carry) -> tuple[Step, Any]:
        inner, noise = sequence(self.cell, length, carry)

        def step(carry: Carry, inputs: Any, read: Read = identity) -> tuple[Carry, Any]:
            carry, y = inner(carry, inputs, read)
            x = inputs[0]
            if not (isinstance(x, Tensor) and isinstance(y, Tensor) and x.shape == y.shape):
                kinds = [a.type if isinstance(a, Tensor) else type(a).__name__ for a in (x, y)]
                raise ShapeError(
                    f"{self.where()}: the input of a step is {kinds[0]} and the output {kinds[1]}; "
                    f"they are added, so they must have the same shape."
                )
            return carry, x + y

        return step, noise
