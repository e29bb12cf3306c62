"""Types, dtypes and trees: the ground everything stands on."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.tree import flatten, paths, tree_map, unflatten
from tinygrad_rnn.types import DTYPES, as_dtype, as_shape, broadcast_shapes, normalize_axes, promote


class Point(NamedTuple):
    x: Any
    y: Any


def test_types_are_interned_and_print():
    t = tg.Type((7, 3), tg.float32)
    assert (
        t is tg.Type((7, 3), tg.float32)
        and repr(t) == "f32[7,3]"
        and repr(tg.Type((), tg.int8)) == "i8[]"
    )
    assert (t.ndim, t.size, t.nbytes) == (2, 21, 84) and t.with_shape((2,)).with_dtype(
        tg.bool
    ).nbytes == 2
    for shape in ((), (2,), (1, 2, 3, 4, 5)):
        assert len({tg.Type(shape, dtype) for dtype in (tg.float32, tg.int32, tg.bool)}) == 3
    for one in (t, tg.float16, tg.uint64):
        assert pickle.loads(pickle.dumps(one)) is one and copy.deepcopy(one) is one
    probe = weakref.ref(tg.Type((123, 457), tg.float16))
    gc.collect()
    assert probe() is None


def test_dtypes():
    assert len({d.short for d in DTYPES}) == len({d.name for d in DTYPES}) == 15
    for d in DTYPES:
        for same in (d, d.name, d.np, d.np.type, np.dtype(d.np).newbyteorder(">")):
            assert as_dtype(same) is d
        assert (
            d == d.name
            and d == d.np
            and hash(d) == hash(as_dtype(d.name))
            and d.itemsize == d.np.itemsize
        )
        assert d.is_inexact + d.is_integer + d.is_bool == 1
        assert d.is_float + d.is_complex == d.is_inexact and d.real.kind != "c"
    assert as_dtype(float) is tg.float32 and as_dtype(int) is tg.int64 and as_dtype(bool) is tg.bool
    assert tg.float32 != "float64" and tg.float32 != 3 and tg.float32 != "nonsense"
    assert as_dtype(complex) is tg.complex64 and tg.complex128.real is tg.float64
    for bad in ("f32", "clongdouble", np.longdouble, "datetime64[s]", object, 3, None, {"f": int}):
        with pytest.raises(TypeError, match="expected one of"):
            as_dtype(bad)
        assert tg.float64 != bad


def test_promotion_is_commutative_and_associative_where_defined():
    def safe(a: Any, b: Any) -> Any:
        try:
            return promote(a, b)
        except TypeError:
            return None

    for a in DTYPES:
        assert promote(a, a) is a
        for b in DTYPES:
            assert safe(a, b) is safe(b, a)
            for c in DTYPES:
                left, right = safe(a, b), safe(b, c)
                if left is not None and right is not None:
                    assert safe(left, c) is safe(a, right)


def test_shapes_and_axes():
    assert broadcast_shapes((3, 1), (4,), ()) == (3, 4) and broadcast_shapes((0,), (1,)) == (0,)
    with pytest.raises(ValueError, match=r"\(2,\), \(3,\)"):
        broadcast_shapes((2,), (3,))
    assert normalize_axes(None, 3, "f") == (0, 1, 2) and normalize_axes((-1, 0), 3, "f") == (0, 2)
    assert as_shape(3, "f") == (3,) and as_shape([np.int64(2), 3], "f") == (2, 3)
    with pytest.raises(ValueError, match="negative"):
        as_shape((-1,), "f")
    with pytest.raises(TypeError, match="integers"):
        as_shape((1.5,), "f")
    for axes in (3, -4, (0, 3)):
        with pytest.raises(ValueError, match="out of range"):
            normalize_axes(axes, 3, "f")
    for axes in ((1, 1), (0, -3)):
        with pytest.raises(ValueError, match="twice"):
            normalize_axes(axes, 3, "f")


def test_trees():
    tree = {"b": [1, (2, None)], "a": Point(3, {"z": 4}), "c": ()}
    flat, treedef = flatten(tree)
    assert flat == [3, 4, 1, 2] and unflatten(treedef, flat) == tree
    assert paths(tree, "p") == ["p['a'].x", "p['a'].y['z']", "p['b'][0]", "p['b'][1][0]"]
    assert repr(treedef) == "{'a': Point(*, {'z': *}), 'b': [*, (*, None)], 'c': ()}"
    assert (
        hash(treedef) == hash(flatten(tree_map(str, tree))[1])
        and treedef == flatten(tree_map(str, tree))[1]
    )
    assert tree_map(lambda a, b: a + b, tree, tree)["a"] == Point(6, {"z": 8})
    assert flatten(None) == ([], flatten(None)[1]) and unflatten(flatten(None)[1], []) is None
    assert flatten({2: "x", "1": "y"})[0] == flatten({"1": "y", 2: "x"})[0]
    assert flatten(OrderedDict(b=1, a=2))[0] == [2, 1]
    for other in ({"b": [1, (2, None)]}, {**tree, "c": []}, {**tree, "c": None}):
        assert flatten(other)[1] != treedef
    with pytest.raises(ValueError, match="structures differ"):
        tree_map(lambda a, b: a, [1, 2], (1, 2))


def test_creation():
    assert (
        tg.arange(2, 11, 3).tolist() == [2, 5, 8] and tg.arange(0.0, 1.0, 0.25).dtype is tg.float32
    )
    assert tg.arange(3).dtype is tg.int64 and tg.arange(0).shape == (0,)
    np.testing.assert_array_equal(
        tg.linspace(0, 1, 5).numpy(), np.linspace(0, 1, 5, dtype=np.float32)
    )
    np.testing.assert_array_equal(tg.eye(2, 3, 1).numpy(), np.eye(2, 3, 1))
    assert (
        tg.zeros((2, 0)).shape == (2, 0)
        and tg.ones(3).tolist() == [1, 1, 1]
        and tg.zeros(()).item() == 0.0
    )
    assert tg.full((2,), True).dtype is tg.bool and tg.full((2,), 3).dtype is tg.int64
    assert (
        tg.full((2,), np.float64(3)).dtype is tg.float64
        and tg.full((2,), 1, "float16").dtype is tg.float16
    )
    x = tg.tensor([1, 2], dtype="int8")
    assert tg.zeros_like(x).dtype is tg.int8 and tg.ones_like(x, "float64").dtype is tg.float64
    assert tg.full_like(x, 7).tolist() == [7, 7]
    assert tg.one_hot(tg.tensor([[1], [0]]), 2).shape == (2, 1, 2) and tg.one_hot(
        [3], 2
    ).tolist() == [[0, 0]]
    y = tg.tensor([1.0], requires_grad=True)
    assert tg.asarray(y) is y and tg.asarray(y * 2).requires_grad and not tg.tensor(y).requires_grad
    assert tg.tensor(np.float32(2)).dtype is tg.float32 and tg.tensor([]).shape == (0,)
    assert tg.tensor([[True], [False]]).dtype is tg.bool and tg.tensor((1, 2.5)).dtype is tg.float32


def test_every_public_name_exists_and_is_documented():
    missing = [n for n in tg.__all__ if not hasattr(tg, n)]
    assert not missing
    silent = [
        n
        for n in tg.__all__
        if callable(getattr(tg, n))
        and not (getattr(tg, n).__doc__ or "").strip()
        and not isinstance(getattr(tg, n), type(tg.float32))
    ]
    assert not silent
    methods = [
        n for n in dir(tg.Tensor) if not n.startswith("_") and callable(getattr(tg.Tensor, n))
    ]
    assert not [n for n in methods if not getattr(tg.Tensor, n).__doc__]


def test_none_is_no_operand_of_a_comparison():
    x = tg.tensor([1.0, 2.0])
    assert (x == None) is False and (x != None) is True  # noqa: E711
    with pytest.raises(TypeError):
        x < None  # noqa: B015
