"""Deep belief network: learns from 1,300 digits without labels, then from 100 with them.

    each layer is a restricted Boltzmann machine of what the layer below says:
    h_1 = σ(W_1 x + c_1),  h_2 = σ(W_2 h_1 + c_2);  then ŷ = softmax(V h_2 + d), all trained on

The picture shows what the network dreams: Gibbs sampling at the top, then down. Hinton, Osindero,
Teh, 2006.
"""

from __future__ import annotations

from _common import Run, Score

from tinygrad_rnn import nn

from ._shared import Found, classify, digits, fit, minibatches, numpy, show
from .restricted_boltzmann import RBM, sample


class DeepBelief(nn.Module):
    def __init__(self) -> None:
        self.rbms = nn.ModuleList([RBM(64, 128), RBM(128, 64)])
        self.head = nn.Linear(64, 10)

    def features(self, x):
        for rbm in self.rbms:
            x = rbm.up(x)
        return x

    def forward(self, x):
        return self.head(self.features(x))

    def dream(self, x):
        bottom, top = self.rbms
        return bottom.down(sample(top.gibbs(sample(bottom.up(x)), 100)))


def learn(run: Run) -> Found:
    x, y, x_test, y_test = digits(run.rng)
    few, right, steps = slice(100), {}, 100 if run.quick else 800
    for kind in ("from random weights", "pretrained"):
        net, seen = DeepBelief(), x
        if kind == "pretrained":
            for rbm in net.rbms:
                fit(run, rbm, RBM.loss, minibatches(run.rng, 100, seen), steps)
                seen = numpy(rbm.up, seen)
            dreams = numpy(net.dream, x[:49])
        batch = minibatches(run.rng, 50, x[few], y[few])
        loss = fit(run, net, classify, batch, steps // 2)
        right[kind] = (numpy(net, x_test).argmax(axis=1) == y_test).mean()
    score = Score("right after 100 labels", right["pretrained"], at_least=0.85,
                  baseline=next(iter(right.items())))  # fmt: skip
    return Found(score, show(dreams.reshape(-1, 8, 8), 7), loss)
