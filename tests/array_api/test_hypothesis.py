"""Hypothesis's own strategies for the Array API draw tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.array_api import make_strategies_namespace
from oracles import close

import tinygrad_rnn as tg

xps = make_strategies_namespace(tg)
QUICK = settings(max_examples=40, deadline=None, derandomize=True, database=None)
FINITE = {"allow_nan": False, "allow_infinity": False, "allow_subnormal": False}


def test_the_namespace_is_recognised() -> None:
    assert xps.api_version == tg.__array_api_version__
    assert repr(xps) == "make_strategies_namespace(tinygrad_rnn)"


@QUICK
@given(st.data())
def test_arrays_of_every_dtype(data: Any) -> None:
    dtype = data.draw(xps.scalar_dtypes())
    x = data.draw(xps.arrays(dtype, xps.array_shapes(min_side=0)))
    assert isinstance(x, tg.Tensor) and x.dtype is dtype
    assert tg.asarray(x.numpy()).dtype is dtype
    assert bool(tg.all((x == x) | (x != x)))


@QUICK
@given(st.data())
def test_indices(data: Any) -> None:
    x = data.draw(xps.arrays(tg.float64, xps.array_shapes(), elements=FINITE))
    key = data.draw(xps.indices(x.shape, allow_newaxis=True))
    assert np.array_equal(x[key].numpy(), x.numpy()[key])
    plain = data.draw(xps.indices(x.shape))
    y, copy = tg.asarray(x, copy=True), x.numpy().copy()
    y[plain], copy[plain] = 1.5, 1.5
    assert np.array_equal(y.numpy(), copy)


@QUICK
@given(st.data())
def test_broadcasting_and_promotion(data: Any) -> None:
    shapes = data.draw(xps.mutually_broadcastable_shapes(2)).input_shapes
    a, b = (
        data.draw(xps.arrays(data.draw(xps.real_dtypes()), s, elements=st.integers(0, 9)))
        for s in shapes
    )
    try:
        dtype = tg.result_type(a, b)
    except tg.DTypeError:
        assert {a.dtype.kind, b.dtype.kind} == {"i", "u"}
        return
    assert (a + b).dtype is dtype
    assert np.array_equal((a + b).numpy(), (a.numpy().astype(dtype.np) + b.numpy()))


@QUICK
@given(st.data())
def test_reductions_over_axes(data: Any) -> None:
    x = data.draw(xps.arrays(tg.float64, xps.array_shapes(), elements=st.floats(-9, 9)))
    axes = data.draw(xps.valid_tuple_axes(x.ndim))
    y, pullback = tg.vjp(lambda t: tg.sum(t, axis=axes), x)
    close(y, x.numpy().sum(axes), 1e-12)
    (g,) = pullback(tg.ones_like(y))
    assert g.shape == x.shape and bool(tg.all(g == 1))


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_scalars_of_a_dtype_are_exact_in_it(dtype: str) -> None:
    @QUICK
    @given(xps.from_dtype(dtype))
    def check(value: Any) -> None:
        assert value != value or tg.asarray(value, dtype=dtype).item() == value

    check()
