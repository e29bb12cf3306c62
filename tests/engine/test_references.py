"""The references are the meaning of the primitives: their values where careless ones differ, on
every backend; and what their type rules refuse, whoever asks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from oracles import same

import tinygrad_rnn as tg
from tinygrad_rnn.extend import primitives
from tinygrad_rnn.ops.contraction import contract
from tinygrad_rnn.primitive import bind

INF, NAN = math.inf, math.nan
HALVES = np.ones(5000, np.float16)  # in half precision counting stops at 2048

#: (primitive, operands, attributes, value)
VALUES = {
    "zmul": ("zmul", [[0, 0, -0.0, 2, NAN], [INF, NAN, -INF, INF, 0]], {}, [0, 0, 0, INF, NAN]),
    "zdiv": ("zdiv", [[0, 0, 1, -1, NAN], [0, NAN, 0, 0, 1]], {}, [0, 0, INF, -INF, NAN]),
    "mod": ("mod", [[-7, 7, -7, 7.5, -0.5], [3, -3, -3, 2, 2]], {}, [2, -2, -1, 1.5, 1.5]),
    "mod of integers": ("mod", [np.array([-7, 7, -7]), np.array([3, -3, -3])], {}, [2, -2, -1]),
    "round": ("round", [[0.5, 1.5, 2.5, -0.5, -1.5, 2.4]], {}, [0, 2, 2, -0.0, -2, 2]),
    "cast": ("cast", [[1.9, -1.9, 2.5, -0.5]], {"dtype": tg.int64}, [1, -1, 2, 0]),
    "argmax": ("argmax", [[1, 3, 3, 2]], {"axis": 0}, 1),
    "max of NaN": ("max", [[1, NAN, 3]], {"axes": (0,)}, NAN),
    "sum of rows of halves": ("sum", [HALVES.reshape(-1, 2)], {"axes": (0,)}, [2500, 2500]),
    "sum of halves": ("sum", [HALVES], {"axes": (0,)}, 5000),
    "contraction of halves": (
        "contract", [HALVES, HALVES], {"a": (0,), "b": (0,), "out": ()}, 5000,
    ),
    "halves added to one place": (
        "scatter_add", [HALVES, np.zeros(5000, np.int64)], {"axis": 0, "size": 2}, [5000, 0],
    ),
    "duplicates": (
        "scatter_add", [[1.0, 2, 4], np.array([1, 0, 1])], {"axis": 0, "size": 3}, [2, 5, 0],
    ),
    "sigmoid": ("sigmoid", [[-1000, 1000, 0]], {}, [0, 1, 0.5]),
    "maximum of NaN": ("maximum", [[NAN, 1], [0, NAN]], {}, [NAN, NAN]),
}  # fmt: skip


@pytest.mark.parametrize("backend", ["reference", "numpy", "numba"])
@pytest.mark.parametrize("name", VALUES)
def test_values(name, backend):
    op, operands, attrs, want = VALUES[name]
    arrays = [np.asarray(x, None if isinstance(x, np.ndarray) else np.float64) for x in operands]
    if backend == "reference":
        with np.errstate(all="ignore"):
            got = np.asarray(primitives[op].reference(*arrays, **attrs))
    else:
        given = [tg.tensor(a, backend=backend) for a in arrays]
        got = tg.jit(lambda *xs: bind(primitives[op], *xs, **attrs))(*given).numpy()
        same(got, bind(primitives[op], *given, **attrs).numpy())
    same(got, np.asarray(want).astype(got.dtype))


@pytest.mark.parametrize("backend", ["reference", "numpy"])
@pytest.mark.parametrize("index", [-1, 3])
def test_indices_out_of_range(index, backend):
    x, i = np.arange(3.0), np.array([0, index])
    for op, attrs in (("take", {"axis": 0}), ("scatter_add", {"axis": 0, "size": 3})):
        operands = (x if op == "take" else x[:2], i)
        with pytest.raises(IndexError, match=f"{op}: index {index}.*size 3"):
            if backend == "reference":
                primitives[op].reference(*operands, **attrs)
            else:
                bind(primitives[op], *map(tg.tensor, operands), **attrs)


F, I, B = tg.ones((2, 3)), tg.ones((2,), "int64"), tg.ones((2, 3), "bool")
REFUSED = {
    "where of numbers": ("where", (F, F, F), {}, "condition"),
    "where of two dtypes": ("where", (B, F, F.astype("float64")), {}, "dtypes"),
    "concat of two dtypes": ("concat", (F, F.astype("float64")), {"axis": 0}, "one dtype"),
    "concat of other sizes": ("concat", (F, F[:, :2]), {"axis": 0}, "agree"),
    "add of two dtypes": ("add", (F, F.astype("float64")), {}, "dtypes"),
    "add of booleans": ("add", (B, B), {}, "cast"),
    "add of one": ("add", (F,), {}, "2 operands"),
    "contract of two dtypes": (
        "contract", (F, F.astype("float64")), {"a": (0, 1), "b": (0, 1), "out": ()}, "dtype",
    ),
    "contract of two sizes": (
        "contract", (F, F), {"a": (0, 1), "b": (1, 2), "out": (0, 2)}, "labelled 1",
    ),
    "contract with a lost label": (
        "contract", (F, F), {"a": (0, 1), "b": (0, 2), "out": (0,)}, "not a contraction",
    ),
    "contract with a new label": (
        "contract", (F, F), {"a": (0, 1), "b": (0, 1), "out": (5,)}, "not a contraction",
    ),
    "take by floats": ("take", (F, F[0]), {"axis": 0}, "integer"),
    "scatter by floats": ("scatter_add", (F, F[:, 0]), {"axis": 0, "size": 2}, "integer"),
    "scatter of other shapes": ("scatter_add", (F, I), {"axis": 1, "size": 2}, "shape"),
    "transpose": ("transpose", (F,), {"perm": (0, 0)}, "order"),
    "reshape": ("reshape", (F,), {"shape": (5,)}, "elements"),
    "slice": ("slice", (F,), {"start": (0, 0), "stop": (3, 3), "step": (1, 1)}, "range"),
    "pad": (
        "pad", (F,), {"low": (-1, 0), "high": (0, 0), "interior": (0, 0), "value": 0.0}, "negative",
    ),
    "random bits": ("random_bits", (I,), {"shape": (2,)}, r"u32\[4\]"),
    "cumsum of booleans": ("cumsum", (B,), {"axis": 0, "reverse": False}, "cast"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_type_rules_refuse(name):
    op, operands, attrs, message = REFUSED[name]
    with pytest.raises((ValueError, TypeError), match=message):
        bind(primitives[op], *operands, **attrs)


def test_equal_contractions_look_equal():
    graphs = [
        tg.trace(lambda x, y, a=a, b=b, out=out: contract(x, y, a, b, out))(F, F)
        for a, b, out in (((0, 1), (2, 1), (0, 2)), ((7, 5), (6, 5), (7, 6)))
    ]
    assert graphs[0].digest == graphs[1].digest
