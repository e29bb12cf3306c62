"""Products and composites against NumPy, and their gradients."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from oracles import check_gradients, close, same, seeded

import tinygrad_rnn as tg
from tinygrad_rnn.backend import optimize


def data_of(shape: Any, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


# --- products ------------------------------------------------------------------------------------

MATMUL = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (6, 3, 4)),
    ((1, 2, 3), (6, 3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 4)),
    ((2, 0), (0, 4)),
    ((0, 3), (3, 4)),
    ((2, 3), (3, 0)),
    ((0,), (0,)),
    ((5, 2, 0), (0, 4)),
    ((1, 1), (1, 1)),
    ((2, 1, 2, 3), (1, 4, 3, 2)),
    ((7, 1, 1, 3), (3, 1)),
]


@pytest.mark.parametrize(("s", "t"), MATMUL)
def test_matmul(s, t):
    a, b = data_of(s), data_of(t, 1)
    close(tg.tensor(a) @ tg.tensor(b), a @ b, 1e-13)
    close(a @ tg.tensor(b), a @ b, 1e-13)
    close(tg.jit(tg.matmul)(a, b), a @ b, 1e-13)
    check_gradients(tg.matmul, a, b, order=1, what=f"{s}@{t}")


@pytest.mark.parametrize(
    ("a", "b", "out"),
    [
        ((0, 1), (0, 2), (0, 1, 2)),
        ((0, 1), (0, 2), (2, 0, 1)),
        ((0,), (1,), (1, 0)),
        ((), (0,), (0,)),
    ],
)
def test_products_without_a_sum_are_multiplications(a, b, out):
    """BLAS takes several times as long; so nothing of it is called."""
    kernels = pytest.importorskip("tinygrad_rnn_numpy.kernels")
    only = SimpleNamespace(multiply=np.multiply, float16=np.float16, float32=np.float32)
    x, y = data_of(tuple(3 + i for i in a)), data_of(tuple(3 + i for i in b), 1)
    letters = ["".join("ijk"[n] for n in labels) for labels in (a, b, out)]
    want = np.einsum("{},{}->{}".format(*letters), x, y)
    plan = kernels.plan(a, b, out)
    close(plan(only, x, y), want, 1e-15)
    if plan.in_order:
        close(plan(only, x, y, np.empty_like(want)), want, 1e-15)


@pytest.mark.parametrize(
    ("spec", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("ij,jk", [(2, 3), (3, 4)]),
        ("ij->ji", [(2, 3)]),
        ("ii->i", [(3, 3)]),
        ("ii", [(3, 3)]),
        ("ij->", [(2, 3)]),
        ("ij->j", [(2, 3)]),
        ("i,j->ij", [(2,), (3,)]),
        ("i,i->", [(3,), (3,)]),
        ("bij,bjk->bik", [(2, 2, 3), (2, 3, 2)]),
        ("...ij,...jk->...ik", [(2, 2, 3), (2, 3, 2)]),
        ("...i,ij->...j", [(4, 2, 3), (3, 2)]),
        ("ij,ij,ij->ij", [(2, 3)] * 3),
        ("ab,bc,cd->ad", [(2, 3), (3, 2), (2, 2)]),
        ("iji->j", [(3, 2, 3)]),
        ("ij,kl->", [(2, 3), (2, 2)]),
        ("i...,i...->...", [(3, 2), (3, 2)]),
        ("ij,j->i", [(2, 0), (0,)]),
        ("iij,jk->ik", [(2, 2, 3), (3, 2)]),
        ("ab,cb->ca", [(2, 3), (4, 3)]),
        ("tbi,hi->tbh", [(2, 3, 2), (4, 2)]),
        ("ba", [(2, 3)]),
    ],
)
def test_einsum(spec, shapes):
    xs = [data_of(s, i) for i, s in enumerate(shapes)]
    close(tg.einsum(spec, *map(tg.tensor, xs)), np.einsum(spec, *xs), 1e-13)
    check_gradients(lambda *ts: tg.einsum(spec, *ts), *xs, what=spec)


def test_tensordot_vecdot_outer_dot():
    a, b = data_of((2, 3, 4)), data_of((4, 3, 5), 1)
    close(tg.tensordot(tg.tensor(a), tg.tensor(b), 1), np.tensordot(a, b, 1), 1e-13)
    close(
        tg.tensordot(tg.tensor(a), tg.tensor(b), ((1, 2), (1, 0))),
        np.tensordot(a, b, ((1, 2), (1, 0))),
        1e-13,
    )
    close(tg.tensordot(tg.tensor(a), tg.tensor(b), 0), np.tensordot(a, b, 0), 1e-13)
    check_gradients(lambda a, b: tg.tensordot(a, b, ((-1,), (0,))), a, b, order=1, what="tensordot")
    u, v = data_of(3), data_of((2, 3), 1)
    close(tg.vecdot(tg.tensor(u), tg.tensor(v)), v @ u, 1e-13)
    close(tg.outer(tg.tensor(u), tg.tensor(u)), np.outer(u, u), 1e-13)
    close(tg.dot(tg.tensor(v), tg.tensor(u)), v @ u, 1e-13)
    assert tg.dot(tg.tensor(2.0), tg.tensor(3.0)).item() == 6.0
    w, c = data_of((5, 3), 2), data_of(5, 3)
    close(tg.linear(tg.tensor(v), tg.tensor(w), tg.tensor(c)), v @ w.T + c, 1e-13)
    i = np.arange(6).reshape(2, 3)
    same(tg.tensor(i) @ tg.tensor(i.T), i @ i.T)


def test_layouts_do_not_matter():
    x = data_of((4, 6))
    for y in (
        np.asfortranarray(x),
        x[::-1, ::2],
        x.T,
        np.broadcast_to(x[:1], (4, 6)),
        x.astype(">f8"),
    ):
        native = np.ascontiguousarray(y).astype(np.float64)
        same(tg.tensor(y), native)
        close(tg.tensor(y) @ tg.tensor(native.T), native @ native.T, 1e-13)
        same(tg.tensor(y).sum(0), tg.tensor(native).sum(0))
    frozen = x.copy()
    frozen.flags.writeable = False
    t = tg.tensor(frozen)
    source = x.copy()
    u = tg.tensor(source)
    source[:] = 0
    same(u, t)


CHECKED = {
    "clip": lambda x: tg.clip(x, -0.5, 0.7),
    "var": lambda x: tg.var(x, 1),
    "norm": lambda x: tg.norm(x, 0),
    "cumsum": lambda x: tg.cumsum(x, 1),
    "sort of max": lambda x: tg.max(x, 1) * tg.min(x, 0).sum(),
    "log_softmax": lambda x: tg.log_softmax(x, 0),
    "tile": lambda x: tg.tile(x * x, (2, 1)),
    "repeat": lambda x: tg.repeat(x * x, 3, 1),
    "roll": lambda x: tg.roll(x, 1, 0) * x,
    "pad": lambda x: tg.pad(x * x, (1, 2), 3.0),
    "split": lambda x: tg.split(x, [1, 2], 1)[1] * x[:, 1:],
    "stack": lambda x: tg.stack([x, tg.sin(x), x * x], 1),
    "gelu": tg.gelu,
    "silu": tg.silu,
    "elu": tg.elu,
    "softplus": tg.softplus,
    "leaky": tg.leaky_relu,
    "log2": lambda x: tg.log2(x * x + 1),
    "square": tg.square,
    "log10": lambda x: tg.log10(x * x + 1),
    "rsqrt": lambda x: tg.rsqrt(x * x + 1),
    "prod": lambda x: tg.prod(x, 0),
    "reciprocal": lambda x: tg.reciprocal(x * x + 1),
    "pow": lambda x: tg.pow(x * x + 1, x),
    "trunc": lambda x: tg.trunc(x) * x,
    "expand": lambda x: x.unsqueeze(0).expand(3, -1, -1) * x,
    "swap": lambda x: x.swapaxes(0, 1) @ tg.sin(x),
}


@pytest.mark.parametrize("name", CHECKED)
def test_gradients_of_composites(name):
    check_gradients(CHECKED[name], seeded(name).normal(size=(3, 3)), what=name)


def test_prod_with_zeros_to_second_order():
    for x in ([0.0, 2.0, 3.0], [0.0, 0.0, 3.0]):
        check_gradients(lambda x: tg.prod(x), np.array(x), what="prod")
    assert tg.grad(lambda x: tg.prod(x))(tg.tensor([0.0, 2.0, 3.0])).tolist() == [6.0, 0.0, 0.0]


def products(f):
    """The operations that are left of a function of two matrices."""
    rng = np.random.default_rng(0)
    a, b = (tg.tensor(rng.normal(size=s)) for s in ((3, 4), (4, 5)))
    graph = optimize(tg.explain(f)(a, b).graph)
    for found, wanted in zip(tg.jit(f)(a, b), f(a, b), strict=True):
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-13)
    return [n.op.name for n in graph.nodes]


def test_a_product_that_is_only_read_transposed_is_made_so():
    assert products(lambda a, b: [(a @ b).T]) == ["contract"]
    assert products(lambda a, b: [tg.sin((a @ b).T)]) == ["contract", "sin"]


def test_a_product_that_others_read_too_is_made_once():
    def f(a, b):
        p = a @ b
        return p, p.T, tg.exp(p)

    assert sorted(products(f)) == ["contract", "exp", "transpose"]
