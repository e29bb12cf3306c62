"""tinygrad_rnn as a namespace of the Array API: facts about dtypes, devices, DLPack."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from oracles import BACKENDS, same

import tinygrad_rnn as tg
from tinygrad_rnn.types import DTYPES


def test_the_module_says_what_it_is():
    assert tg.__array_api_version__ == "2024.12"
    x = tg.ones((2, 3))
    assert x.__array_namespace__() is tg and x.__array_namespace__(api_version="2022.12") is tg
    with pytest.raises(ValueError, match=r"no Array API '2030\.12'.*2024\.12"):
        x.__array_namespace__(api_version="2030.12")
    assert (tg.e, tg.pi, tg.inf, tg.newaxis) == (math.e, math.pi, math.inf, None)
    assert math.isnan(tg.nan)
    missing = [name for name in tg.__all__ if not hasattr(tg, name)]
    missing += [f"linalg.{name}" for name in tg.linalg.__all__ if not hasattr(tg.linalg, name)]
    missing += [f"fft.{name}" for name in tg.fft.__all__ if not hasattr(tg.fft, name)]
    assert not missing


def test_inspection():
    info = tg.__array_namespace_info__()
    assert info.capabilities() == {
        "boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64,
    }  # fmt: skip
    assert tg.zeros((1,) * 64).ndim == 64
    assert info.default_device() is tg.get_backend()
    assert [d.name for d in info.devices()] == sorted(BACKENDS)
    defaults = info.default_dtypes()
    assert defaults["real floating"] is tg.float32 and defaults["integral"] is tg.int64
    assert defaults["complex floating"] is tg.complex64
    tg.set_default_dtype("float64")
    try:
        assert info.default_dtypes()["complex floating"] is tg.complex128 is tg.tensor(1j).dtype
    finally:
        tg.set_default_dtype("float32")
    assert set(info.dtypes()) == {d.name for d in DTYPES} - {"bfloat16", "float16"}
    assert set(info.dtypes(kind=("bool", "unsigned integer"))) == {
        "bool", "uint8", "uint16", "uint32", "uint64",
    }  # fmt: skip


@pytest.mark.parametrize("d", DTYPES, ids=str)
def test_limits(d):
    if d.is_integer:
        found, want = tg.iinfo(d), np.iinfo(d.np)
        assert (found.bits, found.max, found.min, found.dtype) == (want.bits, want.max, want.min, d)
    elif d.is_inexact:
        limits = ml_dtypes.finfo if d is tg.bfloat16 else np.finfo
        found, want = tg.finfo(tg.ones(1, d)), limits(d.np)
        assert found.dtype is d.real and found.bits == 8 * d.real.itemsize
        for name in ("eps", "max", "min", "smallest_normal"):
            value = getattr(found, name)
            assert type(value) is float and value == float(getattr(want, name))
    for wrong in {tg.iinfo, tg.finfo} - {tg.iinfo if d.is_integer else tg.finfo}:
        if not d.is_bool:
            with pytest.raises(TypeError, match=rf"{wrong.__name__} of {d}"):
                wrong(d)


def test_kinds_and_promotion():
    assert tg.isdtype(tg.int8, ("bool", "integral")) and not tg.isdtype("uint8", "signed integer")
    assert tg.isdtype(tg.complex64, "numeric") and tg.isdtype("float32", tg.float32)
    assert not tg.isdtype(tg.bool, "numeric") and not tg.isdtype(tg.float32, tg.float64)
    with pytest.raises(TypeError, match=r"'floats' is no kind.*real floating"):
        tg.isdtype(tg.float32, "floats")
    x = tg.ones(2, "int8")
    assert tg.result_type(x, "uint8", 3) is tg.int16 and tg.result_type(True, 1, 2.0) is tg.float32
    assert tg.result_type(tg.float64, 1j) is tg.complex128 and tg.result_type(x, 1.0) is tg.float32
    with pytest.raises(ValueError, match="nothing"):
        tg.result_type()
    for a in DTYPES:
        for b in DTYPES:
            if not (a.wide is not a or b.wide is not b or (a.kind in "biu" and b.kind in "fc")):
                assert tg.can_cast(a, b) is bool(np.can_cast(a.np, b.np)), (a, b)
    assert tg.can_cast(x, tg.int16)


def test_devices_are_backends():
    for name in BACKENDS:
        where = tg.get_backend(name)
        for x in (
            tg.zeros(2, device=where), tg.ones(2, device=name), tg.full((2,), 3, device=name),
            tg.arange(2, device=name), tg.eye(2, device=name), tg.linspace(0, 1, 2, device=name),
            tg.asarray([1, 2], device=name), tg.empty(2, device=name),
            tg.zeros_like(tg.ones(2), device=name), tg.ones(2).to_device(where),
            tg.fft.fftfreq(4, device=name), tg.astype(tg.ones(2), "int8", device=name),
            tg.from_dlpack(np.ones(2), device=name), tg.from_dlpack(tg.ones(2), device=name),
        ):  # fmt: skip
            assert x.device is where is x.backend
    with pytest.raises(ValueError, match=r"backend='numpy' and device='numba': give one"):
        tg.zeros(2, backend="numpy", device="numba")
    with pytest.raises(ValueError, match="streams"):
        tg.zeros(2).to_device("numpy", stream=1)


def test_copies():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    for y in (tg.asarray(x, copy=True), tg.astype(x, "float32")):
        assert y is not x and y.requires_grad
        (y * y).sum().backward()
        assert x.grad.tolist() == [2.0, 4.0]
        x.grad = None
    assert tg.asarray(x, copy=False) is x and tg.astype(x, "float32", copy=False) is x
    for data, dtype in ((np.ones(2), None), ([1.0], None), (x, "float64")):
        with pytest.raises(ValueError, match="only by a copy"):
            tg.asarray(data, dtype=dtype, copy=False)


def test_python_numbers_must_fit():
    assert tg.asarray([2**64 - 1, 1], dtype="uint64").tolist() == [2**64 - 1, 1]
    with pytest.raises(OverflowError):
        tg.asarray([300], dtype="int8")
    assert tg.full((2,), tg.tensor(3.0, "float64"), dtype="int8").tolist() == [3, 3]
    x = tg.tensor(2.0, requires_grad=True)
    tg.full((3,), x).sum().backward()
    assert x.grad.item() == 3.0


def test_in_place_operations_keep_the_dtype():
    x = tg.tensor([1, 2], "int32")
    x += tg.tensor([1, 2])
    assert x.dtype is tg.int32 and x.tolist() == [2, 4]
    y = tg.ones(2)
    y *= tg.tensor([2.0, 3.0], "float64")
    assert y.dtype is tg.float32 and y.tolist() == [2.0, 3.0]
    with pytest.raises(ValueError, match=r"i32\[2\] cannot become f32\[2\]"):
        x += 1.5
    with pytest.raises(ValueError, match=r"f32\[2\] cannot become f32\[2,2\]"):
        y += tg.ones((2, 2))


def test_a_number_is_not_iterable():
    with pytest.raises(TypeError, match="0-d tensor"):
        iter(tg.tensor(1.0))
    assert not np.iterable(tg.tensor(1.0)) and np.iterable(tg.tensor([1.0]))


# --- DLPack --------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [d.name for d in DTYPES if d.name != "bfloat16"])
def test_dlpack_both_ways(dtype, backend):
    rng = np.random.default_rng(0)
    a = (rng.normal(size=(3, 4)) * 3 + (1j if dtype.startswith("c") else 0)).astype(dtype)
    with tg.use_backend(backend):
        x = tg.tensor(a)
        for y in (np.from_dlpack(x.to("numpy")), tg.from_dlpack(x), tg.from_dlpack(a)):
            same(y, a)
        same(tg.from_dlpack(x[::2].T), a[::2].T)
        same(np.from_dlpack(tg.tensor(2.0).to("numpy")), np.float32(2.0))


def test_dlpack_hands_out_copies():
    x = tg.tensor([1.0, 2.0, 3.0])
    taken = np.from_dlpack(x)
    if taken.flags.writeable:
        taken[0] = 9.0
    assert x.tolist() == [1.0, 2.0, 3.0] and x.__dlpack_device__() == (1, 0)
    a = np.ones(3)
    y = tg.from_dlpack(a)
    a[0] = 5.0
    assert y.tolist() == [1.0, 1.0, 1.0]
    view = np.from_dlpack(_Sharing(x))
    assert not view.flags.writeable and np.shares_memory(view, x._value.data)


class _Sharing:
    """Asks for memory itself, as a consumer does that is content with reading."""

    def __init__(self, x: tg.Tensor):
        self.x = x

    def __dlpack__(self, **_: Any) -> Any:
        return self.x.__dlpack__(max_version=(1, 0), copy=False)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.x.__dlpack_device__()


def test_dlpack_refuses():
    with pytest.raises(RuntimeError, match=r"f32\[1\].*\.detach\(\)"):
        tg.ones(1).__class__.__dlpack__(tg.tensor([1.0], requires_grad=True))
    with pytest.raises(ValueError, match="immutable"):
        tg.from_dlpack(np.ones(2), copy=False)
    with pytest.raises(TypeError, match="list has no __dlpack__"):
        tg.from_dlpack([1.0])
    with pytest.raises(BufferError, match=r"device \(2, 0\)"):
        tg.ones(1).__dlpack__(dl_device=(2, 0))


def test_dlpack_with_torch():
    torch = pytest.importorskip("torch")
    a = np.arange(6.0, dtype="float32").reshape(2, 3)
    same(tg.from_dlpack(torch.tensor(a).T), a.T)
    taken = torch.from_dlpack(tg.tensor(a))
    taken[0, 0] = 7.0
    assert taken.tolist()[1] == [3.0, 4.0, 5.0]


def test_dlpack_of_bfloat16():
    """NumPy cannot name it; its memory goes both ways all the same."""
    torch = pytest.importorskip("torch")
    x = tg.tensor(np.random.default_rng(0).normal(size=(3, 4)), "bfloat16")
    for t in (x, x.T, x[1:, ::2], x[:0], x[0, 0]):
        taken = torch.from_dlpack(t)
        assert taken.dtype is torch.bfloat16 and taken.tolist() == t.tolist()
        same(tg.from_dlpack(taken), t.numpy())
        same(tg.from_dlpack(taken.mT.contiguous().mT if t.ndim else taken), t.numpy())
    taken[...] = 7
    assert x[0, 0].item() != 7
    view = tg.from_dlpack(_Sharing(x))  # memory for reading only
    same(view, x.numpy())
    assert tg.from_dlpack(torch.ones(2, dtype=torch.uint16)).dtype is tg.uint16
