"""Strategies of arrays in every layout, and of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ... import tensor
from ...array_api import finfo
from ...extend import DType
from ...tensor import Tensor
from ...types import as_dtype, kind_of
from ..layouts import LAYOUTS, lay_out
from .types import dtypes, shapes

SEEDS = st.integers(0, 2**32 - 1)


def layouts(*, names: tuple[str, ...] = LAYOUTS) -> st.SearchStrategy[str]:
    """Names of layouts (see `tinygrad_rnn.testing.LAYOUTS`), "C" first."""
    return st.sampled_from(names)


@st.composite
def arrays(
    draw: st.DrawFn,
    *,
    dtype: st.SearchStrategy[DType] | Any = None,
    shape: st.SearchStrategy[tuple[int, ...]] | tuple[int, ...] | None = None,
    layout: st.SearchStrategy[str] | str | None = None,
    low: float = -2.0,
    high: float = 2.0,
    special: bool = False,
) -> np.ndarray:
    """NumPy arrays with values from `low` to `high`, of four decimals.

    `special`: some elements of floating arrays are NaN, infinities, -0.0, the largest number and
    the smallest. Arguments may be strategies or plain values.
    """
    kind = _drawn(draw, dtypes() if dtype is None else dtype)
    size = _drawn(draw, shapes() if shape is None else shape)
    how = _drawn(draw, layouts() if layout is None else layout)
    rng = np.random.default_rng(draw(SEEDS))
    np_type = as_dtype(kind).np
    if kind_of(np_type) == "b":
        values = rng.random(size) < 0.5
    elif kind_of(np_type) == "f":
        values = np.asarray(np.round(rng.uniform(low, high, size), 4), np_type)
        if special:
            values = _with_specials(values, draw(st.integers(0, 63)), rng)
    else:
        limits = np.iinfo(np_type)
        values = rng.integers(
            max(int(limits.min), int(np.ceil(low))), int(np.floor(high)), size, np_type,
            endpoint=True,
        )  # fmt: skip
    return lay_out(values, how)


def _with_specials(values: np.ndarray, which: int, rng: np.random.Generator) -> np.ndarray:
    """`values` with the special numbers whose bits are set in `which`, each at a random place."""
    limits = finfo(values.dtype)
    known = (np.nan, np.inf, -np.inf, -0.0, limits.max, limits.smallest_subnormal)
    flat = values.reshape(-1)
    for k, special in enumerate(known):
        if which >> k & 1 and flat.size:
            flat[rng.integers(flat.size)] = special
    return flat.reshape(values.shape)


def _drawn(draw: st.DrawFn, x: Any) -> Any:
    return draw(x) if isinstance(x, st.SearchStrategy) else x


@st.composite
def tensors(
    draw: st.DrawFn,
    *,
    dtype: Any = None,
    shape: Any = None,
    layout: Any = None,
    low: float = -2.0,
    high: float = 2.0,
    special: bool = False,
    requires_grad: st.SearchStrategy[bool] | bool | None = None,
    backend: Any = None,
) -> Tensor:
    """Tensors made from `arrays`; floating ones may require a gradient."""
    host = draw(
        arrays(dtype=dtype, shape=shape, layout=layout, low=low, high=high, special=special)
    )
    wanted = st.booleans() if requires_grad is None else requires_grad
    needs = kind_of(host.dtype) == "f" and _drawn(draw, wanted)
    return tensor(host, requires_grad=needs, backend=backend)
