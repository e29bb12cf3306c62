"""What the forward loop saves for the backward one."""

from __future__ import annotations

import numpy as np

import tinygrad_rnn as tg


def saved_by(step, rng):
    """Names of the operations whose results the forward loop stacks, in order."""
    W, h, xs = (tg.tensor(rng.normal(size=s) / 2) for s in ((5, 5), (3, 5), (4, 3, 5)))

    def loss(W, h, xs):
        return tg.sum(tg.scan(lambda h, x: step(h, x, W), h, xs)[0] ** 2)

    graph = tg.explain(tg.grad(loss, argnums=(0, 1, 2)))(W, h, xs).graph
    forward = next(n for n in graph.nodes if n.op.name == "scan")
    body = forward.attrs["body"]
    made = {v: n.op.name for n in body.nodes for v in n.outputs}
    return [made[v] for v in body.outputs[forward.attrs["n_carry"] :]]


def test_what_one_light_operation_makes_of_the_rest_is_not_saved():
    def step(h, x, W):
        a = tg.sigmoid(h @ W + x)
        return (1 - a) * h + a * tg.tanh(h + x), None

    found = saved_by(step, np.random.default_rng(0))
    assert sorted(found) == ["add", "sigmoid", "tanh"]  # h, a, tanh(h + x); neither 1 - a nor a * h


def test_what_another_is_recomputed_from_is_saved():
    def step(h, x, W):
        p = h @ W
        q = p * x
        r = q * x + p
        return tg.sin(r) * q * tg.exp(r), None

    found = saved_by(step, np.random.default_rng(0))
    # p, q, r, sin(r), exp(r) and h: sin(r) * q comes of two of them, and q is there for its sake
    assert found == ["contract", "mul", "add", "sin", "exp", "mul"]
