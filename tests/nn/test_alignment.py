"""Attention of decoders against formulas written with PyTorch, alone and in a step of scan."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn

torch = pytest.importorskip("torch")
T, S, B, Q, K, V = 4, 5, 3, 6, 2, 7


def additive(p, q, k, before=""):
    """v · tanh(W q + U k + b) of queries [..., B, Q] and keys [B, S, K]."""
    bias = p.get(before + "key.bias", 0.0)
    u = k @ p[before + "key.weight"].mT + bias
    return torch.tanh((q @ p[before + "query.weight"].mT)[..., None, :] + u) @ p[
        before + "score.weight"
    ].reshape(-1)


KINDS = {
    "additive": (lambda: nn.AdditiveAttention(Q, K, 3, dtype="float64"), additive),
    "general": (
        lambda: nn.LuongAttention(Q, K, dtype="float64"),
        lambda p, q, k: (q[..., None, :] * (k @ p["key.weight"].mT)).sum(-1),
    ),
    "dot": (
        lambda: nn.LuongAttention(Q, Q, "dot", scaled=True, dtype="float64"),
        lambda p, q, k: (q[..., None, :] * k).sum(-1) / Q**0.5,
    ),
    "concat": (
        lambda: nn.LuongAttention(Q, K, "concat", dtype="float64"),
        lambda p, q, k: additive(p, q, k, "joint."),
    ),
}


def case(kind, rng, randomize):
    layer = randomize(KINDS[kind][0](), rng)
    keys = rng.normal(size=(S, B, Q if kind == "dot" else K))
    return layer, rng.normal(size=(T, B, Q)), keys, rng.normal(size=(S, B, V))


def reference(kind, layer, query, keys, values, lengths):
    """The same in PyTorch, every padded key cut off by hand; and the leaves of its graph."""
    p = {n: torch.tensor(a.detach().numpy()) for n, a in layer.named_parameters()}
    p, given = (
        {n: a.clone().requires_grad_() for n, a in group.items()}
        for group in (p, {n: torch.tensor(a) for n, a in zip("qkv", (query, keys, values))})
    )
    contexts, weights = [], []
    for b, n in enumerate(lengths):
        q, k, v = given["q"][..., b, :], given["k"][:n, b], given["v"][:n, b]
        w = torch.softmax(KINDS[kind][1](p, q, k), -1) if n else torch.zeros(*q.shape[:-1], 0)
        contexts.append(w.double() @ v)
        weights.append(torch.nn.functional.pad(w, (0, S - n)))
    return torch.stack(contexts, -2), torch.stack(weights, -2), {**given, **p}


@pytest.mark.parametrize("lengths", [[S, S, S], [2, S, 1], [3, 0, 4]])
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_derivatives(kind, lengths, rng, randomize, close):
    layer, query, keys, values = case(kind, rng, randomize)
    context2, weights2, leaves = reference(kind, layer, query, keys, values, lengths)
    for b, n in enumerate(lengths):
        keys[n:, b], values[n:, b] = np.nan, np.inf
    given = [tg.tensor(a, requires_grad=True) for a in (query, keys, values)]
    context, weights = layer(*given, lengths=lengths)
    close(context, context2)
    close(weights, weights2)

    def number(q, k, v):
        context, weights = layer(q, k, v, lengths=lengths)
        return tg.sin(context).sum() + tg.sin(3 * weights).sum()

    two = torch.sin(context2).sum() + torch.sin(3 * weights2).sum()
    check_derivatives(number, given, layer, two, leaves, close)


def check_derivatives(number, given, layer, theirs, leaves, close):
    """First derivatives by all leaves, and those of Σ sin(gradient by the inputs)."""
    own = {**dict(zip("qkv", given)), **dict(layer.named_parameters())}
    number(*given).backward()
    first = torch.autograd.grad(theirs, list(leaves.values()), create_graph=True)
    for name, g in zip(leaves, first):
        close(own[name].grad, g, what=name)
        own[name].grad = None
    sum(tg.sin(g).sum() for g in tg.grad(number, (0, 1, 2))(*given)).backward()
    second = torch.autograd.grad(sum(torch.sin(g).sum() for g in first[:3]), leaves.values())
    for name, g in zip(leaves, second):
        close(own[name].grad, g, what=f"second, {name}")


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_step_of_scan_as_in_a_loop(kind, rng, randomize, close):
    """A decoder whose next query depends on what was read; with a jit of the whole as well."""
    layer, query, keys, _ = case(kind, rng, randomize)
    lengths = [2, S, 1]
    mix = tg.tensor(rng.normal(size=(keys.shape[-1], Q)))

    def step(h, x):
        context, weights = layer(h, memory, lengths=lengths)
        h = tg.tanh(x + context @ mix)
        return h, weights

    def loop():
        h, ws = tg.zeros((B, Q), "float64"), []
        for t in range(T):
            h, w = step(h, xs[t])
            ws.append(w)
        return h, tg.stack(ws, 0)

    def gradients(run):
        h, w = run()
        (tg.sin(h).sum() + tg.sin(3 * w).sum()).backward()
        found = [memory.grad, xs.grad, *(p.grad for p in layer.parameters())]
        memory.grad = xs.grad = None
        layer.zero_grad()
        return [h, w, *found]

    memory, xs = tg.tensor(keys, requires_grad=True), tg.tensor(query, requires_grad=True)
    wanted = gradients(loop)
    scanned = lambda: tg.scan(step, tg.zeros((B, Q), "float64"), xs)  # noqa: E731
    for found in (gradients(scanned), tg.jit(lambda: gradients(scanned))()):
        for a, b in zip(found, wanted, strict=True):
            close(a, b)


def test_all_steps_at_once_are_the_steps_one_by_one(rng, randomize, close):
    for kind in KINDS:
        layer, query, keys, values = case(kind, rng, randomize)
        context, weights = layer(query, keys, values, lengths=[2, S, 0])
        for t in range(T):
            c, w = layer(query[t], keys, values, lengths=[2, S, 0])
            close(c, context[t])
            close(w, weights[t])
        context, weights = layer(query[0, 0], keys[:2, 0], values[:2, 0])  # no batch
        close(weights, layer(query, keys, lengths=[2, S, 0])[1][0, 0, :2])
        assert context.shape == (V,)


def test_no_keys_at_all(rng):
    layer = nn.LuongAttention(Q, K, dtype="float64")
    context, weights = layer(rng.normal(size=(B, Q)), np.zeros((0, B, K)))
    assert (
        weights.shape == (B, 0) and context.shape == (B, K) and not context.detach().numpy().any()
    )


def test_alignment_refuses_what_does_not_fit(rng):
    layer = nn.AdditiveAttention(Q, K, 3)
    q, k = np.zeros((B, Q), "f4"), np.zeros((S, B, K), "f4")
    with pytest.raises(tg.errors.ShapeError, match=r"expected query \[\.\.\., B, Q\]"):
        layer(q[:2], k)
    with pytest.raises(tg.errors.ShapeError, match=r"query_size=6, key_size=2"):
        layer(q, k[..., :1])
    with pytest.raises(tg.errors.ShapeError, match=r"values"):
        layer(q, k, k[:2])
    with pytest.raises(tg.errors.DTypeError, match=r"one floating dtype"):
        layer(q, k.astype("f8"))
    with pytest.raises(tg.errors.ArgumentError, match=r"lengths\[1\] is 6"):
        layer(q, k, lengths=[1, 6, 2])
    with pytest.raises(tg.errors.ArgumentError, match=r"score is 'cosine'"):
        nn.LuongAttention(Q, score="cosine")
    with pytest.raises(tg.errors.ArgumentError, match=r"score='general' takes any"):
        nn.LuongAttention(Q, K, "dot")
