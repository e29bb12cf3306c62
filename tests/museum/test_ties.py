"""Equal maxima: the gradients of a maximum are convex weights, on every backend the same."""

from __future__ import annotations

import numpy as np
from gallery import close, slope, slopes

import tinygrad_rnn as tg


def test_every_maximum_gets_everything(backend):
    """https://github.com/apache/mxnet/issues/18563,
    https://github.com/Theano/Theano/issues/4568 and
    https://github.com/microsoft/CNTK/issues/3855: each of n equal maxima got 1, which is no
    subgradient, and let a training diverge
    (https://github.com/microsoft/onnxruntime/pull/7217)."""
    assert slope(lambda x: tg.max(x, 0), np.ones((4, 3))) == [[0.25] * 3] * 4
    assert slope(tg.max, np.array([0.5, 0.5, 0.25])) == [0.5, 0.5, 0]
    assert slope(lambda x: tg.min(x, 0), np.ones((2, 2))) == [[0.5, 0.5]] * 2


def test_the_larger_of_two_equals(backend):
    """https://github.com/pytorch/pytorch/issues/56734: elementwise max gave the whole gradient
    to one side or to both, while the reduction split it."""
    for f in (tg.maximum, tg.minimum):
        for g in slopes(f, np.array([1.0, 2.0]), np.array([1.0, 2.0])):
            assert g.tolist() == [0.5, 0.5]
    assert slope(lambda x: tg.maximum(x, x), np.array([3.0])) == [1]


def test_two_maxima_of_one_library_disagree(backend):
    """https://github.com/tensorflow/tensorflow/issues/4886 and /51682: reduce_max split ties,
    max_pool gave all to the first. Here however a maximum is taken, the weights sum to 1."""
    x = np.array([1.0, 2.0, 2.0, 2.0])
    ways = [
        tg.max,
        lambda x: tg.max(tg.max(x.reshape(2, 2), 1), 0),
        lambda x: tg.maximum(tg.maximum(x[0], x[1]), tg.maximum(x[2], x[3])),
        lambda x: tg.scan(lambda c, v: (tg.maximum(c, v), None), x[0], x[1:])[0],
    ]
    for way in ways:
        g = np.array(slope(way, x))
        assert g[0] == 0 and g.min() >= 0
        close(g.sum(), 1.0)
    close(slope(tg.max, x), [0, 1 / 3, 1 / 3, 1 / 3])


def test_the_index_of_the_maximum_depends_on_the_device(backend):
    """https://github.com/tensorflow/tensorflow/issues/97688: how ties are broken was documented
    nowhere. Here argmax and argmin take the first, NaN counts as largest and smallest."""
    x = tg.tensor(np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 1.0], [0.0, np.nan, 5.0]], "f4"))
    for f, want in ((tg.argmax, [1, 0, 1]), (tg.argmin, [0, 2, 1])):
        assert f(x, 1).tolist() == tg.jit(lambda x, f=f: f(x, 1))(x).tolist() == want
