"""What a cell is, and the three that everybody knows: RNNCell, LSTMCell, GRUCell.

A cell is a function `(carry, x) -> (carry, y)`; a `Cell` is one with parameters. `Recurrent` runs
it over time, and its derivative is derived. The first leaf of a carry is what the matrix products
read (h), the output y is that same tensor unless the docstring says otherwise.

In: carry [B, H] (or a tuple of such), x [B, I]; any leading axes, or none, in place of B.
Out: the same carry, y [B, H].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

from .. import ops
from ..errors import ArgumentError
from ..ops import chunk, relu, sigmoid, tanh
from ..random import as_generator
from ..tensor import Tensor
from ..tree import flatten, unflatten
from ..types import Shape
from . import init
from .functional import linear
from .module import Module, check_positive
from .parameter import Parameter

Carry = Any
Read = Callable[[Tensor], Tensor]
Step = Callable[..., tuple[Carry, Any]]


def identity(x: Tensor) -> Tensor:
    return x


class Cell(Module):
    """Base class of cells with parameters, PyTorch's names and layouts.

    A subclass sets `gates` and writes `forward(carry, x, read=identity)`; `read` is applied to h
    where a matrix product reads it (variational dropout lives there). weight_ih [G*H, I],
    weight_hh [G*H, R], bias_ih and bias_hh [G*H] start uniform on ±1/sqrt(H); R = H unless the
    state that is fed back has another size.
    """

    gates: ClassVar[int] = 1
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
        rows, bound = self.gates * hidden_size, 1.0 / math.sqrt(hidden_size)
        rng = as_generator(rng)
        back = hidden_size if recurrent_size is None else recurrent_size
        self.weight_ih = Parameter.uniform((rows, input_size), bound, dtype, rng)
        self.weight_hh = Parameter.uniform((rows, back), bound, dtype, rng)
        self.bias_ih = Parameter.uniform((rows,), bound, dtype, rng) if bias else None
        self.bias_hh = Parameter.uniform((rows,), bound, dtype, rng) if bias else None

    def initial_carry(
        self, batch_shape: Shape = (), dtype: Any = None, backend: Any = None
    ) -> Carry:
        """The state before the first step: zeros."""
        return self.zero(self.hidden_size, batch_shape, dtype, backend)

    def zero(self, size: int, batch_shape: Shape, dtype: Any, backend: Any) -> Tensor:
        """Zeros [*batch_shape, size], by default like the parameters."""
        where = self.weight_ih.backend if backend is None else backend
        kind = self.weight_ih.dtype if dtype is None else dtype
        return ops.zeros((*batch_shape, size), dtype=kind, backend=where)

    def sequence(self, length: int, carry: Carry) -> tuple[Step, Any]:
        """(step, noise) for one run over `length` steps: `step(carry, (x, noise_t), read)`.

        Cells that need randomness draw it here, before the loop: what changes with time comes
        back as `noise` (leaves [length, ...]), what does not is captured by `step`.
        """

        def step(carry: Carry, inputs: Any, read: Read = identity) -> tuple[Carry, Any]:
            return self.forward(carry, inputs[0], read)  # type: ignore[no-any-return]

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

    `forget_bias` (1.0 is common) is the forget gate's total bias at first. Keras orders i f c o
    with one bias; ONNX i o f c. Hochreiter, Schmidhuber, 1997; Gers, Schmidhuber, Cummins, 2000;
    projection: Sak, Senior, Beaufays, 2014.

    >>> import tinygrad_rnn as tg
    >>> cell = tg.nn.LSTMCell(3, 4, rng=0)
    >>> (h, c), y = cell(cell.initial_carry((2,)), tg.ones((2, 3)))
    >>> h.shape, c.shape, y is h
    ((2, 4), (2, 4), True)
    """

    gates = 4

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
            input_size, hidden_size, bias, recurrent_size=proj_size or None, dtype=dtype, rng=rng
        )
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
        self.forget_slice = slice(hidden_size, 2 * hidden_size)
        if forget_bias is not None:
            init.forget_bias_(self, forget_bias)

    def initial_carry(
        self, batch_shape: Shape = (), dtype: Any = None, backend: Any = None
    ) -> Carry:
        """(h, c) = zeros."""
        h = self.zero(self.proj_size or self.hidden_size, batch_shape, dtype, backend)
        return h, self.zero(self.hidden_size, batch_shape, dtype, backend)

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

    Keras orders z r h. Cho et al., 2014. Reset before needs two products in a row at every step.

    >>> import tinygrad_rnn as tg
    >>> cell = tg.nn.GRUCell(3, 4, rng=0)
    >>> h, y = cell(cell.initial_carry((2,)), tg.ones((2, 3)))
    >>> y.shape
    (2, 4)
    """

    gates = 3

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
