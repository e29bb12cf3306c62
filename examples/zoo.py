"""The chart of networks: twenty-seven kinds, each learns a small task, all in one picture.

Each is a file of its own in the folder zoo, with its equations: perceptron, feed-forward, radial
basis, deep feed-forward; recurrent, LSTM, GRU; auto-encoder, variational, denoising, sparse; Markov
chain, Hopfield, Boltzmann, restricted Boltzmann, deep belief; deep convolutional, deconvolutional,
inverse graphics; generative adversarial; liquid state, extreme learning, echo state; deep
residual; Kohonen; support vector; neural Turing machine. A line for each says its figure beside
that of a baseline.

    python examples/zoo.py                                      all of them
    python examples/zoo.py --networks hopfield,kohonen          some of them
"""

from __future__ import annotations

import importlib
import os
import textwrap
import time
from typing import Any

from _common import Report, Run, Score, example, need
from zoo import NETWORKS

import tinygrad_rnn as tg


def chosen(networks: str) -> list[str]:
    names = NETWORKS if networks == "all" else [n.strip() for n in networks.split(",")]
    if unknown := sorted(set(names) - set(NETWORKS)):
        raise SystemExit(f"--networks: {unknown} are not in the zoo; it has {', '.join(NETWORKS)}")
    return names


def label(axis: Any, title: str, text: str) -> None:
    """The name of the network and its figure above its panel, in letters for a small one."""
    axis.set_anchor("N")
    axis.tick_params(labelsize=8)
    axis.xaxis.label.set_size(9)
    axis.yaxis.label.set_size(9)
    axis.set_title(text.replace(" (", "\n("), fontsize=9, loc="left")
    axis.annotate(
        textwrap.fill(title, 30), (0, 1), (0, 32), "axes fraction", "offset points",
        fontsize=11, fontweight="bold",
    )  # fmt: skip


# Compiling 27 networks takes longer than running them quickly.
@example(
    quick={"backend": os.environ.get("TINYGRAD_RNN_BACKEND", "numpy")},
    networks=("all", "names with commas between them, or all"),
)
def main(run: Run, networks: str) -> Report:
    need("sklearn", "scikit-learn")
    names = chosen(networks)
    columns = min(7, len(names))
    rows = -(-len(names) // columns)
    size = (max(2.75 * columns, 5.5), 2.9 * rows + 0.8)
    axes = run.axes("A zoo of networks", rows, columns, squeeze=False, figsize=size).ravel()
    for axis in axes[len(names) :]:
        axis.axis("off")
    scores, losses = [], []
    for name, axis in zip(names, axes):
        started = time.perf_counter()
        tg.manual_seed(run.seed)
        one = Run(name, run.out, run.seed, run.quick)
        module = importlib.import_module(f"zoo.{name}")
        try:
            found = module.learn(one)
        finally:
            run.checkpoint = one.checkpoint or run.checkpoint
        title = module.__doc__.partition(":")[0]
        seconds = time.perf_counter() - started
        run.say(f"{title}: {found.score.judged(run.quick)}; {seconds:.1f} s")
        found.draw(axis)
        label(axis, title, str(found.score))
        found.score.name = f"{title}: {found.score.name}"
        scores.append(found.score)
        losses.append(found.loss)
    reached = sum(score.reached for score in scores) / len(scores)
    total = Score("networks that reach their figure", reached, at_least=1.0, form=".0%")
    return Report(sum(losses) / len(losses), total, *scores, shown=1)


if __name__ == "__main__":
    main()
