"""Descent by Adam, with what is the subject of no example; `rows_of_digits.py` spells it all out.

descent = Descent(model, lr=0.003)

@tg.jit
def step(x, y):
    loss = F.cross_entropy(model(x), y)
    loss.backward()                         # backpropagation through time
    descent.step()                          # clip the gradients, change the weights
    return loss

for _ in descent.steps(run, 1000):          # progress, checkpoints, the step size falls to 0
    run.show(step(*batch()))
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from _common import Run

from tinygrad_rnn import nn, optim


class Descent:
    """Adam on the weights of a model; `decay` is AdamW's decay of weights."""

    def __init__(self, model: nn.Module, lr: float, decay: float = 0.0) -> None:
        self.model = model
        self.optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=decay)

    def step(self) -> None:
        """One step against the gradient g, which is limited to ‖g‖ ≤ 1, and then forgotten."""
        optim.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def steps(self, run: Run, count: int, name: str = "") -> Iterator[int]:
        """0 … count - 1; meanwhile the step size falls from `lr` to 0 on half a wave of cosine.

        Afterwards the model no longer drops out: it is ready for the test.
        """
        schedule = optim.lr_scheduler.CosineAnnealingLR(self.optimizer, count)
        self.model.train()
        for step in run.steps(count, name, model=self.model, optimizer=self.optimizer):
            yield step
            schedule.step()
        self.model.eval()


def forever(loader: Iterable[Any]) -> Iterator[Any]:
    """The batches of a loader, epoch after epoch."""
    while True:
        yield from loader
