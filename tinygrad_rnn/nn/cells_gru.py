"""Relatives of the GRU, and the cell that feeds back its output.

In: carry h [B, H], x [B, I]. Out: carry h, y. The derivatives are derived.
"""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..ops import chunk, sigmoid, tanh
from ..random import as_generator
from ..tensor import Tensor
from .cell import Cell, Read, identity
from .checks import check_positive, check_probability
from .functional import linear, relu
from .layers import LayerNorm
from .parameter import Parameter


class MinimalGatedUnitCell(Cell):
    """The minimal gated unit: one gate forgets and resets. Gates f n.

        f = σ(W_if x + b_if + W_hf h + b_hf)
        n = tanh(W_in x + b_in + W_hn (f h) + b_hn)
        h' = (1 - f) h + f n

    Zhou, Wu, Zhang, Zhou, 2016, Minimal gated unit for recurrent neural networks.
    """

    gates, keeps = "fn", {"f": -1}

    def forward(self, carry: Tensor, x: Tensor, read: Read = identity) -> tuple[Tensor, Tensor]:
        h, H = carry, self.hidden_size
        W, b = self.weight_hh, self.bias_hh
        bias_f, bias_n = (None, None) if b is None else (b[:H], b[H:])
        xf, xn = chunk(linear(x, self.weight_ih, self.bias_ih), 2, axis=-1)
        f = sigmoid(xf + linear(read(h), W[:H], bias_f))
        n = tanh(xn + linear(f * read(h), W[H:], bias_n))
        h = (1.0 - f) * h + f * n
        return h, h


class LayerNormGRUCell(Cell):
    """GRU (reset after) with layer normalisation of both products. Gates r z n.

        r, z = σ(LN(W_ih x) + b_ih + LN(W_hh h) + b_hh)
        n = tanh(LN(W_in x) + b_in + r (LN(W_hn h) + b_hn))
        h' = (1 - z) n + z h

    The two gates are normalised together, the candidate apart; the norms have weights and no
    biases of their own. Ba, Kiros, Hinton, 2016, Layer normalization.
    """

    gates, keeps = "rzn", {"z": 1}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        eps: float = 1e-5,
        dtype: Any = None,
        rng: Any = None,
    ):
        super().__init__(input_size, hidden_size, bias, dtype=dtype, rng=rng)
        both, one = 2 * hidden_size, hidden_size
        self.norm_gates_ih = LayerNorm(both, eps, bias=False, dtype=dtype)
        self.norm_gates_hh = LayerNorm(both, eps, bias=False, dtype=dtype)
        self.norm_n_ih = LayerNorm(one, eps, bias=False, dtype=dtype)
        self.norm_n_hh = LayerNorm(one, eps, bias=False, dtype=dtype)

    def forward(self, carry: Tensor, x: Tensor, read: Read = identity) -> tuple[Tensor, Tensor]:
        h, split = carry, 2 * self.hidden_size
        zx, zh = linear(x, self.weight_ih), linear(read(h), self.weight_hh)
        x_gates, x_n = self.norm_gates_ih(zx[..., :split]), self.norm_n_ih(zx[..., split:])
        h_gates, h_n = self.norm_gates_hh(zh[..., :split]), self.norm_n_hh(zh[..., split:])
        if self.bias_ih is not None and self.bias_hh is not None:
            x_gates, x_n = x_gates + self.bias_ih[:split], x_n + self.bias_ih[split:]
            h_gates, h_n = h_gates + self.bias_hh[:split], h_n + self.bias_hh[split:]
        r, z = chunk(sigmoid(x_gates + h_gates), 2, axis=-1)
        n = tanh(x_n + r * h_n)
        h = (1.0 - z) * n + z * h
        return h, h


class JordanCell(Cell):
    """The network that feeds back its output; carry y [B, O].

        h = f(W_ih x + b_ih + W_hh y + b_hh)
        y' = g(W_ho h + b_ho)

    x [B, I], or for teacher forcing a tuple (x, target [B, O], forced bool [B]): the next step
    then reads the target instead of y' where `forced`. `teacher_forcing` makes such tuples for a
    whole sequence. f is tanh or relu; `output` names g: "identity", "tanh" or "sigmoid".
    Jordan, 1986; Williams, Zipser, 1989.

    >>> import tinygrad_rnn as tg
    >>> cell = tg.nn.JordanCell(3, 8, 2, rng=0)
    >>> x, target = tg.zeros((5, 4, 3)), tg.zeros((5, 4, 2))
    >>> y, last = tg.nn.Recurrent(cell)(cell.teacher_forcing(x, target, p=0.5, rng=1))
    >>> y.shape, last.shape
    ((5, 4, 2), (4, 2))
    """

    outputs = {"identity": identity, "tanh": tanh, "sigmoid": sigmoid}  # noqa: RUF012

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        output: str = "identity",
        *,
        dtype: Any = None,
        rng: Any = None,
    ):
        check_positive("nn.JordanCell", output_size=output_size)
        rng = as_generator(rng)
        super().__init__(
            input_size, hidden_size, bias, recurrent_size=output_size, dtype=dtype, rng=rng
        )
        if nonlinearity not in ("tanh", "relu") or output not in self.outputs:
            raise ArgumentError(
                f"{self.where()}: nonlinearity={nonlinearity!r} must be 'tanh' or 'relu' and "
                f"output={output!r} one of {', '.join(map(repr, self.outputs))}."
            )
        self.output_size = output_size
        self.f, self.g = (tanh if nonlinearity == "tanh" else relu), self.outputs[output]
        bound = 1.0 / math.sqrt(hidden_size)
        self.weight_ho = Parameter.uniform((output_size, hidden_size), bound, dtype, rng)
        self.bias_ho = Parameter.uniform((output_size,), bound, dtype, rng) if bias else None

    @property
    def carry_sizes(self) -> int:
        return self.output_size

    def forward(self, carry: Tensor, x: Any, read: Read = identity) -> tuple[Tensor, Tensor]:
        x, target, forced = x if isinstance(x, tuple) else (x, None, None)
        h = self.f(self.project(x, read(carry)))
        y = self.g(linear(h, self.weight_ho, self.bias_ho))
        if target is None:
            return y, y
        return ops.where(ops.expand_dims(forced, -1), target, y), y

    def teacher_forcing(
        self, x: Tensor, targets: Tensor, p: float = 1.0, rng: Any = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(x, targets, forced) for a sequence; each step of each sample is forced with
        probability p (p < 1: scheduled sampling, Bengio et al., 2015)."""
        check_probability(f"{self.where()}.teacher_forcing", p=p)
        expected = (*x.shape[:-1], self.output_size)
        if targets.shape != expected:
            raise ShapeError(
                f"{self.where()}.teacher_forcing: targets are {targets.type}, expected shape "
                f"{expected} for inputs {x.type}."
            )
        forced = as_generator(rng, x.backend).bernoulli(p, x.shape[:-1]).to(x.backend)
        return x, targets, forced
