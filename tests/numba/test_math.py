"""Elementary functions of the generator against functions of twice the precision."""

from __future__ import annotations

import math

import numpy as np
import pytest

from .harness import evaluate

#: ulp allowed
LIMITS = {"exp": 1.5, "expm1": 2, "log": 1, "log1p": 1.6, "sin": 1.6, "cos": 1.6, "erf": 2}
LIMITS |= {"tanh": 3, "sigmoid": 3}
NAMES = list(LIMITS)
MORE = np.finfo(np.longdouble).nmant >= 60


def truth(name: str, x: np.ndarray) -> np.ndarray:
    """In longdouble; erf in float64, by the C library."""
    if name == "erf":
        return np.array([math.erf(v) for v in x.tolist()])
    x = x.astype(np.longdouble)
    if name == "sigmoid":
        e = np.exp(-np.abs(x))
        return np.where(x < 0, e, 1) / (1 + e)
    return getattr(np, name)(x)


def errors(y: np.ndarray, t: np.ndarray) -> np.ndarray:
    """|y - t| in units of the last place of y's type at t."""
    info = np.finfo(y.dtype)
    e = np.floor(np.log2(np.maximum(np.abs(t), np.longdouble(info.tiny))))
    return np.abs(y.astype(np.longdouble) - t) / np.exp2(e - info.nmant)


def check(name: str, x: np.ndarray, limit: float) -> None:
    with np.errstate(all="ignore"):
        y, t = evaluate(name, x), truth(name, x)
        info = np.finfo(x.dtype)
        infinite = np.abs(t) >= np.longdouble(info.max) * (1 + np.longdouble(info.epsneg) / 2)
        assert np.array_equal(np.isnan(y), np.isnan(t))
        assert np.array_equal(y[infinite], t[infinite].astype(x.dtype))
        use = ~(infinite | np.isnan(t))
        wrong = errors(y[use], t[use])
    worst = int(np.argmax(wrong))
    at, got = x[use][worst], y[use][worst]
    assert wrong[worst] <= limit, f"{name}({at!r}) = {got!r}: {wrong[worst]} ulp"


@pytest.mark.parametrize("name", NAMES)
def test_float32_over_all_bit_patterns(name):
    every = np.arange(0, 2**32, 4099 if name != "erf" else 16411, dtype=np.uint64)
    ranges = [(-1.5, 1.5), (-12, 12), (-105, -80), (80, 90)]
    dense = [np.linspace(a, b, 20001, dtype="f4") for a, b in ranges]
    check(name, np.concatenate([every.astype("u4").view("f4"), *dense]), LIMITS[name])


@pytest.mark.skipif(not MORE, reason="longdouble is not longer than float64 here")
@pytest.mark.parametrize("name", [n for n in NAMES if n != "erf"])
def test_float64(name, rng):
    n = 20000
    parts = [
        rng.normal(size=n),
        10 * rng.normal(size=n),
        rng.uniform(-760, 730, n),
        2.0 ** rng.uniform(-1074, 23, n),
        -(2.0 ** rng.uniform(-1074, 10, n)),
        2.0 ** rng.uniform(20, 1023, 500),
        np.linspace(-1.5, 1.5, n),
    ]
    x = np.concatenate(parts)
    check(name, x, LIMITS[name])


def test_erf_float64(rng):
    mpmath = pytest.importorskip("mpmath")
    x = np.concatenate(
        [rng.normal(size=1500), rng.uniform(-6.5, 6.5, 1500), 2.0 ** rng.uniform(-1074, 3, 300)]
    )
    for v, y in zip(x.tolist(), evaluate("erf", x).tolist()):
        t = mpmath.erf(mpmath.mpf(v))
        assert abs(t - y) <= 2 * math.ulp(float(t)), v


SPECIAL = {
    "exp": {0.0: 1.0, -math.inf: 0.0, math.inf: math.inf, 1e5: math.inf, -1e5: 0.0},
    "expm1": {-math.inf: -1.0, math.inf: math.inf, 1e5: math.inf, -1e5: -1.0},
    "log": {0.0: -math.inf, 1.0: 0.0, math.inf: math.inf, -1.0: math.nan, -1e-45: math.nan},
    "log1p": {-1.0: -math.inf, -2.0: math.nan, math.inf: math.inf, -math.inf: math.nan},
    "sin": {math.inf: math.nan, -math.inf: math.nan},
    "cos": {0.0: 1.0, math.inf: math.nan, -math.inf: math.nan},
    "tanh": {math.inf: 1.0, -math.inf: -1.0, 1e5: 1.0},
    "sigmoid": {0.0: 0.5, math.inf: 1.0, -math.inf: 0.0, 1e5: 1.0, -1e5: 0.0},
    "erf": {math.inf: 1.0, -math.inf: -1.0, 1e5: 1.0},
}
ODD = ("expm1", "log1p", "sin", "tanh", "erf")


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", NAMES)
def test_special_values(name, dtype):
    values = {**SPECIAL[name], math.nan: math.nan}
    if name == "log":
        assert evaluate(name, np.array([-0.0], dtype))[0] == -math.inf
    for x, y in values.items():
        # the other lanes hold something ordinary
        got = evaluate(name, np.array([0.5, x, 0.75], dtype))[1]
        assert got == y or (math.isnan(y) and np.isnan(got)), (x, got)
    if name in ODD:
        small = np.finfo(dtype).smallest_subnormal
        x = np.array([0.0, -0.0, small, -small, 3 * small, 1001 * small], dtype)
        y = evaluate(name, x)
        # the slope at 0 is 1, of erf it is 2 / sqrt(pi)
        slope = 2 / math.sqrt(math.pi) if name == "erf" else 1.0
        assert np.array_equal(y, (x.astype(np.longdouble) * slope).astype(dtype))
        assert np.array_equal(np.signbit(y), np.signbit(x))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", NAMES)
def test_one_lane_is_as_many(name, dtype, rng):
    """A remainder, a column or a scalar gives the bits that a whole vector gives."""
    edge = 110 if dtype == "f4" else 760  # beyond which e**x and e**-x are infinite and 0
    parts = 10 * rng.normal(size=999), 1e9 * rng.normal(size=50), rng.uniform(-edge, edge, 2000)
    x = np.concatenate(parts).astype(dtype)
    assert np.array_equal(evaluate(name, x), evaluate(name, x, vectors=False), equal_nan=True)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_bounds_are_kept(dtype):
    """Rounding never leads out of [-1, 1] and [0, 1], and order is kept to within rounding."""
    x = np.linspace(-25, 25, 400001, dtype=dtype)
    for name, low in (("tanh", -1), ("sigmoid", 0), ("erf", -1)):
        y = evaluate(name, x)
        assert low <= y.min() and y.max() <= 1
        assert np.diff(y).min() >= -4 * np.finfo(dtype).eps
