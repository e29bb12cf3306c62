"""bfloat16: float32 without the last 16 bits. Against arithmetic on bits, and against PyTorch."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from oracles import BACKENDS, close, same, seeded

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim
from tinygrad_rnn.errors import ArgumentError, DTypeError
from tinygrad_rnn.testing import assert_close
from tinygrad_rnn.types import DTYPES, as_dtype

EPS = 2.0**-7
#: What bfloat16 becomes together with every other dtype.
PROMOTED = {
    "bool": "bfloat16", "int8": "bfloat16", "int16": "bfloat16", "int32": "bfloat16",
    "int64": "bfloat16", "uint8": "bfloat16", "uint16": "bfloat16", "uint32": "bfloat16",
    "uint64": "bfloat16", "bfloat16": "bfloat16", "float16": "float32", "float32": "float32",
    "float64": "float64", "complex64": "complex64", "complex128": "complex128",
}  # fmt: skip


def rounded(x: np.ndarray) -> np.ndarray:
    """The upper halves of float32 numbers, rounded to the nearest, ties to even."""
    bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    up = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(x), bits >> 16 | 0x40, up).astype(np.uint16)


def numbers(name: str, n: int = 20_000) -> np.ndarray:
    """Numbers of every size, ties among them, subnormal ones, zeros and infinities."""
    rng = seeded(name)
    bits = rng.integers(0, 2**32, n, np.uint32)
    bits[: n // 4] = bits[: n // 4] & 0xFFFF0000 | 0x8000
    bits[n // 4 : n // 3] &= 0x807FFFFF
    special = np.array([0x7F7FFFFF, 0x7F7F8000, 0x7F7F7FFF, 0x7F800000, 0x80000000, 1], np.uint32)
    return np.concatenate([bits, special, special ^ 0x80000000]).view(np.float32)


def bits_of(t: tg.Tensor) -> np.ndarray:
    return t.detach().numpy().view(np.uint16)


def small(*shape: int, name: str = "small", scale: float = 1.0) -> tg.Tensor:
    return tg.tensor(seeded(f"{name}{shape}").normal(size=shape) * scale, "bfloat16")


@pytest.mark.parametrize("backend", BACKENDS)
def test_rounding_is_to_the_nearest_even(backend):
    x = numbers("round trip")
    fine = ~np.isnan(x)
    t = tg.tensor(x, backend=backend)
    for y in (t.astype("bfloat16"), tg.jit(lambda t: t.astype(tg.bfloat16))(t), t.to("bfloat16")):
        assert y.dtype is tg.bfloat16 and (bits_of(y) == rounded(x))[fine].all()
        assert np.isnan(y.numpy()[~fine]).all()
    # and all that bfloat16 has comes back from float32
    bits = np.arange(2**16, dtype=np.uint16)
    every = bits.view(ml_dtypes.bfloat16)
    back = tg.tensor(every, backend=backend).astype("float32")
    fine = ~np.isnan(back.numpy())
    assert fine.sum() == 2**16 - 2 * 127
    assert (back.numpy().view(np.uint32) == bits.astype(np.uint32) << 16)[fine].all()
    assert (bits_of(back.astype("bfloat16")) == bits)[fine].all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_arithmetic_is_rounded_once(backend):
    """The sum, difference, product, quotient and root of float32 numbers, rounded."""
    x, y = ((rounded(numbers(name)).astype(np.uint32) << 16).view(np.float32) for name in "xy")
    a, b = (tg.tensor(v, "bfloat16", backend=backend) for v in (x, y))
    with np.errstate(all="ignore"):
        exact = [x + y, x - y, x * y, x / y, np.sqrt(x)]
    for got, want in zip([a + b, a - b, a * b, a / b, tg.sqrt(a)], exact, strict=True):
        fine = ~np.isnan(want)
        assert (bits_of(got) == rounded(want))[fine].all()
        assert np.isnan(got.numpy()[~fine]).all()


def test_promotion():
    assert set(PROMOTED) == {d.name for d in DTYPES}
    one = tg.ones((2,), "bfloat16")
    for name, want in PROMOTED.items():
        other = tg.ones((2,), name)
        assert (one + other).dtype == (other * one).dtype == want == tg.result_type(name, one)
        assert tg.can_cast(name, "bfloat16") is (want == "bfloat16")
        assert tg.can_cast("bfloat16", name) is (want == name)
    assert (one * 2.5).dtype is (3 - one).dtype is (one * True).dtype is tg.bfloat16
    assert (one + 1j).dtype is tg.complex64 and (one**2).dtype is tg.bfloat16
    assert tg.isdtype("bfloat16", "real floating") and not tg.isdtype(tg.bfloat16, "integral")


def test_the_dtype():
    d = tg.bfloat16
    assert repr(d) == "bfloat16" and repr(tg.zeros((2, 3), d).type) == "bf16[2,3]"
    for alias in (d, "bfloat16", ml_dtypes.bfloat16, np.dtype(ml_dtypes.bfloat16)):
        assert as_dtype(alias) is d and d == alias
    assert d != tg.float16 and d != "float16" and as_dtype("float16") is not d
    for other in ("float8_e5m2", "int4"):
        with pytest.raises(DTypeError, match=r"expected one of .*bfloat16"):
            as_dtype(np.dtype(getattr(ml_dtypes, other)))
    assert pickle.loads(pickle.dumps(d)) is d and copy.deepcopy(d) is d
    limits, want = tg.finfo(d), ml_dtypes.finfo(ml_dtypes.bfloat16)
    assert limits.bits == 16 and limits.dtype is d
    for name in ("eps", "max", "min", "smallest_normal", "smallest_subnormal"):
        assert getattr(limits, name) == float(getattr(want, name))
    with pytest.raises(TypeError, match=r"iinfo of bfloat16"):
        tg.iinfo(d)
    with pytest.raises(AttributeError, match="numpy"):
        d.numpy  # noqa: B018


def test_tensors_are_made_and_read():
    x = tg.tensor([1.5, 2.0**70, -1e39, 1.0039], "bfloat16")
    assert x.tolist() == [1.5, 2.0**70, -np.inf, 1.0] and type(x[0].item()) is float
    assert repr(x).startswith("Tensor(bf16[4] numpy")
    for made in (
        tg.zeros(2, d := "bfloat16"), tg.ones(2, d), tg.full((2,), 0.1, d), tg.arange(2, dtype=d),
        tg.linspace(0, 1, 2, dtype=d), tg.eye(2, dtype=d), tg.zeros_like(x), tg.asarray(x),
        tg.asarray([1, 2], d), tg.tensor(np.ones(2, ml_dtypes.bfloat16)), x[:2], tg.stack([x, x]),
        tg.Generator(0).normal((2,), dtype=d), x + np.ones(4, ml_dtypes.bfloat16), x * 2**70,
        x + ml_dtypes.bfloat16(1), tg.where(x > 0, x, 0.0), tg.clip(x, -1, 1), x.astype(bool) * x,
    ):  # fmt: skip
        assert made.dtype is tg.bfloat16 and made.numpy().dtype == ml_dtypes.bfloat16
    assert tg.tensor([True, False]).astype("bfloat16").tolist() == [1.0, 0.0]
    assert tg.tensor([2.75, -2.75], "bfloat16").astype(int).tolist() == [2, -2]
    tg.set_default_dtype("bfloat16")
    try:
        assert tg.tensor(0.1).dtype is tg.zeros(2).dtype is nn.Linear(2, 3).weight.dtype
        assert tg.zeros(2).dtype is tg.bfloat16 and (tg.tensor([1]) / 3).dtype is tg.bfloat16
        assert tg.tensor(1j).dtype is tg.complex64
    finally:
        tg.set_default_dtype("float32")
    for wrong in (["a"], [1j], [2**70], {}):
        with pytest.raises(DTypeError, match=r"tensor of bfloat16 from this (list|dict): "):
            tg.tensor(wrong, "bfloat16")
    with pytest.raises(ArgumentError, match=r"i32\[2\] cannot become bf16\[2\]"):
        y = tg.ones((2,), "int32")
        y += tg.ones((2,), "bfloat16")


@pytest.mark.parametrize("backend", BACKENDS)
def test_sums_and_products_are_in_float32(backend):
    """In bfloat16 counting stops at 256; every sum here is rounded once."""
    ones, n = tg.ones((3, 5000), "bfloat16", backend=backend), 4992.0  # 5000, rounded
    assert ones.sum().item() == 14976 and ones.sum(1).tolist() == [n] * 3
    assert ones.mean().item() == 1 and (ones @ ones.mT).tolist() == [[n] * 3] * 3
    assert tg.cumsum(ones, 1)[0, [255, 256, 999, 4999]].tolist() == [256, 256, 1000, n]
    there = tg.zeros((5000,), "int64", backend=backend)
    assert tg.scatter_add(1, there, ones[0]).item() == n
    total = tg.scan(lambda c, x: (c + x, None), tg.zeros((3,), "bfloat16", backend=backend),
                    ones.T)[0]  # fmt: skip
    assert total.tolist() == [n] * 3
    a, b = small(33, 70, name="a"), small(70, 5, name="b")
    a, b = a.to(backend), b.to(backend)
    exact = a.numpy().astype(float) @ b.numpy().astype(float)
    assert np.abs((a @ b).numpy().astype(float) - exact).max() <= 0.51 * EPS * np.abs(exact).max()


@pytest.mark.parametrize(
    "f",
    [tg.mean, tg.var, tg.std, tg.norm, tg.logsumexp, tg.softmax, tg.log_softmax, tg.max, tg.prod],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize(("size", "scale"), [(7000, 1.0), (7, 40.0)])
def test_reductions_and_their_gradients(f, size, scale):
    x = small(size, name=f.__name__, scale=scale if f is not tg.prod else 1.0)
    x = x[:7] if f is tg.prod else x
    exact = x.astype("float64")
    y, pull = tg.vjp(f, x)
    want, exact_pull = tg.vjp(f, exact)
    ct = small(*y.shape, name="ct")
    g = pull(ct)[0]
    assert y.dtype is g.dtype is tg.bfloat16
    assert_close(y.astype("float64"), want, 2 * EPS)
    truth = exact_pull(ct.astype("float64"))[0]
    assert_close(g.astype("float64"), truth, 4 * EPS)


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])
def test_layers_are_as_good_as_pytorch(layer):
    """Outputs and gradients are no further from those in float64 than PyTorch's."""
    torch = pytest.importorskip("torch")
    T, B, I, H = 9, 4, 5, 7
    x, ct = small(T, B, I, name="x"), small(T, B, H, name="ct")
    ours = layer(I, H, rng=0).bfloat16()
    theirs = getattr(torch.nn, layer.__name__)(I, H).bfloat16()
    exact = layer(I, H, rng=0).double()
    state = {k: v.astype("float64") for k, v in ours.state_dict().items()}
    exact.load_state_dict(state)
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in state.items()})

    def run(model, x, ct):
        x = x.detach()
        x.requires_grad = True
        y, _ = model(x)
        y.backward(ct)
        return y.detach(), x.grad, *[p.grad for p in model.parameters()]

    found = run(ours, x, ct)
    wide = run(exact, x.astype("float64"), ct.astype("float64"))
    peer = run(theirs, *[torch.from_dlpack(t) for t in (x, ct)])
    for mine, truth, other in zip(found, wide, peer, strict=True):
        assert mine.dtype is tg.bfloat16
        scale = np.abs(truth.numpy()).max()
        off, away = (
            np.abs(v - truth.numpy()).max() / scale
            for v in (mine.numpy().astype(float), other.double().numpy())
        )
        assert off <= max(1.5 * away, 2 * EPS) and off < 8 * EPS
    compiled = tg.jit(lambda x: ours(x)[0])(x)
    assert_close(compiled.astype("float64"), found[0].astype("float64"), 1e-12)


def test_arithmetic_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    a, b = small(40, 30, name="a"), small(40, 30, name="b")
    p, q = torch.from_dlpack(a), torch.from_dlpack(b)
    for f in ("add", "multiply", "divide", "maximum"):
        same(getattr(tg, f)(a, b).numpy(), tg.from_dlpack(getattr(torch, f)(p, q)).numpy())
    for name in ("exp", "tanh", "sigmoid", "log1p", "erf", "sin", "sqrt"):
        x, y = tg.abs(a), torch.abs(p)
        got, want = getattr(tg, name)(x), tg.from_dlpack(getattr(torch, name)(y))
        assert_close(got.astype("float64"), want.astype("float64"), EPS)
    for got, want in ((a @ b.T, p @ q.T), (a.sum(0), p.sum(0)), (a.mean(), p.mean())):
        close(got.astype("float64"), tg.from_dlpack(want).astype("float64").numpy(), EPS)


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adagrad", "Adam", "AdamW"])
def test_optimizers_step_as_pytorchs(name):
    """Parameters, gradients and the optimizer's state are all in bfloat16, as there."""
    torch = pytest.importorskip("torch")
    start, grads = small(50, name="start"), [small(50, name=f"g{k}") for k in range(5)]
    p = nn.Parameter(start)
    q = torch.nn.Parameter(torch.from_dlpack(start).clone())
    more = {"momentum": 0.9} if name == "SGD" else {}
    ours, theirs = (
        getattr(optim, name)([p], lr=0.1, **more),
        getattr(torch.optim, name)([q], lr=0.1, **more),
    )
    for g in grads:
        p.grad, q.grad = g, torch.from_dlpack(g)
        ours.step()
        theirs.step()
    assert p.dtype is tg.bfloat16
    close(p.detach().astype("float64"), q.detach().double().numpy(), 4 * EPS)


def test_modules_move_and_are_saved(tmp_path):
    m = nn.GRU(3, 4, rng=1).bfloat16()
    assert all(p.dtype is tg.bfloat16 for p in m.parameters())
    assert nn.GRU(3, 4, dtype="bfloat16").weight_hh_l0.dtype is tg.bfloat16
    path = tmp_path / "model.safetensors"
    tg.save_checkpoint(path, model=m)
    other = nn.GRU(3, 4, rng=2).bfloat16()
    tg.load_checkpoint(path, model=other)
    for k, v in m.state_dict().items():
        same(v.numpy(), other.state_dict()[k].numpy())
    with pytest.raises(Exception, match=r"bf16.*f32|f32.*bf16"):
        tg.load_checkpoint(path, model=nn.GRU(3, 4))
    tg.save_checkpoint(path, extra={"loss": (x := small(1)).numpy()[0]})
    assert tg.load_checkpoint(path)["loss"] == x.item()
    wide = m.float().weight_ih_l0
    assert wide.dtype is tg.float32 and (m.half().weight_ih_l0.dtype is tg.float16)


def test_weights_of_pytorch_move_both_ways():
    torch = pytest.importorskip("torch")
    theirs, ours = torch.nn.GRU(3, 4).bfloat16(), nn.GRU(3, 4).bfloat16()
    ours.load_state_dict(theirs.state_dict())
    for name, p in theirs.named_parameters():
        same(ours.state_dict()[name].numpy(), tg.tensor(p.detach()).numpy())
        same(tg.asarray(p.detach(), "float32").numpy(), p.detach().float().numpy())
    other = torch.nn.GRU(3, 4).bfloat16()
    other.load_state_dict({k: torch.from_dlpack(v) for k, v in ours.state_dict().items()})
    assert all(torch.equal(p, q) for p, q in zip(theirs.parameters(), other.parameters()))
    with pytest.raises(Exception, match=r"'weight_ih_l0' is bf16\[12,3\], expected f32"):
        nn.GRU(3, 4).load_state_dict(theirs.state_dict())
    assert tg.tensor(torch.ones(2, dtype=torch.float64)).dtype is tg.float64
    with pytest.raises(RuntimeError, match="requires grad"):
        tg.tensor(torch.ones(2, requires_grad=True))


def test_files_of_other_programs(tmp_path):
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("safetensors.torch")
    x = small(3, 4)
    tg.save_tensors(tmp_path / "ours", {"x": x})
    assert torch.equal(theirs.load_file(tmp_path / "ours")["x"], torch.from_dlpack(x))
    theirs.save_file({"x": torch.from_dlpack(x)}, tmp_path / "theirs")
    same(tg.load_tensors(tmp_path / "theirs")["x"].numpy(), x.numpy())


def test_without_ml_dtypes(tmp_path):
    """All else works, and bfloat16 says what to install."""
    tg.save_tensors(tmp_path / "file", {"x": small(2)})
    code = f"""
import importlib.util, sys
sys.modules["ml_dtypes"] = None
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "ml_dtypes" else found(name, *rest)
import numpy as np, tinygrad_rnn as tg
print(tg.bfloat16, tg.finfo("bfloat16").eps, tg.result_type("bfloat16", "float16"))
print((tg.ones(2, "float16") @ tg.ones(2, "float16")).item(), tg.float32 == "bfloat16")
for f in (lambda: tg.zeros(2, "bfloat16"), lambda: tg.ones(2).astype("bfloat16"),
          lambda: tg.tensor([1.0], "bfloat16"), lambda: tg.jit(lambda: tg.ones(2, "bfloat16"))(),
          lambda: tg.nn.GRU(3, 4).bfloat16(), lambda: tg.load_tensors({str(tmp_path / "file")!r})):
    try:
        f()
    except tg.TinygradRnnError as error:
        print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second, *errors = done.stdout.splitlines()
    assert first == "bfloat16 0.0078125 float32" and second == "2.0 False"
    assert len(errors) == 6
    for line in errors:
        assert 'pip install "tinygrad-rnn[bfloat16]"' in line
        assert line.startswith(("DTypeError", "CheckpointError"))
