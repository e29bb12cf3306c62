"""Layers without recurrence: Linear, Embedding, Dropout, LayerNorm, and activations as modules.

In: tensors with any leading axes. Out: tensors. Parameters have PyTorch's names and layouts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import ops
from ..errors import ArgumentError, DTypeError, ShapeError
from ..ops import asarray
from ..random import as_generator
from ..tensor import Tensor
from . import functional as F
from . import init
from .checks import check_positive, check_probability
from .module import Module
from .parameter import Parameter


class Linear(Module):
    """y = x W^T + b.

    x [..., I] -> [..., J]; weight [J, I], bias [J], both uniform on ±1/sqrt(I) at first.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.Linear(3, 2, rng=0)(tg.ones((5, 3))).shape
    (5, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: Any = None,
        rng: Any = None,
    ):
        check_positive(self.where(), in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        bound, rng = 1.0 / math.sqrt(in_features), as_generator(rng)
        self.weight = Parameter.uniform((out_features, in_features), bound, dtype, rng)
        self.bias = Parameter.uniform((out_features,), bound, dtype, rng) if bias else None

    def forward(self, x: Any) -> Tensor:
        x = asarray(x)
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            found = f"{x.shape[-1]} features" if x.ndim else "no axis"
            raise ShapeError(
                f"{self.where()}: input has {found} ({x.type}, last axis), the layer was built "
                f"with in_features={self.in_features}."
            )
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """A table of vectors, looked up by integers.

    ids i64[...] -> [..., E]; weight [V, E], normal at first. The row `padding_idx` starts as zeros
    and gets no gradient.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.Embedding(10, 4, rng=0)(tg.tensor([[1, 2], [2, 9]])).shape
    (2, 2, 4)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        dtype: Any = None,
        rng: Any = None,
    ):
        check_positive(self.where(), num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ArgumentError(
                f"{self.where()}: padding_idx={padding_idx} is not a row of the table of "
                f"{num_embeddings}."
            )
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = Parameter.zeros((num_embeddings, embedding_dim), dtype)
        init.normal_(self.weight, rng=rng)
        if self.padding_idx is not None:
            host = self.weight.detach().numpy().copy()
            host[self.padding_idx] = 0.0
            self.weight.assign_(asarray(host).to(self.weight.backend))

    @classmethod
    def from_pretrained(
        cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None
    ) -> Embedding:
        """A layer with the given vectors [V, E], which are not trained if `freeze`.

        >>> import tinygrad_rnn as tg
        >>> table = tg.nn.Embedding.from_pretrained([[0.0, 1.0], [2.0, 3.0]])
        >>> table(tg.tensor([1])).tolist(), table.weight.requires_grad
        ([[2.0, 3.0]], False)
        """
        given = asarray(embeddings)
        if given.ndim != 2 or not given.dtype.is_float:
            raise ShapeError(
                f"nn.{cls.__name__}.from_pretrained: got {given.type}, expected floats [V, E]."
            )
        rows, size = given.shape
        layer = cls(rows, size, padding_idx, dtype=given.dtype, rng=0)  # drawn for nothing
        layer.weight = Parameter(given.detach(), requires_grad=not freeze)
        return layer

    def forward(self, ids: Any) -> Tensor:
        ids = asarray(ids)
        if not ids.dtype.is_integer:
            raise DTypeError(
                f"{self.where()}: input is {ids.type}, expected integers from 0 to "
                f"{self.num_embeddings - 1}."
            )
        return F.embedding(ids, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        tail = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{tail}"


class Dropout(Module):
    """In training, zero each element with probability p and divide the others by 1 - p.

    The mask is drawn from `rng` (a Generator, an integer seed, or None for the default one).
    Srivastava et al., 2014.
    """

    def __init__(self, p: float = 0.5, *, rng: Any = None):
        check_probability(self.where(), p=p)
        self.p = p
        # an integer seeds a generator once: the masks must differ from call to call
        self.rng = None if rng is None else as_generator(rng)

    def forward(self, x: Any) -> Tensor:
        return F.dropout(asarray(x), self.p, self.training, self.rng)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class LayerNorm(Module):
    """y = (x - mean) / sqrt(var + eps) · weight + bias over the last axes.

    `normalized_shape` says which; weight and bias have that shape. Ba, Kiros, Hinton, 2016.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.LayerNorm(3)(tg.tensor([[1.0, 2.0, 3.0]])).detach().numpy().round(3).tolist()
    [[-1.225..., 0.0, 1.225...]]
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: Any = None,
    ):
        given = normalized_shape
        self.normalized_shape = (given,) if isinstance(given, int) else tuple(given)
        self.eps = eps
        shape = self.normalized_shape
        self.weight = Parameter.full(shape, 1.0, dtype) if elementwise_affine else None
        self.bias = Parameter.zeros(shape, dtype) if elementwise_affine and bias else None

    def forward(self, x: Any) -> Tensor:
        x, n = asarray(x), len(self.normalized_shape)
        if x.ndim < n or x.shape[x.ndim - n :] != self.normalized_shape:
            raise ShapeError(
                f"{self.where()}: the last axes of the input ({x.type}) are not the "
                f"normalized_shape={self.normalized_shape} that the layer was built with."
            )
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"


class Tanh(Module):
    """tanh(x)."""

    def forward(self, x: Any) -> Tensor:
        return F.tanh(asarray(x))


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Any) -> Tensor:
        return F.sigmoid(asarray(x))


class ReLU(Module):
    """max(x, 0), with slope 0 at 0."""

    def forward(self, x: Any) -> Tensor:
        return F.relu(asarray(x))


class GELU(Module):
    """x · Φ(x), exactly or by tanh."""

    def __init__(self, approximate: str = "none"):
        self.approximate = approximate

    def forward(self, x: Any) -> Tensor:
        return F.gelu(asarray(x), self.approximate)


class Softmax(Module):
    """exp(x) / sum(exp(x)) along an axis."""

    def __init__(self, axis: int = -1):
        self.axis = axis

    def forward(self, x: Any) -> Tensor:
        return F.softmax(asarray(x), axis=self.axis)


class Flatten(Module):
    """Join the axes from `start_axis` to `end_axis` into one."""

    def __init__(self, start_axis: int = 1, end_axis: int = -1):
        self.start_axis, self.end_axis = start_axis, end_axis

    def forward(self, x: Any) -> Tensor:
        x = asarray(x)
        first, last = self.start_axis % x.ndim, self.end_axis % x.ndim
        return ops.reshape(x, (*x.shape[:first], -1, *x.shape[last + 1 :]))
