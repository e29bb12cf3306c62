"""Deep convolutional inverse graphics network: an image becomes the numbers that drew it.

    z = encoder(x), x̂ = decoder(z), L = |x - x̂|²; of scenes in which only one property varies
    one z is used, the others are replaced by their mean over these scenes

Discs of every place and size; z_1, z_2, z_3 become across, down, size. The picture turns one of
them in each row. Kulkarni and others, 2015.
"""

from __future__ import annotations

import numpy as np
from _common import Run, Score

import tinygrad_rnn as tg
from tinygrad_rnn import nn

from ._shared import Found, fit, numpy, show

SIZE = 12


def render(scene: np.ndarray) -> np.ndarray:
    """Scenes [B,3] (across, down, size; each 0 to 1) -> images f32[B,1,12,12]."""
    place, radius = 2.5 + 6 * scene[:, :2], 1.2 + 2 * scene[:, 2]
    y, x = np.mgrid[:SIZE, :SIZE]
    away = np.hypot(x - place[:, 0, None, None], y - place[:, 1, None, None])
    return (1 / (1 + np.exp(3 * (away - radius[:, None, None]))))[:, None].astype("f4")


class InverseGraphics(nn.Module):
    def __init__(self) -> None:
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
            nn.Linear(288, 64), nn.Tanh(), nn.Linear(64, 3),
        )  # fmt: skip
        self.read = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 288), nn.ReLU())
        self.draw = nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1)

    def decode(self, z):
        return tg.sigmoid(self.draw(self.read(z).reshape((len(z), 8, 6, 6))))

    def loss(self, x, varies):
        z = self.encoder(x).reshape((*varies.shape[:1], -1, 3))
        z = tg.where(varies > 0, z, z.mean(axis=1, keepdims=True)).reshape((-1, 3))
        return ((self.decode(z) - x) ** 2).sum(axis=(1, 2, 3)).mean()


def learn(run: Run) -> Found:
    net = InverseGraphics()

    def batch():
        """Eight scenes, each eight times with another value of one of its properties."""
        varies = np.eye(3, dtype="f4")[run.rng.integers(3, size=8)][:, None]
        scenes = np.where(varies > 0, run.rng.random((8, 8, 3)), run.rng.random((8, 1, 3)))
        return render(scenes.reshape(-1, 3)), varies

    loss = fit(run, net, InverseGraphics.loss, batch, 300 if run.quick else 800, lr=0.01)
    scene = run.rng.random((400, 3))
    images = render(scene)
    flat = images.reshape(400, -1)
    parts = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)[0][:, :3]

    def agreement(z):
        return abs(np.corrcoef(z.T, scene.T)[:3, 3:])

    z = numpy(net.encoder, images)
    score = Score("correlation with the scene", np.diag(agreement(z)).mean(), at_least=0.9,
                  baseline=("3 principal components", agreement(parts).max(axis=0).mean()),
                  form=".2f")  # fmt: skip
    turned = np.tile(np.median(z, axis=0), (3, 7, 1)).astype("f4")
    for k in range(3):
        turned[k, :, k] = np.linspace(*np.quantile(z[:, k], (0.02, 0.98)), 7)
    drawn = numpy(net.decode, turned.reshape(-1, 3))[:, 0]
    return Found(score, show(drawn, 7), loss)
