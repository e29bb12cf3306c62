"""jit: the same effects as the function, bit for bit on NumPy: what it captures and assigns."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from oracles import same, seeded

import tinygrad_rnn as tg


def f64(*shape: int, seed: str = "x") -> tg.Tensor:
    return tg.tensor(seeded(f"{seed}{shape}").normal(size=shape) * 0.7)


# --- a whole training step -----------------------------------------------------------------------

CELLS = {
    "rnn": lambda rng: tg.nn.RNN(3, 4, rng=rng),
    "lstm": lambda rng: tg.nn.LSTM(3, 4, num_layers=2, dropout=0.3, rng=rng),
    "gru": lambda rng: tg.nn.GRU(3, 4, bidirectional=True, rng=rng),
}
OPTIMIZERS = {
    "sgd": lambda ps: tg.optim.SGD(ps, lr=0.1, momentum=0.9, nesterov=True),
    "rmsprop": lambda ps: tg.optim.RMSprop(ps, lr=0.01),
    "adagrad": lambda ps: tg.optim.Adagrad(ps, lr=0.05),
    "adam": lambda ps: tg.optim.Adam(ps, lr=0.01),
    "adamw": lambda ps: tg.optim.AdamW(ps, lr=0.01, weight_decay=0.1),
}


def train(cell: str, optimizer: str, compiled: bool) -> list[np.ndarray]:
    """Five steps with clipping, dropout and input noise: everything that changes."""
    rng = tg.Generator(5)
    model = CELLS[cell](rng)
    head = tg.nn.Linear(8 if cell == "gru" else 4, 2, rng=rng)
    params = [*model.parameters(), *head.parameters()]
    optimizer = OPTIMIZERS[optimizer](params)
    noise, calls = tg.Generator(9), tg.tensor(0)
    xs = seeded("train").normal(size=(5, 6, 2, 3)).astype(np.float32)

    def step(x):
        optimizer.zero_grad()
        y, _ = model(x + noise.normal(x.shape, std=0.1))
        loss = (head(y) ** 2).mean()
        loss.backward()
        norm = tg.optim.clip_grad_norm_(params, 0.5)
        optimizer.step()
        calls.assign_(calls + 1)
        return loss, norm

    run = tg.jit(step) if compiled else step
    tg.manual_seed(1)
    out = [v.detach().numpy() for x in xs for v in run(tg.tensor(x))]
    out += [p.detach().numpy() for p in params] + [p.grad.detach().numpy() for p in params]
    return [*out, noise.state.numpy(), tg.random.default_generator().state.numpy(), calls.numpy()]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("cell", CELLS)
def test_training_is_bitwise_the_eager_one(cell, optimizer):
    eager, compiled = train(cell, optimizer, False), train(cell, optimizer, True)
    for k, (a, b) in enumerate(zip(compiled, eager, strict=True)):
        same(a, b, f"value {k}")


# --- captured and assigned tensors ---------------------------------------------------------------


def test_captured_tensors_are_read_at_every_call():
    w = tg.tensor([1.0, 2.0])
    f = tg.jit(lambda x: x * w)
    assert f(tg.tensor([1.0, 1.0])).tolist() == [1.0, 2.0]
    w.assign_(tg.tensor([5.0, 6.0]))
    assert f(tg.tensor([1.0, 1.0])).tolist() == [5.0, 6.0]
    w[0] = 7.0
    assert f(tg.tensor([1.0, 1.0])).tolist() == [7.0, 6.0]
    assert len(f.recordings) == 1


def test_two_tensors_with_one_value_stay_two():
    a = tg.tensor([1.0])
    b = copy.copy(a)
    f = tg.jit(lambda: a + 10.0 * b)
    assert f().tolist() == [11.0]
    b.assign_(tg.tensor([2.0]))
    assert f().tolist() == [21.0]
    w = tg.tensor([1.0], requires_grad=True)
    v = copy.copy(w)
    (w * 2.0 + v * 3.0).backward()
    assert (w.grad.item(), v.grad.item()) == (2.0, 3.0)


def test_assigned_tensors_are_written_at_every_call():
    s, log = tg.tensor([0.0, 0.0]), tg.zeros((3,))
    k = tg.tensor(0)

    @tg.jit
    def f(x):
        s.assign_(s + x)
        log[k] = s.sum()
        k.assign_(k + 1)
        return s * 2.0

    for n in range(1, 4):
        assert f(tg.tensor([1.0, 2.0])).tolist() == [2.0 * n, 4.0 * n]
    assert s.tolist() == [3.0, 6.0] and log.tolist() == [3.0, 6.0, 9.0] and k.item() == 3


def test_assignments_to_arguments_reach_the_caller():
    @tg.jit
    def f(x, y):
        x.assign_(x * 2.0)
        y += 1.0
        y[0] = x[1]
        return x + y

    x, y = tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0])
    assert f(x, y).tolist() == [6.0, 9.0]
    assert (x.tolist(), y.tolist()) == ([2.0, 4.0], [4.0, 5.0])
    assert f(x, y).tolist() == [12.0, 14.0]
    assert (x.tolist(), y.tolist()) == ([4.0, 8.0], [8.0, 6.0])


def test_a_rebound_tensor_keeps_its_gradient():
    def run(wrap):
        w, state = tg.tensor([2.0, 3.0], requires_grad=True), tg.tensor([1.0, 1.0])

        def f():
            state[0] = (w * w).sum()

        wrap(f)()
        (state * tg.tensor([1.0, 5.0])).sum().backward()
        return w.grad

    same(run(tg.jit), run(lambda f: f))


def test_leaves_that_are_assigned_stay_leaves():
    w = tg.tensor([1.0], requires_grad=True)

    @tg.jit
    def f():
        with tg.no_grad():
            w.assign_(w * 2.0)

    f()
    assert w.requires_grad and w.is_leaf and w.tolist() == [2.0]
    (w * w).sum().backward()
    assert w.grad.tolist() == [4.0]


# --- gradients -----------------------------------------------------------------------------------


def accumulate(wrap, reset):
    w, x = tg.tensor([1.0, 2.0], requires_grad=True), tg.tensor([3.0, 4.0])
    seen = []

    def f(x):
        if reset:
            w.grad = None
        (w * w * x).sum().backward()

    run = wrap(f)
    for k in range(4):
        if k == 2:
            w.grad = None
        run(x)
        seen.append(w.grad.tolist())
    return seen


@pytest.mark.parametrize("reset", [False, True])
def test_grad_accumulates_as_eagerly(reset):
    assert accumulate(tg.jit, reset) == accumulate(lambda f: f, reset)


@pytest.mark.parametrize("reset", [False, True])
def test_grad_of_an_argument(reset):
    def run(wrap):
        def f(w):
            if reset:
                w.grad = None
            (w * w).sum().backward()

        g, a, b = (
            wrap(f),
            tg.tensor([1.0], requires_grad=True),
            tg.tensor([2.0], requires_grad=True),
        )
        seen = []
        for w in (a, b, a, a):
            g(w)
            seen.append(w.grad.item())
        return seen

    assert run(tg.jit) == run(lambda f: f)


def test_results_are_differentiable_outside():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    f = tg.jit(lambda x: (x * w, x + 1.0))
    y, z = f(tg.tensor([3.0, 4.0]))
    assert y.requires_grad and not z.requires_grad
    y.sum().backward()
    assert w.grad.tolist() == [3.0, 4.0]
    x = tg.tensor([3.0, 4.0], requires_grad=True)
    w.grad = None
    y, z = f(x)
    (y.sum() + (z * z).sum()).backward()
    assert w.grad.tolist() == [3.0, 4.0] and x.grad.tolist() == [9.0, 12.0]
    with tg.no_grad():
        assert not f(x)[0].requires_grad
    g = tg.grad(tg.grad(lambda x: tg.jit(lambda x: (x**3).sum())(x).sum()))
    with pytest.raises(RuntimeError, match="scalar"):
        g(x)
    assert tg.grad(tg.grad(tg.jit(lambda x: x**3)))(tg.tensor(2.0)).item() == 12.0


def test_create_graph_inside():
    w = tg.tensor(np.array([0.5, -0.3]), requires_grad=True)
    x = tg.tensor(np.array([0.2, 0.7]))

    def penalty(x):
        x = x.detach()
        x.requires_grad = True
        tg.tanh(w * x).sum().backward(create_graph=True)
        value = (x.grad * x.grad).sum()
        w.grad = None
        value.backward()
        return value

    a = penalty(x)
    eager, w.grad = w.grad, None
    b = tg.jit(penalty)(x)
    same(b, a.detach())
    same(w.grad, eager)


def test_floats_that_make_every_call_a_recording_are_warned_of():
    scaled = tg.jit(lambda x, k, lr: x * lr * k)
    x = tg.ones(2)
    for i in range(7):
        scaled(x, 2, 0.5 + i)
        scaled(x, i, tg.tensor(0.5 + i))  # whole numbers say how things are built
    with pytest.warns(UserWarning, match=r"jit\(<lambda>\).*8 times.*now 9\.25.*tensor\(number"):
        same(scaled(x, 2, 9.25), np.full(2, 18.5, "f4"))
    same(scaled(x, 2, 10.25), np.full(2, 20.5, "f4"))  # said once
