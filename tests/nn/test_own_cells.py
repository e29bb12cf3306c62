"""A user's own cell, in every form it may take, is a full citizen."""

from __future__ import annotations

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import nn

I, H, T, B = 3, 4, 5, 2


class Leaky(nn.Module):
    """A plain module: forward(carry, x) and nothing else."""

    def __init__(self):
        self.read, self.recall = nn.Linear(I, H, rng=0), nn.Linear(H, H, rng=1)
        self.leak = nn.Parameter(tg.zeros(H))

    def forward(self, h, x):
        a = tg.sigmoid(self.leak)
        h = (1 - a) * h + a * tg.tanh(self.read(x) + self.recall(h))
        return h, h


class Started(Leaky):
    """The same with an initial state."""

    def initial_carry(self, batch_shape=(), dtype=None, backend=None):
        return tg.zeros((*batch_shape, H), dtype, backend)


class Own(nn.Cell):
    """A subclass of Cell that knows nothing of `read`."""

    def forward(self, h, x):
        h = tg.tanh(self.project(x, h))
        return h, h


def plain(cell):
    """The cell as a bare function."""
    return lambda carry, x: cell.forward(carry, x)


def test_all_forms_agree(rng, gradients):
    cell = Started()
    x = rng.normal(size=(T, B, I)).astype("f4")
    zeros = np.zeros((B, H), "f4")

    def loop(x, state, lengths):
        h, ys = tg.zeros((B, H)), []
        for t in range(T):
            h, y = cell(h, x[t])
            ys.append(y)
        return tg.stack(ys, 0), h

    y, _, found = gradients(nn.Recurrent(cell), x, call=loop)
    forms = [
        (nn.Recurrent(cell), None),
        (nn.Recurrent(cell), zeros),
        (nn.Recurrent(cell, initial_carry=cell.initial_carry), None),
        (nn.Stack([cell]), None),
        (nn.Recurrent(nn.Zoneout(cell, 0.0)), None),
        (nn.Recurrent(nn.RecurrentDropout(cell, 0.0)), None),
    ]
    for layer, state in forms:
        y2, _, found2 = gradients(layer, x, state)
        assert np.allclose(y.detach().numpy(), y2.detach().numpy(), atol=1e-6)
        for name, g in found.items():
            g2 = next(v for k, v in found2.items() if k.endswith(name.split(".", 1)[-1]))
            assert np.allclose(g, g2, atol=1e-5), name
    y3, _ = nn.Recurrent(plain(cell))(x, zeros)
    assert np.allclose(y.detach().numpy(), y3.detach().numpy(), atol=1e-6)
    y4, _ = tg.scan(cell, tg.zeros((B, H)), tg.tensor(x))[::-1]
    assert np.allclose(y.detach().numpy(), y4.detach().numpy(), atol=1e-6)


def test_wrappers_take_any_form(rng):
    x = tg.tensor(rng.normal(size=(T, B, I)).astype("f4"))
    for cell in (Started(), Own(I, H, rng=0)):
        for make in (
            lambda c: nn.Zoneout(c, 0.5, rng=0),
            lambda c: nn.Zoneout(nn.Zoneout(c, 0.2, rng=1), 0.5, rng=0),
        ):
            y, h = nn.Recurrent(make(cell))(x, lengths=[5, 2])
            assert y.shape == (T, B, H) and h.shape == (B, H)
    # where h is multiplied cannot be seen in a plain cell: its first leaf is masked as a whole
    cell = Started()
    drop = nn.RecurrentDropout(cell, 1.0)
    h = tg.tensor(rng.normal(size=(B, H)).astype("f4"))
    got, _ = drop(h, x[0])
    expected, _ = cell(tg.zeros((B, H)), x[0])
    assert np.array_equal(got.detach().numpy(), expected.detach().numpy())


def test_own_cell_learns_to_remember(rng):
    """The README's claim in small: a cell that no library has trains by derived derivatives."""
    cell, head = Started(), nn.Linear(H, 1, rng=2)
    x = rng.normal(size=(8, 32, I)).astype("f4")
    target = tg.tensor(x[..., :1].cumsum(0) / np.arange(1, 9, dtype="f4")[:, None, None])
    parameters = [*cell.parameters(), *head.parameters()]
    layer = nn.Recurrent(cell)

    @tg.jit
    def step(x):
        loss = nn.functional.mse_loss(head(layer(x)[0]), target)
        for p in parameters:
            p.grad = None
        loss.backward()
        with tg.no_grad():
            for p in parameters:
                p.assign_(p - 0.1 * p.grad)
        return loss

    losses = [step(x).item() for _ in range(150)]
    assert losses[-1] < 0.3 * losses[0]
