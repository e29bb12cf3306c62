"""Random numbers where the bits are extreme, and which generator draws for whom."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import random
from tinygrad_rnn.errors import ArgumentError


@pytest.fixture(params=[0, 0xFFFFFFFF], ids=["all bits 0", "all bits 1"])
def bits(request, monkeypatch):
    def extreme(state, shape):
        return tg.tensor(np.full(shape, request.param, np.uint32)), state

    monkeypatch.setattr(random, "bits_from_state", extreme)
    return request.param


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_extreme_bits(bits, dtype):
    g = tg.Generator(1)
    u = g.uniform((1,), dtype=dtype).item()
    assert u == 0.0 if bits == 0 else 1 - 2.0**-7 < u < 1.0
    assert np.isfinite(g.normal((1,), dtype=dtype).item())
    assert not g.bernoulli(0.0, (1,)).item() and g.bernoulli(1.0, (1,)).item()
    assert g.randint(-3, 4, (1,)).item() == (-3 if bits == 0 else 3)


@pytest.mark.parametrize(
    ("dtype", "digits"), [("bfloat16", 8), ("float16", 11), ("float32", 24), ("float64", 53)]
)
def test_all_digits_are_random(dtype, digits):
    u = tg.Generator(3).uniform((1000,), dtype=dtype).numpy().astype(np.float64)
    whole = u * 2.0**digits
    assert (whole == np.floor(whole)).all()
    ones = [(whole.astype(np.uint64) >> np.uint64(k) & np.uint64(1)).sum() for k in range(digits)]
    assert 380 < min(ones) and max(ones) < 620


def test_radius_and_angle_are_independent():
    z = tg.Generator(4).normal((20000,), dtype="float64").numpy()
    assert abs(z.mean()) < 0.03 and abs(z.std() - 1) < 0.03 and abs((z**4).mean() - 3) < 0.3
    assert np.abs(np.mean(z[::2] * z[1::2])) < 0.03
    moved = tg.Generator(4).normal((20000,), 5.0, 3.0, dtype="float64").numpy()
    np.testing.assert_allclose(moved, z * 3.0 + 5.0, rtol=1e-12)


def test_a_new_seed_is_a_new_generator():
    g = tg.Generator(1)
    g.spawn(), g.uniform((3,))
    g.seed(5)
    fresh = tg.Generator(5)
    assert g.state_dict() == fresh.state_dict()
    assert g.spawn().state_dict() == fresh.spawn().state_dict()
    with pytest.raises(ArgumentError, match="four integers"):
        g.load_state_dict({"state": [1, 2, 3, 4, 5]})


def test_every_backend_has_a_default_generator_of_its_own(monkeypatch):
    monkeypatch.setattr(random._Default, "of", {})
    first = tg.manual_seed(7)
    other = random.default_generator("numba")
    assert other is not first and other.state.backend.name == "numba"
    assert random.default_generator("numba") is other
    drawn = [g.uniform((3,)).tolist() for g in (first, other)]
    assert drawn[0] == drawn[1]
    tg.manual_seed(7)
    assert [g.uniform((3,)).tolist() for g in (first, other)] == drawn


def test_a_generator_first_needed_in_a_recording_moves_on(monkeypatch):
    monkeypatch.setattr(random._Default, "of", {})
    f = tg.jit(lambda x: tg.nn.functional.dropout(x))
    x = tg.ones((100,))
    a, b = f(x).tolist(), f(x).tolist()
    assert a != b and len(f.recordings) == 1
