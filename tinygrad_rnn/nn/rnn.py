"""nn.RNN, nn.LSTM, nn.GRU: PyTorch's signatures, names and layouts over the same cells.

In: x [T, B, I] (batch_first: [B, T, I]; one sequence: [T, I]), states [L*D, B, H].
Out: y [T, B, D*H] and the final states. There is no other implementation behind these names: each
is a Stack of (Bidirectional) Recurrent layers, whose parameters are shown under PyTorch's names.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from .. import ops
from ..errors import DTypeError, ShapeError
from ..random import as_generator
from ..tensor import Tensor
from ..tree import flatten, tree_map
from ..types import Shape
from .cell import Cell
from .cells import GRUCell, LSTMCell, RNNCell
from .checks import check_dtype, check_features, check_positive, check_probability
from .combinators import Bidirectional, Stack
from .lengths import check_lengths
from .module import Member, Module
from .recurrent import Recurrent

_FLAT = re.compile(r"(.+)_l\d+(_reverse)?")


class StackedRNN(Module):
    """What the three have in common: building the stack, names, and the layout of states."""

    def __init__(
        self,
        make: Callable[[int], Cell],
        input_size: int,
        hidden_size: int,
        num_layers: int,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        rng: Any,
    ):
        where = self.where()
        check_positive(where, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        check_probability(where, dropout=dropout)
        if dropout and num_layers == 1:
            warnings.warn(
                f"{where}: dropout={dropout} acts between layers only, and there is one layer.",
                stacklevel=3,
            )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.batch_first, self.bidirectional = batch_first, bidirectional
        layers: list[Module] = []
        size = input_size
        for _ in range(num_layers):
            fwd = Recurrent(make(size))
            layers.append(Bidirectional(fwd, make(size)) if bidirectional else fwd)
            size = (2 if bidirectional else 1) * fwd.cell.weight_hh.shape[1]
        self.stack = Stack(layers, dropout=dropout, rng=rng)

    # --- names: stack.layers.0.bwd.cell.weight_ih is weight_ih_l0_reverse ------------------------

    def cells(self) -> Iterator[tuple[str, Cell]]:
        """(suffix, cell) for every layer and direction, in PyTorch's order."""
        for k, layer in enumerate(self.stack.layers):
            if self.bidirectional:
                yield f"_l{k}", layer.fwd.cell
                yield f"_l{k}_reverse", layer.bwd.cell
            else:
                yield f"_l{k}", layer.cell

    def members(self, recurse: bool = True) -> Iterator[Member]:
        yield from super().members(recurse=False)
        for suffix, cell in self.cells():
            for m in cell.members():
                yield m._replace(name=m.name + suffix)

    def __getattr__(self, name: str) -> Any:
        if _FLAT.fullmatch(name):
            for m in self.members():
                if m.name == name:
                    return m.value
        raise AttributeError(f"{self.where()} has no attribute {name!r}.")

    def __setattr__(self, name: str, value: Any) -> None:
        if _FLAT.fullmatch(name):
            for m in self.members():
                if m.name == name:
                    setattr(m.owner, m.attribute, value)
                    return
        super().__setattr__(name, value)

    # --- running ---------------------------------------------------------------------------------

    def forward(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        x = ops.asarray(x)
        if x.ndim not in (2, 3):
            axes = "[B, T, I]" if self.batch_first else "[T, B, I]"
            raise ShapeError(
                f"{self.where()}: input is {x.type}, expected 3 axes {axes}, or 2 axes [T, I] for "
                f"a single sequence."
            )
        check_features(self.where(), x, self.input_size)
        check_dtype(self.where(), x, self)
        if self.batch_first and x.ndim == 3:
            x = ops.swapaxes(x, 0, 1)
        start = None if state is None else self.split(state, x)
        if lengths is not None:
            lengths = check_lengths(lengths, x.shape[0], x.shape[1:-1], self.where())
        y, end = self.stack(x, start, lengths)
        if self.batch_first and y.ndim == 3:
            y = ops.swapaxes(y, 0, 1)
        return y, self.join(end)

    def state_shapes(self, batch_shape: Shape) -> Any:
        """The shapes of the states of all layers and directions together."""
        _, cell = next(self.cells())
        rows = self.num_layers * (2 if self.bidirectional else 1)
        shapes: Any = tree_map(lambda n: (rows, *batch_shape, n), cell.carry_sizes)
        return shapes

    def split(self, state: Any, x: Tensor) -> tuple[Any, ...]:
        """[L*D, B, H] (or a tuple of such) as what the stack wants: one state for each layer."""
        expected = self.state_shapes(x.shape[1:-1])
        pair = isinstance(expected, tuple) and isinstance(expected[0], tuple)
        parts = list(state) if pair and isinstance(state, tuple | list) else [state]
        if any(isinstance(p, tuple | list) or p is None for p in parts):
            raise DTypeError(f"{self.where()}: the state must be a tensor, not a {type(state)}.")
        parts = [ops.asarray(p) for p in parts]
        shapes = list(expected) if pair else [expected]
        if [p.shape for p in parts] != shapes:
            self.bad_state(parts, shapes, x)
        for p in parts:
            if p.dtype != x.dtype:
                raise DTypeError(
                    f"{self.where()}: the state is {p.type}, the input {x.type}; use "
                    f"state.astype('{x.dtype}')."
                )
        rows = [tuple(p[k] for p in parts) if pair else parts[0][k] for k in range(shapes[0][0])]
        if not self.bidirectional:
            return tuple(rows)
        return tuple((rows[2 * k], rows[2 * k + 1]) for k in range(self.num_layers))

    def bad_state(self, parts: list[Tensor], shapes: list[Shape], x: Tensor) -> None:
        names = ", ".join(str(p.type) for p in parts)
        want = ", ".join(str(x.type.with_shape(s)) for s in shapes)
        batch, hint = x.shape[1] if x.ndim == 3 else None, ""
        if batch is not None and parts[0].ndim == 3:
            if parts[0].shape[1] == x.shape[0] != batch and not self.batch_first:
                hint = " Is the input batch-first? Then build the layer with batch_first=True."
            elif parts[0].shape[0] == batch and self.batch_first:
                hint = " States are [L*D, B, H] also with batch_first=True."
        if x.ndim == 2 and parts[0].ndim == 3:
            hint = " The input is a single sequence without batch axis, so is the state."
        raise ShapeError(f"{self.where()}: the state is {names}, expected {want}.{hint}")

    def join(self, end: tuple[Any, ...]) -> Any:
        """The inverse of `split`."""
        carries = [c for layer in end for c in layer] if self.bidirectional else list(end)
        columns = zip(*[flatten(c)[0] for c in carries], strict=True)
        parts = [ops.stack(list(column), axis=0) for column in columns]
        return tuple(parts) if isinstance(carries[0], tuple) else parts[0]

    def summary(self, state: Any) -> Tensor:
        """The last layer's h, both directions side by side."""
        h = flatten(state)[0][0]
        return ops.concat([h[-2], h[-1]], axis=-1) if self.bidirectional else h[-1]

    def extra_repr(self) -> str:
        flags = [f"{n}=True" for n in ("batch_first", "bidirectional") if getattr(self, n)]
        layers = [f"num_layers={self.num_layers}"] if self.num_layers > 1 else []
        return ", ".join([str(self.input_size), str(self.hidden_size), *layers, *flags])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


class RNN(StackedRNN):
    """h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), f = tanh or relu, in layers and directions.

    x [T, B, I] -> y [T, B, D*H], h_n [L*D, B, H]. `lengths` [B] for ragged batches. Parameters
    weight_ih_l0 [H, I], weight_hh_l0 [H, H], bias_ih_l0, bias_hh_l0 [H], then `_reverse`, `_l1`.
    `recurrent_init`: see RNNCell. Elman, 1990, Finding structure in time.

    >>> import tinygrad_rnn as tg
    >>> y, h = tg.nn.RNN(3, 4, num_layers=2, rng=0)(tg.ones((6, 2, 3)))
    >>> y.shape, h.shape
    ((6, 2, 4), (2, 2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        recurrent_init: str = "uniform",
        dtype: Any = None,
        rng: Any = None,
    ):
        rng = None if rng is None else as_generator(rng)

        def make(size: int) -> Cell:
            return RNNCell(
                size,
                hidden_size,
                bias,
                nonlinearity,
                recurrent_init=recurrent_init,
                dtype=dtype,
                rng=rng,
            )

        super().__init__(
            make, input_size, hidden_size, num_layers, batch_first, dropout, bidirectional, rng
        )


class LSTM(StackedRNN):
    """Long short-term memory in layers and directions; equations and gate order: LSTMCell.

    x [T, B, I] -> y [T, B, D*R], (h_n [L*D, B, R], c_n [L*D, B, H]), R = proj_size or H.
    `lengths` [B] for ragged batches. Parameters weight_ih_l0 [4H, I], weight_hh_l0 [4H, R],
    bias_ih_l0, bias_hh_l0 [4H], weight_hr_l0 [R, H] with proj_size. `forget_bias` sets the forget
    gate's total bias at first. Hochreiter, Schmidhuber, 1997; Gers et al., 2000.

    >>> import tinygrad_rnn as tg
    >>> lstm = tg.nn.LSTM(3, 4, bidirectional=True, rng=0)
    >>> y, (h, c) = lstm(tg.ones((6, 2, 3)), lengths=[6, 2])
    >>> y.shape, c.shape
    ((6, 2, 8), (2, 2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        forget_bias: float | None = None,
        dtype: Any = None,
        rng: Any = None,
    ):
        rng = None if rng is None else as_generator(rng)
        self.proj_size = proj_size

        def make(size: int) -> Cell:
            return LSTMCell(
                size,
                hidden_size,
                bias,
                proj_size=proj_size,
                forget_bias=forget_bias,
                dtype=dtype,
                rng=rng,
            )

        super().__init__(
            make, input_size, hidden_size, num_layers, batch_first, dropout, bidirectional, rng
        )


class GRU(StackedRNN):
    """Gated recurrent unit in layers and directions; equations and gate order: GRUCell.

    x [T, B, I] -> y [T, B, D*H], h_n [L*D, B, H]. `lengths` [B] for ragged batches. Parameters
    weight_ih_l0 [3H, I], weight_hh_l0 [3H, H], bias_ih_l0, bias_hh_l0 [3H]. `reset_after=False` is
    the published form, which PyTorch does not have. Cho et al., 2014.

    >>> import tinygrad_rnn as tg
    >>> y, h = tg.nn.GRU(3, 4, batch_first=True, rng=0)(tg.ones((2, 6, 3)))
    >>> y.shape, h.shape
    ((2, 6, 4), (1, 2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        reset_after: bool = True,
        dtype: Any = None,
        rng: Any = None,
    ):
        rng = None if rng is None else as_generator(rng)

        def make(size: int) -> Cell:
            return GRUCell(size, hidden_size, bias, reset_after, dtype=dtype, rng=rng)

        super().__init__(
            make, input_size, hidden_size, num_layers, batch_first, dropout, bidirectional, rng
        )
