"""How far back a gradient reaches: the norm of ∂L/∂h(t-lag), for ten recurrent cells.

With factors ∂h_j/∂h_{j-1} below one the gradient vanishes, above one it explodes:

    ∂L/∂h_k = ∂L/∂h_t Π_{j=k+1..t} ∂h_j/∂h_{j-1}        tanh: ∂h_j/∂h_{j-1} = diag(1 - h_j²) W

The remedies of the course: ReLU with W = I at the start; W orthogonal; and replacing the product
by the identity, h_t = h_{t-1} + F(x_t), so that ∂h_t/∂h = 1: the constant error carousel of

    c_t = c_{t-1} + i_t ⊗ tanh W(x_t; h_{t-1}),  h_t = o_t ⊗ tanh c_t      (1997, no forget gate)

and after it the LSTM with a forget gate, and the GRU. Nothing is trained here: the networks are as
they are initialised, which is how training finds them. L is a random linear function of the last
state, and ∂L/∂h_k the gradient of a zero that is added to the state at step k.
"""

from __future__ import annotations

import math

import numpy as np
from _common import COLORS, Report, Run, Score, example

import tinygrad_rnn as tg
from tinygrad_rnn import nn

INPUTS = 8


def tanh_cell(hidden: int, radius: float, rng: np.random.Generator) -> nn.RNNCell:
    """A cell without biases whose W has the given spectral radius."""
    cell = nn.RNNCell(INPUTS, hidden, bias=False, dtype="float64")
    W = rng.normal(size=(hidden, hidden))
    cell.weight_hh.assign_(tg.tensor(W * (radius / np.abs(np.linalg.eigvals(W)).max())))
    return cell


def cells(hidden: int, rng: np.random.Generator) -> dict[str, nn.Cell]:
    """As they are initialised, and with gates opened or closed, σ(±6), as training may do it."""
    sizes, kind, gate = (INPUTS, hidden), {"dtype": "float64"}, nn.init.gate_bias_
    return {
        "tanh, radius 0.9": tanh_cell(hidden, 0.9, rng),
        "tanh, radius 1": tanh_cell(hidden, 1.0, rng),
        "tanh, radius 2": tanh_cell(hidden, 2.0, rng),
        "tanh, orthogonal": nn.RNNCell(*sizes, recurrent_init="orthogonal", **kind),
        "ReLU, W = I": nn.RNNCell(*sizes, True, "relu", recurrent_init="identity", **kind),
        "LSTM 1997, i closed": gate(nn.LSTM1997Cell(*sizes, **kind), i=-6),
        "LSTM": nn.LSTMCell(*sizes, forget_bias=1.0, **kind),
        "GRU": nn.GRUCell(*sizes, **kind),
        "LSTM, f open, i closed": gate(nn.LSTMCell(*sizes, **kind), f=6, i=-6),
        "GRU, z open": gate(nn.GRUCell(*sizes, **kind), z=6),
    }


def flow(cell: nn.Cell, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """‖∂L/∂state(T - lag)‖ / ‖∂L/∂state(T)‖ for lags 0 … T, mean of B sequences; x [T,B,I]."""
    T, B, _ = x.shape
    start = cell.initial_carry((B,))
    pair = isinstance(start, tuple)  # the state of an LSTM is (h, c)
    size = 2 * cell.hidden_size if pair else cell.hidden_size
    weights = rng.normal(size=(B, size))

    def loss(nudges: tg.Tensor) -> tg.Tensor:
        def step(carry, inputs):
            x, nudge = inputs
            if pair:
                carry = tuple(c + n for c, n in zip(carry, tg.chunk(nudge, 2, axis=-1)))
            else:
                carry = carry + nudge
            return cell(carry, x)

        end, _ = tg.scan(step, start, (tg.tensor(x), nudges))
        return ((tg.concat(end, axis=-1) if pair else end) * weights).sum()

    gradient = tg.jit(tg.grad(loss))(tg.zeros((T, B, size), dtype="float64")).detach().numpy()
    norms = np.linalg.norm(gradient, axis=-1) / np.linalg.norm(weights, axis=-1)
    return np.concatenate([[1.0], norms[::-1].mean(axis=1)])


def draw(run: Run, norms: dict[str, np.ndarray]) -> None:
    axis = run.axes("How far back does a gradient reach?")
    low, high, ends = 1e-9, 1e6, []
    for k, (name, values) in enumerate(norms.items()):
        color = COLORS[k] if k < len(COLORS) else COLORS[k - 2]
        style = "-" if k < len(COLORS) else "--"
        axis.loglog(np.arange(1, len(values)), values[1:], style, color=color)
        lowest = low * 10 ** (0.5 + 0.9 * (k % 4))  # labels of lines that vanish: a staircase
        inside = np.flatnonzero((values > lowest) & (values < high / 1e2))[-1]
        ends.append((inside, np.log10(values[inside]), name, color))
    floor, box = np.inf, {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1}
    for lag, height, name, color in sorted(ends, key=lambda end: -end[1]):
        if lag == len(values) - 1:
            height = floor = min(height, floor - 0.6)
        axis.text(lag * 1.03, 10**height, name, color=color, fontsize=13, va="center", bbox=box)
    axis.axhspan(2, high, color=COLORS[1], alpha=0.06)
    axis.axhspan(low, 0.5, color=COLORS[0], alpha=0.06)
    axis.text(1.1, 1e4, "explodes", fontsize=19, color=COLORS[1], alpha=0.7)
    axis.text(1.1, 1e-6, "vanishes", fontsize=19, color=COLORS[0], alpha=0.7)
    axis.set(ylim=(low, high), xlim=(1, len(values) * 7), xlabel="lag")
    axis.set(ylabel="‖∂L/∂h(T - lag)‖ / ‖∂L/∂h(T)‖", xticks=[1, 10, 100, len(values) - 1])
    axis.set_xticklabels(["1", "10", "100", str(len(values) - 1)])


@example(
    quick={"length": 200, "hidden": 16},
    length=(1000, "T, steps that the gradient flows back"),
    hidden=(128, "H, size of the state"),
    batch=(8, "sequences over which the norm is averaged"),
)
def main(run: Run, length: int, hidden: int, batch: int) -> Report:
    warm_up = 50  # the first states are still near 0
    x = run.rng.normal(size=(warm_up + length, batch, INPUTS)) * 0.1
    built = cells(hidden, run.rng)
    norms = {}
    for _, (name, cell) in zip(run.steps(len(built)), built.items()):
        norms[name] = flow(cell, x, run.rng)[: length + 1]
    draw(run, norms)
    changed = {name: max(v.max(), 1 / v.min()) for name, v in norms.items() if v.min() > 0}
    what = f"the norm changes in {length} steps at most by, LSTM 1997"
    found, baseline = changed["LSTM 1997, i closed"], changed["tanh, radius 0.9"]
    score = Score(what, found, at_most=2, baseline=("tanh, radius 0.9", baseline), form=".2g")
    return Report(math.nan, score)


if __name__ == "__main__":
    main()
