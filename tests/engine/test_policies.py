"""The policies that make results decidable: singular points, ties, NaN, dtypes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from oracles import close, same, seeded

import tinygrad_rnn as tg

INF, NAN = math.inf, math.nan


def slope(f, x: float, order: int = 1) -> float:
    for _ in range(order):
        f = tg.grad(f)
    return f(tg.tensor(x, dtype="float64")).item()


# --- singular points -----------------------------------------------------------------------------


def test_kinks_at_zero():
    for f in (tg.abs, tg.relu):
        assert slope(f, 0.0) == 0.0 and slope(f, -0.0) == 0.0
        assert slope(f, 0.0, 2) == 0.0
        assert slope(f, 2.0) == 1.0
    assert slope(tg.abs, -2.0) == -1.0 and slope(tg.relu, -2.0) == 0.0
    assert slope(lambda x: tg.clip(x, -1.0, 1.0), 0.3) == 1.0
    assert slope(lambda x: tg.clip(x, -1.0, 1.0), 3.0) == 0.0


def test_norm_at_zero():
    x = tg.zeros((3,), "float64")
    assert tg.grad(lambda x: x.norm())(x).tolist() == [0, 0, 0]
    assert tg.grad(lambda x: tg.std(x))(x + 2.0).tolist() == [0, 0, 0]
    both = tg.tensor(np.array([[0.0, 0.0], [3.0, 4.0]]))
    close(tg.grad(lambda x: tg.norm(x, 1).sum())(both), np.array([[0, 0], [0.6, 0.8]]), 1e-15)
    assert np.isfinite(tg.hessian(lambda x: x.norm())(x).numpy()).all()


def test_sqrt_at_zero():
    assert slope(tg.sqrt, 0.0) == INF
    # a zero cotangent stops the infinite factor
    for f in (lambda x: tg.sqrt(x) * 0.0, lambda x: tg.where(x > 0, tg.sqrt(x), 0.0)):
        assert slope(f, 0.0) == 0.0
    _y, pull = tg.vjp(tg.sqrt, tg.tensor([0.0, 4.0]))
    assert pull(tg.tensor([0.0, 1.0]))[0].tolist() == [0.0, 0.25]


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (tg.sqrt, -1.0),
        (tg.sqrt, 0.0),
        (tg.log, 0.0),
        (tg.log, -1.0),
        (tg.log1p, -1.0),
        (tg.asin, 1.0),
        (tg.acos, -1.0),
        (tg.atanh, 1.0),
        (tg.acosh, 1.0),
        (lambda x: 1 / x, 0.0),
        (tg.reciprocal, 0.0),
        (lambda x: x**-1.5, 0.0),
        (lambda x: x**0.5, 0.0),
        (tg.rsqrt, 0.0),
        (lambda x: tg.sqrt(x) ** 3, 0.0),
        (lambda x: tg.exp(x * 1000.0), 10.0),
        (lambda x: tg.sinh(x), 1e4),
        (lambda x: tg.log(x) + tg.sqrt(x), 0.0),
    ],
)
def test_nan_and_inf_of_a_branch_not_taken_stay_there(f, x):
    """The value and the gradient where `where` chooses the other branch."""
    xs = tg.tensor(np.array([x, 0.5 if f is not tg.acosh else 1.5]))
    taken = tg.tensor([False, True])

    def g(xs):
        return tg.where(taken, f(xs), xs * 2)

    ys, pull = tg.vjp(g, xs)
    assert ys[0].item() == 2 * x
    got = pull(tg.ones_like(ys))[0].numpy()
    assert got[0] == 2.0 and np.isfinite(got[1])
    compiled = tg.jit(tg.grad(lambda x: g(x).sum()))(xs).numpy()
    assert np.array_equal(got, compiled)


@pytest.mark.parametrize(
    ("a", "b", "da", "db"),
    [
        (0.0, 0.0, 0.0, -INF),  # 0**0 = 1; a**b log(a)
        (0.0, 1.0, 1.0, 0.0),
        (0.0, 2.0, 0.0, 0.0),
        (0.0, 1.5, 0.0, 0.0),
        (0.0, 0.5, INF, 0.0),
        (2.0, 0.0, 0.0, math.log(2)),
        (2.0, 3.0, 12.0, 8 * math.log(2)),
        (-2.0, 2.0, -4.0, NAN),
        (-2.0, 3.0, 12.0, NAN),
    ],
)
def test_pow_table(a, b, da, db):
    x, y = tg.tensor(a, dtype="float64"), tg.tensor(b, dtype="float64")
    ga, gb = tg.grad(lambda x, y: x**y, (0, 1))(x, y)
    close(ga, np.array(da), 1e-14)
    close(gb, np.array(db), 1e-14)
    assert tg.grad(lambda x: x**b)(x).item() == pytest.approx(da)
    assert tg.pow(0.0, 0.0).item() == 1.0


@pytest.mark.parametrize("b", [0.5, 1.0, 2.5])
def test_zero_to_a_power_is_flat_in_the_exponent(b):
    """To any order: log(0) is infinite, the power is 0."""
    for order in (1, 2, 3):
        assert slope(lambda b: tg.tensor(0.0, dtype="float64") ** b, b, order) == 0.0
    assert slope(lambda b: tg.tensor(2.0, dtype="float64") ** b, b, 2) == pytest.approx(
        2.0**b * math.log(2) ** 2
    )


def test_pow_with_whole_exponents_has_all_derivatives_at_zero():
    for n in range(6):
        for k in range(1, 5):
            want = math.factorial(n) if k == n else 0.0
            assert slope(lambda x, n=n: x**n, 0.0, k) == want, (n, k)


# --- ties ----------------------------------------------------------------------------------------


def test_ties_share_equally():
    x = tg.tensor([1.0, 3.0, 3.0, 3.0])
    third = pytest.approx([0, 1 / 3, 1 / 3, 1 / 3])
    assert tg.grad(lambda x: x.max())(x).tolist() == third
    assert tg.grad(lambda x: (-x).min())(x).tolist() == pytest.approx([0, -1 / 3, -1 / 3, -1 / 3])
    for f in (tg.maximum, tg.minimum):
        ga, gb = tg.grad(lambda a, b, f=f: f(a, b).sum(), (0, 1))(x, x)
        assert ga.tolist() == gb.tolist() == [0.5] * 4
    assert x.argmax().item() == 1 and (-x).argmin().item() == 1
    h = tg.ones((70_000,), "float16")
    g = tg.grad(lambda h: h.max() * 1000.0)(h).numpy().astype(np.float64)
    assert g.sum() == pytest.approx(1000.0, rel=0.05)


def test_a_zero_cotangent_stops_the_quotient_that_mod_overflows_to():
    big, small = tg.tensor([65504.0], "float16"), tg.tensor([6e-8], "float16")
    _, pull = tg.vjp(tg.remainder, big, small)
    assert [g.tolist() for g in pull(tg.zeros((1,), "float16"))] == [[0.0], [0.0]]


def test_where_keeps_an_infinite_cotangent_from_the_other_branch():
    a, b, c = tg.tensor([0.0, 4.0]), tg.tensor([5.0, 0.0]), tg.tensor([True, False])
    ga, gb = tg.grad(lambda a, b: tg.sqrt(tg.where(c, a, b)).sum(), (0, 1))(a, b)
    assert ga.tolist() == [INF, 0.0] and gb.tolist() == [0.0, INF]
    assert tg.grad(lambda a: tg.sqrt(tg.maximum(a, 0.0)).sum())(tg.tensor([-1.0])).tolist() == [0.0]


# --- NaN -----------------------------------------------------------------------------------------


def test_nan_propagates_forwards():
    x = tg.tensor([1.0, NAN, 2.0])
    for f in (tg.sum, tg.max, tg.min, tg.mean, tg.prod, tg.norm, tg.logsumexp):
        assert math.isnan(f(x).item()), f
    for f in (
        tg.relu,
        tg.abs,
        tg.sign,
        tg.tanh,
        tg.sigmoid,
        tg.exp,
        tg.floor,
        tg.softplus,
        tg.gelu,
        tg.silu,
        tg.elu,
    ):
        assert np.isnan(f(x).numpy()).tolist() == [False, True, False], f
    for f in (tg.maximum, tg.minimum, tg.add, tg.multiply, tg.atan2):
        assert math.isnan(f(x, 1.0)[1].item()) and math.isnan(f(tg.tensor(1.0), x)[1].item())
    assert x.argmax().item() == 1
    assert tg.isnan(x).tolist() == [False, True, False]
    assert (x == x).tolist() == [True, False, True] and (x != x).tolist() == [False, True, False]
    for f in (tg.less, tg.less_equal, tg.greater, tg.greater_equal, tg.equal):
        assert f(x, x)[1].item() is False


def test_ieee_division():
    a, b = tg.tensor([1.0, -1.0, 0.0, 1.0]), tg.tensor([0.0, 0.0, 0.0, -0.0])
    for f in (tg.divide, tg.jit(tg.divide)):
        same(f(a, b), np.array([INF, -INF, NAN, -INF], np.float32))
    assert tg.log(tg.tensor(0.0)).item() == -INF
    assert math.isnan(tg.log(tg.tensor(-1.0)).item())


# --- softmax -------------------------------------------------------------------------------------


def test_softmax_of_fully_masked_rows():
    x = tg.tensor(np.array([[-INF, -INF], [-INF, 1.0], [0.0, 0.0]]))
    y, pull = tg.vjp(lambda x: tg.softmax(x, 1), x)
    assert y.tolist() == [[0, 0], [0, 1], [0.5, 0.5]]
    g = pull(tg.tensor(np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])))[0].numpy()
    assert np.array_equal(g, [[0, 0], [0, 0], [-0.25, 0.25]])
    assert tg.grad(lambda x: tg.logsumexp(x, 1)[0])(x).tolist() == [[0, 0]] * 3
    assert tg.log_softmax(x, 1)[0].tolist() == [-INF, -INF]
    assert tg.logsumexp(x, 1).tolist() == [-INF, 1.0, pytest.approx(math.log(2))]
    w, m = tg.tensor(np.ones((2, 2))), tg.tensor([[False, False], [True, True]])
    g = tg.grad(lambda w: tg.softmax(tg.where(m, w * 2.0, -INF), 1).sum())(w)
    assert np.isfinite(g.numpy()).all()


def test_softmax_and_relatives_do_not_overflow():
    big = np.array([[1e4, -1e4, 0.0], [1e308, 1e308, -1e308]])
    x = tg.tensor(big)
    assert tg.softmax(x).tolist() == [[1, 0, 0], [0.5, 0.5, 0]]
    lse = tg.logsumexp(x, 1).numpy()
    assert (lse >= big.max(1)).all() and (lse <= big.max(1) + math.log(3)).all()
    assert tg.log_softmax(x)[0].tolist() == [0, -2e4, -1e4]
    g = tg.grad(lambda x: tg.log_softmax(x)[:, 2].sum())(x).numpy()
    assert np.isfinite(g).all() and np.abs(g.sum(1)).max() < 1e-12
    close(tg.softmax(x + 3.0)[0], tg.softmax(x)[0], 1e-14)
    for f, lo, hi in ((tg.sigmoid, 0, 1), (tg.tanh, -1, 1)):
        assert f(tg.tensor([-1e30, 1e30])).tolist() == [lo, hi]
        assert tg.grad(lambda x, f=f: f(x).sum())(tg.tensor([-1e30, 1e30])).tolist() == [0, 0]
    assert tg.softplus(tg.tensor([-1e4, 1e4])).tolist() == [0, 1e4]
    assert slope(tg.softplus, 0.0) == 0.5 and slope(tg.softplus, 0.0, 2) == 0.25


# --- dtypes --------------------------------------------------------------------------------------


def test_lists_have_the_default_dtype_as_operands_too():
    for y in (tg.exp([1.0, 2.0]), tg.ones((2,)) * [0.5, 0.25], tg.concat([[1.0], [2.0]])):
        assert y.dtype is tg.float32
    assert tg.exp(np.array([1.0, 2.0])).dtype is tg.float64


def test_scalars_keep_the_sign_of_zero():
    nothing = tg.tensor([-0.0])
    for zero in (0.0, -0.0, 0.0):
        assert np.signbit((nothing + zero).numpy()) == np.signbit(zero)


def test_scalars_are_weak():
    for dtype in (tg.bfloat16, tg.float16, tg.float32, tg.float64):
        x = tg.ones((2,), dtype)
        for y in (
            x + 1,
            1.5 * x,
            x / 3,
            2 / x,
            x**2,
            x**0.3,
            x - True,
            -x,
            tg.maximum(x, 0.0),
            tg.where(x > 0, x, 0.0),
        ):
            assert y.dtype is dtype
    i = tg.ones((2,), "int32")
    assert (
        (i + 1).dtype is tg.int32 and (i * 2.0).dtype is tg.float32 and (i / 2).dtype is tg.float32
    )
    assert (i // 2).dtype is tg.int32 and (i % 2).dtype is tg.int32
    assert (i > 0).dtype is tg.bool and ((i > 0) + 1).dtype is tg.int64
    assert (tg.tensor(True) * 2.5).dtype is tg.float32
    assert (tg.ones((2,), "float16") * -1e6).tolist() == [-INF, -INF]
    with pytest.raises(TypeError, match=r"300.*uint8"):
        tg.ones((2,), "uint8") + 300


def test_promotion_table():
    names = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split()
    for a in names:
        for b in names:
            if {a[0], b[0]} == {"i", "u"} and "uint64" in (a, b):
                with pytest.raises(TypeError, match="no common"):
                    tg.ones((), a) + tg.ones((), b)
                continue
            got = (tg.ones((), a) + tg.ones((), b)).dtype.name
            floats = sorted({n for n in (a, b) if n.startswith("float")}, key=lambda n: int(n[5:]))
            assert got == (floats[-1] if floats else np.promote_types(a, b).name), (a, b)


def test_default_dtype():
    assert tg.tensor(1.0).dtype is tg.float32 and tg.tensor(1).dtype is tg.int64
    assert tg.tensor(np.array([1.0])).dtype is tg.float64 and tg.zeros((2,)).dtype is tg.float32
    tg.set_default_dtype("float64")
    try:
        assert tg.tensor(1.0).dtype is tg.float64 and tg.ones(2).dtype is tg.float64
        assert (tg.tensor(1) / 2).dtype is tg.float64
    finally:
        tg.set_default_dtype(tg.float32)
    with pytest.raises(TypeError, match="floating"):
        tg.set_default_dtype(int)


def test_half_precision_is_summed_in_single():
    h = tg.ones((4096, 2), "float16")
    assert h.sum().item() == 8192 and h.mean().item() == 1 and h.sum(0).tolist() == [4096, 4096]
    x = tg.full((5000,), 0.1, "float16")
    exact = float(np.float16(0.1)) * 5000
    for f in (tg.sum, tg.jit(tg.sum)):
        assert f(x).item() == pytest.approx(exact, rel=1e-3)
    a = tg.full((2, 5000), 0.1, "float16")
    assert (a @ tg.ones((5000,), "float16")).tolist() == pytest.approx([exact] * 2, rel=1e-3)
    u = tg.scatter_add(1, tg.zeros((5000,), "int64"), x)
    assert u.item() == pytest.approx(exact, rel=1e-3) and u.dtype is tg.float16
    assert tg.grad(lambda w: (a * w).sum())(
        tg.tensor(1.0, dtype="float16")
    ).item() == pytest.approx(1000, rel=1e-3)


@pytest.mark.parametrize(
    "f",
    [tg.mean, tg.var, tg.std, tg.norm, tg.logsumexp, tg.softmax, tg.log_softmax],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize(("size", "scale"), [(70_000, 1.0), (7, 400.0)])
def test_half_precision_counts_and_squares_do_not_overflow(f, size, scale):
    """float16 ends at 65504: fewer than the elements, less than their squares."""
    h = (seeded(f"{f.__name__}{size}").normal(size=size) * scale).astype(np.float16)
    x, exact = tg.tensor(h), tg.tensor(h.astype(np.float64))
    y = f(x)
    assert y.dtype is tg.float16 and f(x, 0).type is y.type
    assert not np.isnan(y.numpy()).any()
    want = f(exact).numpy()
    if np.abs(want).max() < 65504:
        close(y.astype("float64"), want, 1e-3)
        ct = seeded("cotangent").normal(size=y.shape)
        got = tg.vjp(f, x)[1](tg.tensor(ct.astype(np.float16)))[0]
        assert got.dtype is tg.float16
        close(got.astype("float64"), tg.vjp(f, exact)[1](tg.tensor(ct))[0], 3e-3)


@pytest.mark.parametrize("run", [lambda f: f, tg.jit], ids=["eager", "jit"])
def test_gradients_lie_in_memory_in_the_dtype_of_their_input(run):
    """Whatever dtypes they came through, and not only by what they say of themselves."""
    names = ("float16", "float32", "float64", "complex64", "complex128")
    w = seeded("dtypes").normal(size=3)
    for source, target in itertools.product(names, names):
        if source.startswith("complex") and not target.startswith("complex"):
            continue
        x = tg.tensor(w.astype(source))
        g = run(tg.grad(lambda x, t=target: (tg.real(x.astype(t)) * 3.0).sum()))(x)
        assert str(g.dtype) == str(g.numpy().dtype) == source
        assert np.array_equal(g.numpy(), np.full(3, 3.0))


def test_casts_keep_gradients_between_floats():
    x = tg.tensor(seeded("cast").normal(size=3), requires_grad=True)
    (x.astype("float32") * 2.0).sum().backward()
    assert x.grad.dtype is tg.float64 and x.grad.tolist() == [2.0] * 3
