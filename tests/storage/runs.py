"""What the tests of checkpoints save: models, training runs, comparisons of bits."""

import math
from typing import NamedTuple

import numpy as np
from hypothesis import HealthCheck, settings

import tinygrad_rnn as tg
from tinygrad_rnn import data, optim
from tinygrad_rnn.storage import checkpoint as ck

FIXTURE_IS_FINE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


class Model:
    """The least that can be saved: named tensors."""

    def __init__(self, **arrays):
        self.tensors = {k: tg.tensor(v) for k, v in arrays.items()}

    def state_dict(self):
        return dict(self.tensors)

    def load_state_dict(self, state):
        for name, t in self.tensors.items():
            t.assign_(state[name])


class Stubborn(Model):
    """Has the right form, and refuses all the same."""

    def __init__(self, error, **arrays):
        super().__init__(**arrays)
        self.error, self.calls = error, 0

    def load_state_dict(self, state):
        self.calls += 1
        if self.calls == 1:
            raise self.error
        super().load_state_dict(state)


class Carry(NamedTuple):
    h: tg.Tensor
    c: tg.Tensor | None


def bits(t):
    return (t.type, t.detach().numpy().tobytes())


class Run:
    """All that a training run consists of; `take` steps change all of it."""

    def __init__(self, seed=0, lr=0.1, width=3):
        rng = np.random.default_rng(seed)
        self.w = tg.tensor(rng.normal(size=(width, width)).astype("float32"), requires_grad=True)
        self.model = Model()
        self.model.tensors = {"w": self.w, "seen": tg.tensor(np.zeros((), "int64"))}
        self.optimizer = optim.Adam([self.w], lr=lr, amsgrad=True)
        self.scheduler = optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 50)
        self.rng = tg.random.Generator(seed)
        text = np.random.default_rng(7).normal(size=(40, width)).astype("float32")
        self.loader = data.ContiguousStreams(text, 2, 3)
        self.state = [Carry(tg.zeros((2, width)), None), {"c": tg.zeros(2)}]

    def take(self, steps):
        losses = []
        while len(losses) < steps:
            for x, y in self.loader:
                self.optimizer.zero_grad()
                h = self.state[0].h
                for t in range(len(x)):
                    h = tg.tanh(tg.tensor(x[t]) + h @ self.w)
                noise = self.rng.uniform(h.shape)
                loss = ((h * noise - tg.tensor(y[-1])) ** 2).mean()
                loss.backward()
                self.optimizer.step()
                self.scheduler.step()
                self.state = [Carry(h.detach(), None), {"c": h.detach().sum(axis=1)}]
                seen = self.model.tensors["seen"]
                seen.assign_(seen + 1)
                losses.append(loss.item())
                if len(losses) == steps:
                    break
        return losses

    def parts(self):
        names = ("model", "optimizer", "scheduler", "rng", "loader", "state")
        return {name: getattr(self, name) for name in names}

    def everything(self):
        arrays, codes = {}, {}
        for name, part in self.parts().items():
            value = part.state_dict() if hasattr(part, "state_dict") else part
            codes[name] = ck.encode(value, name, arrays)
        return codes, {k: (a.dtype, a.shape, a.tobytes()) for k, a in arrays.items()}


def equal(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (a != a and b != b) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    return a == b
