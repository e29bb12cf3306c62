"""Strategies of batches of sequences with unequal lengths and poisoned padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ...types import as_dtype
from ..ragged import POISON, RaggedBatch, ragged_batch
from .arrays import SEEDS


@st.composite
def ragged_batches(
    draw: st.DrawFn,
    *,
    max_batch: int = 4,
    max_length: int = 6,
    features: int | st.SearchStrategy[int] = 3,
    dtype: Any = "float64",
    poison: Sequence[float] = POISON,
    batch_first: bool | st.SearchStrategy[bool] = False,
) -> RaggedBatch:
    """Batches of 1 to `max_batch` sequences of 0 to `max_length` steps; padding holds `poison`.

    There may be more steps than the longest sequence has, and sequences without any.
    """
    width = draw(features) if isinstance(features, st.SearchStrategy) else features
    first = draw(batch_first) if isinstance(batch_first, st.SearchStrategy) else batch_first
    lengths = draw(st.lists(st.integers(0, max_length), min_size=1, max_size=max_batch))
    rng = np.random.default_rng(draw(SEEDS))
    kind = as_dtype(dtype).np
    rows = [np.round(rng.normal(size=(n, width)), 4).astype(kind) for n in lengths]
    steps = max(lengths) + draw(st.integers(0, 2))
    return ragged_batch(rows, steps, draw(st.sampled_from(list(poison))), first, width)
