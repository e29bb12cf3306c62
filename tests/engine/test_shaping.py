"""Reductions, movement and products against NumPy, and their gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from oracles import close, same

import tinygrad_rnn as tg

quick = settings(max_examples=120, deadline=None, derandomize=True)


def data_of(shape: Any, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@st.composite
def reductions(draw: Any) -> Any:
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    n = len(shape)
    axis = draw(
        st.one_of(
            st.none(),
            st.integers(-n, n - 1) if n else st.none(),
            st.lists(st.integers(0, n - 1), unique=True, max_size=n).map(tuple) if n else st.none(),
        )
    )
    return shape, axis, draw(st.booleans())


@quick
@given(
    reductions(),
    st.sampled_from(["sum", "mean", "prod", "max", "min", "any", "all", "var", "std", "logsumexp"]),
)
def test_reductions(case, name):
    shape, axis, keepdims = case
    x = data_of(shape)
    axes = range(len(shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    empty = math.prod(shape[a] for a in axes) == 0
    f = getattr(tg, name)
    if name in ("max", "min", "logsumexp") and empty:
        if x.size or any(shape[a] == 0 for a in axes):
            with pytest.raises(ValueError, match=r"empty|nothing"):
                f(tg.tensor(x), axis, keepdims=keepdims)
        return
    if empty and name in ("mean", "var", "std"):
        assert np.isnan(f(tg.tensor(x), axis, keepdims=keepdims).numpy()).all()
        return
    if name == "logsumexp":
        want = np.log(np.exp(x).sum(axis, keepdims=keepdims))
    else:
        want = getattr(np, name)(x, axis, keepdims=keepdims)
    got = f(tg.tensor(x), axis, keepdims=keepdims)
    close(got, want, 1e-12)
    assert got.dtype.np == np.asarray(want).dtype
    close(getattr(tg.tensor(x), name)(axis, keepdims=keepdims), want, 1e-12)


@quick
@given(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4), st.data())
def test_argmax_cumsum_softmax(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = np.round(data_of(shape) * 2)  # with ties
    t = tg.tensor(x)
    for keep in (False, True):
        same(tg.argmax(t, axis, keep), np.argmax(x, axis, keepdims=keep))
        same(tg.argmin(t, axis, keep), np.argmin(x, axis, keepdims=keep))
        same(tg.argmax(t, None, keep), np.argmax(x, keepdims=keep))
    close(tg.cumsum(t, axis), np.cumsum(x, axis), 1e-13)
    close(tg.cumsum(t), np.cumsum(x), 1e-13)
    close(tg.cumsum(t, axis, reverse=True), np.flip(np.cumsum(np.flip(x, axis), axis), axis), 1e-13)
    e = np.exp(x - x.max(axis, keepdims=True))
    close(tg.softmax(t, axis), e / e.sum(axis, keepdims=True), 1e-13)
    close(tg.exp(tg.log_softmax(t, axis)), e / e.sum(axis, keepdims=True), 1e-13)


def test_integer_reductions():
    k = np.array([[200, 100], [-3, 5]])
    assert tg.sum(tg.tensor(k.astype(np.int8))).dtype is tg.int64
    assert tg.sum(tg.tensor([True, True])).item() == 2
    for name in ("max", "min", "sum", "prod"):
        same(getattr(tg, name)(tg.tensor(k), 0), getattr(np, name)(k, 0))
    low = np.array([np.iinfo(np.int64).min, 3])
    assert tg.min(tg.tensor(low)).item() == low.min() and tg.argmin(tg.tensor(low)).item() == 0
    assert tg.min(tg.tensor(np.array([0, 255], np.uint8))).item() == 0
    b = tg.tensor([True, False])
    assert (b.max().item(), b.min().item(), b.any().item(), b.all().item()) == (
        True,
        False,
        True,
        False,
    )
    assert tg.mean(tg.tensor([1, 2])).item() == 1.5


def test_sum_is_accurate():
    x = (np.random.default_rng(0).normal(size=100_000) * 1e3).astype(np.float32)
    exact = math.fsum(x.tolist())
    assert abs(tg.sum(tg.tensor(x)).item() - exact) <= 1e-5 * np.abs(x).sum()


@quick
@given(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3), st.data())
def test_movement(shape, data):
    x = data_of(shape)
    t, n = tg.tensor(x), len(shape)
    perm = tuple(data.draw(st.permutations(range(n))))
    same(tg.permute_dims(t, perm), np.transpose(x, perm))
    same(t.T, x.T)
    same(t.reshape(-1) if x.size else t.flatten(), x.reshape(-1))
    same(tg.flip(t), np.flip(x))
    same(t.squeeze(), x.squeeze())
    repeats = tuple(data.draw(st.lists(st.integers(0, 3), max_size=n + 1)))
    same(tg.tile(t, repeats), np.tile(x, repeats))
    if n:
        axis, k = data.draw(st.integers(-n, n - 1)), data.draw(st.integers(-4, 4))
        same(tg.roll(t, k, axis), np.roll(x, k, axis))
        same(tg.repeat(t, 2, axis), np.repeat(x, 2, axis))
        same(tg.concat([t, t * 2, t], axis), np.concatenate([x, x * 2, x], axis))
        same(tg.stack([t, t * 2], axis), np.stack([x, x * 2], axis))
        same(tg.flip(t, axis), np.flip(x, axis))
        same(tg.moveaxis(t, axis, 0), np.moveaxis(x, axis, 0))
        widths = [(data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))) for _ in shape]
        same(tg.pad(t, widths, 1.5), np.pad(x, widths, constant_values=1.5))
        for part, want in zip(
            tg.split(t, [shape[axis] // 2, shape[axis] - shape[axis] // 2], axis),
            np.split(x, [shape[axis] // 2], axis),
            strict=True,
        ):
            same(part, want)
        for row, want in zip(tg.unstack(t, axis), np.moveaxis(x, axis, 0), strict=True):
            same(row, want)
    same(tg.expand_dims(t, 0), x[None])
    same(tg.broadcast_to(t, (2, *shape)), np.broadcast_to(x, (2, *shape)))


@quick
@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3), st.integers(0, 99))
def test_broadcasting_and_its_gradient(shapes, seed):
    a, b = (data_of(s, seed + i) for i, s in enumerate(shapes.input_shapes))
    close(tg.tensor(a) * tg.tensor(b), a * b, 0)
    ct = data_of(shapes.result_shape, 7)
    ga, gb = tg.vjp(lambda a, b: a * b, tg.tensor(a), tg.tensor(b))[1](tg.tensor(ct))

    def unbroadcast(g: np.ndarray, like: np.ndarray) -> np.ndarray:
        g = g.sum(tuple(range(g.ndim - like.ndim)))
        return g.sum(tuple(i for i, n in enumerate(like.shape) if n == 1), keepdims=True)

    close(ga, unbroadcast(ct * b, a), 1e-13)
    close(gb, unbroadcast(ct * a, b), 1e-13)
