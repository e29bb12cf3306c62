"""x[index] and x[index] = v against NumPy, and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from oracles import check_gradients, close, same, seeded

import tinygrad_rnn as tg

quick = settings(max_examples=150, deadline=None, derandomize=True)
SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)


def filled(shape: Any) -> np.ndarray:
    return np.arange(1.0, 1.0 + int(np.prod(shape))).reshape(shape)


@st.composite
def basic(draw: Any) -> Any:
    shape = draw(SHAPES)
    return shape, draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))


@st.composite
def with_arrays(draw: Any) -> Any:
    """Integer arrays (duplicates, negative ones) next to each other, slices around."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))
    first = draw(st.integers(0, len(shape) - 1))
    last = draw(st.integers(first, len(shape) - 1))
    result = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    index: list[Any] = []
    for axis, n in enumerate(shape):
        if first <= axis <= last:
            dtype = draw(st.sampled_from([np.int64, np.int32]))
            index.append(draw(hnp.arrays(dtype, result, elements=st.integers(-n, n - 1))))
        else:
            index.append(draw(st.slices(n)))
    return shape, tuple(index)


@quick
@given(basic())
def test_basic_indices(case):
    shape, index = case
    x = filled(shape)
    same(tg.tensor(x)[index], x[index])
    same(tg.jit(lambda t: t[index])(tg.tensor(x)), x[index])


@quick
@given(with_arrays())
def test_integer_arrays(case):
    shape, index = case
    x = filled(shape)
    same(tg.tensor(x)[index], x[index])
    same(
        tg.tensor(x)[tuple(tg.tensor(i) if isinstance(i, np.ndarray) else i for i in index)],
        x[index],
    )


@quick
@given(st.one_of(basic(), with_arrays()), st.data())
def test_gradient_puts_the_cotangent_back(case, data):
    shape, index = case
    x = tg.tensor(filled(shape), requires_grad=True)
    y = x[index]
    ct = np.random.default_rng(0).normal(size=y.shape)
    y.backward(tg.tensor(ct))
    want = np.zeros(shape)
    np.add.at(want, index, ct)
    close(x.grad, want, 1e-14)


@quick
@given(st.one_of(basic(), with_arrays()), st.booleans())
def test_setitem(case, broadcast):
    shape, index = case
    x = filled(shape)
    t = tg.tensor(x)
    old = t.detach()
    part = x[index]
    new = np.asarray(-7.0) if broadcast else -filled(part.shape)
    t[index] = tg.tensor(new)
    want = x.copy()
    want[index] = new
    same(t, want)
    same(old, x)

    @tg.jit
    def put(t, new):
        t = t * 1.0
        t[index] = new
        return t

    same(put(tg.tensor(x), tg.tensor(new)), want)


@quick
@given(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4), st.data())
def test_boolean_masks(shape, data):
    x = filled(shape)
    k = data.draw(st.integers(1, len(shape)))
    mask = data.draw(hnp.arrays(bool, shape[:k]))
    same(tg.tensor(x)[tg.tensor(mask)], x[mask])
    same(tg.tensor(x)[mask], x[mask])
    t = tg.tensor(x)
    t[mask] = 0.0
    want = x.copy()
    want[mask] = 0.0
    same(t, want)


@quick
@given(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4), st.data())
def test_take_and_take_along_axis(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    n = shape[axis]
    x = filled(shape)
    i = data.draw(
        hnp.arrays(
            np.int64,
            hnp.array_shapes(min_dims=0, max_dims=2, max_side=3),
            elements=st.integers(-n, n - 1),
        )
    )
    same(tg.take(tg.tensor(x), i, axis), np.take(x, i, axis))
    same(tg.take(tg.tensor(x), i), np.take(x, i))
    wide = list(shape)
    wide[axis] = data.draw(st.integers(1, 3))
    i = data.draw(hnp.arrays(np.int64, tuple(wide), elements=st.integers(-n, n - 1)))
    same(tg.take_along_axis(tg.tensor(x), tg.tensor(i), axis), np.take_along_axis(x, i, axis))
    ct = np.random.default_rng(0).normal(size=i.shape)
    (g,) = tg.vjp(lambda t: tg.take_along_axis(t, tg.tensor(i), axis), tg.tensor(x))[1](
        tg.tensor(ct)
    )
    rows = np.moveaxis(np.eye(n)[i], -1, 0)  # [n, *wide]
    want = np.moveaxis((rows * ct).sum(1 + axis % len(shape)), 0, axis % len(shape))
    close(g, want, 1e-13)


def test_second_derivatives_of_indexing():
    x = np.random.default_rng(0).normal(size=(4, 3))
    i = np.array([0, 2, 2, -1])
    check_gradients(lambda x: tg.sin(x)[::-2, 1:] * x[1:3, :2], x, what="slices")
    check_gradients(lambda x: x[i] * tg.sin(x), x, what="rows")
    check_gradients(lambda x: (x * x)[i, np.array([0, 1, 1, 2])], x, what="points")

    def put(x, v):
        y = x * 2
        y[1:, 0] = v * v
        y[i] = tg.sin(y[i])
        return y * y

    check_gradients(put, x, np.array([0.3, 0.5, -0.7]), what="setitem")
    check_gradients(lambda u: tg.scatter_add(5, i, u * u), x, what="scatter_add")


def test_embedding_is_one_hot_times_matrix():
    w = tg.tensor(np.random.default_rng(0).normal(size=(5, 3)), requires_grad=True)
    ids = tg.tensor(np.array([[1, 1, 4], [0, 1, 1]]))
    ct = np.random.default_rng(1).normal(size=(2, 3, 3))
    (w[ids] * ct).sum().backward()
    first, w.grad = w.grad, None
    ((tg.one_hot(ids, 5, "float64") @ w) * ct).sum().backward()
    close(first, w.grad, 1e-14)


def test_scatter_add_of_many_duplicates():
    rng = np.random.default_rng(0)
    i, u = rng.integers(0, 7, 1000), rng.normal(size=(1000, 3))
    want = np.zeros((7, 3))
    np.add.at(want, i, u)
    close(tg.scatter_add(7, i, tg.tensor(u)), want, 1e-13)
    same(tg.scatter_add(7, i, tg.tensor(u)), tg.scatter_add(7, i, tg.tensor(u)))
    want = np.zeros((3, 7))
    np.add.at(want, (slice(None), i), u.T)
    close(tg.scatter_add(7, i, tg.tensor(u.T.copy()), axis=1), want, 1e-13)


def test_iteration_length_and_membership():
    x = tg.tensor(filled((3, 2)))
    assert len(x) == 3 and [r.tolist() for r in x] == filled((3, 2)).tolist()
    _a, b, _c = x
    assert b.tolist() == [3.0, 4.0]
    with pytest.raises(ValueError, match="0-d"):
        len(tg.tensor(1.0))
    assert x[tg.tensor(1)].tolist() == [3.0, 4.0] and x[np.int64(-1)].tolist() == [5.0, 6.0]


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (5, IndexError, r"index 5.*axis 0.*f64\[3,2\]"),
        ((0, -3), IndexError, r"index -3.*axis 1"),
        ((0, 0, 0), IndexError, r"too many indices \(3\).*f64\[3,2\]"),
        ((..., ...), IndexError, r"only one"),
        (1.0, TypeError, r"indexed with float"),
        ("a", TypeError, r"indexed with str"),
        (np.array([0.5]), TypeError, r"f64\[1\].*integers"),
        (np.array([0, 3]), IndexError, r"3.*out of range|reach"),
        (np.array([0, -4]), IndexError, r"out of range|reach"),
        ((np.array([0]), np.array([2])), IndexError, r"reach from 2 to 2.*size 2"),
        ((np.array([0]), None, np.array([0])), ValueError, r"next to each other"),
    ],
)
def test_bad_indices(index, error, message):
    x = tg.tensor(filled((3, 2)))
    with pytest.raises(error, match=message):
        x[index]
    with pytest.raises(error):
        x[index] = 0.0
    same(x, filled((3, 2)))


def test_masks_of_the_wrong_shape():
    x = tg.tensor(filled((3, 2)))
    for mask in (np.ones(2, bool), np.ones((3, 3), bool), np.ones((3, 2, 1), bool)):
        with pytest.raises(IndexError):
            x[mask]


def test_out_of_range_in_compiled_code():
    f = tg.jit(lambda x, i: tg.take(x, i, 0))
    assert f(tg.tensor([1.0, 2.0]), tg.tensor([1])).tolist() == [2.0]
    for bad in (2, -3):
        with pytest.raises(IndexError, match=r"out of range.*size 2"):
            f(tg.tensor([1.0, 2.0]), tg.tensor([bad]))
    assert f(tg.tensor([1.0, 2.0]), tg.tensor([-2])).tolist() == [1.0]
    # one index beyond its own axis, the joined one within the tensor
    two = tg.jit(lambda x, i, j: x[i, j])
    assert two(tg.ones((2, 3)), tg.tensor([-1]), tg.tensor([2])).tolist() == [1.0]
    for i, j in ((0, 3), (1, -4), (2, 0), (-3, 0)):
        with pytest.raises(IndexError, match="out of range"):
            two(tg.ones((2, 3)), tg.tensor([i]), tg.tensor([j]))


def test_setitem_shapes_that_do_not_fit():
    x = tg.tensor(filled((3, 2)))
    with pytest.raises(ValueError, match=r"f64\[5\].*f64\[3\]"):
        x[:, 0] = tg.tensor(np.ones(5))
    same(x, filled((3, 2)))
    x[:, 0] = np.ones((1, 3))
    assert x[:, 0].tolist() == [1, 1, 1]
    k = tg.tensor([1, 2])
    k[0] = 2.7
    assert k.tolist() == [2, 2] and k.dtype is tg.int64


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "uint64"])
def test_small_integers_index_large_axes(dtype):
    """Sizes and offsets of rows that do not fit the indices' dtype."""
    rng = seeded(dtype)
    x = rng.normal(size=(150, 200))
    i = rng.integers(0, 128, (150, 3)).astype(dtype)
    if dtype.startswith("i"):
        i[:, 0] = -1
    t, k = tg.tensor(x), tg.tensor(i)
    signed = i.astype("int64")
    for how in (lambda f: f, tg.jit):
        same(how(lambda t, k: tg.take_along_axis(t, k, 1))(t, k), np.take_along_axis(x, signed, 1))
        same(how(lambda t, k: tg.take(t, k, 1))(t, k), x[:, signed])
        rows = how(tg.vmap(tg.take))(t, k)
        same(rows, np.take_along_axis(x, signed, 1))
        back = how(tg.vmap(lambda u, k: tg.scatter_add(200, k, u)))(rows, k).numpy()
        want = np.zeros((150, 200))
        np.add.at(want, (np.arange(150)[:, None], signed), rows.numpy())
        close(back, want, 1e-15)
    hot = tg.one_hot(tg.tensor(np.array([3, 100], dtype)), 300, "int64").numpy()
    assert np.argwhere(hot).tolist() == [[0, 3], [1, 100]]


def test_take_along_axis_reads_no_other_row():
    """In the flattened tensor, one past the end of a row is the start of the next."""
    x = tg.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    for bad in (3, -4):
        i = tg.tensor([[bad], [0]])
        for f in (tg.take_along_axis, tg.jit(tg.take_along_axis)):
            with pytest.raises(IndexError, match=r"size|range"):
                f(x, i, 1)
