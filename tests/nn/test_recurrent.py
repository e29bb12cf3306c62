"""Recurrent and its combinators: ragged batches, poison, chunks, directions, hierarchies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import nn

I, H = 3, 4
f64 = {"dtype": "float64"}


def divide(carry, x):
    """A bare cell that produces inf and NaN on zeros and NaNs: padding must not show it."""
    carry = tg.tanh(0.5 * carry + (1.0 / x).sum(axis=-1, keepdims=True))
    return carry, carry * carry


LAYERS = {
    "rnn": lambda: nn.RNN(I, H, nonlinearity="relu", **f64),
    "lstm": lambda: nn.LSTM(I, H, 2, bidirectional=True, **f64),
    "lstm_proj": lambda: nn.LSTM(I, H, proj_size=2, **f64),
    "gru": lambda: nn.GRU(I, H, 2, **f64),
    "gru_before": lambda: nn.GRU(I, H, bidirectional=True, reset_after=False, **f64),
    "reverse": lambda: nn.Recurrent(nn.LSTMCell(I, H, **f64), reverse=True),
    "layernorm": lambda: nn.Recurrent(nn.LayerNormLSTMCell(I, H, **f64)),
    "peephole": lambda: nn.Bidirectional(
        nn.PeepholeLSTMCell(I, H, **f64), nn.CoupledLSTMCell(I, H, **f64), merge="sum"
    ),
    "stack": lambda: nn.Stack(
        [nn.MinimalGatedUnitCell(I, H, **f64), nn.Recurrent(nn.GRUCell(H, 2, **f64), reverse=True)]
    ),
    "residual": lambda: nn.Recurrent(nn.Residual(nn.GRUCell(I, I, **f64))),
    "bare": lambda: nn.Recurrent(
        divide, initial_carry=lambda batch, dtype, backend: tg.zeros((*batch, 1), dtype)
    ),
}
ragged = st.lists(st.integers(0, 5), min_size=1, max_size=4)
few = settings(max_examples=15, deadline=None, database=None, derandomize=True)


def build(name, seed):
    layer, rng = LAYERS[name](), np.random.default_rng(seed)
    for p in layer.parameters():
        p.assign_(tg.tensor(rng.normal(size=p.shape) * 0.5))
    return layer, rng


def start(layer, batch, rng, none=False):
    """A random state of the right structure."""
    x = tg.tensor(rng.normal(size=(1, batch, I)))
    with tg.no_grad():
        _, state = layer(x)
    return tg.tree.tree_map(lambda a: rng.normal(size=a.shape), state)


def batch_axis(layer):
    return 1 if isinstance(layer, nn.RNN | nn.LSTM | nn.GRU) else 0


def take(state, which, axis):
    return tg.tree.tree_map(lambda a: np.take(np.asarray(a), which, axis), state)


def host(tree):
    return tg.tree.tree_map(lambda a: a.detach().numpy(), tree)


def same(a, b, tol):
    for p, q in zip(tg.tree.flatten(a)[0], tg.tree.flatten(b)[0], strict=True):
        p, q = np.asarray(p), np.asarray(q)
        assert p.shape == q.shape
        assert np.allclose(p, q, rtol=tol, atol=tol), np.abs(p - q).max()


@pytest.mark.parametrize("name", LAYERS)
@few
@given(lengths=ragged, extra=st.integers(0, 2), seed=st.integers(0, 2**20))
def test_poisoned_padding_changes_nothing(name, lengths, extra, seed, gradients):
    """D14, D16: NaN, inf or anything in the padding, and any padding behind: bitwise the same."""
    layer, rng = build(name, seed)
    T, B = max(lengths) + extra, len(lengths)
    x = rng.normal(size=(T, B, I))
    state = start(layer, B, rng)
    mask = np.arange(T)[:, None] < np.array(lengths)
    clean = np.where(mask[..., None], x, 1.0)
    y, final, found = gradients(layer, clean, state, lengths)
    assert not host(y)[~mask].any()
    assert not found["x"][~mask].any()
    for poison in (np.nan, np.inf, 0.0):
        y2, final2, found2 = gradients(layer, np.where(mask[..., None], x, poison), state, lengths)
        same(host((y, final)), host((y2, final2)), 0)
        for key in found:
            assert np.isfinite(found2[key]).all(), key
            assert np.array_equal(found[key], found2[key]), key
    empty = [b for b, n in enumerate(lengths) if n == 0]
    if empty:  # length 0: the state stands still
        axis = batch_axis(layer)
        same(take(host(final), empty, axis), take(state, empty, axis), 0)


@pytest.mark.parametrize("name", LAYERS)
@few
@given(lengths=ragged, seed=st.integers(0, 2**20))
def test_each_sample_is_as_if_alone(name, lengths, seed, gradients):
    """D15, D17, D39: outputs, states, gradients; those of parameters add up."""
    layer, rng = build(name, seed)
    T, B, axis = max(lengths), len(lengths), batch_axis(layer)
    x, state = rng.normal(size=(T, B, I)), start(layer, B, rng)
    y, final, found = gradients(layer, x, state, lengths, separable=True)
    total = {}
    for b, n in enumerate(lengths):
        alone = take(state, [b], axis)
        y1, final1, g1 = gradients(layer, x[:n, b : b + 1], alone, separable=True)
        same(host(y)[:n, b : b + 1], host(y1), 1e-12)
        same(take(host(final), [b], axis), host(final1), 1e-12)
        same(found["x"][:n, b : b + 1], g1["x"], 1e-11)
        for key in g1:
            if key.startswith("state"):
                same(np.take(found[key], [b], axis), g1[key], 1e-11)
            elif key != "x":
                total[key] = total.get(key, 0) + g1[key]
    for key, g in total.items():
        same(found[key], g, 1e-10)


@pytest.mark.parametrize("name", LAYERS)
@few
@given(data=st.data(), seed=st.integers(0, 2**20))
def test_batch_order_does_not_matter(name, data, seed, gradients):
    """D12: permuting samples permutes outputs and gradients, parameters' gradients stay."""
    lengths = data.draw(ragged)
    layer, rng = build(name, seed)
    B, axis = len(lengths), batch_axis(layer)
    order = np.array(data.draw(st.permutations(range(B))))
    x, state = rng.normal(size=(max(lengths), B, I)), start(layer, B, rng)

    y, final, found = gradients(layer, x, state, lengths, separable=True)
    moved = x[:, order], take(state, order, axis), np.array(lengths)[order]
    y2, final2, found2 = gradients(layer, *moved, separable=True)
    same(host(y)[:, order], host(y2), 1e-12)
    same(take(host(final), order, axis), host(final2), 1e-12)
    for key, g in found2.items():
        a = found[key]
        if key == "x":
            a = a[:, order]
        elif key.startswith("state"):
            a = np.take(a, order, axis)
        same(a, g, 1e-10)


@pytest.mark.parametrize("name", ["rnn", "lstm_proj", "gru", "layernorm", "residual"])
@few
@given(T=st.integers(0, 6), data=st.data(), seed=st.integers(0, 2**20))
def test_chunks_with_carried_state_are_the_whole(name, T, data, seed, gradients):
    """D3: values and gradients of a run cut anywhere, T = 0 and 1 included."""
    k = data.draw(st.integers(0, T))
    layer, rng = build(name, seed)
    x, state = rng.normal(size=(T, 2, I)), start(layer, 2, rng)

    def chunked(x, state, lengths):
        first, middle = layer(x[:k], state)
        second, last = layer(x[k:], middle)
        return tg.concat([first, second], axis=0), last

    y, final, found = gradients(layer, x, state)
    y2, final2, found2 = gradients(layer, x, state, call=chunked)
    same(host((y, final)), host((y2, final2)), 1e-13)
    for key in found:
        same(found[key], found2[key], 1e-11)


@pytest.mark.parametrize("name", LAYERS)
def test_no_steps_and_one_step(name, rng):
    """D2: T = 0 returns the state itself."""
    layer, _ = build(name, 0)
    state = start(layer, 2, rng)
    y, final = layer(tg.zeros((0, 2, I), "float64"), tg.tree.tree_map(tg.tensor, state))
    assert y.shape[:2] == (0, 2)
    same(host(final), state, 0)
    y, final = layer(tg.ones((1, 2, I), "float64"), tg.tree.tree_map(tg.tensor, state))
    assert y.shape[0] == 1


def test_causality(rng):
    """D8: d y_t / d x_s = 0 for s > t, and a NaN at x_s leaves y before s unchanged."""
    layer, _ = build("gru", 1)
    x = rng.normal(size=(5, 2, I))
    g = tg.grad(lambda x: layer(x)[0][2].sum())(tg.tensor(x)).detach().numpy()
    assert g[2].any() and g[0].any() and not g[3:].any()
    bad = x.copy()
    bad[3] = np.nan
    y, y2 = (layer(tg.tensor(a))[0].detach().numpy() for a in (x, bad))
    assert np.array_equal(y[:3], y2[:3]) and np.isnan(y2[3:]).all()


@pytest.mark.parametrize("lengths", [None, [5, 2, 0]])
def test_reverse_is_flip_scan_flip(lengths, rng):
    """D4, D10: with lengths, each sample is flipped within its own length."""
    forward = nn.Recurrent(nn.LSTMCell(I, H, **f64))
    backward = nn.Recurrent(forward.cell, reverse=True)
    x = rng.normal(size=(5, 3, I))

    def flip(a):
        out = a.copy()
        for b, n in enumerate(lengths or [5] * 3):
            out[:n, b] = a[:n, b][::-1]
        return out

    y, final = backward(tg.tensor(x), lengths=lengths)
    y2, final2 = forward(tg.tensor(flip(x)), lengths=lengths)
    same(host(y), flip(host(y2)), 1e-14)
    same(host(final), host(final2), 1e-14)


def test_bidirectional_swaps_with_time(rng):
    """D11: swapping the directions and reversing time swaps the halves of the outputs."""
    a, b = nn.GRUCell(I, H, **f64), nn.GRUCell(I, H, **f64)
    x = rng.normal(size=(6, 2, I))
    y, (end_a, end_b) = nn.Bidirectional(a, b)(tg.tensor(x))
    y2, (end_b2, end_a2) = nn.Bidirectional(b, a)(tg.tensor(x[::-1].copy()))
    same(host(y)[..., :H], host(y2)[::-1, :, H:], 1e-14)
    same(host(y)[..., H:], host(y2)[::-1, :, :H], 1e-14)
    same(host((end_a, end_b)), host((end_a2, end_b2)), 1e-14)


@pytest.mark.parametrize("merge", ["concat", "sum", "mean", "mul", None])
def test_merges(merge, rng):
    a, b = nn.GRUCell(I, H, **f64), nn.GRUCell(I, H, **f64)
    x = tg.tensor(rng.normal(size=(4, 2, I)))
    ya, yb = host((nn.Recurrent(a)(x)[0], nn.Recurrent(b, reverse=True)(x)[0]))
    how = {
        "concat": np.concatenate([ya, yb], -1), "sum": ya + yb, "mean": (ya + yb) / 2,
        "mul": ya * yb,
        None: ya - yb,
    }  # fmt: skip
    layer = nn.Bidirectional(a, b, (lambda p, q: p - q) if merge is None else merge)
    same(host(layer(x)[0]), how[merge], 1e-14)


def test_tied_directions_add_their_gradients(rng, gradients):
    """D30: one cell in both directions; its gradient is the sum over both uses."""
    cell, twin = nn.GRUCell(I, H, **f64), nn.GRUCell(I, H, **f64)
    twin.load_state_dict(cell.state_dict())
    x = rng.normal(size=(4, 2, I))
    tied, free = nn.Bidirectional(cell, cell), nn.Bidirectional(cell, twin)
    assert len(list(tied.parameters())) == 4
    _, _, g = gradients(tied, x, lengths=[4, 3])
    _, _, g2 = gradients(free, x, lengths=[4, 3])
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        same(g[f"fwd.cell.{name}"], g2[f"fwd.cell.{name}"] + g2[f"bwd.cell.{name}"], 1e-12)


def test_batch_first_is_a_transpose(rng):
    """D34."""
    x = rng.normal(size=(4, 2, I))
    flipped = tg.tensor(np.swapaxes(x, 0, 1).copy())
    cell = nn.GRUCell(I, H, **f64)
    for a, b in [
        (nn.Recurrent(cell), nn.Recurrent(cell, batch_first=True)),
        (nn.Bidirectional(cell, nn.Recurrent(cell, reverse=True)),
         nn.Bidirectional(nn.Recurrent(cell, batch_first=True),
                          nn.Recurrent(cell, reverse=True, batch_first=True))),
    ]:  # fmt: skip
        y, final = a(tg.tensor(x), lengths=[1, 4])
        y2, final2 = b(flipped, lengths=[1, 4])
        same(host(y), np.swapaxes(host(y2), 0, 1), 0)
        same(host(final), host(final2), 0)


def test_stack_is_composition(rng):
    """D9: and a state for each layer."""
    a, b = nn.LSTMCell(I, H, **f64), nn.GRUCell(H, 2, **f64)
    x = tg.tensor(rng.normal(size=(5, 2, I)))
    y, (end_a, end_b) = nn.Stack([a, b])(x, lengths=[3, 5])
    y1, first = nn.Recurrent(a)(x, lengths=[3, 5])
    y2, second = nn.Recurrent(b)(y1, lengths=[3, 5])
    same(host((y, end_a, end_b)), host((y2, first, second)), 1e-14)


def test_trees_of_inputs_and_outputs(rng):
    """A bare cell with a dictionary in, a dictionary out, integers among the inputs."""
    table = tg.tensor(rng.normal(size=(6, 2)), requires_grad=True)

    def cell(carry, x):
        total = carry["total"] + table[x["id"]] * x["scale"]
        return {"total": total}, {"now": total, "double": 2.0 * total}

    ids, scale = rng.integers(0, 6, size=(4, 3)), rng.normal(size=(4, 3, 1))
    layer = nn.Recurrent(cell)
    lengths = [4, 0, 2]
    # the first leaf decides where the batch ends: dictionaries are read in the order of their keys
    cell.input_ndim = 0
    y, last = layer({"id": ids, "scale": scale}, {"total": tg.zeros((3, 2), "float64")}, lengths)
    mask = (np.arange(4)[:, None] < np.array(lengths))[..., None]
    steps = np.where(mask, table.detach().numpy()[ids] * scale, 0)
    same(host(last["total"]), steps.sum(0), 1e-14)
    same(host(y["double"]), np.where(mask, 2 * steps.cumsum(0), 0), 1e-14)
    last["total"].sum().backward()
    expected = np.zeros((6, 2))
    np.add.at(expected, ids[mask[..., 0]], np.broadcast_to(scale, (4, 3, 2))[mask[..., 0]])
    same(table.grad.numpy(), expected, 1e-14)


@pytest.mark.parametrize("kind", [list, np.array, tg.tensor, lambda n: np.array(n, "int32")])
def test_kinds_of_lengths(kind, rng):
    layer, _ = build("gru", 3)
    x = tg.tensor(rng.normal(size=(5, 3, I)))
    same(host(layer(x, lengths=kind([5, 0, 2]))), host(layer(x, lengths=[5, 0, 2])), 0)


def test_lengths_of_a_dtype_that_cannot_count_the_steps(rng):
    layer, _ = build("gru", 2)
    x = tg.tensor(rng.normal(size=(300, 2, I)))
    same(host(layer(x, lengths=np.array([5, 127], "int8"))), host(layer(x, lengths=[5, 127])), 0)


def test_lengths_inside_jit(rng):
    """Lengths are data: one compiled function serves all."""
    layer, _ = build("lstm", 4)
    run = tg.jit(lambda x, lengths: layer(x, lengths=lengths))
    x = tg.tensor(rng.normal(size=(5, 3, I)))
    for lengths in ([5, 0, 2], [1, 2, 3]):
        same(host(run(x, tg.tensor(lengths))), host(layer(x, lengths=lengths)), 1e-13)


def test_summaries_are_what_each_direction_saw_last(rng):
    """The last output of the forward half, the first of the backward half, in this order."""
    x = tg.tensor(rng.normal(size=(5, 3, I)))
    layers = [
        nn.LSTM(I, H, 2, bidirectional=True, **f64),
        nn.Bidirectional(nn.GRUCell(I, H, **f64), nn.PeepholeLSTMCell(I, H, **f64)),
    ]
    for layer in layers:
        y, state = layer(x)
        y = host(y)
        same(host(layer.summary(state)), np.concatenate([y[-1, :, :H], y[0, :, H:]], -1), 0)
    y, state = nn.GRU(I, H, 2, **f64)(x)
    same(host(nn.GRU(I, H, 2).summary(state)), host(y)[-1], 0)


# --- hierarchies --------------------


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(
    "inner",
    [
        lambda: nn.GRUCell(I, H, **f64),
        lambda: nn.Bidirectional(nn.LSTMCell(I, 2, **f64), nn.LSTMCell(I, 2, **f64)),
        lambda: nn.LSTM(I, 2, num_layers=2, bidirectional=True, **f64),
        lambda: nn.Stack([nn.GRUCell(I, 2, **f64), nn.RNNCell(2, H, **f64)]),
    ],
    ids=["gru", "bidirectional", "nn.LSTM", "stack"],
)
def test_hierarchical_is_two_loops(inner, batch_first, rng, gradients):
    """words -> sentences, lengths on both levels, poison everywhere else."""
    S, W, B = 3, 4, 2
    lengths, words = np.array([3, 1]), np.array([[4, 2], [0, 1], [3, 4]])
    layer = nn.Hierarchical(inner(), nn.GRUCell(H, 3, **f64), batch_first=batch_first)
    x = rng.normal(size=(S, W, B, I))
    valid = (np.arange(W)[:, None] < words[:, None]) & (
        np.arange(S)[:, None, None] < lengths[None, None]
    )
    x[~valid] = np.nan
    given = np.moveaxis(x, 2, 0).copy() if batch_first else x
    counts = words.T.copy() if batch_first else words
    y, final, found = gradients(layer, given, None, lengths, inner_lengths=counts)
    assert all(np.isfinite(g).all() for g in found.values())
    y = np.swapaxes(host(y), 0, 1) if batch_first else host(y)
    for b, sentences in enumerate(lengths):
        h = layer.outer.initial_state((1,), "float64")
        for s in range(sentences):
            _, state = layer.inner(tg.tensor(x[s, : words[s, b], b : b + 1]))
            summary = layer.inner.summary(state)
            h, out = layer.outer.cell(h, summary)
            same(y[s, b], host(out)[0], 1e-13)
        same(host(final)[b], host(h)[0], 1e-13)
        assert not y[sentences:, b].any()


def test_bare_cell_needs_a_state():
    with pytest.raises(tg.errors.ArgumentError, match=r"plain function.*state=.*initial_carry="):
        nn.Recurrent(divide)(tg.ones((2, 1, 3)))
