"""What the networks of the zoo share: what they return, small data sets, one way to train, to draw.

Nothing here knows a network.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from _common import Run, Score, need
from _training import Descent

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.nn import functional as F


@dataclass
class Found:
    """What a network reached, a function that draws it on an axis, and its last loss."""

    score: Score
    draw: Callable[[Any], Any]
    loss: float = math.nan


# --- data ----------------------------------------------------------------------------------------


def halves(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, test: float = 0.25):
    """(x, y, x_test, y_test) in random order; x as float32, of which networks are made."""
    order, n = rng.permutation(len(x)), int(len(x) * test)
    x = x.astype("f4")
    return x[order[n:]], y[order[n:]], x[order[:n]], y[order[:n]]


def digits(rng: np.random.Generator):
    """Handwritten digits f32[N,64] in 0 to 1 and which they are: (x, y, x_test, y_test)."""
    found = need("sklearn.datasets", "scikit-learn").load_digits()
    return halves(rng, found.data / 16, found.target)


def moons(rng: np.random.Generator, count: int = 800, noise: float = 0.2):
    """Two half-moons that hold each other: (x, y, x_test, y_test) with x f32[N,2]."""
    make = need("sklearn.datasets", "scikit-learn").make_moons
    return halves(rng, *make(count, noise=noise, random_state=int(rng.integers(2**31))))


def minibatches(rng: np.random.Generator, size: int, *arrays: np.ndarray) -> Callable[[], Any]:
    """A function that returns `size` random rows of the arrays."""

    def draw() -> list[np.ndarray]:
        rows = rng.integers(len(arrays[0]), size=size)
        return [a[rows] for a in arrays]

    return draw


# --- training ------------------------------------------------------------------------------------


def fit(
    run: Run,
    model: nn.Module,
    loss: Callable[..., tg.Tensor],
    batch: Callable[[], Any],
    steps: int,
    lr: float = 0.01,
    name: str = "",
) -> float:
    """Descent on loss(model, *batch()), `steps` times; the last loss."""
    descent = Descent(model, lr)

    @tg.jit
    def step(*arrays: tg.Tensor) -> tg.Tensor:
        value = loss(model, *arrays)
        value.backward()
        descent.step()
        return value

    for _ in descent.steps(run, steps, name):
        run.show(step(*batch()))
    return run.loss


def classify(net: nn.Module, x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    return F.cross_entropy(net(x), y)


def predict(net: nn.Module, x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    return F.mse_loss(net(x), y)


def mlp(*sizes: int, activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    """Linear layers of these sizes with an activation between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


def ridge(features: np.ndarray, targets: np.ndarray, penalty: float) -> Callable[..., np.ndarray]:
    """The linear readout that minimises |features W - targets|² + penalty |W|², in closed form."""

    def with_one(f: np.ndarray) -> np.ndarray:
        return np.concatenate([f, np.ones((*f.shape[:-1], 1))], axis=-1).astype(float)

    f = with_one(features)
    weights = np.linalg.solve(f.T @ f + penalty * np.eye(f.shape[1]), f.T @ targets)
    return lambda features: with_one(features) @ weights


def logistic_regression(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray):
    """Its accuracy: the baseline of the networks that classify."""
    model = need("sklearn.linear_model", "scikit-learn").LogisticRegression(max_iter=2000)
    return model.fit(x, y).score(x_test, y_test)


def pca(x: np.ndarray, x_test: np.ndarray, size: int) -> np.ndarray:
    """x_test seen through its `size` principal components: the baseline of auto-encoders."""
    model = need("sklearn.decomposition", "scikit-learn").PCA(size, random_state=0).fit(x)
    return model.inverse_transform(model.transform(x_test))


def numpy(fn: Callable[..., Any], *arrays: np.ndarray) -> Any:
    """fn(*arrays) without derivatives, as a NumPy array."""
    with tg.no_grad():
        return fn(*(tg.tensor(a) for a in arrays)).numpy()


# --- drawing -------------------------------------------------------------------------------------


def mosaic(images: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """Images [N,H,W] beside and below each other, with NaN (nothing) between them."""
    n, h, w = images.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap), np.nan)
    for i, image in enumerate(images):
        y, x = i // columns * (h + gap), i % columns * (w + gap)
        sheet[y : y + h, x : x + w] = image
    return sheet


def rows(columns: int, *parts: np.ndarray) -> np.ndarray:
    """Images of several kinds below each other: `columns` of each, then the next ones."""
    stacked = np.stack([part[: len(part) // columns * columns] for part in parts])
    blocks = stacked.reshape(len(parts), -1, columns, 8, 8).swapaxes(0, 1)
    return blocks.reshape(-1, 8, 8)


def show(images: np.ndarray, columns: int, **options: Any) -> Callable[[Any], None]:
    """A function that draws images [N,H,W] without axes."""

    def draw(axis: Any) -> None:
        axis.imshow(mosaic(images, columns), **{"cmap": "gray_r", **options})
        axis.axis("off")

    return draw


def regions(
    score: Callable[[np.ndarray], np.ndarray], x: np.ndarray, y: np.ndarray
) -> Callable[[Any], None]:
    """A function that draws points [N,2] of two kinds, and where score([M,2]) is positive."""

    def draw(axis: Any) -> None:
        low, high = x.min(axis=0) - 0.3, x.max(axis=0) + 0.3
        a, b = np.meshgrid(*(np.linspace(*ends, 120) for ends in zip(low, high)))
        z = score(np.stack([a.ravel(), b.ravel()], axis=1).astype("f4")).reshape(a.shape)
        axis.contourf(a, b, np.tanh(z), np.linspace(-1, 1, 9), cmap="RdBu_r", alpha=0.5)
        axis.contour(a, b, z, [0], colors="black", linewidths=1.5)
        for kind, color in enumerate(("#2166AC", "#B2182B")):
            axis.plot(*x[y == kind].T, ".", color=color, markersize=3)
        axis.set(xticks=[], yticks=[])

    return draw
