"""Handwritten digits read row by row: a sequence goes in, one answer comes out (many-to-one).

An image of 8 x 8 pixels is a sequence of T = 8 rows x(1) ... x(8); the network reads one at a time
and answers after the last:

    h(t) = GRU(h(t-1), x(t)),  h(0) = 0            hidden-to-hidden recurrence
    ŷ = softmax(V h(8) + c)                        sequence in, single output
    L = -Σ_k y_k log ŷ_k

The picture asks it earlier, too: softmax(V h(t) + c) after every row shows how its opinion forms.
Baseline: logistic regression on all 64 pixels at once.

    python examples/rows_of_digits.py
"""

from __future__ import annotations

import numpy as np
from _common import Report, Run, Score, example, need

import tinygrad_rnn as tg
from tinygrad_rnn import data, nn, optim
from tinygrad_rnn.nn import functional as F


class Reader(nn.Module):
    """Rows f32[T,B,8] -> scores of the ten digits f32[T,B,10] after each, and states f32[T,B,H]."""

    def __init__(self, hidden: int) -> None:
        self.rnn, self.head = nn.GRU(8, hidden), nn.Linear(hidden, 10)

    def forward(self, rows: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        states, _ = self.rnn(rows)
        return self.head(states), states


def load(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Images f32[N,8,8] in 0 to 1 and their digits; a fifth of them is for the test."""
    digits = need("sklearn.datasets", "scikit-learn").load_digits()
    images = (digits.images / 16).astype(np.float32)
    order = rng.permutation(len(images))
    test, train = order[: len(order) // 5], order[len(order) // 5 :]
    return images[train], digits.target[train], images[test], digits.target[test]


def logistic_regression(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray):
    model = need("sklearn.linear_model").LogisticRegression(max_iter=1000)
    return model.fit(x.reshape(len(x), -1), y).score(x_test.reshape(len(x_test), -1), y_test)


def draw(run: Run, x, states, opinions, y, right: np.ndarray) -> None:
    """Three digits: their rows, and the state and the opinion after each of them."""
    axes = run.axes(
        "A digit read row by row", 3, 3, sharey=True, gridspec_kw={"width_ratios": [1, 3, 1.6]}
    )
    # Those of which the network was most sure of something else on the way.
    doubts = np.where(right, np.max(opinions[3:7] * (np.arange(10) != y[:, None]), (0, 2)), 0)
    order = np.argsort(-doubts)
    _, firsts = np.unique(y[order], return_index=True)  # three different digits
    for row, k in zip(axes, order[np.sort(firsts)]):
        row[0].imshow(x[k], cmap="gray_r", aspect="auto")
        row[1].imshow(states[:, k], cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
        row[2].imshow(opinions[:, k], cmap="Blues", vmin=0, vmax=1, aspect="auto")
        row[2].set_xticks(range(10))
        row[2].get_xticklabels()[y[k]].set(color="#D55E00", fontweight="bold")
        row[0].set(ylabel="t", yticks=range(8), yticklabels=range(1, 9), xticks=[])
        row[1].set(xticks=[])
        for axis in row:
            axis.grid(False)
    for axis, title in zip(axes[0], ["rows x(t)", "state h(t)", "opinion softmax(V h(t) + c)"]):
        axis.set_title(title)
    axes[-1, 2].set_xlabel("digit (the right one is red)")


@example(
    quick={"hidden": 32, "epochs": 6},
    hidden=(96, "H, size of the state"),
    epochs=(40, "times to read the training set"),
    batch=(32, "images per step"),
    lr=(0.004, "Adam's first step size"),
)
def main(run: Run, hidden: int, epochs: int, batch: int, lr: float) -> Report:
    x, y, x_test, y_test = load(run.rng)
    model = Reader(hidden)
    optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    loader = data.Loader(list(zip(x, y)), batch, shuffle=True, seed=run.seed, drop_last=True)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)

    @tg.jit
    def step(images: tg.Tensor, digits: tg.Tensor) -> tg.Tensor:
        scores, _ = model(images.swapaxes(0, 1))
        loss = F.cross_entropy(scores[-1], digits)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    for _ in run.steps(epochs, model=model, optimizer=optimizer):
        loss = np.mean([run.show(step(*pair)) for pair in loader])
        schedule.step()

    with tg.no_grad():
        scores, states = model(tg.tensor(x_test.swapaxes(0, 1)))
        opinions = F.softmax(scores).numpy()
    right = opinions[-1].argmax(axis=-1) == y_test
    draw(run, x_test, states.numpy(), opinions, y_test, right)
    baseline = logistic_regression(x, y, x_test, y_test)
    return Report(
        loss,
        Score("accuracy", right.mean(), at_least=0.97, baseline=("logistic regression", baseline)),
    )


if __name__ == "__main__":
    main()
