"""Dropout as a function: what layers, attention and wrappers share.

In: a tensor and a probability. Out: the tensor with some elements zeroed.
"""

from __future__ import annotations

from typing import Any

from .. import ops
from ..random import as_generator
from ..tensor import Tensor
from .checks import check_probability


def dropout(x: Tensor, p: float = 0.5, training: bool = True, rng: Any = None) -> Tensor:
    """Zero each element with probability p and divide the others by 1 - p.

    Srivastava et al., 2014. With p = 0, or not training, x itself; with p = 1, zeros.
    """
    check_probability("dropout", p=p)
    if not training or p == 0:
        return x
    keep = as_generator(rng, x.backend).bernoulli(1.0 - p, x.shape).to(x.backend)
    return ops.where(keep, x * (0.0 if p == 1 else 1.0 / (1.0 - p)), ops.zeros_like(x))
