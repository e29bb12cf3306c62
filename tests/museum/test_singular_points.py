"""Where a formula divides by zero and the derivative is known all the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gallery import close, host, slope, slopes

import tinygrad_rnn as tg


def test_the_norm_of_zero_has_no_gradient(backend):
    """https://github.com/pytorch/pytorch/issues/2421 and
    https://github.com/HIPS/autograd/issues/151: NaN at the zero vector, "breaking everything
    downstream". Here it is the smallest subgradient, 0, also of one zero row among others."""
    assert slope(tg.norm, np.zeros(3)) == [0, 0, 0]
    rows = np.array([[0.0, 0.0], [3.0, 4.0]])
    close(slope(lambda x: tg.norm(x, axis=1), rows), [[0, 0], [0.6, 0.8]], 1e-15)


def test_the_squared_norm_of_zero_is_not_smooth(backend):
    """https://github.com/HIPS/autograd/issues/617, /570 and
    https://github.com/jax-ml/jax/issues/21723: NaN from 0 / 0, though the square is as smooth
    as a function can be."""
    assert slope(lambda x: tg.norm(x) ** 2, np.zeros(2)) == [0, 0]
    assert slope(lambda x: tg.norm(x, axis=-1) ** 2, np.zeros((1, 2))) == [[0, 0]]
    assert slope(lambda x: tg.exp(-(tg.norm(x) ** 2)), np.zeros((2, 1))) == [[0], [0]]


def test_the_deviation_of_equal_numbers_has_no_gradient(backend):
    """https://github.com/pytorch/pytorch/issues/4320: std of any constant input had gradient
    NaN."""
    for constant in (0.0, 1.0, -2.5):
        assert slope(tg.std, np.full(4, constant)) == [0, 0, 0, 0]
        assert slope(lambda x: tg.std(x, 0, 1), np.full((3, 2), constant)) == [[0, 0]] * 3


def test_the_absolute_value_is_undefined_at_zero(backend):
    """https://github.com/rsokl/MyGrad/pull/379: abs had gradient NaN at 0. Here it is 0."""
    assert slope(tg.abs, np.array([-2.0, 0.0, -0.0, 2.0])) == [-1, 0, 0, 1]


def test_clipping_by_norm_at_zero(backend):
    """https://github.com/tensorflow/tensorflow/issues/22048: below the limit clip_by_norm is
    the identity, and its gradient at 0 was NaN."""

    def clip_by_norm(x):
        n = tg.norm(x)
        return tg.where(n > 1.0, x / n, x)

    assert slope(clip_by_norm, np.zeros(3)) == [1, 1, 1]


def test_a_vector_with_zeros_is_normalised(backend):
    """https://github.com/pytorch/pytorch/issues/3264: F.normalize of a vector with zeros gave
    NaN gradients everywhere but at the last element. d/dx of x / |x| is 1 / |x| where |.|' is
    0."""
    n = 0.25
    for total in (lambda x: tg.sum(tg.abs(x)), tg.norm):
        g = slope(lambda x, total=total: x / tg.maximum(total(x), 1e-12), np.array([0, 0, n]))
        assert g == [1 / n, 1 / n, 0]


def test_zero_to_a_power_has_no_slope_in_the_exponent(backend):
    """https://github.com/pytorch/pytorch/issues/27134: d/db 0**b was NaN, the limit is 0."""
    a = np.array([0.0, 2.0])
    (_, g) = slopes(lambda a, b: a**b, a, np.ones(2))
    close(g, [0, 2 * math.log(2)])


def test_zero_to_a_power_is_differentiated_twice():
    """https://github.com/pytorch/pytorch/issues/95180: the second derivative of 0**b was NaN
    (in this library too, until this exhibit was put up)."""
    f = tg.grad(tg.grad(lambda b: tg.tensor(0.0, dtype="float64") ** b))
    assert f(tg.tensor(1.5, dtype="float64")).item() == 0.0


def test_anything_to_the_power_zero(backend):
    """https://github.com/pytorch/pytorch/pull/8945 (fixes #8940): x**0 is constant, and its
    gradient at 0 was NaN; a scalar and a tensor of exponents are the same."""
    x = np.array([0.0, 2.0, -3.0])
    assert slope(lambda x: x**0, x) == [0, 0, 0]
    assert slope(lambda x: x ** tg.tensor(np.zeros(3)), x) == [0, 0, 0]


def test_gamma_correction_of_black(backend):
    """https://github.com/tensorflow/tensorflow/issues/2295: y = clip(y, 0, 1) ** (1 / 2.4) made
    infinities and then NaN of pixels below 0, through which no gradient flows at all."""
    g = slope(lambda x: tg.clip(x, 0.0, 1.0) ** (1 / 2.4), np.array([-0.5, 0.25]))
    assert g[0] == 0
    assert g[1] == pytest.approx(0.25 ** (1 / 2.4 - 1) / 2.4)


def test_half_as_a_power_is_not_the_square_root(backend):
    """https://github.com/stan-dev/math/issues/3031: x**0.5 and x**(0.5 + 1e-16) had different
    gradients at 0, one accidentally 0. Here roots are infinite there, however they are written."""
    for f in (tg.sqrt, lambda x: x**0.5, lambda x: x ** tg.tensor(np.array([0.5]))):
        assert slope(f, np.zeros(1)) == [math.inf]
    assert slope(lambda x: (x**0.5) * 0.0, np.zeros(1)) == [0.0]


def test_negative_base_and_whole_exponent(backend):
    """https://github.com/tensorflow/tfjs/issues/346: the gradient of (-2)**2 in the base was
    NaN because of the logarithm in the other gradient."""
    assert slope(lambda a: a ** tg.tensor(np.array([2.0, 3.0])), np.array([-2.0, -2.0])) == [-4, 12]
    assert slope(lambda a: a**2, np.array([-2.0])) == [-4]


def test_a_product_with_one_zero(backend):
    """https://github.com/tracel-ai/burn/issues/5533,
    https://github.com/pytorch/pytorch/issues/773 and
    https://github.com/apache/mxnet/issues/17864: product / x is 0 / 0 exactly where the
    gradient is the product of the others."""
    assert slope(tg.prod, np.array([2.0, 0.0, 3.0, 4.0])) == [0, 24, 0, 0]
    assert slope(tg.prod, np.array([2.0, 0.0, 0.0, 4.0])) == [0, 0, 0, 0]
    x = np.array([[4.0, 0.0], [3.0, 5.0]])
    assert slope(lambda x: tg.prod(x, 1), x) == [[0, 4], [5, 3]]
    assert host(tg.hessian(tg.prod)(tg.tensor(np.array([0.0, 0.0, 5.0])))).tolist() == [
        [0, 5, 0], [5, 0, 0], [0, 0, 0]
    ]  # fmt: skip


def test_a_product_of_a_single_zero(backend):
    """https://github.com/pytorch/pytorch/issues/82644: prod over an axis of one zero failed in
    backward with a gradient of the wrong shape."""
    assert slope(lambda x: tg.prod(x, 0), np.array([0.0])) == [1]


def test_a_root_squared_is_not_the_identity(backend):
    """https://github.com/HIPS/autograd/issues/570: sqrt(x)**2 raised ZeroDivisionError at 0.
    Reverse mode cannot see that the root cancels; here inf stays where a zero stops it."""
    assert slope(lambda x: tg.sqrt(x) ** 2, np.zeros(1)) == [0]
    assert slope(lambda x: tg.sqrt(x) ** 2, np.array([4.0])) == [1]


def test_the_second_derivative_of_a_saturated_curve(backend):
    """https://github.com/pytorch/pytorch/pull/196787: logaddexp had finite first derivatives,
    and NaN second ones once exp overflowed inside the first."""

    def logaddexp(x):
        return tg.logsumexp(tg.stack([x[0], x[1]]))

    for apart in (0.0, 700.0, 1000.0, -1000.0):
        h = host(tg.hessian(logaddexp)(tg.tensor(np.array([0.0, apart]))))
        s = 0.25 if apart == 0 else 0.0
        close(h, [[s, -s], [-s, s]])
    for f in (tg.softplus, tg.sigmoid, tg.tanh, tg.silu, tg.gelu):
        for x in (-1e3, 1e3):
            second = tg.grad(tg.grad(f))(tg.tensor(x, dtype="float64")).item()
            assert second == 0.0, (f, x)
