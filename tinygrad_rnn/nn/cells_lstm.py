"""Relatives of the LSTM: 1997 (no forget gate), peephole, coupled gates, layer-normalised.

In: carry (h, c) of [B, H], x [B, I]. Out: carry (h, c), y = h. The derivatives are derived.
"""

from __future__ import annotations

import math
from typing import Any

from ..ops import chunk, sigmoid, tanh
from ..random import as_generator
from ..tensor import Tensor
from . import init
from .cell import Carry, Cell, Read, identity
from .functional import linear
from .layers import LayerNorm
from .parameter import Parameter


class _MemoryCell(Cell):
    """A cell whose carry is (h, c), both [B, H]."""

    @property
    def carry_sizes(self) -> tuple[int, int]:
        return self.hidden_size, self.hidden_size


class LSTM1997Cell(_MemoryCell):
    """The LSTM of 1997, without forget gate: the constant error carousel. Gates i g o.

        i, o = σ(…), g = tanh(…), each of W_ih x + b_ih + W_hh h + b_hh
        c' = c + i g
        h' = o tanh(c')

    With closed gates the memory c, and the error that flows back to it, are kept exactly.
    Hochreiter, Schmidhuber, 1997, Long short-term memory.
    """

    gates, keeps = "igo", {"i": -1}

    def forward(self, carry: Carry, x: Tensor, read: Read = identity) -> tuple[Carry, Tensor]:
        h, c = carry
        i, g, o = chunk(self.project(x, read(h)), 3, axis=-1)
        c = c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return (h, c), h


class CoupledLSTMCell(_MemoryCell):
    """LSTM with coupled input and forget gates, i = 1 - f. Gates f g o.

        f, o = σ(…), g = tanh(…), each of W_ih x + b_ih + W_hh h + b_hh
        c' = f c + (1 - f) g
        h' = o tanh(c')

    Greff et al., 2015, LSTM: a search space odyssey.
    """

    gates, keeps = "fgo", {"f": 1}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        forget_bias: float | None = None,
        dtype: Any = None,
        rng: Any = None,
    ):
        super().__init__(input_size, hidden_size, bias, dtype=dtype, rng=rng)
        if forget_bias is not None:
            init.forget_bias_(self, forget_bias)

    def forward(self, carry: Carry, x: Tensor, read: Read = identity) -> tuple[Carry, Tensor]:
        h, c = carry
        f, g, o = chunk(self.project(x, read(h)), 3, axis=-1)
        f = sigmoid(f)
        c = f * c + (1.0 - f) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return (h, c), h


class PeepholeLSTMCell(_MemoryCell):
    """LSTM whose gates see the memory through diagonal weights. Gates i f g o.

        i = σ(… + p_i c), f = σ(… + p_f c), g = tanh(…)
        c' = f c + i g
        o = σ(… + p_o c'),  h' = o tanh(c')

    weight_ch [3*H] holds p_i, p_f, p_o. Gers, Schmidhuber, 2000, Recurrent nets that time and
    count.
    """

    gates, keeps = "ifgo", {"f": 1, "i": -1}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        forget_bias: float | None = None,
        dtype: Any = None,
        rng: Any = None,
    ):
        rng = as_generator(rng)
        super().__init__(input_size, hidden_size, bias, dtype=dtype, rng=rng)
        bound = 1.0 / math.sqrt(hidden_size)
        self.weight_ch = Parameter.uniform((3 * hidden_size,), bound, dtype, rng)
        if forget_bias is not None:
            init.forget_bias_(self, forget_bias)

    def forward(self, carry: Carry, x: Tensor, read: Read = identity) -> tuple[Carry, Tensor]:
        h, c = carry
        i, f, g, o = chunk(self.project(x, read(h)), 4, axis=-1)
        p_i, p_f, p_o = chunk(self.weight_ch, 3, axis=-1)
        c = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * tanh(g)
        h = sigmoid(o + p_o * c) * tanh(c)
        return (h, c), h


class LayerNormLSTMCell(_MemoryCell):
    """LSTM with layer normalisation of both products and of the memory. Gates i f g o.

        i, f, g, o = LN_ih(W_ih x) + LN_hh(W_hh h) + b_ih + b_hh
        c' = σ(f) c + σ(i) tanh(g)
        h' = σ(o) tanh(LN_c(c'))

    The norms have a weight each and no bias of their own, except LN_c. Ba, Kiros, Hinton, 2016.
    """

    gates, keeps = "ifgo", {"f": 1, "i": -1}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        eps: float = 1e-5,
        forget_bias: float | None = None,
        dtype: Any = None,
        rng: Any = None,
    ):
        super().__init__(input_size, hidden_size, bias, dtype=dtype, rng=rng)
        self.norm_ih = LayerNorm(4 * hidden_size, eps, bias=False, dtype=dtype)
        self.norm_hh = LayerNorm(4 * hidden_size, eps, bias=False, dtype=dtype)
        self.norm_c = LayerNorm(hidden_size, eps, dtype=dtype)
        if forget_bias is not None:
            init.forget_bias_(self, forget_bias)

    def forward(self, carry: Carry, x: Tensor, read: Read = identity) -> tuple[Carry, Tensor]:
        h, c = carry
        z = self.norm_ih(linear(x, self.weight_ih)) + self.norm_hh(linear(read(h), self.weight_hh))
        if self.bias_ih is not None and self.bias_hh is not None:
            z = z + self.bias_ih + self.bias_hh
        i, f, g, o = chunk(z, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(self.norm_c(c))
        return (h, c), h
