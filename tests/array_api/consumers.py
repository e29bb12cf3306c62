"""Run by test_libraries.py in a process of its own, because SciPy reads SCIPY_ARRAY_API on import.

Prints one line per call: its name, and "same" if tensors in give tensors out that agree with what
NumPy arrays give.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_rnn as tg

warnings.simplefilter("ignore")  # what other libraries deprecate in each other
RNG = np.random.default_rng(0)
X, POSITIVE = RNG.normal(size=(6, 3)), RNG.uniform(0.1, 2, (6, 3))
ZERO, ONE, LABELS = np.zeros(2), np.ones(2), np.array([0, 1, 0, 1, 1, 0])


def compare(name: str, f: Callable[..., Any], *arrays: np.ndarray, scalar: bool = False) -> None:
    want = f(np, *arrays)
    found = f(tg, *[tg.asarray(a) for a in arrays])
    kind = float if scalar else tg.Tensor
    if not isinstance(found, kind):
        raise TypeError(f"{name}: a {type(found).__name__} came back")
    np.testing.assert_allclose(np.asarray(found), np.asarray(want), rtol=1e-9, atol=1e-12)
    print(name, "same")


def scipy_calls() -> None:
    from scipy import cluster, differentiate, fft, integrate, signal, special, stats
    from scipy.optimize import elementwise
    from scipy.spatial.transform import Rotation

    for f in (special.logsumexp, special.softmax, special.log_softmax):
        compare(f.__name__, lambda xp, x, f=f: f(x, axis=0), X)
    compare("expit", lambda xp, x: special.expit(x), X)
    for f in (stats.zscore, stats.skew, stats.kurtosis, stats.sem, stats.rankdata):
        compare(f.__name__, lambda xp, x, f=f: f(x, axis=0), X)
    compare("entropy", lambda xp, x: stats.entropy(x), POSITIVE)
    compare("gmean", lambda xp, x: stats.gmean(x), POSITIVE)
    compare("pearsonr", lambda xp, x: stats.pearsonr(x[:, 0], x[:, 1]).statistic, X)
    compare("quantile", lambda xp, x: stats.quantile(x, 0.3, axis=0), X)
    compare("rfft", lambda xp, x: fft.rfft(x, axis=0), X)
    compare("whiten", lambda xp, x: cluster.vq.whiten(x), X)
    compare("vq", lambda xp, x: cluster.vq.py_vq(x, x[:2, ...])[0], X)
    compare("detrend", lambda xp, x: signal.detrend(x, axis=0, type="constant"), X)
    compare("trapezoid", lambda xp, x: integrate.trapezoid(x, axis=0), X)
    compare(
        "cubature",
        lambda xp, a, b: integrate.cubature(
            lambda x: xp.exp(-xp.sum(x * x, axis=-1)), a, b
        ).estimate,
        ZERO, ONE,
    )  # fmt: skip
    compare(
        "tanhsinh",
        lambda xp, a, b: integrate.tanhsinh(lambda x: xp.exp(-x * x), a, b).integral, ZERO, ONE,
    )  # fmt: skip
    compare("derivative", lambda xp, x: differentiate.derivative(xp.exp, x).df, ONE)
    compare(
        "find_root",
        lambda xp, a, b: elementwise.find_root(lambda x: x * x - 0.5, (a, b)).x, ZERO, ONE,
    )  # fmt: skip
    compare("Rotation", lambda xp, x: Rotation.from_rotvec(x).as_matrix(), X)

    derivatives(
        ("d trapezoid", lambda x: integrate.trapezoid(x * x, axis=0).sum(),
         lambda x: 2 * x * np.array([0.5, 1, 1, 1, 1, 0.5])[:, None]),
        ("d rfft", lambda x: (abs(fft.rfft(x, axis=0)) ** 2).sum(),
         lambda x: 2 * np.fft.ifft(np.fft.rfft(x, axis=0), 6, 0, "forward").real),
        ("d softmax", lambda x: special.softmax(x, axis=0)[0, :].sum(),
         lambda x: (np.eye(6)[0][:, None] - special.softmax(x, 0)) * special.softmax(x, 0)[0]),
    )  # fmt: skip


def derivatives(*cases: tuple[str, Callable[..., Any], Callable[..., Any]]) -> None:
    """Gradients go through what other libraries compute."""
    for name, f, slope in cases:
        found = tg.grad(f)(tg.asarray(X))
        np.testing.assert_allclose(found.numpy(), slope(X), rtol=1e-9, atol=1e-12, err_msg=name)
        print(name, "same")


def sklearn_calls() -> None:
    from sklearn import config_context, metrics, preprocessing
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis as LDA
    from sklearn.linear_model import Ridge

    with config_context(array_api_dispatch=True):
        compare("PCA", lambda xp, x: abs(PCA(2, svd_solver="full").fit_transform(x)), X)
        compare("LDA", lambda xp, x, y: LDA().fit(x, y).predict(x), X, LABELS)
        compare("Ridge", lambda xp, x, y: Ridge(solver="svd").fit(x, y).predict(x), X, X[:, 0])
        for name in ("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "Normalizer"):
            scaler = getattr(preprocessing, name)
            compare(name, lambda xp, x, s=scaler: s().fit_transform(x), X)
        compare("r2", lambda xp, x: metrics.r2_score(x, x * 1.1), X, scalar=True)
        compare("cosine", lambda xp, x: metrics.pairwise.cosine_similarity(x, x), X)


if __name__ == "__main__":
    {"scipy": scipy_calls, "sklearn": sklearn_calls}[sys.argv[1]]()
