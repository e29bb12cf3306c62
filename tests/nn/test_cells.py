"""Every cell: scan equals the Python loop, the loop equals the published equations, and limits."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn

I, H, T, B = 3, 4, 5, 2
f64 = {"dtype": "float64"}

CELLS = {
    "rnn": lambda: nn.RNNCell(I, H, **f64),
    "rnn_relu": lambda: nn.RNNCell(I, H, nonlinearity="relu", **f64),
    "rnn_no_bias": lambda: nn.RNNCell(I, H, bias=False, **f64),
    "lstm": lambda: nn.LSTMCell(I, H, **f64),
    "lstm_proj": lambda: nn.LSTMCell(I, H, proj_size=2, **f64),
    "lstm_1997": lambda: nn.LSTM1997Cell(I, H, **f64),
    "lstm_coupled": lambda: nn.CoupledLSTMCell(I, H, **f64),
    "lstm_peephole": lambda: nn.PeepholeLSTMCell(I, H, **f64),
    "lstm_layernorm": lambda: nn.LayerNormLSTMCell(I, H, **f64),
    "gru": lambda: nn.GRUCell(I, H, **f64),
    "gru_before": lambda: nn.GRUCell(I, H, reset_after=False, **f64),
    "gru_no_bias": lambda: nn.GRUCell(I, H, bias=False, reset_after=False, **f64),
    "gru_layernorm": lambda: nn.LayerNormGRUCell(I, H, **f64),
    "gru_layernorm_no_bias": lambda: nn.LayerNormGRUCell(I, H, bias=False, **f64),
    "mgu": lambda: nn.MinimalGatedUnitCell(I, H, **f64),
    "jordan": lambda: nn.JordanCell(I, H, 2, output="sigmoid", **f64),
    "zoneout": lambda: nn.Zoneout(nn.LSTMCell(I, H, **f64), (0.3, 0.2)).eval(),
    "residual": lambda: nn.Residual(nn.GRUCell(I, I, **f64)),
    "nested": lambda: nn.Residual(
        nn.RecurrentDropout(nn.Zoneout(nn.LSTMCell(I, I, **f64), 0.1), 0.5)
    ).eval(),
}


def start(cell, rng):
    carry = cell.initial_carry((B,), "float64")
    return tg.tree.tree_map(lambda a: tg.tensor(rng.normal(size=a.shape)), carry)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("reverse", [False, True])
def test_scan_is_the_loop(name, reverse, rng, randomize, close, gradients):
    """D33: values, first and second derivatives of Recurrent(cell) and of calling the cell."""
    cell = randomize(CELLS[name](), rng)
    layer = nn.Recurrent(cell, reverse=reverse)
    carry = start(cell, rng)
    x = rng.normal(size=(T, B, I))

    def loop(x, carry, lengths=None):
        ys = [None] * T
        for t in reversed(range(T)) if reverse else range(T):
            carry, ys[t] = cell(carry, x[t])
        return tg.stack(ys, 0), carry

    state = tg.tree.tree_map(lambda a: a.numpy(), carry)
    y, final, found = gradients(layer, x, state)
    y2, final2, expected = gradients(layer, x, state, call=loop)
    close(y, y2, 1e-12)
    for a, b in zip(tg.tree.flatten(final)[0], tg.tree.flatten(final2)[0], strict=True):
        close(a, b, 1e-12)
    assert found.keys() == expected.keys()
    for key, g in expected.items():
        close(found[key], g, 1e-11, key)

    c = tg.tensor(rng.normal(size=y.shape))

    def penalty(call):
        layer.zero_grad()
        xt = tg.tensor(x, requires_grad=True)
        g = tg.grad(lambda x: (call(x, carry)[0] * c * call(x, carry)[0]).sum())(xt)
        (g * g).sum().backward()
        return {"x": xt.grad} | {n: p.grad for n, p in layer.named_parameters()}

    for (key, a), b in zip(penalty(layer).items(), penalty(loop).values(), strict=True):
        assert (a is None) == (b is None), key
        if a is not None:
            close(a, b, 1e-9, f"second derivative of {key}")


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def norm(z, w, b=0.0):
    return (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + 1e-5) * w + b


def equations(name, p, carry, x):
    """The published equations, written once more in NumPy."""
    U, W = p["weight_ih"], p["weight_hh"]
    bu, bw = p.get("bias_ih", 0.0), p.get("bias_hh", 0.0)
    h, c = carry if isinstance(carry, tuple) else (carry, None)
    if name == "lstm_layernorm":
        z = norm(x @ U.T, p["norm_ih.weight"]) + norm(h @ W.T, p["norm_hh.weight"]) + bu + bw
    else:
        z = x @ U.T + bu + (h @ W.T + bw)
    n = W.shape[0] // {"lstm": 4, "gru": 3, "lstm_1997": 3, "lstm_coupled": 3, "mgu": 2}.get(
        name, 4 if name.startswith("lstm") else 3 if name.startswith("gru") else 1
    )
    part = [z[..., k * n : (k + 1) * n] for k in range(z.shape[-1] // n)]
    if name.startswith("rnn"):
        h = np.maximum(z, 0) if name == "rnn_relu" else np.tanh(z)
        return h, h
    if name == "jordan":
        y = sigmoid(np.tanh(z) @ p["weight_ho"].T + p["bias_ho"])
        return y, y
    if name in ("lstm", "lstm_proj", "lstm_layernorm"):
        i, f, g, o = part
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        seen = norm(c, p["norm_c.weight"], p["norm_c.bias"]) if name == "lstm_layernorm" else c
        h = sigmoid(o) * np.tanh(seen)
        h = h @ p["weight_hr"].T if name == "lstm_proj" else h
    elif name == "lstm_1997":
        i, g, o = part
        c = c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    elif name == "lstm_coupled":
        f, g, o = part
        c = sigmoid(f) * c + (1 - sigmoid(f)) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    elif name == "lstm_peephole":
        i, f, g, o = part
        pi, pf, po = np.split(p["weight_ch"], 3)
        c = sigmoid(f + pf * c) * c + sigmoid(i + pi * c) * np.tanh(g)
        h = sigmoid(o + po * c) * np.tanh(c)
    elif name == "mgu":
        f = sigmoid(part[0])
        cand = np.tanh(x @ U[n:].T + bu[n:] + (f * h) @ W[n:].T + bw[n:])
        h = (1 - f) * h + f * cand
        return h, h
    else:
        bu, bw = (np.zeros(3 * n), np.zeros(3 * n)) if "bias_ih" not in p else (bu, bw)
        r, z = sigmoid(part[0]), sigmoid(part[1])
        if name == "gru":
            cand = np.tanh(x @ U[2 * n :].T + bu[2 * n :] + r * (h @ W[2 * n :].T + bw[2 * n :]))
        elif name.startswith("gru_layernorm"):
            m = 2 * n
            gates = norm((x @ U.T)[..., :m], p["norm_gates_ih.weight"]) + bu[:m]
            gates = gates + norm((h @ W.T)[..., :m], p["norm_gates_hh.weight"]) + bw[:m]
            r, z = sigmoid(gates[..., :n]), sigmoid(gates[..., n:])
            from_h = norm((h @ W.T)[..., m:], p["norm_n_hh.weight"]) + bw[m:]
            cand = np.tanh(norm((x @ U.T)[..., m:], p["norm_n_ih.weight"]) + bu[m:] + r * from_h)
        else:
            cand = np.tanh(x @ U[2 * n :].T + bu[2 * n :] + (r * h) @ W[2 * n :].T + bw[2 * n :])
        h = (1 - z) * cand + z * h
        return h, h
    return (h, c), h


WRITTEN = [name for name in CELLS if name not in ("zoneout", "residual", "nested")]


@pytest.mark.parametrize("name", WRITTEN)
def test_one_step_is_the_equations(name, rng, randomize, close):
    cell = randomize(CELLS[name](), rng)
    carry, x = start(cell, rng), rng.normal(size=(B, I))
    p = {k: v.numpy() for k, v in cell.state_dict().items()}
    new, y = cell(carry, tg.tensor(x))
    host = tg.tree.tree_map(lambda a: a.numpy(), carry)
    new2, y2 = equations(name, p, host, x)
    close(y, y2, 1e-13)
    for a, b in zip(tg.tree.flatten(new)[0], tg.tree.flatten(new2)[0], strict=True):
        close(a, b, 1e-13)


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_any_batch_axes(name, batch, rng, randomize, close):
    """A cell does not care how many batch axes there are, none included."""
    cell = randomize(CELLS[name](), rng)
    carry = tg.tree.tree_map(
        lambda a: tg.tensor(rng.normal(size=a.shape)), cell.initial_carry(batch, "float64")
    )
    x = tg.tensor(rng.normal(size=(*batch, I)))
    new, y = cell(carry, x)
    for index in np.ndindex(*batch):
        one, y1 = cell(tg.tree.tree_map(lambda a: a[index], carry), x[index])  # noqa: B023
        close(y[index], y1, 1e-13)
        for a, b in zip(tg.tree.flatten(new)[0], tg.tree.flatten(one)[0], strict=True):
            close(a[index], b, 1e-13)


def test_options_at_the_start():
    eye = nn.RNNCell(3, 5, nonlinearity="relu", recurrent_init="identity")
    assert np.array_equal(eye.weight_hh.detach().numpy(), np.eye(5, dtype="f4"))
    assert not eye.bias_ih.detach().numpy().any() and not eye.bias_hh.detach().numpy().any()
    q = nn.RNNCell(3, 5, recurrent_init="orthogonal", rng=0, **f64).weight_hh.detach().numpy()
    assert np.abs(q @ q.T - np.eye(5)).max() < 1e-14
    for cell in (
        nn.LSTMCell(3, 5, forget_bias=1.5),
        nn.CoupledLSTMCell(3, 5, forget_bias=1.5),
        nn.PeepholeLSTMCell(3, 5, forget_bias=1.5),
        nn.LayerNormLSTMCell(3, 5, forget_bias=1.5),
    ):
        total = (cell.bias_ih + cell.bias_hh).detach().numpy()
        blocks = total.reshape(len(cell.gates), 5) == 1.5
        assert [bool(row.all()) for row in blocks] == [gate == "f" for gate in cell.gates]
        assert blocks.sum() == 5
    layer = nn.LSTM(3, 5, 2, bidirectional=True, forget_bias=2.0)
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        total = getattr(layer, f"bias_ih_{suffix}") + getattr(layer, f"bias_hh_{suffix}")
        assert (total.detach().numpy()[5:10] == 2.0).all()


GATED = [c for c in vars(nn).values() if isinstance(c, type) and getattr(c, "keeps", None)]


@pytest.mark.parametrize("kind", GATED, ids=lambda c: c.__name__)
def test_gates_are_those_of_the_letters(kind, rng):
    """With the gates set to keep, the state stands still for a hundred random steps."""
    cell = kind(3, 5, **f64)
    for weight in (cell.weight_ih, cell.weight_hh):
        nn.init.normal_(weight, std=0.3)
    assert cell.weight_ih.shape[0] == 5 * len(cell.gates)
    nn.init.gate_bias_(cell, **{gate: 60.0 * sign for gate, sign in cell.keeps.items()})
    carry = cell.initial_carry((2,))
    pair = isinstance(carry, tuple)
    first = [rng.normal(size=c.shape) for c in (carry if pair else [carry])]
    state = tuple(first) if pair else first[0]
    _, last = nn.Recurrent(cell)(rng.normal(size=(100, 2, 3)), state)
    kept = last[-1] if pair else last  # the memory c, or h
    assert np.abs(kept.detach().numpy() - first[-1]).max() < 1e-12


def test_chrono_spreads_the_times_of_forgetting():
    """Units forget with factors σ(b) = 1 - 1/(1 + u), u uniform on [1, longest - 1]."""
    cell = nn.init.chrono_(nn.LSTMCell(3, 400, **f64), 100, rng=0)
    total = (cell.bias_ih + cell.bias_hh).detach().numpy().reshape(4, 400)
    times = np.exp(total[1])
    assert 1 <= times.min() < 3 and 97 < times.max() <= 99 and abs(times.mean() - 50) < 5
    assert np.array_equal(total[0], -total[1])
    gru = nn.init.chrono_(nn.GRU(3, 5, 2, **f64), 100, rng=0)
    assert ((gru.bias_ih_l1 + gru.bias_hh_l1).detach().numpy()[5:10] >= 0).all()


def test_seed_decides_and_weights_differ():
    a, b = nn.LSTM(3, 5, 2, rng=7), nn.LSTM(3, 5, 2, rng=7)
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert np.array_equal(p.detach().numpy(), q.detach().numpy())
    # one seed must not give two parameters the same numbers
    assert not np.array_equal(a.bias_ih_l0.detach().numpy(), a.bias_hh_l0.detach().numpy())
    assert not np.array_equal(a.weight_hh_l0.detach().numpy(), a.weight_hh_l1.detach().numpy())
    bound = 1 / np.sqrt(5)
    for p in a.parameters():
        assert np.abs(p.detach().numpy()).max() <= bound


@pytest.mark.parametrize(
    "make",
    [
        nn.RNNCell, nn.LSTMCell, nn.GRUCell, nn.LSTM1997Cell, nn.CoupledLSTMCell,
        nn.PeepholeLSTMCell, nn.LayerNormLSTMCell, nn.LayerNormGRUCell, nn.MinimalGatedUnitCell,
        lambda *sizes, rng: nn.JordanCell(*sizes, 2, rng=rng),
        lambda *sizes, rng: nn.LSTMCell(*sizes, proj_size=1, rng=rng),
    ],
)  # fmt: skip
def test_a_seed_is_used_once_per_cell(make):
    """An integer seeds one stream for all parameters, not the same stream for each."""
    cell = make(3, 5, rng=7)
    random = {n: p.detach().numpy().ravel() for n, p in cell.named_parameters() if "norm" not in n}
    starts = {round(float(a[0] * 5**0.5), 6) for a in random.values()}
    assert len(starts) == len(random) >= 4
    again = make(3, 5, rng=7)
    assert all(
        np.array_equal(a, dict(again.named_parameters())[n].detach().numpy().ravel())
        for n, a in random.items()
    )


# --- Jordan: feeding back the output, and teacher forcing ------------


def test_jordan_feeds_back_what_it_is_told(rng, randomize, close):
    cell = randomize(nn.JordanCell(I, H, 2, **f64), rng)
    x, target = tg.tensor(rng.normal(size=(T, B, I))), tg.tensor(rng.normal(size=(T, B, 2)))
    y0 = tg.tensor(rng.normal(size=(B, 2)))
    forced = rng.uniform(size=(T, B)) < 0.5
    y, last = nn.Recurrent(cell)((x, target, tg.tensor(forced)), y0)
    seen = y0.numpy()
    for t in range(T):
        _, y_t = cell(tg.tensor(seen), x[t])
        close(y[t], y_t, 1e-13)
        seen = np.where(forced[t][:, None], target[t].numpy(), y_t.detach().numpy())
    close(last, seen, 1e-13)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_teacher_forcing_all_or_nothing(p, rng, randomize, close, gradients):
    cell = randomize(nn.JordanCell(I, H, 2, **f64), rng)
    layer = nn.Recurrent(cell)
    x, target = rng.normal(size=(T, B, I)), rng.normal(size=(T, B, 2))
    xs = cell.teacher_forcing(tg.tensor(x), tg.tensor(target), p, rng=0)
    y, _, found = gradients(layer, tuple(a.numpy() for a in xs))
    if p == 0:
        free, _, plain = gradients(layer, x)
        close(y, free, 0)
        assert not found["x1"].any()  # an unused target
        close(found["weight_hh" if "weight_hh" in found else "cell.weight_hh"],
              plain["cell.weight_hh"], 1e-12)  # fmt: skip
    else:
        # with forcing, a step depends on its own input and on the target before, on nothing else
        def last(x):
            return layer((x, xs[1], xs[2]))[0][-1].sum()

        g = tg.grad(last)(tg.tensor(x)).detach().numpy()
        assert g[-1].any() and not g[:-1].any()


def test_scheduled_sampling_rate(rng):
    cell = nn.JordanCell(I, H, 2)
    forced = cell.teacher_forcing(tg.zeros((200, 100, I)), tg.zeros((200, 100, 2)), 0.3, rng=0)[2]
    assert abs(forced.numpy().mean() - 0.3) < 0.02
    with pytest.raises(
        tg.errors.ShapeError, match=r"targets are f32\[5,2,3\], expected shape \(5, 2, 2\)"
    ):
        cell.teacher_forcing(tg.zeros((5, 2, I)), tg.zeros((5, 2, 3)))
