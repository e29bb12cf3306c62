"""Backends: discovery without imports, selection, errors, packages of strangers."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import types
from importlib.metadata import EntryPoint
from typing import ClassVar

import numpy as np
import pytest
from tinygrad_rnn_numpy import NumpyBackend

import tinygrad_rnn as tg
from tinygrad_rnn import backend as core
from tinygrad_rnn.extend import Backend


def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **env}
    )


@pytest.fixture
def entries(monkeypatch):
    """Registers entry points for one test."""
    made: list[EntryPoint] = []

    def register(name: str, cls: type | None = None, module: str = "") -> None:
        module = module or f"fake_{name}_{id(cls)}"
        if cls is not None:
            fake = types.ModuleType(module)
            fake.__spec__ = importlib.util.spec_from_loader(module, None)
            fake.Fake = cls
            monkeypatch.setitem(sys.modules, module, fake)
        made.append(EntryPoint(name, f"{module}:Fake", core.GROUP))

    real = importlib.metadata.entry_points

    def points(group: str):
        return [*real(group=group), *made]

    monkeypatch.setattr(importlib.metadata, "entry_points", points)
    return register


class Loopback(NumpyBackend):
    name = "loopback"


# --- discovery -----------------------------------------------------------------------------------


def test_list_backends_names_what_is_known():
    rows = {r.name: r for r in tg.list_backends()}
    assert {"numpy", "numba", "cupy"} <= set(rows)
    assert (
        rows["numpy"].missing is None and "tinygrad_rnn_numpy:NumpyBackend" in rows["numpy"].origin
    )
    assert all(r.version and isinstance(r.origin, str) for r in rows.values())
    if importlib.util.find_spec("cupy") is None:
        assert "pip install" in rows["cupy"].missing


def test_importing_and_listing_import_no_backend():
    code = (
        "import sys, tinygrad_rnn as tg; tg.list_backends()\n"
        "print([m for m in sys.modules if m.startswith(('numba', 'cupy', 'tinygrad_rnn_'))])"
    )
    out = run(code)
    assert out.stdout.strip() == "[]", out.stdout + out.stderr


def test_a_strangers_backend_works(entries):
    entries("loopback", Loopback)
    assert "loopback" in {r.name for r in tg.list_backends()}
    with tg.use_backend("loopback") as where:
        assert where.name == "loopback" and tg.get_backend() is where
        w = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        end, _ = tg.scan(lambda c, x: (tg.tanh(c @ w + x), None), tg.zeros((2,)), tg.ones((3, 2)))
        end.sum().backward()
        assert w.grad.backend.name == "loopback"
        assert tg.jit(lambda x: x * 2)(tg.tensor([1.0])).tolist() == [2.0]
    assert tg.get_backend().name == "numpy"
    assert tg.tensor([1.0]).to("loopback").backend.name == "loopback"


def test_collisions_are_reported(entries):
    entries("twice", Loopback, module="first_one")
    entries("twice", Loopback, module="second_one")
    for call in (tg.list_backends, lambda: tg.use_backend("twice")):
        with pytest.raises(RuntimeError, match=r"twice.*first_one.*second_one.*[Uu]ninstall"):
            call()


def test_wrong_packages(entries):
    class OldApi(NumpyBackend):
        api = 0

    class NewApi(NumpyBackend):
        api = 2

    class Unknown(NumpyBackend):
        kernels: ClassVar = {"add": np.add, "hyperdrive": np.add}

    class NoDevice(NumpyBackend):
        @classmethod
        def missing(cls):
            return "no GPU was found: plug one in"

    entries("oldapi", OldApi)
    entries("newapi", NewApi)
    entries("unknown", Unknown)
    entries("nodevice", NoDevice)
    entries("notabackend", dict)
    entries("gone", module="a_module_that_is_not_there")
    entries("noattribute", module="json")
    cases = {
        "oldapi": r"API 0.*API 1.*upgrade",
        "newapi": r"API 2.*API 1.*upgrade",
        "unknown": r"'unknown'.*unknown primitives.*hyperdrive",
        "nodevice": r"'nodevice' cannot be used here: no GPU was found",
        "notabackend": r"not a subclass of Backend",
        "gone": r"'gone'.*a_module_that_is_not_there",
        "noattribute": r"'noattribute'.*json.*Fake",
    }
    missing = {r.name: r.missing for r in tg.list_backends()}
    assert "a_module_that_is_not_there" in missing["gone"]
    for name, message in cases.items():
        with pytest.raises(RuntimeError, match=message):
            tg.use_backend(name)
        assert tg.get_backend().name == "numpy"
        with pytest.raises(RuntimeError, match=message):
            tg.tensor([1.0]).to(name)


def test_unknown_names():
    for name in ("nunpy", "torch"):
        with pytest.raises(
            RuntimeError, match=rf"no backend '{name}'.*'numpy'.*TINYGRAD_RNN_BACKEND"
        ):
            tg.use_backend(name)
    for name in ("os.system", "../x", "", "NumPy", "a" * 40, "numpy:x", 3):
        with pytest.raises(RuntimeError, match="not a backend name"):
            tg.use_backend(name)


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="CuPy is installed")
def test_a_missing_package_says_what_to_install():
    with pytest.raises(RuntimeError, match=r"cupy.*pip install.*cuda12"):
        tg.use_backend("cupy")
    with pytest.raises(RuntimeError, match=r"cupy.*pip install"):
        tg.tensor([1.0], backend="cupy")


# --- selection -----------------------------------------------------------------------------------


def test_environment_variable():
    code = "import tinygrad_rnn as tg; print(tg.tensor([1.0]).backend.name)"
    assert run(code, TINYGRAD_RNN_BACKEND="numpy").stdout.strip() == "numpy"
    assert run(code, TINYGRAD_RNN_BACKEND="").stdout.strip() == "numpy"
    out = run(code, TINYGRAD_RNN_BACKEND="nunpy")
    assert (
        out.returncode != 0
        and "no backend 'nunpy'" in out.stderr
        and "registered are" in out.stderr
    )
    out = run(code, TINYGRAD_RNN_BACKEND="os.system")
    assert "not a backend name" in out.stderr
    if importlib.util.find_spec("numba") is not None:
        assert run(code, TINYGRAD_RNN_BACKEND="numba").stdout.strip() == "numba"


def test_use_backend_nests_and_restores(entries, monkeypatch):
    """And counts for more than the environment variable."""
    monkeypatch.setenv("TINYGRAD_RNN_BACKEND", "numpy")
    entries("loopback", Loopback)
    tg.use_backend("numpy")
    with tg.use_backend("loopback"):
        with tg.use_backend("numpy"):
            assert tg.get_backend().name == "numpy"
        assert tg.get_backend().name == "loopback"
        with pytest.raises(KeyError), tg.use_backend("numpy"):
            raise KeyError
        assert tg.get_backend().name == "loopback"
    assert tg.get_backend().name == "numpy"
    with pytest.raises(RuntimeError), tg.use_backend("nothing"):
        pass
    assert tg.get_backend().name == "numpy"
    tg.use_backend("loopback")
    assert tg.zeros((2,)).backend.name == "loopback"
    tg.use_backend(tg.get_backend("numpy"))
    assert tg.zeros((2,)).backend.name == "numpy"


def test_tensors_on_two_backends_do_not_mix(entries):
    entries("loopback", Loopback)
    a, b = tg.tensor([1.0, 2.0]), tg.tensor([1.0, 2.0], backend="loopback")
    calls = [
        lambda: a + b,
        lambda: tg.concat([a, b]),
        lambda: a @ b,
        lambda: tg.where(a > 0, a, b),
        lambda: a.assign_(b),
        lambda: tg.scan(lambda c, x: (c + b, None), a, None, length=2),
        lambda: tg.jit(lambda x: x * b)(a),
    ]
    for call in calls:
        with pytest.raises((RuntimeError, ValueError), match=r"\.to\('"):
            call()
    assert (a + b.to("numpy")).tolist() == [2.0, 4.0]


def test_a_number_goes_where_its_other_operand_is():
    """Whichever backend met the same number first."""
    for backend in (Loopback(), tg.get_backend("numpy"), Loopback()):
        x = tg.tensor([1.0, 2.0], backend=backend)
        for y in (x * 0.8125, 0.8125 * x, tg.where(x > 0.8125, 0.8125, x) * x):
            assert y.backend is backend and y.tolist() == [0.8125, 1.625]


def test_a_loop_runs_where_its_operands_are():
    """Numbers in what is computed before the loop, too, whatever backend is the default."""
    there = Loopback()
    w, x = (tg.tensor([1.0, 2.0], backend=there) for _ in range(2))
    end, _ = tg.scan(lambda c, _: (c + w * 3.0, None), x, None, length=2)
    assert end.backend is there and end.tolist() == [7.0, 14.0]


def test_to(entries):
    entries("loopback", Loopback)
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    moved = w.to("loopback")
    assert moved.requires_grad and moved.is_leaf and moved.backend.name == "loopback"
    assert w.to("numpy") is w
    assert w.to("float64").dtype is tg.float64 and w.to(tg.float16).dtype is tg.float16
    with pytest.raises(RuntimeError, match="leaves"):
        (w * 2).to("loopback")
    with pytest.raises(RuntimeError, match="no backend 'flaot32'"):
        w.to("flaot32")


def test_kernels_of_a_subclass_are_used_in_programs_too():
    calls = []

    def logged(name):
        kernel = NumpyBackend.kernels[name]

        def run(*xs, **attrs):
            calls.append(name)
            return kernel(*xs, **attrs)

        return run

    class Logging(NumpyBackend):
        name = "logging"
        kernels: ClassVar = {n: logged(n) for n in NumpyBackend.kernels}

    x = tg.tensor(np.ones((64, 64)), backend=Logging())
    program = tg.jit(lambda x: tg.tanh(x @ x)[:3] + 1.0)
    want = tg.tanh(tg.tensor(np.full((3, 64), 64.0))) + 1.0
    assert np.array_equal(program(x).numpy(), want.numpy())
    assert {"contract", "slice", "tanh", "add"} <= set(calls)


def test_a_missing_kernel_is_named():
    class Bare(NumpyBackend):
        name = "bare"
        kernels: ClassVar = {"add": np.add}

    bare = Bare()
    x = tg.tensor([1.0], backend=bare)
    assert (x + x).tolist() == [2.0]
    known = tg.tensor([1.0])
    assert (known * known).tolist() == [1.0] and (-known).tolist() == [-1.0]
    with pytest.raises(RuntimeError, match="'bare' has no kernel for 'mul'"):
        x * x
    with pytest.raises(RuntimeError, match="'bare' has no kernel for 'neg'"):
        tg.negative(x)


def test_the_protocol_is_abstract():
    for method in ("put", "get", "empty"):
        with pytest.raises(NotImplementedError):
            getattr(Backend(), method)(None)


# --- self-verification ---------------------------------------------------------------------------

CHECKED = """
import numpy as np, tinygrad_rnn as tg
x = tg.tensor([1.0, -1.0], requires_grad=True)
{code}
"""


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("tg.log(x * 2.0) + 1.0", "log"),
        ("tg.sqrt(x)", "sqrt"),
        ("tg.jit(lambda x: (x * 2.0, tg.sqrt(x)))(x)", "sqrt"),
        ("(x - x) / (x - x)", "div"),
        ("tg.tensor([np.inf]) - tg.tensor([np.inf])", "sub"),
        ("tg.jit(lambda x: tg.log(x * 2.0) * 3.0)(x)", "log"),
        ("tg.scan(lambda c, r: (tg.sqrt(c + r), None), tg.tensor(0.5), x - 2.0)", "sqrt"),
        (
            "tg.jit(lambda x: tg.scan(lambda c, r: (tg.sqrt(c + r), c), 0.5, x))(x - 2.0)",
            "sqrt",
        ),
        ("tg.jit(lambda x: tg.log(x * 2.0).sum())(x.detach())", "log"),
        ("tg.sqrt(x * 0.0 + 0.0).backward(tg.tensor([np.inf, 1.0])); y = x.grad * 0.0", "mul"),
    ],
)
def test_check_mode_names_the_operation_that_made_nan(code, name):
    out = run(CHECKED.format(code=code), TINYGRAD_RNN_CHECK="1")
    assert f"NaNError: '{name}' produced NaN" in out.stderr, out.stderr[-500:]
    assert run(CHECKED.format(code=code)).returncode == 0


def test_check_mode_is_silent_about_clean_programs_and_given_nan():
    code = """
y, _ = tg.scan(lambda c, r: (tg.tanh(c + r), c), tg.tensor(0.0), x)
y.backward()
g = tg.jit(tg.grad(lambda x: tg.softmax(x)[0]))(x)
z = tg.tensor([np.nan]) * 2.0
print("fine")
"""
    out = run(CHECKED.format(code=code), TINYGRAD_RNN_CHECK="1")
    assert out.stdout.strip() == "fine", out.stderr


def test_helpers_live_where_their_operands_do():
    """Counters and masks that functions make for themselves, with another backend as default."""
    pytest.importorskip("numba")
    x = tg.tensor(np.arange(6.0).reshape(2, 3), backend="numba")
    i = tg.tensor([[2], [0]], backend="numba")
    z = (x * 1j).conj()
    x[0, tg.tensor([1, 1], backend="numba")] = 7.0
    for y, want in (
        (tg.tril(x), [[0, 0, 0], [3, 4, 0]]),
        (tg.take_along_axis(x, i), [[2], [3]]),
        (tg.one_hot(i[:, 0], 3), [[0, 0, 1], [1, 0, 0]]),
        (z, [[-0j, -1j, -2j], [-3j, -4j, -5j]]),
        (x, [[0, 7, 2], [3, 4, 5]]),
        (tg.grad(lambda x: tg.linalg.eigvalsh(x[:, :2]).sum())(x), [[1, 0, 0], [0, 1, 0]]),
    ):
        assert y.backend.name == "numba"
        np.testing.assert_allclose(y.numpy(), want, atol=1e-12)
