"""Hypothesis strategies for everything that tinygrad_rnn takes.

All arguments are keywords; what is drawn prints as code that makes it; nothing is drawn and thrown
away. Importing this module teaches `hypothesis.strategies.from_type` what a Tensor is.
"""

from __future__ import annotations

try:
    from hypothesis.strategies import register_type_strategy
except ImportError as error:
    raise ImportError(
        "tinygrad_rnn.testing.strategies needs Hypothesis, which is not installed: "
        'pip install "tinygrad_rnn[testing]".'
    ) from error

from ...tensor import Tensor
from .arrays import arrays, layouts, tensors
from .calls import primitive_calls
from .configurations import optimizer_configs, rnn_configs
from .programs import programs, scan_bodies
from .sequences import ragged_batches
from .types import broadcastable_shapes, dtypes, shapes

__all__ = [
    "arrays", "broadcastable_shapes", "dtypes", "layouts", "optimizer_configs", "primitive_calls",
    "programs", "ragged_batches", "rnn_configs", "scan_bodies", "shapes", "tensors",
]  # fmt: skip

register_type_strategy(Tensor, tensors())
