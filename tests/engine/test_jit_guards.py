"""jit: what it takes for granted, static values, errors, leaks."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from oracles import close, seeded

import tinygrad_rnn as tg
from tinygrad_rnn.trace import guard


def f64(*shape: int, seed: str = "x") -> tg.Tensor:
    return tg.tensor(seeded(f"{seed}{shape}").normal(size=shape) * 0.7)


# --- guards, statics, errors ---------------------------------------------------------------------


def test_recordings_by_type_and_static_value():
    calls = []

    @tg.jit
    def f(x, n=1, flag=False, name="a"):
        calls.append(n)
        return x * n if flag else x + n

    one, two = tg.tensor([1.0]), tg.tensor([1.0, 2.0])
    for args in ((one,), (one, 2), (one, 2, True), (two,), (tg.tensor([1]),)):
        f(*args), f(*args)
    assert len(calls) == 5 and len(f.recordings) == 5
    assert f(one, n=3).item() == 4.0 and f(one, n=3.5).item() == 4.5
    assert f(one, 1).item() == 2.0 and f(one, True).item() == 2.0
    f(np.array([1.0], np.float32))
    assert f(one, 0.0).item() == 1.0 and f(one, -0.0).item() == 1.0


def test_guards_retrace():
    mode = SimpleNamespace(training=True)
    f = tg.jit(lambda x: x * 2.0 if guard(mode, "training") else x)
    x = tg.tensor([1.0])
    assert f(x).item() == 2.0
    mode.training = False
    assert f(x).item() == 1.0
    mode.training = True
    assert f(x).item() == 2.0 and len(f.recordings) == 2
    layer = tg.nn.Dropout(0.5)
    g = tg.jit(lambda x: layer(x))
    big = tg.ones((1000,))
    assert 0 < (g(big).numpy() == 0).sum() < 1000
    layer.eval()
    assert (g(big).numpy() == 1).all()
    layer.train()
    a, b = g(big).numpy(), g(big).numpy()
    assert (a != b).any()


def test_requires_grad_and_default_dtype_retrace():
    w = tg.tensor([2.0])
    f = tg.jit(lambda: w * w)
    assert not f().requires_grad
    w.requires_grad = True
    assert f().requires_grad
    g = tg.jit(lambda: tg.ones((2,)))
    assert g().dtype is tg.float32
    tg.set_default_dtype("float64")
    try:
        assert g().dtype is tg.float64
    finally:
        tg.set_default_dtype("float32")


def test_an_error_inside_leaves_everything_as_it_was():
    w, s, rng = tg.tensor([1.0], requires_grad=True), tg.tensor([5.0]), tg.Generator(1)
    before = rng.state.tolist()

    def f(x, fail):
        (w * x).sum().backward()
        s.assign_(s + 1.0)
        x.assign_(x * 2.0)
        rng.uniform((2,))
        with tg.no_grad():
            w.assign_(w * 10.0)
            if fail:
                raise KeyError("on purpose")

    g, x = tg.jit(f), tg.tensor([3.0])
    for _ in range(2):
        with pytest.raises(KeyError):
            g(x, True)
        assert w.tolist() == [1.0] and w.grad is None and w.is_leaf and w.requires_grad
        assert s.tolist() == [5.0] and x.tolist() == [3.0] and rng.state.tolist() == before
        assert tg.is_grad_enabled()
        assert (tg.tensor([1.0]) + 1.0).tolist() == [2.0]
    g(x, False)
    assert (
        s.tolist() == [6.0]
        and w.tolist() == [10.0]
        and w.grad.tolist() == [3.0]
        and x.tolist() == [6.0]
    )


def test_values_are_unknown_while_recording():
    x = tg.tensor([1.0])
    for f in (
        lambda x: x if x.sum() > 0 else -x,
        lambda x: float(x),
        lambda x: x.numpy(),
        lambda x: x.tolist(),
    ):
        with pytest.raises(RuntimeError, match=r"jit\(<lambda>\).*recorded.*where"):
            tg.jit(f)(x)
    assert "recorded" in tg.jit(lambda x: (x, repr(x)))(x)[1]


def test_leaked_tensors():
    kept = []
    tg.jit(lambda x: kept.append(x * 2.0))(tg.tensor([1.0]))
    tg.scan(lambda c, x: (kept.append(c) or c, None), tg.tensor(1.0), tg.ones((3,)))
    tg.vmap(lambda x: (kept.append(x), x)[1])(tg.ones((3,)))
    for t in kept:
        for use in (
            lambda t=t: t + 1.0,
            lambda t=t: t.numpy(),
            lambda t=t: tg.jit(lambda: t * 1.0)(),
        ):
            with pytest.raises(RuntimeError, match=r"after.*recording ended"):
                use()


def test_trees_nesting_and_methods():
    class Model:
        scale = tg.tensor([2.0])

        @tg.jit
        def __call__(self, x):
            return {"y": x["a"] * self.scale, "n": 3, "none": None}

    out = Model()({"a": tg.tensor([4.0])})
    assert out["y"].tolist() == [8.0] and out["n"] == 3 and out["none"] is None
    inner = tg.jit(lambda x: x * 2.0)
    assert tg.jit(lambda x: inner(inner(x)))(tg.tensor(1.0)).item() == 4.0
    assert tg.jit(lambda x: x)(tg.tensor(1.0)).item() == 1.0
    with pytest.raises(TypeError, match="function"):
        tg.jit(3)
    with pytest.raises(TypeError, match=r"jit.*set.*hashable"):
        inner({1, 2})


def test_compiled_programs_are_shared_between_equal_recordings():
    x = f64(3)
    a, b = (tg.jit(lambda x, k=k: tg.sin(x) * 2.0) for k in range(2))
    a(x), b(x)
    assert a.recordings[0].graph == b.recordings[0].graph
    close(a(x), b(x), 0)
