"""Backpropagation through time: the textbook's sums beside the gradients that the engine derives.

The vanilla network and its loss, for a sequence x_1 ... x_T (f = tanh, and again f = ReLU):

    s_t = f(U x_t + W s_{t-1}),  o_t = softmax(V s_t),  L = Σ_t L_t,  L_t = -y_t · log o_t

The textbook's gradients, written out below as they stand:

    ∂L/∂V = Σ_t ∂L_t/∂V
    ∂L/∂W = Σ_t Σ_{k≤t} ∂L_t/∂s_t (Π_{j=k+1..t} ∂s_j/∂s_{j-1}) ∂s_k/∂W        ∂L/∂U likewise

Unfolded, the network is a feed-forward one with T copies of W: pretend that they are not shared,
compute the gradient of each, and add them up. A long short-term memory, v = W [h(t-1); x(t)] + b,
a = tanh(v_a), i, f, o = σ(v_i, v_f, v_o), c(t) = f c(t-1) + i a, h(t) = o tanh c(t), has

    ∂E/∂c(t) = ∇E(h(t)) o (1 - tanh² c(t)) + f(t+1) ∂E/∂c(t+1)
    ∂E/∂a = i ∂E/∂c,  ∂E/∂i = a ∂E/∂c,  ∂E/∂f = c(t-1) ∂E/∂c,  ∂E/∂o = ∇E(h(t)) tanh c(t)

Baseline: the difference quotient (E(w + ε) - E(w - ε)) / 2ε.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from _common import COLORS, Report, Run, Score, example, need

import tinygrad_rnn as tg

SLOPES = {"tanh": lambda s: 1 - s * s, "relu": lambda s: (s > 0).astype(float)}


def cross_entropy(s: tg.Tensor, V: tg.Tensor, y: np.ndarray) -> tg.Tensor:
    """Σ_t L_t of the states s [T,H]."""
    return -(y * tg.log_softmax(s @ V.T, axis=-1)).sum()


def vanilla(name: str, x: np.ndarray, y: np.ndarray) -> Callable[..., tg.Tensor]:
    """L as a function of U, W, V; a W [T,H,H] is one copy for each step."""
    f = {"tanh": tg.tanh, "relu": tg.relu}[name]

    def loss(U: tg.Tensor, W: tg.Tensor, V: tg.Tensor) -> tg.Tensor:
        def step(s, x_and_copy):
            x, copy = x_and_copy
            s = f(U @ x + (W if copy is None else copy) @ s)
            return s, s

        copies = W if W.ndim == 3 else None
        _, s = tg.scan(step, tg.zeros(U.shape[0], dtype="float64"), (tg.tensor(x), copies))
        return cross_entropy(s, V, y)

    return loss


def double_sums(name, x, y, U, W, V):
    """The textbook's ∂L/∂U, ∂L/∂W, ∂L/∂V, and the terms [t,k] of ∂L/∂W [T,T,H,H]."""
    s = [np.zeros(len(W))]
    f = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0)}[name]
    for x_t in x:
        s.append(f(U @ x_t + W @ s[-1]))
    T, slope = len(x), [SLOPES[name](s_t) for s_t in s]
    dU, dV, terms = np.zeros_like(U), np.zeros_like(V), np.zeros((T, T, *W.shape))
    for t in range(1, T + 1):
        o = np.exp(V @ s[t]) / np.exp(V @ s[t]).sum()
        dV += np.outer(o - y[t - 1], s[t])
        for k in range(1, t + 1):
            path = V.T @ (o - y[t - 1])  # ∂L_t/∂s_t
            for j in range(t, k, -1):
                path = path @ (slope[j][:, None] * W)  # ∂s_j/∂s_{j-1}
            terms[t - 1, k - 1] = np.outer(path * slope[k], s[k - 1])
            dU += np.outer(path * slope[k], x[k - 1])
    return (dU, terms.sum(axis=(0, 1)), dV), terms


def lstm(x: np.ndarray, y: np.ndarray) -> Callable[..., tg.Tensor]:
    """E as a function of W [4H,H+I], b [4H], V; the blocks of rows are a, i, f, o."""

    def loss(W: tg.Tensor, b: tg.Tensor, V: tg.Tensor) -> tg.Tensor:
        def step(state, x):
            h, c = state
            a, i, f, o = tg.chunk(W @ tg.concat([h, x]) + b, 4)
            c = tg.sigmoid(f) * c + tg.sigmoid(i) * tg.tanh(a)
            h = tg.sigmoid(o) * tg.tanh(c)
            return (h, c), h

        zero = tg.zeros(len(b) // 4, dtype="float64")
        return cross_entropy(tg.scan(step, (zero, zero), tg.tensor(x))[1], V, y)

    return loss


def closed_forms(x, y, W, b, V):
    """∂E/∂W, ∂E/∂b, ∂E/∂V of the memory by the equations above."""
    H, sigmoid = len(b) // 4, lambda v: 1 / (1 + np.exp(-v))
    h, c, tape = np.zeros(H), np.zeros(H), []
    for x_t in x:
        stacked, before = np.concatenate([h, x_t]), c
        v = W @ stacked + b
        a, (i, f, o) = np.tanh(v[:H]), sigmoid(v[H:]).reshape(3, H)
        c = f * c + i * a
        h = o * np.tanh(c)
        tape.append((stacked, before, a, i, f, o, c, h))
    dW, db, dV, dh, dc = np.zeros_like(W), np.zeros_like(b), np.zeros_like(V), 0.0, 0.0
    for y_t, (stacked, before, a, i, f, o, c, h) in zip(y[::-1], tape[::-1]):
        p = np.exp(V @ h) / np.exp(V @ h).sum()
        dV += np.outer(p - y_t, h)
        dh = dh + V.T @ (p - y_t)  # ∇E(h(t)): from above and from t + 1
        dc = dc + dh * o * (1 - np.tanh(c) ** 2)
        da, di, df, do = dc * i, dc * a, dc * before, dh * np.tanh(c)
        gates = [da * (1 - a * a), di * i * (1 - i), df * f * (1 - f), do * o * (1 - o)]
        dv = np.concatenate(gates)
        dW, db, dc = dW + np.outer(dv, stacked), db + dv, dc * f
        dh = (W.T @ dv)[:H]
    return dW, db, dV


def compare(name: str, loss, weights, textbook, rng: np.random.Generator) -> Score:
    """The greatest difference of derived and textbook gradients, relative to the greatest entry."""
    grads = tg.grad(loss, argnums=(0, 1, 2))(*map(tg.tensor, weights))
    worst = max(np.abs(g.numpy() - b).max() / np.abs(b).max() for g, b in zip(grads, textbook))
    along = [rng.normal(size=w.shape) for w in weights]
    ends = [loss(*(tg.tensor(w + e * d) for w, d in zip(weights, along))) for e in (1e-6, -1e-6)]
    quotient = (ends[0] - ends[1]).item() / 2e-6
    off = abs(quotient / sum((b * d).sum() for b, d in zip(textbook, along)) - 1)
    name = f"difference, {name}"
    return Score(name, worst, at_most=1e-12, baseline=("difference quotient", off), form=".0e")


def draw_step(axis, node, title: str) -> None:
    """The graph of a loop's step: what it reads on the left, what it does, what it hands on."""
    body, words = node.attrs["body"], {"contract": "product", "mul": "×", "add": "+", "sub": "−"}
    consts, carried = node.attrs["n_const"], node.attrs["n_carry"]
    labels, depth = {}, {}
    for k, v in enumerate(body.inputs):
        role = "constant" if k < consts else "carried" if k < consts + carried else "read at t"
        labels[v], depth[v] = f"{role} {v.type}", 0
    for n in body.nodes:
        v, value = n.outputs[0], n.attrs.get("value")
        labels[v] = words.get(n.op.name, n.op.name) if value is None else f"{value:g}"
        depth[v] = 1 + max((depth[u] for u in n.inputs), default=-1)
    rows = {d: [v for v in labels if depth[v] == d] for d in set(depth.values())}
    at = {v: (d, (len(r) - 1) / 2 - r.index(v)) for d, r in rows.items() for v in r}
    boxes = {}
    for v, label in labels.items():
        color = COLORS[1] if v in body.outputs else COLORS[2] if v in body.inputs else COLORS[0]
        style = {"boxstyle": "round", "facecolor": "white", "edgecolor": color, "linewidth": 2}
        text = axis.text(*at[v], label, ha="center", va="center", fontsize=13, bbox=style)
        boxes[v] = text.get_bbox_patch()
    for n in body.nodes:
        for u in n.inputs:
            ends = {"patchA": boxes[u], "patchB": boxes[n.outputs[0]]}
            arrow = {"arrowstyle": "-|>", "linewidth": 1.5, "color": "black", **ends}
            axis.annotate("", at[n.outputs[0]], at[u], arrowprops=arrow)
    tall = max(map(len, rows.values())) / 2
    axis.set(title=title, xlim=(-0.7, max(depth.values()) + 0.4), ylim=(-tall, tall))
    axis.axis("off")


def draw(run: Run, terms: np.ndarray, loops) -> None:
    axes = run.axes("Backpropagation through time", 2, 2, gridspec_kw={"width_ratios": [2, 3]})
    steps, sizes = np.arange(1, len(terms) + 1), np.linalg.norm(terms, axis=(2, 3))
    axes[0, 0].bar(steps, np.linalg.norm(terms.sum(axis=0), axis=(1, 2)))
    axes[0, 0].set(title="‖∂L/∂W‖ of each copy of W", xlim=(0.3, len(terms) + 0.5), xticks=[])
    axes[0, 0].text(1, 0, "$s_0 = 0$", ha="center", va="bottom", fontsize=10)
    scale = need("matplotlib.colors").LogNorm(vmin=sizes.max() / 1e4)
    shown = np.where(sizes > 0, sizes, np.nan)
    colors = axes[1, 0].pcolormesh(steps, steps, shown, norm=scale, edgecolors="white")
    figure = axes[1, 0].figure
    figure.colorbar(colors, ax=list(axes[:, 0]), label="‖term of the double sum‖")
    axes[1, 0].set(xlabel="copy k of W", ylabel="loss $L_t$")
    axes[1, 0].set(xticks=steps[1::2], yticks=steps[1::2])
    axes[1, 0].invert_yaxis()
    draw_step(axes[0, 1], loops[0], "the step: $s_t = \\tanh(U x_t + W s_{t-1})$")
    draw_step(axes[1, 1], loops[1], "the step derived from it, which runs backwards")


@example(
    quick={"length": 5},
    length=(12, "T, steps of the sequence"),
    hidden=(4, "H, size of the state"),
)
def main(run: Run, length: int, hidden: int) -> Report:
    I, C, rng, H = 3, 5, run.rng, hidden
    x, y = rng.normal(size=(length, I)), np.eye(C)[rng.integers(C, size=length)]
    U, W, V = (rng.normal(size=shape) * 0.7 for shape in ((H, I), (H, H), (C, H)))
    copies, scores = np.repeat(W[None], length, axis=0), []
    for f in ("relu", "tanh"):
        loss, (sums, terms) = vanilla(f, x, y), double_sums(f, x, y, U, W, V)
        scores.append(compare(f, loss, (U, W, V), sums, rng))
        each = terms.sum(axis=0)
        assert np.allclose(each.sum(axis=0), sums[1], rtol=1e-12), "the copies' gradients add up"
        scores.append(compare(f"copies, {f}", loss, (U, copies, V), (sums[0], each, sums[2]), rng))
    gradient = tg.explain(tg.grad(loss, argnums=(0, 1, 2)))(*map(tg.tensor, (U, W, V)))
    draw(run, terms, [node for node in gradient.graph.nodes if node.op.name == "scan"])
    W, b = rng.normal(size=(4 * H, H + I)) * 0.7, rng.normal(size=4 * H)
    scores.append(compare("LSTM", lstm(x, y), (W, b, V), closed_forms(x, y, W, b, V), rng))
    return Report(math.nan, *scores)


if __name__ == "__main__":
    main()
