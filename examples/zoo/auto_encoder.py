"""Auto-encoder: squeezes digits of 64 pixels through two numbers and restores them.

    z = f(x),  x̂ = g(z),  L = mean (x - x̂)²,    f, g networks with hidden layers

The picture is the plane of the two numbers, coloured by digit; no label was shown in training.
Hinton, Salakhutdinov, 2006.
"""

from __future__ import annotations

from _common import Run, Score

from tinygrad_rnn import nn

from ._shared import Found, digits, fit, minibatches, mlp, numpy, pca, predict


class AutoEncoder(nn.Module):
    def __init__(self) -> None:
        self.encoder, self.decoder = mlp(64, 64, 32, 2), mlp(2, 32, 64, 64)

    def forward(self, x):
        return self.decoder(self.encoder(x))


def learn(run: Run) -> Found:
    x, _, x_test, y_test = digits(run.rng)
    net = AutoEncoder()
    steps = 200 if run.quick else 2500
    loss = fit(run, net, lambda net, x: predict(net, x, x),
               minibatches(run.rng, 100, x), steps, lr=0.01)  # fmt: skip
    error = ((numpy(net, x_test) - x_test) ** 2).mean()
    baseline = ("2 principal components", ((pca(x, x_test, 2) - x_test) ** 2).mean())
    score = Score("squared error", error, at_most=0.04, baseline=baseline, form=".3f")
    z = numpy(net.encoder, x_test)

    def draw(axis):
        axis.scatter(*z.T, c=y_test, cmap="tab10", s=5)
        for digit in range(10):
            place = z[y_test == digit].mean(axis=0)
            axis.text(*place, str(digit), fontweight="bold", ha="center", va="center")
        axis.set(xticks=[], yticks=[])

    return Found(score, draw, loss)
