"""Module: names, state dictionaries, sharing, modes, moving, containers, initialisers."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 3)
        self.rnn = nn.GRU(3, 4, bidirectional=True)
        self.head = nn.Linear(8, 7)
        self.scale = nn.Parameter(np.ones(1, "f4"))
        self.register_buffer("mean", tg.zeros(8))
        self.register_buffer("scratch", tg.zeros(2), persistent=False)

    def forward(self, ids, lengths=None):
        y, _ = self.rnn(self.embed(ids), lengths=lengths)
        return self.head(y - self.mean) * self.scale


NAMES = [
    "scale", "mean", "embed.weight",
    "rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0", "rnn.bias_hh_l0",
    "rnn.weight_ih_l0_reverse", "rnn.weight_hh_l0_reverse", "rnn.bias_ih_l0_reverse",
    "rnn.bias_hh_l0_reverse", "head.weight", "head.bias",
]  # fmt: skip


def test_names():
    net = Net()
    assert list(net.state_dict()) == NAMES
    assert [n for n, _ in net.named_parameters()] == [n for n in NAMES if n != "mean"]
    assert [n for n, _ in net.named_buffers()] == ["mean", "scratch"]
    assert [n for n, _ in net.named_children()] == ["embed", "rnn", "head"]
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in net.parameters())
    assert net.rnn.weight_ih_l0_reverse is net.rnn.stack.layers[0].bwd.cell.weight_ih
    with pytest.raises(AttributeError, match="weight_ih_l1"):
        net.rnn.weight_ih_l1  # noqa: B018
    with pytest.raises(AttributeError, match="nothing"):
        net.rnn.nothing  # noqa: B018


def test_super_init_may_be_forgotten():
    class Small(nn.Module):
        def __init__(self):
            self.w = nn.Parameter(np.ones(2))

    a, b = Small(), Small()
    a.register_buffer("extra", tg.zeros(1))
    assert list(a.state_dict()) == ["w", "extra"] and list(b.state_dict()) == ["w"]
    assert a.training and not a.eval().training and b.training


def test_assignment_replaces_and_refuses():
    net = Net()
    new = nn.Parameter(np.zeros((12, 3), "f4"))
    net.rnn.weight_ih_l0 = new
    assert net.rnn.stack.layers[0].fwd.cell.weight_ih is new
    assert dict(net.named_parameters())["rnn.weight_ih_l0"] is new
    with pytest.raises(
        tg.errors.DTypeError, match=r"'scale' is a Parameter, got Tensor.*nn.Parameter"
    ):
        net.scale = tg.ones(1)
    with pytest.raises(
        tg.errors.DTypeError, match=r"buffer 'mean' must be a Tensor or None, got ndarray"
    ):
        net.mean = np.zeros(8)
    net.mean = tg.ones(8)
    assert net.state_dict()["mean"].numpy().all()
    net.head.bias = None
    assert "head.bias" not in net.state_dict()


def test_state_dict_is_a_snapshot_and_loads_back(rng, randomize):
    net, other = randomize(Net(), rng), Net()
    saved = net.state_dict()
    before = {k: v.numpy().copy() for k, v in saved.items()}
    randomize(net, rng)
    assert all(np.array_equal(saved[k].numpy(), before[k]) for k in NAMES)
    handles = dict(other.named_parameters())
    assert other.load_state_dict(saved) == ([], [])
    assert all(np.array_equal(other.state_dict()[k].numpy(), before[k]) for k in NAMES)
    assert all(p is handles[n] and p.requires_grad for n, p in other.named_parameters())
    ids = np.array([[1, 2], [3, 4]])
    net.load_state_dict(before)  # NumPy arrays, too
    assert np.array_equal(net(ids).detach().numpy(), other(ids).detach().numpy())


def test_bad_state_dict_changes_nothing_and_tells_everything(rng):
    net = Net()
    before = {k: v.numpy().copy() for k, v in net.state_dict().items()}
    bad = {k: rng.normal(size=v.shape).astype("f4") for k, v in before.items()}
    bad["scale"] = np.ones(2, "f4")
    bad["mean"] = np.ones(8)
    bad["rnn.bias_hh_l0"] = "not an array"
    bad["rnn.weight_ih_l9"] = np.ones((1, 2), "f4")
    del bad["head.bias"]
    with pytest.raises(tg.errors.CheckpointError) as error:
        net.load_state_dict(bad)
    text = str(error.value)
    for part in (
        "Net.load_state_dict: 5 problems, nothing was loaded",
        "missing: 'head.bias' (f32[7])",
        "unexpected: 'rnn.weight_ih_l9' (f32[1,2])",
        "'scale' is f32[2], expected f32[1]",
        "'mean' is f64[8], expected f32[8]",
        "'rnn.bias_hh_l0' is str, expected f32[12]",
    ):
        assert part in text
    assert all(np.array_equal(net.state_dict()[k].numpy(), before[k]) for k in NAMES)
    with pytest.raises(tg.errors.CheckpointError, match="expected a mapping"):
        net.load_state_dict([1, 2])
    good = {"head.bias": np.ones(7, "f4"), "more": np.ones(1, "f4")}
    missing, unexpected = net.load_state_dict(good, strict=False)
    assert unexpected == ["more"] and len(missing) == len(NAMES) - 1
    assert net.head.bias.detach().numpy().all()


def test_shared_parameters_count_once():
    """Tied embedding and output weights: one parameter, two names, one gradient (the sum)."""

    class Tied(nn.Module):
        def __init__(self):
            self.embed = nn.Embedding(5, 3)
            self.head = nn.Linear(3, 5, bias=False)
            self.head.weight = self.embed.weight

    net = Tied()
    assert [n for n, _ in net.named_parameters()] == ["embed.weight"]
    assert len(list(net.named_parameters(remove_duplicate=False))) == 2
    assert list(net.state_dict()) == ["embed.weight", "head.weight"]
    ids = np.array([0, 1, 1])
    net.head(net.embed(ids)).sum().backward()
    W = net.embed.weight.detach().numpy()
    lookup = np.zeros((5, 3), "f4")
    np.add.at(lookup, ids, np.broadcast_to(W.sum(0), (3, 3)))
    assert np.allclose(net.embed.weight.grad.numpy(), lookup + W[ids].sum(0), atol=1e-6)
    state = {k: v.numpy().copy() for k, v in net.state_dict().items()}
    net.load_state_dict(state)
    state["head.weight"] = state["head.weight"] + 1
    with pytest.raises(
        tg.errors.CheckpointError, match=r"'embed.weight' and 'head.weight' are one parameter"
    ):
        net.load_state_dict(state)
    twin = copy.deepcopy(net)
    assert twin.head.weight is twin.embed.weight is not net.embed.weight
    net.double()
    assert net.head.weight is net.embed.weight and net.head.weight.dtype == "float64"


def test_to_keeps_identity_and_integers():
    net = Net()
    net.register_buffer("count", tg.zeros(1, "int64"))
    handles = list(net.parameters())
    net.scale.grad = tg.ones(1)
    assert net.to("float64") is net
    assert all(
        p is q and p.dtype == "float64" for p, q in zip(net.parameters(), handles, strict=True)
    )
    assert net.mean.dtype == "float64" and net.count.dtype == "int64"
    assert net.scale.grad.dtype == "float64" and net.scale.requires_grad
    assert net(np.array([[1, 2]])).dtype == "float64"
    assert net.to("numpy").scale.backend.name == "numpy"
    with pytest.raises(tg.errors.BackendError):
        net.to("nowhere")
    with pytest.raises(tg.errors.DTypeError):
        net.to("int64")


def test_to_another_backend(rng):
    """A backend is a value: parameters, buffers and generators move, numbers stay the same."""
    home = tg.get_backend()
    other = type("Other", (type(home),), {"name": "other"})()
    x = tg.tensor(rng.normal(size=(4, 2, 3)).astype("f4"))

    def build():
        return nn.Stack(
            [nn.Zoneout(nn.LSTMCell(3, 4, rng=0), 0.3, rng=1), nn.GRUCell(4, 2, rng=2)], 0.5, rng=3
        )

    here, there = build(), build().to(other)
    assert all(p.backend is other for p in there.parameters())
    a, _ = here(x)
    for run in (there, tg.jit(there)):
        b, _ = run(x.to(other), lengths=None)
        assert b.backend is other
        if run is there:
            assert np.array_equal(a.detach().numpy(), b.detach().numpy())
    b.sum().backward()
    assert there.layers[1].cell.weight_ih.grad.backend is other
    there.to(home)
    assert there(x, lengths=[4, 1])[0].backend is home


def test_modes_gradients_and_freezing():
    net = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5), nn.Linear(3, 1))
    assert all(not m.training for m in net.eval().modules())
    assert all(m.training for m in net.train().modules())
    net(tg.ones((4, 2))).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net[0].requires_grad_(False)
    net(tg.ones((4, 2))).sum().backward()
    assert net[0].weight.grad is None and net[2].weight.grad is not None
    seen = []
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "Dropout", "Linear", "Sequential"]


def test_mode_is_guarded_in_jit():
    drop = nn.Dropout(0.5, rng=0)
    run = tg.jit(lambda x: drop(x))
    x = tg.ones(1000)
    assert (run(x).numpy() == 0).any()
    drop.eval()
    assert run(x).numpy().all()
    drop.train()
    assert (run(x).numpy() == 0).any()


def test_containers():
    layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
    layers.append(nn.Tanh())
    layers[1] = nn.Linear(2, 2, bias=False)
    assert len(layers) == 4 and isinstance(layers[-1], nn.Tanh)
    assert list(layers.state_dict()) == ["0.weight", "0.bias", "1.weight", "2.weight", "2.bias"]
    with pytest.raises(tg.errors.DTypeError, match=r"got function, expected an nn.Module"):
        nn.Sequential(nn.Linear(2, 2), lambda x: x)
    text = repr(nn.Sequential(nn.Linear(2, 3), nn.LSTM(3, 4, 2, bidirectional=True)))
    assert text == (
        "Sequential(\n  (0): Linear(2, 3, bias=True)\n"
        "  (1): LSTM(3, 4, num_layers=2, bidirectional=True)\n)"
    )


def test_activations(rng):
    x = rng.normal(size=(2, 3, 4))
    for module, f in [
        (nn.Tanh(), np.tanh),
        (nn.ReLU(), lambda x: np.maximum(x, 0)),
        (nn.Sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
        (nn.Softmax(1), lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
        (nn.Flatten(), lambda x: x.reshape(2, 12)),
    ]:
        assert np.allclose(module(x).numpy(), f(x), rtol=1e-14)


def test_parameter_refuses_integers():
    with pytest.raises(tg.errors.GradientError, match=r"i64\[3\].*register_buffer"):
        nn.Parameter([1, 2, 3])


# --- initialisers ------------


def fresh(*shape):
    return nn.Parameter(np.zeros(shape))


def test_initialisers_have_their_moments():
    n, m = 300, 200
    cases = [
        (nn.init.uniform_, {"low": -2.0, "high": 4.0}, 1.0, np.sqrt(36 / 12), (-2, 4)),
        (nn.init.normal_, {"mean": 1.0, "std": 2.0}, 1.0, 2.0, None),
        (nn.init.xavier_uniform_, {"gain": 2.0}, 0.0, 2 * np.sqrt(2 / (n + m)), None),
        (nn.init.xavier_normal_, {}, 0.0, np.sqrt(2 / (n + m)), None),
        (nn.init.kaiming_uniform_, {"nonlinearity": "relu"}, 0.0, np.sqrt(2 / m), None),
        (
            nn.init.kaiming_normal_,
            {"mode": "fan_out", "nonlinearity": "relu"},
            0,
            np.sqrt(2 / n),
            None,
        ),
    ]
    for init, options, mean, std, bounds in cases:
        p = fresh(n, m)
        assert init(p, **options, rng=0) is p and p.requires_grad
        a = p.detach().numpy()
        assert abs(a.mean() - mean) < 5 * std / np.sqrt(a.size), init.__name__
        assert abs(a.std() / std - 1) < 0.02, init.__name__
        if bounds:
            assert bounds[0] <= a.min() and a.max() < bounds[1]
        again = init(fresh(n, m), **options, rng=0).detach().numpy()
        other = init(fresh(n, m), **options, rng=1).detach().numpy()
        assert np.array_equal(a, again) and not np.array_equal(a, other)


@pytest.mark.parametrize("shape,gates", [((5, 5), 1), ((3, 7), 1), ((7, 3), 1), ((12, 4), 3)])
def test_orthogonal(shape, gates):
    a = nn.init.orthogonal_(fresh(*shape), 2.0, gates=gates, rng=0).detach().numpy()
    blocks = np.split(a, gates)
    for q in blocks:
        small = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
        assert np.abs(small - 4 * np.eye(len(small))).max() < 1e-13
    assert gates == 1 or not np.array_equal(blocks[0], blocks[1])


def test_orthogonal_is_uniform():
    """Without the signs of R's diagonal the corner of Q would always have one sign."""
    g = tg.Generator(0)
    corners = [
        nn.init.orthogonal_(fresh(3, 3), rng=g).detach().numpy()[[0, 2], [0, 2]] for _ in range(400)
    ]
    assert np.abs(np.mean(corners, axis=0)).max() < 0.1  # standard error 0.03


def test_constants_and_errors():
    assert (nn.init.constant_(fresh(3), 2.5).detach().numpy() == 2.5).all()
    assert nn.init.ones_(fresh(3)).detach().numpy().all()
    assert not nn.init.zeros_(nn.init.ones_(fresh(3))).detach().numpy().any()
    eye = nn.init.eye_(fresh(6, 3), gates=2).detach().numpy()
    assert np.array_equal(eye, np.vstack([np.eye(3), np.eye(3)]))
    with pytest.raises(tg.errors.ShapeError, match=r"at least 2 axes, got f64\[3\]"):
        nn.init.xavier_uniform_(fresh(3))
    with pytest.raises(tg.errors.ArgumentError, match="'both', expected 'fan_in' or 'fan_out'"):
        nn.init.kaiming_normal_(fresh(3, 3), mode="both")
    with pytest.raises(tg.errors.ArgumentError, match="'swoosh', expected one of"):
        nn.init.calculate_gain("swoosh")
    with pytest.raises(tg.errors.ShapeError, match=r"gates=2 blocks, got f64\[3,3\]"):
        nn.init.orthogonal_(fresh(3, 3), gates=2)
    with pytest.raises(tg.errors.ArgumentError, match="no cell with biases and a gate f that"):
        nn.init.forget_bias_(nn.GRU(2, 3))
    with pytest.raises(tg.errors.ArgumentError, match=r"the gates i f; its cells: .*rzn"):
        nn.init.gate_bias_(nn.GRU(2, 3), i=1.0, f=1.0)
    with pytest.raises(tg.errors.ArgumentError, match="no cell with biases and a gate that keeps"):
        nn.init.chrono_(nn.Recurrent(nn.LSTMCell(2, 3, bias=False)), 10)
    with pytest.raises(tg.errors.ArgumentError, match="longest is 1"):
        nn.init.chrono_(nn.LSTM(2, 3), 1)


@pytest.mark.parametrize("kind", [list, tuple, lambda pair: dict(zip("ab", pair))])
def test_modules_and_parameters_in_plain_containers_are_warned_of(kind):
    """Nobody would train them."""
    net = nn.Module()
    for pair in ((nn.Linear(2, 2), nn.Linear(2, 2)), (nn.Parameter(tg.ones(2)),) * 2):
        with pytest.warns(UserWarning, match=r"attribute 'parts' is a .* of .*nn\.ModuleList"):
            net.parts = kind(pair)
    net.sizes, net.name = kind((2, 3)), kind("ab")
    net.parts = nn.ModuleList([nn.Linear(2, 2)])


def test_a_state_dictionary_of_another_dtype_is_refused_with_advice():
    net = nn.Linear(2, 1)
    advice = r"f32\[1\], expected f64\[1\]; cast it with \.astype\('float64'\)"
    with pytest.raises(tg.CheckpointError, match=advice):
        nn.Linear(2, 1, dtype="float64").load_state_dict(net.state_dict())
