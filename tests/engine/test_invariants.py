"""What a step computes from captured tensors alone leaves the loop when the scan is recorded."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.graph import Graph

T, B, H, S = 4, 2, 3, 5


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


def rows(seed, *shape):
    return tg.tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True)


W, U, MEMORY, X, START = (
    rows(0, H, H),
    rows(1, H),
    rows(2, S, B, H),
    rows(3, T, B, H),
    rows(4, B, H),
)


def attending(memory):
    """A step with products, a nonlinearity and movement of captured tensors, and one used bare."""

    def step(h, x):
        keys = tg.tanh(tg.where(tg.arange(H) < 2, memory, 0.5) @ W).swapaxes(0, 1)
        weights = tg.softmax(tg.einsum("bh,bsh->bs", h, keys))
        h = tg.tanh(x + tg.einsum("bs,bsh->bh", weights, keys) * tg.exp(U) + h @ W)
        return h, weights

    return step


attend = attending(MEMORY)


def run(step, n=T):
    h, ys = tg.scan(step, START, X[:n])
    return tg.sin(h).sum() + (ys * ys).sum() if ys is not None else tg.sin(h).sum()


def loop(step, n=T):
    h, total = START, tg.tensor(0.0, dtype="float64")
    for t in range(n):
        h, y = step(h, X[t])
        total = total + (y * y).sum()
    return tg.sin(h).sum() + total


def gradients(f):
    """The gradients by everything that is captured."""
    leaves = (W, U, MEMORY, X, START)
    for a in leaves:
        a.grad = None
    f().backward()
    return [np.zeros(a.shape) if a.grad is None else a.grad.numpy() for a in leaves]


@pytest.mark.parametrize("n", [0, 1, T])
def test_values_and_gradients_are_those_of_a_loop(n):
    wanted = gradients(lambda: loop(attend, n))
    for f in (lambda: run(attend, n), lambda: tg.jit(lambda: run(attend, n))()):
        assert abs(f().item() - loop(attend, n).item()) < 1e-12
    for a, b in zip(gradients(lambda: run(attend, n)), wanted, strict=True):
        assert np.abs(a - b).max(initial=0) < 1e-12


def test_second_derivatives():
    def second(f):
        W.grad = None
        (tg.grad(lambda memory: f(attending(memory)))(MEMORY) ** 2).sum().backward()
        return W.grad.numpy()

    assert np.abs(second(run) - second(loop)).max() < 1e-12


def test_nothing_invariant_is_left_in_the_loop_or_in_its_derivative():
    """Recorded forwards: scores, context, h W. Backwards: two for each, none through the keys'."""

    def train():
        total = run(attend)
        total.backward()
        return total

    forwards, backwards = tg.explain(train)().before
    assert (forwards.products, backwards.products) == (3, 6)
    assert names(forwards.body).count("tanh") == 1
    assert not {"where", "iota", "less"} & {n.op.name for n in forwards.body.nodes[:2]}
    assert forwards.residual_bytes < 8 * B * S * H  # not the keys of every step


def test_a_step_without_invariants_is_left_alone():
    (loop,) = tg.explain(
        lambda: tg.scan(lambda h, x: (tg.tanh(x + h @ W), None), START, X)
    )().before
    assert loop.body.inputs[0].type is W.type and names(loop.body) == ["contract", "add", "tanh"]


def test_what_is_recorded_without_gradients_stays_without():
    def step(h, x):
        with tg.no_grad():
            scale = tg.exp(U)
        return tg.tanh(x + h * scale), h * tg.exp(U).detach()

    assert not gradients(lambda: run(step))[1].any()
    wanted = gradients(lambda: loop(step))
    for a, b in zip(gradients(lambda: run(step)), wanted, strict=True):
        assert np.abs(a - b).max() < 1e-12


def test_a_carry_or_an_output_that_is_invariant_itself():
    def step(h, x):
        again = tg.exp(START)
        return again, again * 2 + 0 * x

    wanted = gradients(lambda: loop(step))
    for a, b in zip(gradients(lambda: run(step)), wanted, strict=True):
        assert np.abs(a - b).max() < 1e-12
    last, ys = tg.scan(lambda h, x: (tg.exp(START), tg.exp(U)), START, X)
    assert np.array_equal(last.detach().numpy(), np.exp(START.detach().numpy()))
    assert np.array_equal(ys.detach().numpy(), np.tile(np.exp(U.detach().numpy()), (T, 1)))


def test_vmap_over_what_is_captured():
    def f(w):
        return tg.scan(lambda h, x: (tg.tanh(x + h @ tg.exp(w)), None), START, X)[0]

    many = rows(9, 6, H, H)
    together = tg.vmap(f)(many).detach().numpy()
    alone = [f(w).detach().numpy() for w in many]
    assert np.abs(together - np.array(alone)).max() < 1e-12
