"""Functions made of primitives: their values are NumPy's (or those of the formula in their
docstring), for floats, integers and booleans, empty and at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from oracles import close, same

import tinygrad_rnn as tg

INF, NAN = math.inf, math.nan
X = np.array([-3.0, -1.5, -1.0, -0.5, -0.0, 0.0, 0.25, 1.0, 2.5, 30.0])
erf = np.vectorize(math.erf)

#: function -> its formula
FLOATS = {
    "log2": (lambda x: tg.log2(tg.abs(x) + 1.0), lambda x: np.log2(np.abs(x) + 1)),
    "log10": (lambda x: tg.log10(tg.abs(x) + 1.0), lambda x: np.log10(np.abs(x) + 1)),
    "trunc": (tg.trunc, np.trunc),
    "square": (tg.square, np.square),
    "cube": (lambda x: x**3, lambda x: x * x * x),
    "square as a power": (lambda x: x**2, lambda x: x * x),
    "root as a power": (lambda x: abs(x) ** 0.5, lambda x: np.sqrt(np.abs(x))),
    "reciprocal as a power": (lambda x: (abs(x) + 1.0) ** -1, lambda x: 1 / (np.abs(x) + 1)),
    "rsqrt": (lambda x: tg.rsqrt(tg.abs(x) + 1.0), lambda x: 1 / np.sqrt(np.abs(x) + 1)),
    "relu": (tg.relu, lambda x: np.where(x > 0, x, 0)),
    "leaky_relu": (lambda x: tg.leaky_relu(x, 0.1), lambda x: np.where(x > 0, x, 0.1 * x)),
    "elu": (lambda x: tg.elu(x, 2.0), lambda x: np.where(x > 0, x, 2 * np.expm1(x))),
    "softplus": (tg.softplus, lambda x: np.logaddexp(0, x)),
    "silu": (tg.silu, lambda x: x / (1 + np.exp(-x))),
    "gelu": (tg.gelu, lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2)))),
    "gelu by tanh": (
        lambda x: tg.nn.functional.gelu(x, "tanh"),
        lambda x: x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    "clip": (lambda x: tg.clip(x, -1.0, 1.0), lambda x: np.clip(x, -1, 1)),
    "clip at 0": (lambda x: tg.clip(x, 0.0, None), lambda x: np.clip(x, 0, None)),
    "clip above": (lambda x: tg.clip(x, max=0.0), lambda x: np.clip(x, None, 0)),
    "clip to nothing": (lambda x: tg.clip(x, 1.0, -1.0), lambda x: np.clip(x, 1, -1)),
    "var": (lambda x: tg.var(x, correction=1), lambda x: np.var(x, ddof=1)),
    "std": (tg.std, np.std),
    "var far from 0": (lambda x: tg.var(x + 1e9), lambda x: np.var(x + 1e9)),
    "mean": (tg.mean, np.mean),
    "norm": (tg.norm, np.linalg.norm),
    "prod": (tg.prod, np.prod),
    "cumsum": (tg.cumsum, np.cumsum),
    "logsumexp": (tg.logsumexp, lambda x: np.log(np.sum(np.exp(x)))),
    "logsumexp of large numbers": (
        lambda x: tg.logsumexp(x * 100.0), lambda x: 100 * x.max() + np.log(1.0),
    ),
    "softmax": (tg.softmax, lambda x: np.exp(x - 30) / np.exp(x - 30).sum()),
    "log_softmax": (tg.log_softmax, lambda x: x - 30 - np.log(np.exp(x - 30).sum())),
    "log_softmax far below": (
        lambda x: tg.log_softmax(x * 100.0)[:1], lambda x: np.array([-3300.0]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FLOATS)
def test_floats(name):
    ours, formula = FLOATS[name]
    close(ours(tg.tensor(X)).numpy(), formula(X), 1e-13)


GRID = np.array([[[3, -1], [4, 2], [0, 5]], [[7, 2], [-8, 1], [6, -3]]])


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, 1, 2, (0, 2), (2, 1), -1])
@pytest.mark.parametrize("name", ["sum", "prod", "min", "max", "all", "any", "mean", "var"])
def test_reductions_over_axes(name, axis, keepdims):
    given = GRID > 0 if name in ("all", "any") else GRID
    want = getattr(np, name)(given, axis=axis, keepdims=keepdims)
    close(getattr(tg, name)(tg.tensor(given), axis, keepdims=keepdims).numpy(), want, 1e-6)


def test_extremes_of_integers():
    for dtype in ("int8", "int64", "uint8", "uint64"):
        info = np.iinfo(dtype)
        x = np.array([info.max, info.min, 5], dtype)
        t = tg.tensor(x)
        assert tg.min(t).item() == info.min and tg.max(t).item() == info.max
        assert tg.argmin(t).item() == 1 and tg.argmax(t).item() == 0
    flags = tg.tensor([True, False, True])
    assert tg.argmin(flags).item() == 1 and not tg.min(flags).item() and tg.max(flags).item()
    assert tg.abs(flags).tolist() == [True, False, True]
    assert tg.abs(tg.tensor([3], "uint8")).dtype.name == "uint8"
    many = tg.tensor([200, 200], "uint8")
    assert (tg.sum(many).item(), tg.sum(many).dtype.name) == (400, "uint64")
    assert (tg.prod(many).item(), tg.cumsum(many).dtype.name) == (40000, "uint64")
    assert tg.sum(tg.tensor([100, 100], "int8")).dtype.name == "int64"


def test_arithmetic_of_booleans():
    a, b = tg.tensor([True, True, False]), tg.tensor([True, False, False])
    assert (a + b).tolist() == [True, True, False] and (a * b).tolist() == [True, False, False]
    assert tg.maximum(a, b).tolist() == [True, True, False]
    assert tg.minimum(a, b).tolist() == [True, False, False]
    assert (a @ b).item() == 1 and tg.matmul(a, b).dtype.name == "int64"
    assert (a / 2).tolist() == [0.5, 0.5, 0.0] and tg.tensor([7]).__truediv__(2).tolist() == [3.5]


def test_of_nothing():
    nothing = tg.zeros((0, 2))
    assert tg.sum(nothing).item() == 0.0 and tg.prod(nothing, 0).tolist() == [1.0, 1.0]
    assert tg.all(nothing).item() and not tg.any(nothing).item()
    assert np.isnan(tg.mean(nothing).item()) and tg.logsumexp(tg.zeros((0, 2)), 1).shape == (0,)
    for n, correction in ((1, 1), (1, 2), (0, 0)):
        assert np.isnan(tg.var(tg.ones((n,)), correction=correction).item())
    for f in (tg.softmax, tg.log_softmax, tg.logsumexp):
        with pytest.raises(ValueError, match="nothing to sum"):
            f(tg.zeros((2, 0)))
    for f in (tg.max, tg.min, tg.argmax, tg.argmin):
        with pytest.raises(ValueError, match="empty"):
            f(tg.zeros((2, 0)), 1)


def test_a_power_of_one_is_another_tensor():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x**1
    assert y is not x and not y.is_leaf and same(y.detach().numpy(), x.detach().numpy()) is None


def test_the_shift_of_softmax_has_no_derivative():
    """It cancels; were it differentiated, ties would share it and second derivatives suffer."""
    x = tg.tensor(np.array([2.0, 2.0, 1.0]))
    graph = tg.trace(tg.grad(lambda x: tg.logsumexp(x)))(x)
    assert [node.op.name for node in graph.nodes].count("max") <= 1
    assert "equal" not in [
        n.op.name for n in graph.nodes if n.inputs and n.inputs[0].type == x.type
    ]
    p = np.exp(x.numpy()) / np.exp(x.numpy()).sum()
    close(tg.hessian(lambda x: tg.logsumexp(x))(x).numpy(), np.diag(p) - np.outer(p, p), 1e-15)


def test_refused():
    x = tg.zeros((2, 3, 4))
    with pytest.raises(ValueError, match="cannot take the shape"):
        x.reshape(-1, -1)
    for index in (2, -3):
        with pytest.raises(IndexError, match="out of range"):
            x[index]
        with pytest.raises(IndexError, match=f"reach from {index * 2} to"):
            tg.take_along_axis(x, np.full((2, 3, 1), index * 2), 2)
    with pytest.raises(TypeError, match="integers"):
        tg.take(x, np.array([0.0, 1.0]))
    with pytest.raises(TypeError, match="integers"):
        tg.one_hot(np.array([0.0, 1.0]), 2)
    whole = tg.tensor([1, 2])
    with pytest.raises(RuntimeError, match="only floating"):
        whole.requires_grad = True
    with pytest.raises(RuntimeError, match="only floating"):
        tg.tensor([1, 2], requires_grad=True)
