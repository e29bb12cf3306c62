"""The backend around its kernels: waiting, memory, devices, streams, products, what is missing."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import dlpack, nn
from tinygrad_rnn.errors import ArgumentError, BackendError

from . import fake
from .fake import cublas


def test_complex_numbers_and_matrices(backend: Any) -> None:
    """They run on CuPy's own functions, in loops and compiled programs too."""
    rng = np.random.default_rng(0)
    z, a = rng.normal(size=(4, 3, 3)) + 1j * rng.normal(size=(4, 3, 3)), rng.normal(size=(3, 3))

    def f(z: Any, a: Any) -> Any:
        c, ys = tg.scan(lambda c, x: (tg.tanh(c @ c) * 0.1 + x, abs(c)), z[0], z)
        w, v = tg.linalg.eigh(a)
        whole = tg.fft.ifft(tg.fft.fft(c) * (v @ v.mT)) + tg.linalg.solve(a, tg.real(z[1]))
        return abs(whole).sum() + (ys * w).sum() + tg.linalg.det(a)

    for program in (lambda *args: (f(*args),), tg.grad(f, (0, 1))):
        want = program(tg.tensor(z), tg.tensor(a))
        with tg.use_backend(backend), fake.allowed_to_wait():
            args = tg.tensor(z), tg.tensor(a)
            for found in (program(*args), tg.jit(program)(*args)):
                for y, right in zip(found, want, strict=True):
                    np.testing.assert_allclose(y.numpy(), right.numpy(), rtol=1e-9, atol=1e-12)


def test_reading_a_value_waits_and_nothing_else_does(backend: Any) -> None:
    with tg.use_backend(backend):
        x = tg.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
        (tg.exp(x) @ x.T).sum().backward()
        grad = x.grad
        for read in (grad.numpy, grad.sum().item, lambda: bool(grad.sum() > 0), grad.tolist):
            with pytest.raises(fake.device.Waited):
                read()
        with pytest.raises(fake.device.Waited):
            backend.synchronize()
        with fake.allowed_to_wait():
            assert grad.shape == (2, 3) and np.isfinite(grad.numpy()).all()


def test_running_out_of_memory_is_survived(backend: Any, monkeypatch: Any) -> None:
    pool = fake.memory.get_default_memory_pool()
    with tg.use_backend(backend), tg.no_grad():
        layer, x = nn.LSTM(3, 8, rng=0).to(backend), tg.ones((50, 4, 3))
        expected = layer(x)[0]
        monkeypatch.setattr(pool, "limit", pool.used_bytes() + 1000)
        for attempt in (lambda: tg.ones((10, 1000)), lambda: layer(x), lambda: tg.exp(x) + x,
                        lambda: tg.jit(lambda x: tg.exp(x) + x)(x)):  # fmt: skip
            with pytest.raises(BackendError, match=r"out of GPU memory.* used by tensors") as found:
                attempt()
            assert isinstance(found.value, MemoryError)
            assert pool.total_bytes() == pool.used_bytes()  # what was held unused is given back
        monkeypatch.undo()
        # memory that others than the pool ask for
        cuda = fake.submodule(backend, "memory").cupy.cuda
        for error in (cuda.runtime.CUDARuntimeError("cudaErrorMemoryAllocation: out of memory"),
                      cuda.cublas.CUBLASError("CUBLAS_STATUS_ALLOC_FAILED")):  # fmt: skip
            with pytest.raises(BackendError, match="out of GPU memory"):
                fake.submodule(backend, "memory").guarded(_raise)(error)
        with pytest.raises(cuda.runtime.CUDARuntimeError, match="IllegalAddress"):
            error = cuda.runtime.CUDARuntimeError("cudaErrorIllegalAddress")
            fake.submodule(backend, "memory").guarded(_raise)(error)
        del attempt, found
        again = layer(x)[0]
        with fake.allowed_to_wait():
            assert np.array_equal(again.numpy(), expected.numpy())


def _raise(error: Exception) -> None:
    raise error


def test_memory_report(backend: Any) -> None:
    before = backend.memory()
    with tg.use_backend(backend):
        x = tg.zeros((1 << 18,))
    after = backend.memory()
    assert after.used == before.used + 4 * x.size and after.total == before.total
    assert " MiB used by tensors, " in str(after)
    del x
    assert backend.memory().used == before.used


def test_devices_are_chosen_by_number(backend: Any, monkeypatch: Any) -> None:
    try:
        assert backend.device == 0
        backend.device = 1
        assert backend.device == 1
        with pytest.raises(ArgumentError, match="no CUDA device 2; there are 0: fake 0, 1: fake 1"):
            backend.device = 2
        monkeypatch.setenv("TINYGRAD_RNN_CUDA_DEVICE", "0")
        assert type(backend)().device == 0
        monkeypatch.setenv("TINYGRAD_RNN_CUDA_DEVICE", "first")
        with pytest.raises(ArgumentError, match="'first', expected the number"):
            type(backend)()
        backend.device = 1
        seen: list[int] = []

        def work() -> None:  # a thread of CUDA's begins with device 0
            backend.put(np.ones(3))
            seen.append(fake.device.here.device)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert seen == [1]
        with fake.device.Device(0):
            assert backend.device == 0
    finally:
        backend.device = 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_arrays_of_others_enter_and_leave_without_a_copy(
    backend: Any, dtype: str, rng: Any
) -> None:
    theirs = fake.arrays.array(rng.normal(size=(3, 4)).astype(tg.types.as_dtype(dtype).np))
    with tg.use_backend(backend):
        x = tg.from_dlpack(theirs)
        assert x.backend is backend and x.shape == (3, 4) and x.dtype == dtype
        assert x._value.data.data.ptr == theirs.data.ptr == tg.from_dlpack(x)._value.data.data.ptr
        turned = tg.from_dlpack(theirs.T, copy=False)
        assert fake.arrays.from_dlpack(x).data.ptr == theirs.data.ptr
        for copied in (tg.from_dlpack(theirs, copy=True)._value.data, _Copying(x).taken()):
            assert copied.data.ptr != theirs.data.ptr
        with fake.allowed_to_wait():
            assert np.array_equal((turned * 2).numpy(), theirs._host.T * 2)
        x.requires_grad = True
        (x * x).sum().backward()
        with fake.allowed_to_wait():
            assert np.array_equal(x.grad.numpy(), 2 * theirs._host)
        with pytest.raises(RuntimeError, match=r"\.detach\(\)"):
            fake.arrays.from_dlpack(x)
        with fake.allowed_to_wait():  # a constant of what is recorded
            assert tg.jit(lambda y: y + tg.from_dlpack(theirs))(x).shape == (3, 4)
    with pytest.raises(ArgumentError, match="<backend numpy> cannot use that memory"):
        tg.from_dlpack(theirs, device="numpy", copy=False)


class _Copying(fake.arrays._OnHost):
    def taken(self) -> Any:
        return fake.arrays.ndarray(dlpack.receive(self))

    def __dlpack__(self, **_: Any) -> Any:
        return self.x.__dlpack__(stream=1, copy=True)


def test_blocks_that_wait_must_all_be_there(backend: Any, monkeypatch: Any) -> None:
    """CuPy would launch as many as fit, and these would wait for the others."""
    compiler = fake.submodule(backend, "compiler")
    most = fake.device.state.attributes["MultiProcessorCount"]
    compiler.check_resident(SimpleNamespace(ptr=0), most, 256, 1000)
    with pytest.raises(BackendError, match=r"needs 13 blocks .* but 12 fit.*CUDA_LOOPS=graph"):
        compiler.check_resident(SimpleNamespace(ptr=0), most + 1, 256, 1000)


def test_streams_wait_for_a_loop_that_others_run(backend: Any) -> None:
    """Its static memory is in use until then."""
    with tg.use_backend(backend), tg.no_grad():
        layer, x = nn.GRU(2, 3, rng=0).to(backend), tg.ones((3, 2, 2))
        layer(x)
        other = fake.device.Stream()
        with other:
            layer(x)
        assert len(other.waited) == 1
        with other:
            layer(x)
        assert len(other.waited) == 1


@pytest.mark.parametrize("tf32", [False, True])
def test_tf32_is_the_same_choice_everywhere(backend: Any, tf32: bool, rng: Any) -> None:
    """Eagerly, compiled, in loops; for float32 only."""
    backend.settings.tf32 = tf32
    try:
        cublas.asked.clear()
        with tg.use_backend(backend):
            x = tg.tensor(rng.normal(size=(5, 6)).astype("f4"), requires_grad=True)
            (x @ x.T).sum().backward()
            tg.jit(lambda x: (x @ x.T).sum())(x)
            y, _ = nn.LSTM(6, 4, rng=0).to(backend)(x[None])
            y.sum().backward()
            assert len(cublas.asked) >= 8
            assert set(cublas.asked) == {cublas.TF32 if tf32 else cublas.F32}
            cublas.asked.clear()
            _ = x.astype("float64") @ x.T.astype("float64")
            _ = x.astype("float16") @ x.T.astype("float16")
            _ = x.astype("bfloat16") @ x.T.astype("bfloat16")
            assert cublas.asked == [cublas.F64, cublas.F32, cublas.F32]
    finally:
        backend.settings.tf32 = False


LAYOUTS = {
    "plain": lambda a: a,
    "turned": lambda a: np.swapaxes(np.ascontiguousarray(np.swapaxes(a, -1, -2)), -1, -2),
    "strided": lambda a: np.repeat(a, 2, -1)[..., ::2],
    "reversed": lambda a: a[..., ::-1, :][..., ::-1, :],
}


SHAPES = [
    ((3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((2, 3, 4), (1, 4, 5)), ((1, 4), (4, 1)),
    ((3, 0), (0, 2)), ((0, 3), (3, 2)), ((2, 1, 3, 4), (5, 4, 2)),
]  # fmt: skip


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_products_of_any_layout(backend: Any, shapes: Any, rng: Any) -> None:
    products = fake.submodule(backend, "products")
    a, b = (rng.normal(size=s) for s in shapes)
    for left in LAYOUTS.values():
        for right in LAYOUTS.values():
            x, y = fake.arrays.ndarray(left(a)), fake.arrays.ndarray(right(b))
            found = products.matmul(x, y, None, False)
            assert found.shape == (a @ b).shape and np.allclose(found._host, a @ b, 1e-13, 1e-13)
            out = fake.arrays.empty((*(a @ b).shape, 2))[..., 0]
            assert products.matmul(x, y, out, False) is out and np.allclose(out._host, a @ b)


def test_scatter_add_is_the_same_at_every_run(backend: Any, rng: Any, monkeypatch: Any) -> None:
    updates, where = rng.normal(size=(300, 5)).astype("f4"), rng.integers(0, 4, 300)
    found = []
    for seed in (1, 2, 3):
        monkeypatch.setattr(fake.modules, "seed", seed)
        with tg.use_backend(backend):
            x = tg.tensor(np.zeros((4, 5), "f4"), requires_grad=True)
            (tg.take(x, tg.tensor(where), axis=0) * tg.tensor(updates)).sum().backward()
            with fake.allowed_to_wait():
                found.append(x.grad.numpy().copy())
    expected = np.zeros((4, 5))
    np.add.at(expected, where, updates.astype("f8"))
    assert np.allclose(found[0], expected, atol=1e-4)
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_what_is_missing_is_said(backend: Any, monkeypatch: Any) -> None:
    cls = type(backend)
    cupy = fake.submodule(backend, "backend").cupy
    with fake.allowed_to_wait():
        assert cls.missing() is None
        monkeypatch.setattr(cupy.cuda, "is_available", lambda: False)
        assert "no CUDA device or driver" in cls.missing()
        monkeypatch.undo()

        def broken(values: Any) -> Any:
            raise cupy.cuda.runtime.CUDARuntimeError("cudaErrorNoKernelImage")

        monkeypatch.setattr(cupy, "asarray", broken)
        assert "cannot run a kernel on it (cudaErrorNoKernelImage)" in cls.missing()
