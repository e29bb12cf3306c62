"""Combinators of recurrent layers: Bidirectional, Stack, Hierarchical.

In: layers with `forward(x, state=None, lengths=None) -> (y, state)` and `summary(state)`.
Out: a layer of the same kind. Knows no cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..tensor import Tensor
from .containers import ModuleList
from .layers import Dropout
from .lengths import length_mask
from .module import Module
from .recurrent import Recurrent

_MERGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "concat": lambda a, b: ops.concat([a, b], axis=-1),
    "sum": lambda a, b: a + b,
    "mean": lambda a, b: 0.5 * (a + b),
    "mul": lambda a, b: a * b,
}


class Bidirectional(Module):
    """Two layers that read the sequence in opposite directions.

    `fwd` and `bwd` are cells or `Recurrent` layers (bwd with reverse=True); `merge` is "concat",
    "sum", "mean", "mul" or a function of both outputs. The same cell twice shares its parameters.
    The state is a pair. Schuster, Paliwal, 1997, Bidirectional recurrent neural networks.

    >>> import tinygrad_rnn as tg
    >>> layer = tg.nn.Bidirectional(tg.nn.GRUCell(3, 4, rng=0), tg.nn.GRUCell(3, 4, rng=1))
    >>> y, (h_fwd, h_bwd) = layer(tg.ones((5, 2, 3)))
    >>> y.shape, h_bwd.shape
    ((5, 2, 8), (2, 4))
    """

    def __init__(self, fwd: Any, bwd: Any, merge: str | Callable[..., Any] = "concat"):
        self.fwd = fwd if isinstance(fwd, Recurrent) else Recurrent(fwd)
        self.bwd = bwd if isinstance(bwd, Recurrent) else Recurrent(bwd, reverse=True)
        if self.fwd.reverse or not self.bwd.reverse:
            raise ArgumentError(
                f"{self.where()}: fwd has reverse={self.fwd.reverse}, bwd has reverse="
                f"{self.bwd.reverse}; expected False and True."
            )
        if not callable(merge) and merge not in _MERGES:
            raise ArgumentError(
                f"{self.where()}: merge is {merge!r}, expected a function or one of "
                f"{', '.join(map(repr, _MERGES))}."
            )
        self.merge = merge

    def forward(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[Any, Any]:
        check_states(self.where(), state, 2, "directions")
        start_fwd, start_bwd = (None, None) if state is None else state
        y_fwd, end_fwd = self.fwd(x, start_fwd, lengths)
        y_bwd, end_bwd = self.bwd(x, start_bwd, lengths)
        merge = self.merge if callable(self.merge) else _MERGES[self.merge]
        return merge(y_fwd, y_bwd), (end_fwd, end_bwd)

    def summary(self, state: Any) -> Tensor:
        """The merged h of both final states."""
        merge = self.merge if callable(self.merge) else _MERGES[self.merge]
        h: Tensor = merge(self.fwd.summary(state[0]), self.bwd.summary(state[1]))
        return h

    def extra_repr(self) -> str:
        return f"merge={self.merge!r}"


class Stack(Module):
    """Layers one above the other; each reads the outputs of the one below.

    `dropout` acts on the outputs between layers, not after the last. The state is a tuple with
    one state for each layer. A bare cell is taken as `Recurrent(cell)`.

    >>> import tinygrad_rnn as tg
    >>> deep = tg.nn.Stack([tg.nn.RNNCell(3, 4, rng=0), tg.nn.GRUCell(4, 5, rng=1)])
    >>> y, (h0, h1) = deep(tg.ones((6, 2, 3)), lengths=[6, 0])
    >>> y.shape, h0.shape
    ((6, 2, 5), (2, 4))
    """

    def __init__(self, layers: Iterable[Any], dropout: float = 0.0, *, rng: Any = None):
        found = [a if hasattr(a, "summary") else Recurrent(a) for a in layers]
        if not found:
            raise ArgumentError(f"{self.where()}: there are no layers.")
        self.layers = ModuleList(found)
        self.dropout = Dropout(dropout, rng=rng)

    def forward(self, x: Any, state: Any = None, lengths: Any = None) -> tuple[Any, Any]:
        check_states(self.where(), state, len(self.layers), "layers")
        ends, y = [], x
        for k, layer in enumerate(self.layers):
            y = y if k == 0 else self.dropout(y)
            y, end = layer(y, None if state is None else state[k], lengths)
            ends.append(end)
        return y, tuple(ends)

    def summary(self, state: Any) -> Tensor:
        """The last layer's."""
        h: Tensor = self.layers[-1].summary(state[-1])
        return h


class Hierarchical(Module):
    """A recurrent layer over the final states of another: words -> sentences -> text.

    x [S, W, B, I]: S sentences of W words. `inner` reads the words of each sentence from its
    initial state; `outer` reads what `inner.summary` makes of the S final states, [S, B, H].
    lengths [B] counts sentences, inner_lengths [S, B] counts words, 0 allowed in both. Returns the
    outputs and the final state of `outer`. With batch_first, x is [B, S, W, I], inner_lengths
    [B, S] and the outputs [B, S, H].

    >>> import tinygrad_rnn as tg
    >>> words, sentences = tg.nn.LSTMCell(3, 4, rng=0), tg.nn.GRUCell(4, 5, rng=1)
    >>> y, h = tg.nn.Hierarchical(words, sentences)(tg.ones((2, 7, 6, 3)))
    >>> y.shape, h.shape
    ((2, 6, 5), (6, 5))
    """

    def __init__(self, inner: Any, outer: Any, batch_first: bool = False):
        self.inner = inner if hasattr(inner, "summary") else Recurrent(inner)
        self.outer = outer if hasattr(outer, "summary") else Recurrent(outer)
        self.batch_first = batch_first
        for name, layer in (("inner", self.inner), ("outer", self.outer)):
            if getattr(layer, "batch_first", False):
                raise ArgumentError(
                    f"{self.where()}: {name} was built with batch_first=True; build it time-first "
                    f"and give batch_first=True to Hierarchical alone."
                )

    def forward(
        self, x: Any, state: Any = None, lengths: Any = None, inner_lengths: Any = None
    ) -> tuple[Any, Any]:
        x = ops.asarray(x)
        if x.ndim < 4:
            axes = "[B, S, W, I]" if self.batch_first else "[S, W, B, I]"
            raise ShapeError(f"{self.where()}: input is {x.type}, expected 4 axes {axes}.")
        if self.batch_first:
            x = ops.moveaxis(x, 0, 2)
        S, W, B, *rest = x.shape
        words = ops.swapaxes(x, 0, 1).reshape(W, S * B, *rest)
        counts = self.word_counts(lengths, inner_lengths, (S, W, B), x)
        _, final = self.inner(words, None, counts)
        summary = self.inner.summary(final)
        sentences = summary.reshape(S, B, *summary.shape[1:])
        y, state = self.outer(sentences, state, lengths)
        return (ops.swapaxes(y, 0, 1) if self.batch_first else y), state

    def word_counts(
        self, lengths: Any, inner_lengths: Any, sizes: tuple[int, int, int], x: Tensor
    ) -> Tensor | None:
        """Words of each sentence, [S*B]; sentences beyond a sample's length have none."""
        S, W, B = sizes
        if lengths is None and inner_lengths is None:
            return None
        counts = ops.full((S, B), W, dtype="int64", backend=x.backend)
        if inner_lengths is not None:
            given = inner_lengths
            given = ops.asarray(given if isinstance(given, Tensor) else np.asarray(given))
            want = (B, S) if self.batch_first else (S, B)
            if given.shape != want:
                raise ShapeError(
                    f"{self.where()}: inner_lengths are {given.type}, expected shape {want}, one "
                    f"for each sentence of each sample."
                )
            counts = given.T if self.batch_first else given
        if lengths is not None:
            mask = length_mask(lengths, S, (B,), self.where(), x.backend)
            counts = ops.where(mask, counts, ops.zeros_like(counts))
        return ops.reshape(counts, (S * B,))

    def summary(self, state: Any) -> Tensor:
        """The outer layer's."""
        h: Tensor = self.outer.summary(state)
        return h


def check_states(where: str, state: Any, count: int, what: str) -> None:
    """Raise unless the state is None or has one entry for each of `count` parts."""
    if state is not None and (not isinstance(state, tuple | list) or len(state) != count):
        found = f"{len(state)} entries" if isinstance(state, tuple | list) else type(state).__name__
        raise ShapeError(
            f"{where}: the state has {found}, expected a tuple with one for each of the {count} "
            f"{what}."
        )
