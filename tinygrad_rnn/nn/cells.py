"""The three cells that everybody knows: RNNCell, LSTMCell, GRUCell.

In: carry h [B, H] or (h, c), x [B, I]. Out: the new carry, y = h. The derivatives are derived.
"""

from __future__ import annotations

import math
from typing import Any

from ..errors import ArgumentError
from ..ops import chunk, linear, relu, sigmoid, tanh
from ..random import as_generator
from ..tensor import Tensor
from . import init
from .cell import Carry, Cell, Read, identity
from .parameter import Parameter


class RNNCell(Cell):
    """h' = f(W_ih x + b_ih + W_hh h + b_hh), f = tanh or relu. Elman, 1990.

    `recurrent_init` "identity" starts W_hh as the identity and the biases at 0 (Le, Jaitly,
    Hinton, 2015; meant for relu), "orthogonal" starts W_hh orthogonal.

    >>> import tinygrad_rnn as tg
    >>> cell = tg.nn.RNNCell(3, 4, rng=0)
    >>> carry, y = cell(cell.initial_carry((2,)), tg.ones((2, 3)))
    >>> y.shape
    (2, 4)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        recurrent_init: str = "uniform",
        dtype: Any = None,
        rng: Any = None,
    ):
        rng = as_generator(rng)
        super().__init__(input_size, hidden_size, bias, dtype=dtype, rng=rng)
        functions = {"tanh": tanh, "relu": relu}
        if nonlinearity not in functions:
            raise ArgumentError(
                f"{self.where()}: nonlinearity is {nonlinearity!r}, expected 'tanh' or 'relu'."
            )
        self.nonlinearity, self.f = nonlinearity, functions[nonlinearity]
        if recurrent_init == "identity":
            init.eye_(self.weight_hh)
            for b in (self.bias_ih, self.bias_hh):
                if b is not None:
                    init.zeros_(b)
        elif recurrent_init == "orthogonal":
            init.orthogonal_(self.weight_hh, rng=rng)
        elif recurrent_init != "uniform":
            raise ArgumentError(
                f"{self.where()}: recurrent_init is {recurrent_init!r}, expected 'uniform', "
                f"'identity' or 'orthogonal'."
            )

    def forward(self, carry: Tensor, x: Tensor, read: Read = identity) -> tuple[Tensor, Tensor]:
        h = self.f(self.project(x, read(carry)))
        return h, h

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, nonlinearity={self.nonlinearity!r}"


class LSTMCell(Cell):
    """Long short-term memory with forget gate; carry (h, c), gates in the order i f g o.

        i, f, o = σ(…), g = tanh(…), each of W_ih x + b_ih + W_hh h + b_hh
        c' = f c + i g
        h' = o tanh(c')          with proj_size=P: h' = W_hr (o tanh(c')), so h is [B, P]

    `forget_bias` (1.0 is common) is the forget gate's total bias at first. From Keras: transpose
    the kernels, the order is the same, its one bias is bias_ih and bias_hh is 0. From ONNX: its
    blocks are i o f c, and B holds both biases one after the other. Hochreiter, Schmidhuber, 1997;
    Gers, Schmidhuber, Cummins, 2000; projection: Sak, Senior, Beaufays, 2014.

    >>> import tinygrad_rnn as tg
    >>> cell = tg.nn.LSTMCell(3, 4, rng=0)
    >>> (h, c), y = cell(cell.initial_carry((2,)), tg.ones((2, 3)))
    >>> h.shape, c.shape, y is h
    ((2, 4), (2, 4), True)
    """

    gates, keeps = "ifgo", {"f": 1, "i": -1}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        proj_size: int = 0,
        forget_bias: float | None = None,
        dtype: Any = None,
        rng: Any = None,
    ):
        rng = as_generator(rng)
        super().__init__(
            input_size, hidden_size, bias, dtype=dtype, rng=rng,
            recurrent_size=proj_size if proj_size > 0 else None,
        )  # fmt: skip
        if not 0 <= proj_size < hidden_size:
            raise ArgumentError(
                f"{self.where()}: proj_size must be 0 (none) or less than hidden_size="
                f"{hidden_size}, got {proj_size}."
            )
        self.proj_size = proj_size
        bound = 1.0 / math.sqrt(hidden_size)
        self.weight_hr = (
            Parameter.uniform((proj_size, hidden_size), bound, dtype, rng) if proj_size else None
        )
        if forget_bias is not None:
            init.forget_bias_(self, forget_bias)

    @property
    def carry_sizes(self) -> tuple[int, int]:
        return self.proj_size or self.hidden_size, self.hidden_size

    def forward(self, carry: Carry, x: Tensor, read: Read = identity) -> tuple[Carry, Tensor]:
        h, c = carry
        i, f, g, o = chunk(self.project(x, read(h)), 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        if self.weight_hr is not None:
            h = linear(h, self.weight_hr)
        return (h, c), h

    def extra_repr(self) -> str:
        return super().extra_repr() + (f", proj_size={self.proj_size}" if self.proj_size else "")


class GRUCell(Cell):
    """Gated recurrent unit; carry h, gates in the order r z n.

        r, z = σ(W_ih x + b_ih + W_hh h + b_hh)
        n = tanh(W_in x + b_in + r (W_hn h + b_hn))     reset_after=True: PyTorch, cuDNN
        n = tanh(W_in x + b_in + W_hn (r h) + b_hn)     reset_after=False: as published
        h' = (1 - z) n + z h

    Reset before needs two products in a row at every step. From Keras and ONNX: their blocks are
    z r h; ONNX calls the first form linear_before_reset=1. Keras has one bias (bias_ih; bias_hh is
    0) without reset_after and the rows of a [2, 3H] with it. Cho et al., 2014.

    >>> import tinygrad_rnn as tg
    >>> cell = tg.nn.GRUCell(3, 4, rng=0)
    >>> h, y = cell(cell.initial_carry((2,)), tg.ones((2, 3)))
    >>> y.shape
    (2, 4)
    """

    gates, keeps = "rzn", {"z": 1}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        reset_after: bool = True,
        *,
        dtype: Any = None,
        rng: Any = None,
    ):
        super().__init__(input_size, hidden_size, bias, dtype=dtype, rng=rng)
        self.reset_after = reset_after

    def forward(self, carry: Tensor, x: Tensor, read: Read = identity) -> tuple[Tensor, Tensor]:
        h = carry
        if self.reset_after:
            xr, xz, xn = chunk(linear(x, self.weight_ih, self.bias_ih), 3, axis=-1)
            hr, hz, hn = chunk(linear(read(h), self.weight_hh, self.bias_hh), 3, axis=-1)
            r, z = sigmoid(xr + hr), sigmoid(xz + hz)
            n = tanh(xn + r * hn)
        else:
            H = self.hidden_size
            W, b = self.weight_hh, self.bias_hh
            gates, bias_n = (None, None) if b is None else (b[: 2 * H], b[2 * H :])
            xr, xz, xn = chunk(linear(x, self.weight_ih, self.bias_ih), 3, axis=-1)
            hr, hz = chunk(linear(read(h), W[: 2 * H], gates), 2, axis=-1)
            r, z = sigmoid(xr + hr), sigmoid(xz + hz)
            n = tanh(xn + linear(r * read(h), W[2 * H :], bias_n))
        h = (1.0 - z) * n + z * h
        return h, h

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.reset_after else ", reset_after=False")
