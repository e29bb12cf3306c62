"""A Tensor as Python and NumPy see it: numbers, arrays, text; what may be assigned where."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import same

import tinygrad_rnn as tg


def f32(*shape: int) -> tg.Tensor:
    return tg.ones(shape)


def test_numpy_functions_name_detach():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    for call in (lambda: w.numpy(), lambda: np.asarray(w), lambda: np.array(w)):
        with pytest.raises(RuntimeError, match=r"f32\[2\].*\.detach\(\)"):
            call()
    with pytest.raises(TypeError):
        np.sin(w)
    assert np.asarray(w.detach()).tolist() == [1.0, 2.0]
    out = np.array([1.0, 2.0]) * w
    assert isinstance(out, tg.Tensor) and out.requires_grad and out.dtype is tg.float64
    assert isinstance(np.float32(2.0) * w, tg.Tensor)
    assert isinstance(np.ones((2, 2)) @ w, tg.Tensor)
    assert isinstance(np.float64(2.0) - w, tg.Tensor)


def test_assigning_inside_scan_and_vmap():
    s = f32()
    calls = {
        "scan": lambda: tg.scan(lambda c, x: (s.assign_(s + x), None), f32(), f32(3)),
        "vmap": lambda: tg.vmap(lambda x: s.assign_(s + x))(f32(3)),
    }
    for name, call in calls.items():
        with pytest.raises(RuntimeError, match=rf"{name}.*f32\[\].*assigned"):
            call()
        assert s.tolist() == 1.0
    w = tg.tensor([1.0], requires_grad=True)
    with pytest.raises(RuntimeError, match=r"\.grad.*grad\(\.\.\.\)"):
        tg.scan(lambda c, x: ((w * x).sum().backward() or c, None), f32(), f32(3))
    assert w.grad is None


def test_numbers_read_from_tensors():
    assert int(tg.tensor(3)) == 3 and float(tg.tensor(2.5)) == 2.5 and [10, 20][tg.tensor(1)] == 20
    assert bool(tg.tensor(True)) and not bool(tg.tensor([0.0]))
    assert tg.tensor([[1, 2]]).tolist() == [[1, 2]]
    same(tg.tensor([tg.tensor(1.0), 2.0]), np.array([1.0, 2.0], np.float32))
    assert hash(t := tg.tensor(1.0)) == hash(t) and len({t, tg.tensor(1.0)}) == 2
    assert f"{tg.tensor(1.25):.1f} {tg.tensor([3]):d}" == "1.2 3" and f"{f32(2)}" == repr(f32(2))
    assert "f32[2] numpy" in repr(f32(2)) and "requires_grad" in repr(
        tg.tensor(1.0, requires_grad=True)
    )
    assert len(repr(f32(1000, 1000))) < 500
