"""Attention against PyTorch: values, first and second derivatives; masks, and what they hide."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.nn import functional as F

torch = pytest.importorskip("torch")
L, S, N, E, H = 3, 5, 4, 6, 2


def same(ours, theirs, arrays, close, seed=0, tol=1e-10):
    """Values, gradients, and gradients of the sum of squared gradients, of both functions."""
    torch.set_num_threads(1)
    a = [tg.tensor(x, requires_grad=True) for x in arrays]
    b = [torch.from_numpy(np.array(x)).requires_grad_() for x in arrays]
    y, y2 = ours(*a), theirs(*b)
    close(y, y2, tol, "value")
    c = np.random.default_rng(seed).normal(size=y2.shape)
    g = tg.grad(lambda *a: (ours(*a) * tg.tensor(c)).sum(), argnums=tuple(range(len(a))))(*a)
    loss = (y2 * torch.from_numpy(c)).sum()
    g2 = torch.autograd.grad(loss, b, create_graph=True)
    for i, (p, q) in enumerate(zip(g, g2, strict=True)):
        close(p, q, tol, f"gradient {i}")
    sum((p * tg.sin(p)).sum() for p in g).backward()
    second = torch.autograd.grad(sum((q * torch.sin(q)).sum() for q in g2), b)
    for i, (p, q) in enumerate(zip(a, second, strict=True)):
        close(p.grad, q, tol, f"second derivative {i}")


def masks(rng):
    """Every shape that broadcasts, booleans and floats; each query sees at least one key."""
    some = rng.random((N, L, S)) < 0.6
    some[..., 2] = True
    low = np.where(some, rng.normal(size=some.shape), -math.inf)
    return [None, some, some[0], some[:, :1], some[0, 0], low, low[0], rng.normal(size=(L, 1))]


@pytest.mark.parametrize("which", range(8))
def test_scaled_dot_product_attention(which, rng, close):
    mask = masks(rng)[which]
    qkv = [rng.normal(size=(N, n, e)) for n, e in ((L, E), (S, E), (S, 3))]
    scale = 0.7 if which % 2 else None
    same(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, mask, scale=scale),
        lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(
            q, k, v, None if mask is None else torch.from_numpy(mask), scale=scale
        ),
        qkv, close,
    )  # fmt: skip


@pytest.mark.parametrize("queries,keys", [(3, 5), (5, 3), (1, 1)])
def test_causal_attention(queries, keys, rng, close):
    qkv = [rng.normal(size=(2, N, n, e)) for n, e in ((queries, E), (keys, E), (keys, 3))]
    same(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True),
        qkv, close,
    )  # fmt: skip


def test_a_query_that_sees_nothing_and_keys_that_nobody_sees(rng, close):
    """Zeros, zero gradients; NaN in a hidden key or value reaches nothing."""
    q, k, v = (rng.normal(size=(n, E)) for n in (L, S, S))
    mask = np.ones((L, S), bool)
    mask[1], mask[:, 3] = False, False
    found = []
    for poison in (0.0, np.nan, np.inf):
        k[3] = v[3] = poison
        a = [tg.tensor(x, requires_grad=True) for x in (q, k, v)]
        y = F.scaled_dot_product_attention(*a, attn_mask=mask)
        (y * tg.tensor(rng.permutation(y.size).reshape(y.shape) * 1.0)).sum().backward()
        assert not y.detach().numpy()[1].any() and not a[0].grad.numpy()[1].any()
        assert not a[1].grad.numpy()[3].any() and not a[2].grad.numpy()[3].any()
        found.append(y)
        assert all(np.isfinite(x.grad.numpy()).all() for x in a)
    close(found[1], found[0], 0)
    close(found[2], found[0], 0)


def test_dropout_of_attention(rng):
    q, k, v = (tg.tensor(rng.normal(size=(n, E))) for n in (200, S, S))
    outs = [F.scaled_dot_product_attention(q, k, v, dropout_p=0.3, rng=r) for r in (1, 1, 2)]
    assert (outs[0].numpy() == outs[1].numpy()).all() and (outs[0].numpy() != outs[2].numpy()).any()
    ones = F.scaled_dot_product_attention(q, k, tg.ones((S, 1), dtype="float64"), dropout_p=0.3)
    assert abs(ones.mean().item() - 1) < 0.1  # what is kept is divided by 1 - p


# --- MultiheadAttention --------------------------------------------------------------------------

CASES = [
    {},
    {"batch_first": True},
    {"bias": False},
    {"add_bias_kv": True, "add_zero_attn": True},
    {"kdim": 3, "vdim": 7, "batch_first": True},
]


def pair(rng, **options):
    """Ours and PyTorch's with the same random weights."""
    ours = nn.MultiheadAttention(E, H, dtype="float64", **options)
    theirs = torch.nn.MultiheadAttention(E, H, dtype=torch.float64, **options)
    state = {k: rng.normal(size=tuple(v.shape)) * 0.4 for k, v in theirs.state_dict().items()}
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
    ours.load_state_dict(state)
    return ours, theirs


def inputs(rng, options):
    sizes = ((L, E), (S, options.get("kdim", E)), (S, options.get("vdim", E)))
    first = options.get("batch_first", False)
    return [rng.normal(size=(N, n, e) if first else (n, N, e)) for n, e in sizes]


@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize("average", [True, False])
def test_multihead_attention(options, average, rng, close):
    ours, theirs = pair(rng, **options)
    qkv = inputs(rng, options)
    padding = rng.random((N, S)) < 0.4
    padding[:, 1] = False
    mask = rng.normal(size=(N * H, L, S))
    arguments = {"average_attn_weights": average}
    given = {"key_padding_mask": padding, "attn_mask": mask}
    torch_given = {
        # PyTorch warns when one mask is boolean and the other is not
        "key_padding_mask": torch.where(torch.from_numpy(padding), -math.inf, 0.0).double(),
        "attn_mask": torch.from_numpy(mask),
    }
    same(
        lambda *qkv: tg.concat([a.reshape(-1) for a in ours(*qkv, **given, **arguments)]),
        lambda *qkv: torch.cat([a.reshape(-1) for a in theirs(*qkv, **torch_given, **arguments)]),
        qkv, close,
    )  # fmt: skip


def test_multihead_self_attention_and_gradients_of_parameters(rng, close):
    ours, theirs = pair(rng)
    x = rng.normal(size=(S, N, E))
    causal = np.triu(np.ones((S, S), bool), 1)
    a, b = tg.tensor(x, requires_grad=True), torch.from_numpy(x).requires_grad_()
    y, none = ours(a, a, a, need_weights=False, attn_mask=causal)
    y2, _ = theirs(b, b, b, need_weights=False, attn_mask=torch.from_numpy(causal))
    assert none is None
    close(y, y2)
    close(ours(a, a, a, is_causal=True)[0], y2)
    tg.sin(y).sum().backward()
    torch.sin(y2).sum().backward()
    close(a.grad, b.grad)
    for name, p in theirs.named_parameters():
        close(dict(ours.named_parameters())[name].grad, p.grad, what=name)


def test_multihead_attention_without_a_batch(rng, close):
    ours, theirs = pair(rng)
    qkv = [rng.normal(size=(n, E)) for n in (L, S, S)]
    padding = np.array([False, True, False, False, True])
    y, w = ours(*qkv, key_padding_mask=padding)
    y2, w2 = theirs(*map(torch.from_numpy, qkv), key_padding_mask=torch.from_numpy(padding))
    close(y, y2)
    close(w, w2)


@pytest.mark.parametrize("options", [{}, {"add_zero_attn": True}])
def test_padded_keys_and_values_may_hold_anything(options, rng, close):
    layer, _ = pair(rng, **options)
    q, k, v = inputs(rng, {})
    padding = rng.random((N, S)) < 0.5
    padding[0] = True  # a sample without keys
    clean = layer(q, k, v, key_padding_mask=padding)
    k[padding.T], v[padding.T] = np.nan, np.inf
    layer.zero_grad()
    a = [tg.tensor(x, requires_grad=True) for x in (q, k, v)]
    y, w = layer(*a, key_padding_mask=padding)
    close(y, clean[0], 0)
    close(w, clean[1], 0)
    tg.sin(y).sum().backward()
    for x in (*a, *layer.parameters()):
        assert np.isfinite(x.grad.numpy()).all()
    assert not a[1].grad.numpy()[padding.T].any() and not a[2].grad.numpy()[padding.T].any()


def test_initial_weights_are_distributed_like_pytorchs():
    ours = nn.MultiheadAttention(32, 4, add_bias_kv=True, rng=0)
    theirs = torch.nn.MultiheadAttention(32, 4, add_bias_kv=True)
    for name, p in theirs.named_parameters():
        mine, its = dict(ours.named_parameters())[name].detach().numpy(), p.detach().numpy()
        assert mine.shape == its.shape
        if its.any():
            assert abs(mine.std() / its.std() - 1) < 0.35, name
        else:
            assert not mine.any(), name


def test_attention_refuses_what_does_not_fit(rng):
    layer = nn.MultiheadAttention(E, H)
    x = np.zeros((L, N, E), "f4")
    with pytest.raises(tg.errors.ArgumentError, match=r"embed_dim=6.*num_heads=4"):
        nn.MultiheadAttention(6, 4)
    with pytest.raises(tg.errors.ShapeError, match=r"batch size.*batch_first=False"):
        layer(x, x[:, :2], x)
    with pytest.raises(tg.errors.ShapeError, match=r"key_padding_mask is .*shape \[4, 3\]"):
        layer(x, x, x, key_padding_mask=np.zeros((L, N), bool))
    with pytest.raises(tg.errors.DTypeError, match=r"True shuts out"):
        layer(x, x, x, attn_mask=np.zeros((L, L), int))
    with pytest.raises(tg.errors.DTypeError, match=r"f64"):
        layer(x.astype("f8"), x, x)
    sdpa = F.scaled_dot_product_attention
    with pytest.raises(tg.errors.ShapeError, match=r"does not broadcast to \[3, 4, 4\]"):
        sdpa(x, x, x, attn_mask=np.zeros((4, 3), bool))
    with pytest.raises(tg.errors.ArgumentError, match="not both"):
        sdpa(x, x, x, attn_mask=np.ones((4, 4), bool), is_causal=True)
    with pytest.raises(tg.errors.ShapeError, match="same last axis"):
        sdpa(x, x[..., :2], x)
