"""nn.RNN, nn.LSTM, nn.GRU against PyTorch in float64: values and all gradients to 1e-10."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinygrad_rnn as tg

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

I, H, T, B = 3, 5, 6, 4
KINDS = {
    "rnn_tanh": ("RNN", {}),
    "rnn_relu": ("RNN", {"nonlinearity": "relu"}),
    "lstm": ("LSTM", {}),
    "lstm_proj": ("LSTM", {"proj_size": 2}),
    "gru": ("GRU", {}),
}


def build(kind: str, rng, **options):
    """The same layer in PyTorch and here, with random weights moved through state_dict."""
    name, more = KINDS[kind]
    theirs = getattr(torch.nn, name)(I, H, **more, **options).double()
    for p in theirs.parameters():
        p.data = torch.from_numpy(rng.normal(size=p.shape) * 0.5)
    ours = getattr(tg.nn, name)(I, H, **more, **options, dtype="float64")
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def states(kind: str, rng, rows: int, batch: int | None = B):
    shape = (rows, batch) if batch is not None else (rows,)
    if kind == "lstm_proj":
        return rng.normal(size=(*shape, 2)), rng.normal(size=(*shape, H))
    if kind == "lstm":
        return rng.normal(size=(*shape, H)), rng.normal(size=(*shape, H))
    return rng.normal(size=(*shape, H))


def run_torch(theirs, x, state, lengths, batch_first, seed=0):
    """Outputs, final states and gradients of the same random linear function."""
    weights = np.random.default_rng(seed)
    x = torch.from_numpy(x).requires_grad_()
    pair = isinstance(state, tuple)
    given = [] if state is None else list(state) if pair else [state]
    leaves = [torch.from_numpy(s).requires_grad_() for s in given]
    start = None if state is None else tuple(leaves) if pair else leaves[0]
    if lengths is None:
        y, final = theirs(x, start)
    else:
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            x, torch.tensor(lengths), batch_first=batch_first, enforce_sorted=False
        )
        y, final = theirs(packed, start)
        steps = x.shape[1] if batch_first else x.shape[0]
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first, total_length=steps)
    finals = list(final) if isinstance(final, tuple) else [final]
    total = sum(
        (out * torch.from_numpy(weights.normal(size=out.shape))).sum() for out in [y, *finals]
    )
    theirs.zero_grad()
    total.backward()
    grads = {"x": x.grad.numpy()}
    grads |= {f"state{i}": s.grad.numpy() for i, s in enumerate(leaves)}
    grads |= {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    return y, finals, grads


CASES = list(itertools.product((1, 2, 3), (False, True), (True, False), (False, True)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("layers,both,bias,batch_first", CASES)
def test_layer_is_pytorchs(kind, layers, both, bias, batch_first, ragged, rng, close, gradients):
    ours, theirs = build(
        kind, rng, num_layers=layers, bidirectional=both, bias=bias, batch_first=batch_first
    )
    x = rng.normal(size=(B, T, I) if batch_first else (T, B, I))
    state = states(kind, rng, layers * (2 if both else 1))
    lengths = [4, 1, 6, 3] if ragged else None
    y, final, found = gradients(ours, x, state, lengths)
    y2, final2, expected = run_torch(theirs, x, state, lengths, batch_first)
    close(y, y2, what="y")
    for a, b in zip(tg.tree.flatten(final)[0], final2, strict=True):
        close(a, b, what="final state")
    assert found.keys() == expected.keys()
    for name, g in expected.items():
        close(found[name], g, what=name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("both", [False, True])
def test_unbatched_and_without_state(kind, both, rng, close, gradients):
    ours, theirs = build(kind, rng, num_layers=2, bidirectional=both)
    x = rng.normal(size=(T, I))
    for state in (None, states(kind, rng, 4 if both else 2, None)):
        y, final, found = gradients(ours, x, state)
        y2, final2, expected = run_torch(theirs, x, state, None, False)
        close(y, y2)
        for a, b in zip(tg.tree.flatten(final)[0], final2, strict=True):
            close(a, b)
        for name, g in expected.items():
            close(found[name], g, what=name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("both", [False, True])
def test_state_dict_goes_both_ways(kind, both, rng, randomize):
    ours, theirs = build(kind, rng, num_layers=2, bidirectional=both)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    randomize(ours, rng)
    back = {name: torch.from_numpy(np.array(a.numpy())) for name, a in ours.state_dict().items()}
    theirs.load_state_dict(back)
    for name, a in theirs.state_dict().items():
        assert np.array_equal(a.numpy(), getattr(ours, name).detach().numpy())


@pytest.mark.parametrize("kind", ["rnn_tanh", "lstm", "lstm_proj", "gru"])
@pytest.mark.parametrize("both", [False, True])
def test_gradient_penalty(kind, both, rng, close):
    """Second derivatives: the gradient of |d loss / d x|² with respect to everything."""
    ours, theirs = build(kind, rng, num_layers=2, bidirectional=both)
    x, state = rng.normal(size=(T, B, I)), states(kind, rng, 4 if both else 2)
    pair = isinstance(state, tuple)
    cotangent = rng.normal(size=(T, B, (2 if both else 1) * (2 if kind == "lstm_proj" else H)))

    x2 = torch.from_numpy(x).requires_grad_()
    leaves = [torch.from_numpy(s).requires_grad_() for s in (state if pair else [state])]
    y2, _ = theirs(x2, tuple(leaves) if pair else leaves[0])
    loss2 = (torch.tanh(y2) * torch.from_numpy(cotangent)).sum()
    (g2,) = torch.autograd.grad(loss2, x2, create_graph=True)
    (g2**2).sum().backward()

    xt = tg.tensor(x, requires_grad=True)
    mine = [tg.tensor(s, requires_grad=True) for s in (state if pair else [state])]

    def loss(x):
        y, _ = ours(x, tuple(mine) if pair else mine[0])
        return (tg.tanh(y) * tg.tensor(cotangent)).sum()

    g = tg.grad(loss)(xt)
    close(g, g2)
    (g * g).sum().backward()
    close(xt.grad, x2.grad, 1e-9, "x")
    for a, b in zip(mine, leaves, strict=True):
        close(a.grad, b.grad, 1e-9, "state")
    for name, p in theirs.named_parameters():
        got = dict(ours.named_parameters())[name].grad
        # the last layer's biases of an affine output may have none, then PyTorch says None or 0
        expected = torch.zeros_like(p) if p.grad is None else p.grad
        close(np.zeros(p.shape) if got is None else got, expected, 1e-9, name)


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
@pytest.mark.parametrize("bias", [True, False])
def test_cells_are_pytorchs(kind, bias, rng, close):
    theirs = getattr(torch.nn, kind)(I, H, bias=bias).double()
    ours = getattr(tg.nn, kind)(I, H, bias=bias, dtype="float64")
    ours.load_state_dict(theirs.state_dict())
    x, h, c = (rng.normal(size=(B, n)) for n in (I, H, H))
    mine = tg.tensor(h), tg.tensor(c)
    given = torch.from_numpy(h), torch.from_numpy(c)
    if kind == "LSTMCell":
        (h1, c1), y = ours(mine, tg.tensor(x))
        h2, c2 = theirs(torch.from_numpy(x), given)
        close(c1, c2)
    else:
        h1, y = ours(mine[0], tg.tensor(x))
        h2 = theirs(torch.from_numpy(x), given[0])
    close(h1, h2)
    assert y is h1


def test_layers_without_recurrence(rng, close):
    x = rng.normal(size=(4, 7))
    pairs = [
        (tg.nn.Linear(7, 3, dtype="float64"), torch.nn.Linear(7, 3).double()),
        (tg.nn.LayerNorm(7, dtype="float64"), torch.nn.LayerNorm(7).double()),
    ]
    for ours, theirs in pairs:
        for p in theirs.parameters():
            p.data = torch.from_numpy(rng.normal(size=p.shape))
        ours.load_state_dict(theirs.state_dict())
        a, b = tg.tensor(x, requires_grad=True), torch.from_numpy(x).requires_grad_()
        c = rng.normal(size=theirs(b).shape)
        (ours(a) * tg.tensor(c)).sum().backward()
        (theirs(b) * torch.from_numpy(c)).sum().backward()
        close(ours(a), theirs(b))
        close(a.grad, b.grad)
        for name, p in theirs.named_parameters():
            close(getattr(ours, name).grad, p.grad, what=name)


@pytest.mark.parametrize("padding_idx", [None, 2, -1])
def test_embedding(padding_idx, rng, close):
    theirs = torch.nn.Embedding(6, 4, padding_idx=padding_idx).double()
    ours = tg.nn.Embedding(6, 4, padding_idx=padding_idx, dtype="float64")
    assert padding_idx is None or not ours.weight.detach().numpy()[padding_idx].any()
    theirs.weight.data = torch.from_numpy(rng.normal(size=(6, 4)))  # the padding row too
    ours.load_state_dict(theirs.state_dict())
    ids = np.array([[2, 2, 5], [0, 2, 5]])
    c = rng.normal(size=(2, 3, 4))
    (ours(ids) * tg.tensor(c)).sum().backward()
    (theirs(torch.from_numpy(ids)) * torch.from_numpy(c)).sum().backward()
    close(ours(ids), theirs(torch.from_numpy(ids)))
    close(ours.weight.grad, theirs.weight.grad)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu(approximate, rng, close):
    x = np.concatenate([rng.normal(size=50) * 3, [0.0, -40.0, 40.0]])
    a, b = tg.tensor(x, requires_grad=True), torch.from_numpy(x).requires_grad_()
    y = tg.nn.functional.gelu(a, approximate)
    y2 = torch.nn.functional.gelu(b, approximate=approximate)
    y.sum().backward()
    y2.sum().backward()
    close(y, y2)
    close(a.grad, b.grad)


@pytest.mark.parametrize("freeze", [True, False])
def test_embedding_from_vectors(freeze, rng, close):
    vectors, ids = rng.normal(size=(6, 4)), rng.integers(0, 6, size=(3, 5))
    theirs = torch.nn.Embedding.from_pretrained(torch.tensor(vectors), freeze, padding_idx=2)
    before = tg.random.default_generator().state.tolist()
    ours = tg.nn.Embedding.from_pretrained(vectors, freeze, padding_idx=2)
    assert tg.random.default_generator().state.tolist() == before
    close(ours(ids), theirs(torch.from_numpy(ids)), 0)
    assert ours.weight.requires_grad is theirs.weight.requires_grad is not freeze
    if not freeze:
        (ours(ids) ** 3).sum().backward()
        (theirs(torch.from_numpy(ids)) ** 3).sum().backward()
        close(ours.weight.grad, theirs.weight.grad, 1e-12)
    with pytest.raises(tg.errors.ShapeError, match=r"from_pretrained: got f64\[6\]"):
        tg.nn.Embedding.from_pretrained(vectors[:, 0])
