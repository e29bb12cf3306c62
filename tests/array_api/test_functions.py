"""The functions of the standard that are not primitives: NumPy's values, and their derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import BACKENDS, check_gradients, close, same, seeded

import tinygrad_rnn as tg

#: ours on tensors of these shapes, NumPy's on arrays; differentiable unless marked below
FUNCTIONS: dict[str, tuple[tuple[Any, ...], Any, Any]] = {
    "sort": (((3, 5),), tg.sort, np.sort),
    "sort down": (
        ((4, 3),),
        lambda x: tg.sort(x, axis=0, descending=True),
        lambda x: -np.sort(-x, axis=0),
    ),
    "take_along_axis": (
        ((3, 5),),
        lambda x: tg.take_along_axis(x, tg.tensor([[0, 4], [1, 1], [-1, 2]])),
        lambda x: np.take_along_axis(x, np.array([[0, 4], [1, 1], [-1, 2]]), 1),
    ),
    "cumulative_sum": (
        ((3, 5),),
        lambda x: tg.cumulative_sum(x, axis=1, include_initial=True),
        lambda x: (
            np.cumulative_sum(x, axis=1, include_initial=True)
            if hasattr(np, "cumulative_sum")
            else np.concatenate([np.zeros((3, 1)), np.cumsum(x, 1)], 1)
        ),
    ),
    "cumulative_prod": (
        ((3, 7),),
        lambda x: tg.cumulative_prod(x, axis=-1),
        lambda x: np.cumprod(x, 1),
    ),
    "cumulative_prod and 1": (
        ((5, 2),),
        lambda x: tg.cumulative_prod(x, axis=0, include_initial=True),
        lambda x: np.concatenate([np.ones((1, 2)), np.cumprod(x, 0)]),
    ),
    "cumulative_prod of zeros": (
        ((6,),),
        lambda x: tg.cumulative_prod(x * tg.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])),
        lambda x: np.cumprod(x * np.array([1, 0, 1, 1, 0, 1])),
    ),
    "diff": (((3, 5),), lambda x: tg.diff(x, n=2), lambda x: np.diff(x, n=2)),
    "diff joined": (
        ((2, 3), (1, 3), (2, 3)),
        lambda x, a, b: tg.diff(x, axis=0, prepend=a, append=b),
        lambda x, a, b: np.diff(x, axis=0, prepend=a, append=b),
    ),
    "roll": (((3, 4),), lambda x: tg.roll(x, 2), lambda x: np.roll(x, 2)),
    "roll both": (
        ((3, 4),),
        lambda x: tg.roll(x, (1, -2), (0, 1)),
        lambda x: np.roll(x, (1, -2), (0, 1)),
    ),
    "repeat": (((2, 3),), lambda x: tg.repeat(x, 2, axis=1), lambda x: np.repeat(x, 2, 1)),
    "repeat each": (
        ((2, 3),),
        lambda x: tg.repeat(x, [2, 0, 1], axis=1),
        lambda x: np.repeat(x, [2, 0, 1], 1),
    ),
    "moveaxis": (
        ((2, 3, 4),),
        lambda x: tg.moveaxis(x, (0, 2), (1, 0)),
        lambda x: np.moveaxis(x, (0, 2), (1, 0)),
    ),
    "tril": (((2, 3, 4),), lambda x: tg.tril(x, k=1), lambda x: np.tril(x, 1)),
    "triu": (((2, 3, 4),), lambda x: tg.triu(x, k=-1), lambda x: np.triu(x, -1)),
    "meshgrid": (((2,), (3,)), tg.meshgrid, np.meshgrid),
    "meshgrid ij": (
        ((2,), (3,), (4,)),
        lambda *xs: tg.meshgrid(*xs, indexing="ij"),
        lambda *xs: np.meshgrid(*xs, indexing="ij"),
    ),
    "broadcast_arrays": (((2, 1), (3,)), tg.broadcast_arrays, np.broadcast_arrays),
    "hypot": (((2, 3), (3,)), tg.hypot, np.hypot),
    "copysign": (((2, 3), (3,)), tg.copysign, np.copysign),
    "logaddexp": (((2, 3), (3,)), tg.logaddexp, np.logaddexp),
    "unstack": (((2, 3),), lambda x: tg.unstack(x, axis=1), lambda x: [*x.T]),
    "outer": (((3,), (2,)), tg.outer, np.outer),
    "vecdot": (
        ((2, 3), (3,)),
        tg.vecdot,
        lambda a, b: (a * b).sum(-1),
    ),
    "reciprocal": (((2, 3),), lambda x: tg.reciprocal(x + 3), lambda x: 1 / (x + 3)),
}


def draw(name: str) -> list[np.ndarray]:
    rng = seeded(name)
    return [np.round(rng.normal(size=s), 3) for s in FUNCTIONS[name][0]]


def several(x: Any) -> list[Any]:
    return list(x) if isinstance(x, list | tuple) else [x]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_are_numpys_eager_and_compiled(name, backend):
    _, ours, theirs = FUNCTIONS[name]
    args = draw(name)
    want = several(theirs(*args))
    with tg.use_backend(backend):
        ts = [tg.tensor(a) for a in args]
        for found in (ours(*ts), tg.jit(ours)(*ts) if name != "repeat each" else ours(*ts)):
            for y, z in zip(several(found), want, strict=True):
                close(y, z, 1e-14)


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n != "repeat each"])
def test_derivatives_to_second_order(name):
    check_gradients(FUNCTIONS[name][1], *draw(name), what=name)


def test_derivatives_where_the_result_has_a_size_of_its_own():
    x = tg.tensor([3.0, 1.0, 3.0, 2.0], "float64", requires_grad=True)
    (tg.unique_values(x) * tg.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad.tolist() == [100.0, 1.0, 0.0, 10.0]  # to the first of equal elements
    y = tg.tensor([1.0, 2.0, 3.0], "float64", requires_grad=True)
    (tg.repeat(y, tg.tensor([2, 0, 3])) * tg.tensor([1.0, 2.0, 3.0, 4.0, 5.0])).sum().backward()
    assert y.grad.tolist() == [3.0, 0.0, 12.0]


def test_second_derivatives_at_ties_and_zeros():
    """hypot(0, b) has curvature 1/b there, logaddexp(a, a) has 1/4."""
    second = lambda f: tg.hessian(f)(tg.tensor([0.0, 2.0], "float64")).tolist()  # noqa: E731
    assert second(lambda v: tg.hypot(v[0], v[1])) == [[0.5, 0.0], [0.0, 0.0]]
    at_tie = tg.hessian(lambda v: tg.logaddexp(v[0], v[1]))(tg.tensor([1.0, 1.0], "float64"))
    close(at_tie, np.array([[0.25, -0.25], [-0.25, 0.25]]), 1e-14)


# --- values where they are delicate --------------------------------------------------------------

SPECIAL = [0.0, -0.0, 1.5, -1.5, np.inf, -np.inf, np.nan, 5e-324, 1.7e308, -3e-310]


@pytest.mark.parametrize("name", ["hypot", "copysign", "nextafter", "logaddexp"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_special_values(name, dtype):
    with np.errstate(all="ignore"):
        x = np.array(SPECIAL).astype(dtype)
        a, b = x[:, None], x[None, :]
        want = getattr(np, name)(a, b)
    found = getattr(tg, name)(tg.tensor(a), tg.tensor(b)).numpy()
    assert found.dtype == want.dtype
    exact = name in ("copysign", "nextafter")
    np.testing.assert_allclose(found, want, rtol=0 if exact else 4 * np.finfo(dtype).eps, atol=0)
    fine = ~np.isnan(want)
    assert np.array_equal(np.signbit(found)[fine], np.signbit(want)[fine])
    assert tg.signbit(tg.tensor(x)).tolist() == np.signbit(x).tolist()


def test_sorting_is_stable_and_nan_is_last():
    x = np.array([2.0, np.nan, 1.0, 2.0, -np.inf, 1.0, np.nan, 0.0, -0.0])
    assert tg.argsort(tg.tensor(x)).tolist() == np.argsort(x, kind="stable").tolist()
    same(tg.sort(tg.tensor(x)), np.sort(x))
    down = tg.argsort(tg.tensor(x), descending=True).tolist()
    assert down == [1, 6, 0, 3, 2, 5, 7, 8, 4]
    for dtype in ("bool", "uint8", "int16", "uint64"):
        k = np.array([3, 0, 1, 3, 0, 2]).astype(dtype)
        same(tg.sort(tg.tensor(k)), np.sort(k))
        assert tg.argsort(tg.tensor(k)).tolist() == np.argsort(k, kind="stable").tolist()


@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted(side):
    rng = seeded(side)
    for n in (0, 1, 2, 7, 8, 9, 100):
        a = np.sort(rng.integers(0, n + 1, n)).astype("float32")
        v = rng.uniform(-1, n + 2, (3, 4)).round().astype("float32")
        found = tg.searchsorted(tg.tensor(a), tg.tensor(v), side=side)
        assert found.dtype is tg.int64
        same(found, np.searchsorted(a, v, side=side))
        compiled = tg.jit(lambda a, v: tg.searchsorted(a, v, side=side))
        same(compiled(tg.tensor(a), tg.tensor(v)), found)
        order = rng.permutation(n)
        back = np.argsort(order)  # a[order][back] is sorted
        same(tg.searchsorted(tg.tensor(a[order]), tg.tensor(v), side=side, sorter=tg.tensor(back)),
             found)  # fmt: skip
    a, v = np.array([1.0, 2.0, np.nan, np.nan]), np.array([np.nan, 2.0, np.inf])
    same(tg.searchsorted(tg.tensor(a), tg.tensor(v), side=side), np.searchsorted(a, v, side=side))
    k = tg.searchsorted(tg.tensor([1, 2, 2, 3]), tg.tensor([[2], [9]]), side=side)
    assert k.tolist() == ([[1], [4]] if side == "left" else [[3], [4]])


def test_sets():
    rng = seeded("sets")
    for x in (
        rng.integers(0, 5, (3, 4)),
        rng.integers(0, 3, 20).astype("uint8"),
        rng.integers(0, 2, 7) > 0,
        rng.integers(0, 3, (2, 5)).astype("float32"),
        np.zeros((0, 3)),
        np.array(2.5),
    ):
        values, index, inverse, counts = np.unique(
            x, return_index=True, return_inverse=True, return_counts=True
        )
        found = tg.unique_all(tg.tensor(x))
        same(found.values, values)
        same(found.indices, index)
        same(found.inverse_indices, inverse.reshape(x.shape))
        same(found.counts, counts)
        assert [t.tolist() for t in tg.unique_counts(tg.tensor(x))] == [
            values.tolist(), counts.tolist(),
        ]  # fmt: skip
        same(tg.unique_inverse(tg.tensor(x)).inverse_indices, inverse.reshape(x.shape))
        same(tg.unique_values(tg.tensor(x)), values)
    z = rng.integers(0, 2, 12) + 1j * rng.integers(0, 2, 12)
    same(tg.unique_values(tg.tensor(z)), np.unique(z))
    nans = tg.unique_all(tg.tensor([np.nan, 1.0, np.nan]))
    assert nans.counts.tolist() == [1, 1, 1] and nans.indices.tolist() == [1, 0, 2]


def test_nonzero_and_masks():
    rng = seeded("nonzero")
    for shape in ((7,), (3, 4), (2, 0, 3), (2, 3, 2)):
        x = rng.integers(0, 2, shape)
        for a in (x, x > 0, x * (1 + 2j), x * -0.0):
            for i, j in zip(tg.nonzero(tg.tensor(a)), np.nonzero(a), strict=True):
                same(i, j)
        t, mask = tg.tensor(rng.normal(size=shape)), x > 0
        same(t[tg.tensor(mask)], t.numpy()[mask])
        assert tg.count_nonzero(tg.tensor(x)).item() == np.count_nonzero(x)
        same(tg.count_nonzero(tg.tensor(x), axis=0, keepdims=True),
             np.count_nonzero(x, axis=0, keepdims=True))  # fmt: skip
    x = np.arange(6.0).reshape(2, 3)
    t = tg.tensor(x)
    for flag in (True, False, np.True_, tg.tensor(True), tg.tensor(False)):
        same(t[flag], x[np.asarray(bool(flag))])
        same(t[flag, 1], x[np.asarray(bool(flag)), 1])
        u, y = tg.tensor(x), x.copy()
        u[flag], y[np.asarray(bool(flag))] = -1.0, -1.0
        same(u, y)


def test_masks_choose_one_value_inside_jit():
    f = tg.jit(lambda x: _blank(x * 2))
    x = tg.tensor([[1.0, -2.0], [3.0, -4.0]])
    assert f(x).tolist() == [[2.0, 0.0], [6.0, 0.0]]
    row = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    row[tg.tensor([True, False])] = 9
    assert row.tolist() == [[9.0, 9.0], [3.0, 4.0]]
    zero = tg.ones(3)
    zero[tg.tensor([True, False, False])] = -0.0
    assert np.signbit(zero.numpy()).tolist() == [True, False, False]


def _blank(x: tg.Tensor) -> tg.Tensor:
    x[x < 0] = 0.0
    return x


UNKNOWN = {
    "nonzero": lambda x: tg.nonzero(x)[0],
    "unique_values": lambda x: tg.unique_values(x),
    "mask": lambda x: x[x > 0],
    "repeat": lambda x: tg.repeat(x, x.astype(int)),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_shapes_that_depend_on_values_are_refused_while_recording(name):
    x = tg.tensor([1.0, 0.0, 2.0])
    for wrapped, what in (
        (tg.jit(UNKNOWN[name]), "jit"),
        (tg.vmap(UNKNOWN[name]), "vmap"),
    ):
        with pytest.raises(tg.TraceError, match=rf"depends on values.*{what}.*where\("):
            wrapped(x if what == "jit" else x[None])


def test_results_are_never_the_operand_itself():
    """Who assigns to a result leaves the operand as it was."""
    same_values = {
        "+x": lambda x: +x, "abs": lambda x: tg.abs(x.astype("uint8")).astype("float32"),
        "astype": lambda x: x.astype("float32"), "reshape": lambda x: x.reshape(3, 2),
        "clip": lambda x: tg.clip(x), "real": tg.real, "conj": tg.conj, "x[:]": lambda x: x[:],
        "x[...]": lambda x: x[...], "flip": lambda x: tg.flip(x, ()),
        "roll": lambda x: tg.roll(x, 0), "tile": lambda x: tg.tile(x, 1),
        "repeat": lambda x: tg.repeat(x, 1, 0),
        "squeeze": lambda x: tg.squeeze(x, ()), "concat": lambda x: tg.concat([x]),
        "permute_dims": lambda x: tg.permute_dims(x, (0, 1)), "diff": lambda x: tg.diff(x, n=0),
        "moveaxis": lambda x: tg.moveaxis(x, 0, 0), "split": lambda x: tg.split(x, 1)[0],
        "broadcast_to": lambda x: tg.broadcast_to(x, (3, 2)),
        "cumulative_prod": lambda x: tg.cumulative_prod(x[:1], axis=0),
        "asarray": lambda x: tg.asarray(x, copy=True),
        "dlpack": lambda x: tg.from_dlpack(x, copy=True),
    }  # fmt: skip
    for name, f in same_values.items():
        x = tg.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        y = f(x)
        assert y is not x, name
        y[0] = -7.0
        assert x.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], name
    for name in ("floor", "ceil", "round", "trunc", "positive"):
        k = tg.tensor([1, 2])
        getattr(tg, name)(k)[0] = 9
        assert k.tolist() == [1, 2], name


def test_a_recording_still_reads_the_handle_that_it_was_given():
    s = tg.tensor([1.0, 2.0])
    f = tg.jit(lambda x: +s * x + s.astype("float32") + s[:] + s.reshape(2))
    assert f(tg.tensor(1.0)).tolist() == [4.0, 8.0]
    s.assign_(tg.tensor([10.0, 20.0]))
    assert f(tg.tensor(1.0)).tolist() == [40.0, 80.0]
