"""The cliff: why gradients are clipped, on the loss surface of the smallest recurrent network.

One unit without input reads its own output for T = 50 steps and must end at 0.7:

    h(t) = σ(w h(t-1) + b),  h(0) = 0.5,  L = (h(T) - 0.7)²

Where w and b make the unit jump from "off" to "on", L is a cliff: ∂L/∂w holds the product of 50
factors ∂h(t)/∂h(t-1), which is huge there and nearly 0 elsewhere. A step of gradient descent that
meets the wall is thrown far away; with its norm limited to c it lands beside the ravine:

    θ = (w, b),  g = ∂L/∂θ,  g ← g · min(1, c / ‖g‖),  θ ← θ - η g

A faster optimizer is a remedy, too: Adam divides g by a mean of its size over the last steps, so
that no step is much longer than its η, on the cliff or far from it (Kingma, Ba, 2015). All kinds of
descent start from the same random places and take the same number of steps. Figure: the share of
them that arrives (L < 0.01).
"""

from __future__ import annotations

import numpy as np
from _common import COLORS, Report, Run, Score, example, need

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim

UNROLLED = 50
WINDOW = (3.4, 6.4), (-3.5, -1.3)  # of w and b
ARRIVED = 0.01


def loss(theta: tg.Tensor) -> tg.Tensor:
    """θ = (w, b) [N,2] -> L [N], each row a network of its own."""
    w, b = theta[:, 0], theta[:, 1]

    def step(h, _):
        return tg.sigmoid(w * h + b), None

    h, _ = tg.scan(step, tg.full(w.shape, 0.5, dtype="float64"), None, length=UNROLLED)
    return (h - 0.7) ** 2


def descend(run: Run, start: np.ndarray, steps: int, lr: float, clip: float) -> np.ndarray:
    """The path [steps + 1, N, 2] of gradient descent from N starts."""
    theta = tg.tensor(start)

    @tg.jit
    def step(theta: tg.Tensor) -> tg.Tensor:
        g = tg.grad(lambda theta: loss(theta).sum())(theta)
        norm = tg.sqrt((g * g).sum(axis=1, keepdims=True))
        return theta - lr * g * tg.minimum(1.0, clip / (norm + 1e-12))

    path = [start]
    for _ in run.steps(steps, name="with clipping" if clip < np.inf else "without"):
        theta = step(theta)
        path.append(theta.numpy())
    return np.stack(path)


def adam(run: Run, start: np.ndarray, steps: int, lr: float) -> np.ndarray:
    """The path [steps + 1, N, 2] of Adam, for which every entry of θ is a world of its own."""
    theta = nn.Parameter(tg.tensor(start))
    optimizer = optim.Adam([theta], lr=lr)

    @tg.jit
    def step() -> None:
        optimizer.zero_grad()
        loss(theta).sum().backward()
        optimizer.step()

    path = [start]
    for _ in run.steps(steps, name="Adam"):
        step()
        path.append(theta.detach().numpy())
    return np.stack(path)


def draw(run: Run, paths: dict[str, np.ndarray], start: int) -> None:
    left, right = run.axes(
        "The cliff, and what it does to a step", 1, 2, gridspec_kw={"width_ratios": [1, 1.2]}
    )
    w, b = np.meshgrid(*(np.linspace(*ends, 240) for ends in WINDOW))
    height = loss(tg.tensor(np.stack([w.ravel(), b.ravel()], axis=1))).numpy().reshape(w.shape)
    solid = left.figure.add_subplot(left.get_subplotspec(), projection="3d")
    left.remove()
    solid.plot_surface(w, b, height, cmap="Blues", vmin=-0.1, rcount=160, ccount=160, linewidth=0)
    solid.view_init(elev=35, azim=-125)
    solid.set_box_aspect((1, 1, 0.7), zoom=1.15)
    solid.set(xlabel="w", ylabel="b", zlabel="L", zticks=[0, 0.2, 0.4])
    scale = need("matplotlib.colors").LogNorm(1e-4, 5)
    colors = right.pcolormesh(w, b, height, norm=scale, cmap="Blues")
    bar = right.figure.colorbar(colors, label="L = (h(50) - 0.7)²")
    bar.ax.set_ylim(1e-4, 0.5)
    for (name, path), color in zip(paths.items(), (COLORS[1], "black", COLORS[4])):
        right.plot(*path[:, start].T, ".-", color=color, linewidth=2, label=name)
        right.plot(*path[-1, start], "*", color=color, markersize=22)
    right.plot(*path[0, start], "o", color=COLORS[2], markersize=14, label="start")
    right.set(xlim=WINDOW[0], ylim=WINDOW[1], xlabel="w", ylabel="b")
    right.legend(loc="lower left", labelcolor="white")


@example(
    quick={"starts": 20},
    steps=(300, "steps of gradient descent"),
    starts=(100, "random places to start from"),
    lr=(0.5, "η, the step size"),
    clip=(0.2, "c, the greatest norm of a gradient"),
)
def main(run: Run, steps: int, starts: int, lr: float, clip: float) -> Report:
    low, high = np.array([(5.0, -4.0), (6.5, -2.4)])
    start = run.rng.uniform(low, high, size=(starts, 2))
    paths = {
        "without clipping": descend(run, start, steps, lr, np.inf),
        f"norm clipped to {clip:g}": descend(run, start, steps, lr, clip),
        "Adam": adam(run, start, steps, lr / 5),
    }
    ends = [loss(tg.tensor(path[-1])).numpy() for path in paths.values()]
    without, clipped, by_adam = ((end < ARRIVED).mean() for end in ends)
    away = np.abs(paths["without clipping"] - np.mean(WINDOW, axis=1)).max(axis=2) > 2
    when = np.where(away.any(axis=0) & (ends[1] < ARRIVED), away.argmax(axis=0), steps)
    draw(run, paths, int(when.argmin()))
    share = Score("starts that arrive", clipped, at_least=0.95, baseline=("unclipped", without))
    thrown = Score("unclipped thrown out", away.any(axis=0).mean())
    return Report(ends[1].mean(), share, thrown, Score("arrive by Adam", by_adam))


if __name__ == "__main__":
    main()
