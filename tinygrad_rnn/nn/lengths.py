"""Lengths of ragged batches: checking them, and masks that isolate the padding.

In: lengths [B] (list, array or integer tensor, 0 allowed). Out: a mask bool[T, B] that is True
where a step belongs to the sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..backend import Backend
from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph import Var
from ..tensor import Tensor
from ..trace import state
from ..types import Shape


def length_mask(
    lengths: Any, steps: int, batch_shape: Shape, where: str, backend: Backend
) -> Tensor:
    """bool[T, *batch_shape]: t < lengths, after checking count, dtype and range."""
    # in 64 bits: the number of steps may not fit into a small dtype
    counts = check_lengths(lengths, steps, batch_shape, where).astype("int64").to(backend)
    time = ops.arange(steps, dtype=counts.dtype, backend=backend)
    return ops.reshape(time, (steps, *[1] * len(batch_shape))) < counts


def check_lengths(lengths: Any, steps: int, batch_shape: Shape, where: str) -> Tensor:
    """The lengths as a tensor of integers, one for each sample, between 0 and `steps`.

    Lists and arrays stay on the host: looking at the values of a tensor waits for its device.
    """
    if not isinstance(lengths, Tensor):
        host = np.asarray(lengths)
        host = host if host.size else host.astype(np.int64)
        lengths = ops.asarray(host, backend=None if state.tracer is not None else "numpy")
    if not lengths.dtype.is_integer:
        raise DTypeError(f"{where}: lengths are {lengths.type}, expected integers.")
    if not batch_shape:
        raise ShapeError(f"{where}: lengths= needs a batch, the input is a single sequence.")
    if lengths.shape != batch_shape:
        hint = ""
        if lengths.ndim == 1 and lengths.shape[0] == steps:
            hint = " There is one length for each time step: is the input batch-first?"
        raise ShapeError(
            f"{where}: lengths are {lengths.type}, expected one for each of the "
            f"{'x'.join(map(str, batch_shape))} samples of the batch.{hint}"
        )
    if not isinstance(lengths._value.data, Var):  # inside jit the values are not known yet
        check_range(lengths.numpy(), steps, where)
    checked: Tensor = lengths
    return checked


def check_range(lengths: np.ndarray[Any, Any], steps: int, where: str) -> None:
    """Raise unless all lengths lie between 0 and `steps`; names the first that does not."""
    bad = np.argwhere((lengths < 0) | (lengths > steps))
    if len(bad):
        at = tuple(int(i) for i in bad[0])
        index = at[0] if len(at) == 1 else at
        raise ArgumentError(
            f"{where}: lengths[{index}] is {lengths[at]}, expected 0 to {steps}, the number of "
            f"time steps of the input."
        )


def select(mask: Tensor, new: Tensor, old: Tensor, where: str, what: str) -> Tensor:
    """`new` where the mask is True, else `old`; the mask covers the leading axes of both."""
    if new.shape[: mask.ndim] != mask.shape:
        raise ShapeError(
            f"{where}: with lengths=, every leaf of the {what} must begin with the axes "
            f"{mask.shape}, one is {new.type}."
        )
    extra = new.ndim - mask.ndim
    return ops.where(mask.reshape(*mask.shape, *[1] * extra) if extra else mask, new, old)
