"""Assignments inside recorded functions: generators, `.grad`, parameters that freeze."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import BACKENDS, close, same, seeded

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim
from tinygrad_rnn.random import as_generator, default_generator


def f64(*shape: int) -> tg.Tensor:
    return tg.tensor(seeded(f"effects{shape}").normal(size=shape))


def leaf(value: float) -> tg.Tensor:
    return tg.tensor(np.array([value]), requires_grad=True)


# --- checkpoint ----------------------------------------------------------------------------------


def noisy(g: tg.Generator, wrap):
    """x * mask1 * mask2 with two draws of `g` in a wrapped function, and one draw after it."""

    def block(x):
        return x * x * g.uniform(x.shape, dtype="float64") * g.bernoulli(0.7, x.shape)

    return lambda x: wrap(block)(x).sum() + (x * g.normal(x.shape, dtype="float64")).sum()


@pytest.mark.parametrize("outer", [lambda f: f, tg.jit], ids=["eager", "jit"])
def test_checkpoint_recomputes_with_the_same_numbers(outer):
    x, plain, kept = f64(3, 4), tg.Generator(5), tg.Generator(5)
    want = tg.value_and_grad(noisy(plain, lambda f: f))
    got = outer(tg.value_and_grad(noisy(kept, tg.checkpoint)))
    for _ in range(3):
        for a, b in zip(got(x), want(x), strict=True):
            close(a, b, 1e-14)
        same(kept.state, plain.state)


def test_checkpoint_with_backward_advances_once():
    g = tg.Generator(1)
    x = tg.tensor(np.ones(1000), requires_grad=True)
    y = tg.checkpoint(lambda x: nn.functional.dropout(x, 0.5, rng=g))(x)
    assert g.state.tolist()[3] == 1
    y.sum().backward()
    assert g.state.tolist()[3] == 1
    same(x.grad, y.detach())  # mask / keep, twice the same


def test_checkpoint_of_a_module_with_dropout_inside_jit():
    model = nn.Sequential(nn.Linear(4, 4, rng=0), nn.Dropout(0.5), nn.Linear(4, 1, rng=1))
    x = tg.tensor(seeded("x").normal(size=(6, 4)).astype(np.float32))

    def gradients(f) -> list[np.ndarray]:
        tg.manual_seed(3)
        out = []
        for _ in range(2):
            for p in model.parameters():
                p.grad = None
            f(x)
            out += [p.grad.numpy() for p in model.parameters()]
        return out

    def step(call):
        return lambda x: call(x).sum().backward()

    want = gradients(step(model))
    for f in (step(tg.checkpoint(model)), tg.jit(step(tg.checkpoint(model)))):
        for a, b in zip(gradients(f), want, strict=True):
            close(a, b, 1e-6)


def test_checkpoint_assigns_to_tensors_and_arguments():
    total = tg.tensor(np.zeros(2))
    state = tg.tensor(np.array([1.0, 1.0]))

    @tg.checkpoint
    def f(s, x):
        total.assign_(total + x)
        s.assign_(s * 2.0)
        return (total * x).sum() + s.sum()

    x = tg.tensor(np.array([2.0, 3.0]), requires_grad=True)
    f(state, x).backward()
    assert total.tolist() == [2.0, 3.0] and state.tolist() == [2.0, 2.0]
    assert not total.requires_grad and x.grad.tolist() == [2.0, 3.0]  # total is a constant


def test_checkpoint_rebinds_with_gradients():
    x = tg.tensor(np.array([2.0, 3.0]), requires_grad=True)
    box = tg.tensor(np.zeros(2))

    @tg.checkpoint
    def f(x):
        box[0] = x[1] * x[1]
        return x.sum()

    (f(x) + box.sum()).backward()
    assert box.tolist() == [9.0, 0.0] and x.grad.tolist() == [1.0, 7.0]


def test_an_error_inside_checkpoint_leaves_the_generator():
    g = tg.Generator(0)

    def f(x):
        g.uniform(x.shape)
        raise KeyError("stop")

    with pytest.raises(KeyError):
        tg.checkpoint(f)(f64(2))
    assert g.state.tolist() == [0, 0, 0, 0]


def test_scan_vmap_and_custom_rules_refuse_draws():
    g, x = tg.Generator(0), f64(3)
    block = tg.checkpoint(lambda r: r * g.uniform(r.shape, dtype="float64"))
    refused = r"u32\[4\].*is assigned to inside"
    with pytest.raises(RuntimeError, match=r"scan.*" + refused):
        tg.scan(lambda c, r: (c + block(r), None), tg.tensor(np.zeros(())), x)
    with pytest.raises(RuntimeError, match=r"vmap.*" + refused):
        tg.vmap(block)(x)
    with pytest.raises(RuntimeError, match=r"custom_vjp.*" + refused):
        tg.custom_vjp(lambda r: r * g.uniform(r.shape), lambda ct, y, r: ct)(x)
    assert g.state.tolist() == [0, 0, 0, 0]


def test_backward_inside_checkpoint_is_refused():
    w = leaf(1.0)
    with pytest.raises(RuntimeError, match=r"checkpoint.*\.grad.*use grad"):
        tg.checkpoint(lambda x: (w * x).sum().backward())(f64(1))


@pytest.mark.parametrize("wrap", [lambda f: f, tg.jit, tg.checkpoint])
def test_no_gradient_flows_through_an_assigned_value(wrap):
    memory = tg.tensor(0.0)

    def f(x):
        memory.assign_(x * 2)
        return memory * x

    x = tg.tensor(3.0, requires_grad=True)
    wrap(f)(x).backward()
    assert (x.grad.item(), memory.item()) == (6.0, 6.0)


# --- default generators --------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_has_a_default_generator(backend):
    where = tg.get_backend(backend)
    tg.manual_seed(11)
    want = default_generator("numpy").uniform((3,))
    assert default_generator(backend).state.backend is where
    assert default_generator(backend) is as_generator(None, backend)
    with tg.use_backend(backend):
        assert default_generator() is default_generator(backend)
        assert tg.manual_seed(11) is default_generator(backend)
        same(default_generator().uniform((3,)), want)


@pytest.mark.parametrize("backend", BACKENDS)
def test_dropout_on_another_backend_inside_jit(backend):
    layer = nn.Dropout(0.5)
    x = tg.tensor(np.ones((4, 5), np.float32), backend=backend)
    draw = tg.jit(lambda x: layer(x))
    tg.manual_seed(2)
    eager = [layer(x).numpy() for _ in range(2)]
    tg.manual_seed(2)
    compiled = [draw(x).numpy() for _ in range(2)]
    same(compiled, eager)
    assert not np.array_equal(*eager)


def test_a_default_generator_that_jit_meets_first(monkeypatch):
    monkeypatch.setattr(tg.random._Default, "of", {})
    draw = tg.jit(lambda: default_generator().uniform((3,)))
    a, b = draw(), draw()
    assert not (a == b).any().item()
    tg.manual_seed(tg.random._Default.seed)
    same(draw(), a)


# --- .grad and jit -------------------------------------------------------------------------------


def test_gradients_are_read_anew_when_replaced():
    w = leaf(1.0)
    step = tg.jit(optim.SGD([w], lr=0.1).step)
    for k, want in enumerate((0.9, 0.7, 0.4)):
        w.grad = None
        (w * float(k + 1)).sum().backward()
        step()
        close(w, np.array([want]), 1e-12)
        assert w.grad.tolist() == [k + 1.0]


def test_a_gradient_that_comes_and_goes():
    w = leaf(1.0)
    step = tg.jit(optim.SGD([w], lr=0.1).step)
    step()
    assert w.tolist() == [1.0]
    w.grad = tg.tensor(np.array([1.0]))
    step()
    close(w, np.array([0.9]), 1e-15)
    w.grad = None
    step()
    close(w, np.array([0.9]), 1e-15)
    w.grad = tg.tensor(np.array([1.0]))
    step()
    close(w, np.array([0.8]), 1e-15)


def test_freezing_after_compilation():
    w, x = leaf(1.0), tg.tensor(np.array([1.0]))
    optimizer = optim.SGD([w], lr=0.1)

    @tg.jit
    def step(x):
        optimizer.zero_grad()
        loss = (w * x).sum()
        if loss.requires_grad:
            loss.backward()
            optimizer.step()
        return loss

    step(x)
    close(w, np.array([0.9]), 1e-15)
    w.requires_grad = False
    step(x)
    close(w, np.array([0.9]), 1e-15)
    w.requires_grad = True
    step(x)
    close(w, np.array([0.8]), 1e-15)


def test_gradients_accumulate_over_calls():
    w, x = leaf(1.0), tg.tensor(np.array([1.0]))

    @tg.jit
    def accumulate(x):
        (w * x).sum().backward()
        return w.grad

    for k in range(3):
        assert accumulate(x).tolist() == w.grad.tolist() == [k + 1.0]
    w.grad = None
    assert accumulate(x).tolist() == [1.0]
