"""functional_call: a module as a function of its parameters, under every transformation."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn

B, T, I, H = 3, 4, 2, 3


def weights_of(module: nn.Module) -> dict[str, tg.Tensor]:
    return {name: p.detach() for name, p in module.named_parameters()}


def assigned(module: nn.Module, weights: dict[str, tg.Tensor]) -> nn.Module:
    for name, p in module.named_parameters():
        p.assign_(weights[name])
    return module


class Model(nn.Module):
    """Two kinds of layers, a tied weight, a buffer."""

    def __init__(self) -> None:
        self.rnn = nn.LSTM(I, H, num_layers=2, bidirectional=True, dtype="float64", rng=0)
        self.head = nn.Linear(2 * H, I, dtype="float64", rng=1)
        self.again = self.head
        self.register_buffer("scale", tg.tensor(np.array([2.0, 0.5])))

    def forward(self, x: tg.Tensor, lengths: object = None) -> tg.Tensor:
        y = self.head(self.rnn(x, lengths=lengths)[0])
        return self.scale * self.again(tg.concat([y, y, y], axis=-1))


def test_equals_the_module_with_these_weights(rng, close):
    model, x = Model(), tg.tensor(rng.normal(size=(T, B, I)))
    before = {name: v.numpy() for name, v in model.state_dict().items()}
    other = {name: tg.tensor(rng.normal(size=p.shape)) for name, p in model.named_parameters()}
    with tg.no_grad():
        old = model(x).numpy()
        got = nn.functional_call(model, other, x)
        lengths = nn.functional_call(model, other, (x,), {"lengths": [4, 0, 2]})
        part = nn.functional_call(model, {"scale": tg.tensor([0.0, 1.0], dtype="float64")}, x)
        assert np.array_equal(model(x).numpy(), old)
    assert all(np.array_equal(v.numpy(), before[n]) for n, v in model.state_dict().items())
    assert [*dict(model.named_buffers())] == ["scale"]
    assert all(isinstance(p, nn.Parameter) for p in model.parameters())
    assert abs(part.numpy()[..., 0]).max() == 0
    with tg.no_grad():
        assigned(model, other)
        close(got, model(x), 1e-14)
        close(lengths, model(x, lengths=[4, 0, 2]), 1e-14)


def test_gradients_are_those_of_the_parameters(rng, close):
    model, x = Model(), tg.tensor(rng.normal(size=(T, B, I)))
    c = tg.tensor(rng.normal(size=(T, B, I)))

    def loss(weights):
        return (nn.functional_call(model, weights, x) * c).sum()

    got = tg.grad(loss)(weights_of(model))
    assert all(p.grad is None for p in model.parameters())
    (model(x) * c).sum().backward()
    for name, p in model.named_parameters():
        close(got[name], p.grad, 1e-12, name)


def test_inner_steps_of_meta_learning_are_differentiated(rng):
    model, w = nn.GRU(I, H, dtype="float64", rng=0), None
    support, query = (tg.tensor(rng.normal(size=(T, B, I))) for _ in range(2))

    def loss(weights, x):
        return (nn.functional_call(model, weights, x)[0] ** 2).sum()

    def outer(weights):
        for _ in range(2):
            step = tg.grad(loss)(weights, support)
            weights = {name: p - 0.1 * step[name] for name, p in weights.items()}
        return loss(weights, query)

    w = weights_of(model)
    v = {name: tg.tensor(rng.normal(size=p.shape)) for name, p in w.items()}
    slope = sum((g * v[name]).sum().item() for name, g in tg.jit(tg.grad(outer))(w).items())
    near = [outer({n: p + e * v[n] for n, p in w.items()}).item() for e in (-1e-5, 1e-5)]
    assert slope == pytest.approx((near[1] - near[0]) / 2e-5, rel=1e-7)


def test_ensemble_gradients_of_samples_and_jit(rng, close):
    model = nn.Recurrent(nn.LSTMCell(I, H, dtype="float64", rng=0))
    x = tg.tensor(rng.normal(size=(T, B, I)))
    shapes = {name: p.shape for name, p in model.named_parameters()}
    many = {name: tg.tensor(rng.normal(size=(5, *shape))) for name, shape in shapes.items()}

    def last(weights, x):
        return nn.functional_call(model, weights, x)[0][-1]

    ensemble = tg.vmap(last, in_axes=(0, None))(many, x)
    run = tg.jit(last)
    for k in range(5):
        alone = {name: w[k] for name, w in many.items()}
        close(ensemble[k], last(alone, x), 1e-12)
        close(run(alone, x), last(alone, x), 1e-12)  # the weights are inputs of the program
    one = {name: w[0] for name, w in many.items()}
    grads = tg.vmap(tg.grad(lambda w, x: (last(w, x) ** 2).sum()), in_axes=(None, 1))(one, x)
    for k in range(B):
        alone = tg.grad(lambda w, k=k: (last(w, x[:, k]) ** 2).sum())(one)
        for name, g in alone.items():
            close(grads[name][k], g, 1e-12, name)


def test_weights_from_outside_are_read_anew_by_a_compiled_function(rng, close):
    layer, x = nn.Linear(I, H, dtype="float64", rng=0), tg.tensor(rng.normal(size=(B, I)))
    weights = weights_of(layer)
    run = tg.jit(lambda x: nn.functional_call(layer, weights, x))
    close(run(x), layer(x).detach())
    weights["bias"].assign_(weights["bias"] + 1.0)
    close(run(x), layer(x).detach() + 1.0)


def test_an_error_inside_leaves_the_module_as_it_was(rng):
    model = Model()
    mine = dict(model.named_parameters())
    with pytest.raises(tg.ShapeError, match="5 features"):
        nn.functional_call(model, weights_of(model), tg.zeros((T, B, 5), dtype="float64"))
    assert all(mine[name] is p for name, p in model.named_parameters())


def test_errors():
    model = Model()
    weights, x = weights_of(model), tg.zeros((T, B, I), dtype="float64")
    with pytest.raises(tg.ArgumentError, match=r"no parameter or buffer 'head.wieght'; it has"):
        nn.functional_call(model, {"head.wieght": weights["head.weight"]}, x)
    with pytest.raises(tg.ShapeError, match=r"'head.bias' is f64\[2,6\], expected .* f64\[2\]"):
        nn.functional_call(model, {"head.bias": weights["head.weight"]}, x)
    with pytest.raises(tg.DTypeError, match=r"'head\.bias' is a float, expected a tensor"):
        nn.functional_call(model, {"head.bias": 1.0}, x)
    with pytest.raises(tg.DTypeError, match="parameters are a list"):
        nn.functional_call(model, list(model.parameters()), x)
    with pytest.raises(tg.DTypeError, match=r"got function, expected an nn\.Module"):
        nn.functional_call(lambda x: x, {}, x)
    bias = weights["head.bias"]
    with pytest.raises(tg.ArgumentError, match=r"'head\.bias' and 'again\.bias' are one parameter"):
        nn.functional_call(model, {"head.bias": bias, "again.bias": bias + 1.0}, x)


def test_the_error_of_grad_says_how():
    with pytest.raises(tg.DTypeError, match=r"argument\[0\] is a LSTM, .* nn\.functional_call"):
        tg.grad(lambda m: m)(nn.LSTM(I, H))
