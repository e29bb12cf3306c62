"""Complex numbers: every primitive that takes them, and the gradients that come of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import BACKENDS, check_smooth, close, random, same, seeded

import tinygrad_rnn as tg
from tinygrad_rnn.extend import Elementwise, bind, primitives

NAMES = sorted(
    name for name, p in primitives.items() if issubclass(p, Elementwise) and "c" in p.kinds
)
C64, C128 = np.complex64, np.complex128


def draw(name: str, dtype: Any = C128) -> list[np.ndarray]:
    """Operands away from branch points; the second broadcasts."""
    rng = seeded(name)
    shapes = ((2, 3), (3,))[: primitives[name].arity]
    parts = [rng.uniform(0.4, 1.5, (2, *s)) * rng.choice([-1, 1], (2, *s)) for s in shapes]
    return [(p[0] + 1j * p[1]).astype(dtype) for p in parts]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_values(name, backend):
    for dtype, tol in ((C128, 1e-13), (C64, 2e-6)):
        args = draw(name, dtype)
        want = np.asarray(primitives[name].reference(*args))
        f = lambda *xs: bind(primitives[name], *xs)  # noqa: E731
        with tg.use_backend(backend):
            ts = [tg.tensor(a) for a in args]
            for y in (f(*ts), tg.jit(f)(*ts), tg.vmap(f, (0, None)[: len(ts)])(*ts)):
                assert y.dtype == want.dtype
                close(y, want, tol)


@pytest.mark.parametrize("name", [n for n in NAMES if primitives[n].vjp])
def test_gradients_of_first_and_second_order(name):
    check_smooth(lambda *xs: bind(primitives[name], *xs), *draw(name), what=name)


def test_the_gradient_of_a_complex_leaf_is_pytorchs():
    torch = pytest.importorskip("torch")
    rng = seeded("torch")
    z, w = random(rng, (3, 4), C128), random(rng, (4, 2), C128)
    x = rng.normal(size=(3, 4))

    def loss(z: Any, w: Any, x: Any, lib: Any) -> Any:
        y = lib.tanh(z * x) @ w
        return (abs(y) ** 3).sum() + (y.real * y.imag).sum() + lib.conj(y).imag.sum()

    ours = [tg.tensor(a, requires_grad=True) for a in (z, w, x)]
    theirs = [torch.tensor(a, requires_grad=True) for a in (z, w, x)]
    loss(*ours, tg).backward()
    loss(*theirs, torch).backward()
    for a, b in zip(ours, theirs):
        close(a.grad, b.grad.resolve_conj().numpy(), 1e-12)
    cotangent = random(rng, (3, 2), C128)
    for lib, (z, w, _) in ((tg, ours), (torch, theirs)):
        z.grad = w.grad = None
        (lib.exp(z) @ w).backward(lib.asarray(cotangent))
    for a, b in zip(ours[:2], theirs):
        close(a.grad, b.grad.resolve_conj().numpy(), 1e-12)


def test_real_functions_of_complex_numbers():
    rng = seeded("real functions")
    z = random(rng, (2, 3), C128)
    for f in (tg.abs, tg.real, tg.imag, tg.sign, tg.conj, lambda z: tg.hypot(z.real, z.imag)):
        check_smooth(f, z)
    for name in ("abs", "sign", "real", "imag", "conj"):
        close(getattr(tg, name)(tg.tensor(z)), getattr(np, name)(z), 1e-14)
    x = rng.normal(size=(2, 3))
    check_smooth(lambda x: tg.abs(tg.exp(x * 1j) * x.astype("complex128")), x)


def test_zero_is_singular():
    """Magnitude and direction have no derivative at 0: by policy it is 0."""
    z = tg.tensor(np.array([0, 3 + 4j]))
    close(tg.sign(z), np.array([0, 0.6 + 0.8j]), 1e-15)
    close(tg.grad(lambda z: tg.abs(z).sum())(z), np.array([0, 0.6 + 0.8j]), 1e-15)
    for g in tg.grad(lambda x, y: tg.hypot(x, y).sum(), (0, 1))(z.real, z.imag):
        assert np.isfinite(g.numpy()).all() and g[0].item() == 0
    assert np.isfinite(tg.grad(lambda z: tg.sign(z).real.sum())(z).numpy()).all()


def test_parts_survive_infinities_and_signs_of_zero():
    z = np.array([complex(np.inf, -0.0), complex(-0.0, np.nan), complex(1, -np.inf)])
    t = tg.tensor(z)
    same(t.real, z.real)
    same(t.imag, z.imag)
    assert np.signbit(t.imag.numpy()).tolist() == np.signbit(z.imag).tolist()
    assert np.signbit(tg.conj(t).imag.numpy()[::2]).tolist() == [False, False]
    assert tg.isinf(t).tolist() == [True, False, True]
    assert tg.isnan(t).tolist() == [False, True, False] and not tg.isfinite(t).any()
    assert tg.abs(t).tolist()[0] == np.inf and tg.abs(t).tolist()[2] == np.inf
    assert tg.isfinite(tg.tensor(complex(1e38, 1e38))).item()  # whose magnitude is not
    same(tg.mean(tg.tensor([complex(np.inf, 2), complex(1, 4)])), np.complex64(complex(np.inf, 3)))


def test_python_numbers_are_weak():
    assert (tg.tensor([1.0]) * 1j).dtype is tg.complex64
    assert (tg.tensor([1.0], "float64") + 1j).dtype is tg.complex128
    assert (tg.tensor([1]) + 1j).dtype is tg.complex64 and tg.tensor(1j).dtype is tg.complex64
    assert (tg.tensor([1j]) * 2.0).dtype is tg.complex64 and complex(tg.tensor(2j)) == 2j
    assert tg.full((2,), 1j).tolist() == [1j, 1j] and tg.zeros(2, "complex64").dtype == C64
    same(tg.tensor([complex(0.0, 1.0)]) * complex(-0.0, 1.0), np.array([complex(-1, 0)], C64))
    same(tg.tensor([complex(0.0, 1.0)]) + complex(0.0, 1.0), np.array([2j], C64))


@pytest.mark.parametrize("reverse", [False, True])
def test_complex_loops(reverse):
    """A rotating state, real inputs: scan, its derivative, and jit."""
    rng = seeded("loops")
    h, w, x = random(rng, (2, 3), C128), random(rng, (3, 3), C128), rng.normal(size=(4, 2, 3))

    def run(h: Any, w: Any, x: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            c = tg.tanh(c @ w * 0.3) * tg.exp(x * 0.1j) + x
            return c, c * c

        return tg.scan(step, h, x, reverse=reverse)

    check_smooth(run, h, w, x, order=1)
    carry, rows = h, []
    for row in x[:: -1 if reverse else 1]:
        carry = np.tanh(carry @ w * 0.3) * np.exp(row * 0.1j) + row
        rows.append(carry * carry)
    for backend in BACKENDS:
        with tg.use_backend(backend):
            args = [tg.tensor(a) for a in (h, w, x)]
            for found in (run(*args), tg.jit(run)(*args)):
                close(found[0], carry, 1e-12)
                close(found[1], np.stack(rows[:: -1 if reverse else 1]), 1e-12)


def test_loops_of_complex_numbers_are_refused_by_name():
    numba = pytest.importorskip("tinygrad_rnn_numba").NumbaBackend
    pytest.importorskip("numba")
    from tinygrad_rnn.backend import optimize

    h, x = tg.ones((2, 3), "complex64"), tg.ones((4, 2, 3), "complex64")
    graph = tg.trace(lambda h, x: tg.scan(lambda c, x: (c * x, None), h, x)[0])(h, x)
    how = dict(numba().report(optimize(graph)))["scan"]
    assert how.startswith("loop over NumPy kernels") and "c64[" in how


def test_derivatives_of_programs():
    rng = seeded("programs")
    z, v = random(rng, (3,), C128), random(rng, (3,), C128)
    f = lambda z: tg.abs(z * z + 1) * tg.real(z)  # noqa: E731
    moved = tg.jvp(f, tg.tensor(z), tg.tensor(v))[1]
    h = 1e-5
    slope = (f(tg.tensor(z + h * v)) - f(tg.tensor(z - h * v))) / (2 * h)
    close(moved, slope, 1e-8)
    g = tg.grad(lambda z: f(z).sum())
    change = (g(tg.tensor(z + h * v)) - g(tg.tensor(z - h * v))) / (2 * h)
    close(tg.hvp(lambda z: f(z).sum(), tg.tensor(z), tg.tensor(v)), change, 1e-7)
    check_smooth(tg.checkpoint(f), z)
    twice = tg.custom_vjp(lambda z: z * z, lambda g, y, z: g * tg.conj(z) * 2)
    check_smooth(twice, z)


MISUSE = {
    "cast": (lambda z: z.astype("float32"), TypeError, r"c64\[2\].*imaginary parts"),
    "order": (lambda z: tg.max(z), TypeError, r"max of c64\[2\].*no order"),
    "less": (lambda z: z < z, TypeError, r"less.*c64\[2\]"),
    "argmax": (lambda z: tg.argmax(z), TypeError, r"argmax of c64\[2\].*no order"),
    "argsort": (lambda z: tg.argsort(z), TypeError, r"argsort of c64\[2\].*no order"),
    "var": (lambda z: tg.var(z), TypeError, r"var of c64\[2\].*real numbers"),
    "backward": (lambda z: z.sum().backward(), RuntimeError, r"complex scalar c64\[\].*cotangent"),
    "grad": (lambda z: tg.grad(lambda z: z.sum())(z), RuntimeError, r"floating scalar, got c64"),
    "jacobian": (lambda z: tg.jacobian(lambda z: z)(z), RuntimeError, r"c64\[2\].*vjp or jvp"),
    "float": (lambda z: float(z[0].detach()), TypeError, r"complex"),
    "imag": (lambda z: tg.imag(tg.ones(2)), TypeError, r"imag of f32\[2\]"),
    "signbit": (lambda z: tg.signbit(z), TypeError, r"signbit of c64\[2\]"),
    "bitcast": (
        lambda z: bind(primitives["bitcast"], z, dtype=tg.float64),
        TypeError,
        r"bitcast: c64\[2\] cannot be read as float64",
    ),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse(name):
    f, error, message = MISUSE[name]
    with pytest.raises(error, match=message):
        f(tg.tensor([1j, 2.0], requires_grad=True))


def test_truth():
    z = tg.tensor([0j, 1j, complex(-0.0, 0.0), 2.0])
    assert z.astype("bool").tolist() == [False, True, False, True]
    assert tg.any(z).item() and not tg.all(z).item() and tg.count_nonzero(z).item() == 2
