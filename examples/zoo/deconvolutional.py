"""Deconvolutional network: makes an image of 8 x 8 pixels from one of 4 x 4.

    transposed convolution: every input adds w · x to a window of the output, windows overlap

Above the small images, in the middle the enlarged ones, below the truth. Zeiler and others, 2010.
"""

from __future__ import annotations

from _common import Run, Score

from tinygrad_rnn import nn
from tinygrad_rnn.nn import functional as F

from ._shared import Found, digits, fit, minibatches, numpy, predict, rows, show


def learn(run: Run) -> Found:
    x, _, x_test, _ = (a.reshape(-1, 1, 8, 8) if a.ndim == 2 else a for a in digits(run.rng))
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 1, 3, padding=1),
    )  # fmt: skip
    steps = 60 if run.quick else 1000
    loss = fit(run, net, lambda net, x: predict(net, F.avg_pool2d(x, 2), x),
               minibatches(run.rng, 64, x), steps)  # fmt: skip
    small = numpy(lambda x: F.avg_pool2d(x, 2), x_test)
    blocks = small.repeat(2, axis=2).repeat(2, axis=3)
    error, coarse = (((y - x_test) ** 2).mean() for y in (numpy(net, small), blocks))
    score = Score("squared error", error, at_most=0.020, baseline=("blocks", coarse), form=".3f")
    sheet = rows(6, blocks[:12], numpy(net, small[:12]), x_test[:12])
    return Found(score, show(sheet, 6, vmin=0, vmax=1), loss)
