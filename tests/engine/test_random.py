"""Counter-based random numbers: known answers, moments, independence, jit."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import BACKENDS, same

import tinygrad_rnn as tg
from tinygrad_rnn.extend import bind, philox, primitives
from tinygrad_rnn.random import as_generator, bits_from_state, default_generator, state_from


def philox_scalar(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 as its authors define it, in Python integers."""
    for _ in range(10):
        p0, p1 = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
        counter = [
            (p1 >> 32) ^ counter[1] ^ key[0],
            p1 & 0xFFFFFFFF,
            (p0 >> 32) ^ counter[3] ^ key[1],
            p0 & 0xFFFFFFFF,
        ]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return counter


ONES = 0xFFFFFFFF
#: kat_vectors of Random123: counter, key, result.
KNOWN = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([ONES] * 4, [ONES] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


def test_known_answers():
    for counter, key, want in KNOWN:
        assert philox_scalar(counter, key) == want
    assert philox(np.zeros(4, np.uint32), (4,)).tolist() == KNOWN[0][2]
    # counter words 2 and 3 are stream and step, words 0 and 1 the number of the block
    for state in ([0xA4093822, 0x299F31D0, 0x13198A2E, 0x03707344], [ONES] * 4, [1, 2, 3, 4]):
        got = philox(np.array(state, np.uint32), (4 * 300,)).reshape(-1, 4)
        for block in (0, 1, 255, 299):
            assert got[block].tolist() == philox_scalar([block, 0, *state[2:]], state[:2])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_bits_on_every_backend(backend):
    for shape in ((), (7,), (0, 3), (3, 5, 2)):
        state = np.array([1, 2, 3, 4], np.uint32)
        got = bind(primitives["random_bits"], tg.tensor(state, backend=backend), shape=shape)
        same(got, philox(state, shape))
        with tg.use_backend(backend):
            g, h = tg.Generator(3), tg.Generator(3, backend="numpy")
            for draw in ("uniform", "normal", "bits"):
                same(getattr(g, draw)(shape), getattr(h, draw)(shape).numpy())
            assert (
                tg.jit(lambda s: bits_from_state(s, (5,))[0])(tg.tensor(state)).tolist()
                == philox(state, (5,)).tolist()
            )


def test_bits_do_not_depend_on_the_shape():
    state = np.array([9, 8, 7, 6], np.uint32)
    flat = philox(state, (24,))
    for shape in ((2, 12), (2, 3, 4), (24, 1)):
        same(philox(state, shape).reshape(-1), flat)
    for n in range(24):
        same(philox(state, (n,)), flat[:n])


def test_reproducible_and_advancing():
    a, b = tg.Generator(7), tg.Generator(7)
    first, second = a.normal((5,)), a.normal((5,))
    same(first, b.normal((5,)))
    same(second, b.normal((5,)))
    assert (first.numpy() != second.numpy()).all()
    assert (tg.Generator(8).normal((5,)).numpy() != first.numpy()).all()
    assert a.state.tolist() == [7, 0, 0, 2]
    assert tg.Generator(2**40 + 3).state.tolist() == [3, 256, 0, 0]


def test_manual_seed_and_default_generator():
    tg.manual_seed(11)
    a = default_generator().uniform((3,))
    tg.manual_seed(11)
    same(a, default_generator().uniform((3,)))
    assert as_generator(None) is default_generator() and as_generator(g := tg.Generator(1)) is g
    same(as_generator(5).uniform((2,)), tg.Generator(5).uniform((2,)))
    with pytest.raises(ValueError, match="str"):
        as_generator("x")


def test_moments():
    g, n = tg.Generator(1), 200_000
    u = g.uniform((n,), dtype="float64").numpy()
    assert u.min() >= 0 and u.max() < 1
    assert abs(u.mean() - 0.5) < 0.003 and abs(u.var() - 1 / 12) < 0.002
    counts, _ = np.histogram(u, 100, (0, 1))
    assert (
        (counts - n / 100) ** 2 / (n / 100)
    ).sum() < 160  # chi square with 99 degrees of freedom
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.01
    z = g.normal((n,), dtype="float64").numpy()
    assert abs(z.mean()) < 0.01 and abs(z.var() - 1) < 0.015 and abs((z**3).mean()) < 0.04
    assert abs((z**4).mean() - 3) < 0.15 and np.isfinite(z).all()
    w = g.normal((n,), mean=3.0, std=2.0).numpy()
    assert w.dtype == np.float32 and abs(w.mean() - 3) < 0.03 and abs(w.std() - 2) < 0.03
    v = g.uniform((n,), -2.0, 3.0).numpy()
    assert v.min() >= -2 and v.max() <= 3 and abs(v.mean() - 0.5) < 0.02
    h = g.uniform((n,), dtype="float16").numpy().astype(np.float64)
    assert h.max() < 1 and abs(h.mean() - 0.5) < 0.005
    b = g.bernoulli(0.3, (n,))
    assert b.dtype is tg.bool and abs(b.numpy().mean() - 0.3) < 0.005
    assert not g.bernoulli(0.0, (n,)).numpy().any() and g.bernoulli(1.0, (n,)).numpy().all()
    k = g.randint(-3, 4, (n,)).numpy()
    assert set(k) == set(range(-3, 4)) and np.abs(np.bincount(k + 3) / n - 1 / 7).max() < 0.005


def test_permutations():
    g = tg.Generator(0)
    assert sorted(g.permutation(100)) == list(range(100)) and len(g.permutation(0)) == 0
    firsts = [int(g.permutation(5)[0]) for _ in range(2000)]
    assert np.abs(np.bincount(firsts) / 2000 - 0.2).max() < 0.04


def test_spawned_generators_are_independent_and_repeatable():
    a, b = tg.Generator(3), tg.Generator(3)
    children = [a.spawn() for _ in range(4)]
    draws = [c.uniform((1000,)).numpy() for c in (a, *children, children[0].spawn())]
    for i, x in enumerate(draws):
        for y in draws[:i]:
            assert abs(np.corrcoef(x, y)[0, 1]) < 0.12
    for c in children:
        same(c.state[:3], b.spawn().state[:3])
    same(draws[1], (again := tg.Generator(3).spawn()).uniform((1000,)))
    assert again.state.tolist()[3] == 1


def test_state_dict_round_trip():
    g = tg.Generator(5)
    g.uniform((3,)), g.spawn()
    saved = g.state_dict()
    want = g.uniform((4,)), g.spawn().uniform((4,))
    h = tg.Generator(0)
    h.load_state_dict(saved)
    same(h.uniform((4,)), want[0])
    same(h.spawn().uniform((4,)), want[1])
    before = h.state.tolist()
    for bad in (
        None,
        {},
        {"state": [1, 2]},
        {"state": [0, 0, 0, 2**32]},
        {"state": [0, 0, 0, -1]},
        {"state": "abcd"},
    ):
        with pytest.raises(ValueError, match="four integers"):
            h.load_state_dict(bad)
    assert h.state.tolist() == before


def test_draws_inside_jit_advance():
    g, h = tg.Generator(4), tg.Generator(4)
    f = tg.jit(lambda: (g.uniform((2,)), g.normal((2,))))
    for _ in range(3):
        a, b = f()
        same(a, h.uniform((2,)))
        same(b, h.normal((2,)))
    same(g.state, h.state)
    g.seed(4)
    same(f()[0], tg.Generator(4).uniform((2,)))


def test_errors():
    for seed in (-1, 2**64, 1.5, "a", True):
        with pytest.raises(ValueError, match="seed must be an integer"):
            tg.Generator(seed)
    g = tg.Generator(0)
    with pytest.raises(TypeError, match="int64"):
        g.uniform((2,), dtype="int64")
    with pytest.raises(ValueError, match=r"probability.*1\.5"):
        g.bernoulli(1.5, (2,))
    with pytest.raises(ValueError, match=r"\[3, 3\)"):
        g.randint(3, 3, (2,))
    with pytest.raises(ValueError, match="negative"):
        g.uniform((-1,))
    with pytest.raises(ValueError, match=r"u32\[3\].*u32\[4\]"):
        bits_from_state(state_from(0)[:3], (2,))
    with pytest.raises(RuntimeError, match=r"scan.*u32\[4\].*carry"):
        tg.scan(lambda c, x: (c, g.state.assign_(g.state + 1)), tg.tensor(0.0), tg.ones((3,)))
    assert g.state.tolist() == [0, 0, 0, 0]
