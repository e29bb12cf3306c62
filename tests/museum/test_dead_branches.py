"""What `where` does not choose must influence nothing: published as a bug by nearly everybody."""

from __future__ import annotations

import numpy as np
from gallery import close, slope

import tinygrad_rnn as tg


def test_where_after_a_root(backend):
    """https://github.com/jax-ml/jax/issues/347: one zero row made the gradient of that row NaN
    though `where` replaced its value."""
    x = np.array([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]])

    def f(x):
        n = tg.sqrt(tg.sum(x * x, axis=1))
        return tg.where(n > 0.5, n, 1.0)

    close(slope(f, x), x / np.array([[5**0.5], [5.0], [1.0]]))


def test_where_after_an_angle(backend):
    """https://github.com/jax-ml/jax/issues/1052: the angle of (0, 0), chosen by nobody, made
    NaN."""
    g = slope(lambda a: tg.where(a == 0.0, 0.0, tg.atan2(a, a)), np.array([3.0, 0.0, -5.0]))
    assert g == [0, 0, 0]


def test_where_before_the_domain(backend):
    """https://github.com/jax-ml/jax/issues/5798 and
    https://github.com/HIPS/autograd/issues/802: where(x < 1, x, sqrt(x)) had no derivative at
    0, where(x >= 0, x, sqrt(-x)) none at 1."""
    assert slope(lambda x: tg.where(x < 1.0, x, tg.sqrt(x)), np.array([0.0, -3.0, 4.0])) == [
        1, 1, 0.25
    ]  # fmt: skip
    assert slope(lambda x: tg.where(x >= 0.0, x, tg.sqrt(-x)), np.array([1.0, 0.0])) == [1, 1]


def test_where_beside_an_overflow(backend):
    """https://github.com/tensorflow/tensorflow/issues/38349: 10 ** exp(10) is infinite, and its
    gradient reached the other branch as NaN."""
    g = slope(lambda a: tg.where(a < 15.0, a, 10.0 ** tg.exp(a)), np.array([10.0], "f4"))
    assert g == [1]


def test_where_around_a_product(backend):
    """https://github.com/tinygrad/tinygrad/issues/12409: where(x == 0, 0, x * sqrt(x)) at 0."""
    g = slope(lambda x: tg.where(x == 0.0, 0.0, x * tg.sqrt(x)), np.array([0.0, 4.0], "f4"))
    assert g == [0, 3]


def test_where_inside_a_loop(backend):
    """https://github.com/lenstronomy/JAXtronomy/issues/66: a profile was not differentiable
    because of its dead branch; here inside a scan, where both are fused into one pass over
    memory."""
    xs = np.array([[0.0, 4.0], [9.0, 0.0]])

    def f(x):
        return tg.scan(
            lambda c, r: (c + tg.where(r > 0.0, tg.sqrt(r), r), tg.where(r > 0.0, tg.log(r), 0.0)),
            tg.zeros((2,), "float64"),
            x,
        )[0]

    assert slope(f, xs) == [[1, 0.25], [1 / 6, 1]]


def test_a_masked_gradient_is_not_a_masked_number(backend):
    """https://github.com/ml-explore/mlx/pull/3692 and
    https://github.com/Ciela-Institute/caustics/pull/83: masking by multiplication keeps NaN (0
    * NaN). Here a cotangent of zero stops any factor."""
    x = np.array([0.0, -1.0, 4.0])
    mask = tg.tensor([False, False, True])
    for f in (tg.sqrt, tg.log, tg.rsqrt, tg.reciprocal, lambda x: x**-1.5, tg.acosh, tg.atanh):
        g = slope(lambda x, f=f: tg.where(mask, f(x), 0.0), np.where(mask.numpy(), 0.5, x))
        assert g[:2] == [0, 0] and (g[2] != 0), f
    assert tg.grad(lambda x: (tg.sqrt(x) * 0.0).sum())(tg.tensor(x)).tolist() == [0, 0, 0]
