"""tinygrad_rnn.linalg: NumPy's values, derivatives by differences, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import BACKENDS, check_smooth, close, random, seeded

import tinygrad_rnn as tg
from tinygrad_rnn import linalg as la

H = la.f.H
DTYPES = ("float64", "complex128")


def positive(a: Any) -> Any:
    return a @ H(a) + 2.0 * tg.eye(a.shape[-1], dtype=a.dtype)


def column(x: Any, like: Any) -> Any:
    return x[..., None, :].astype(like.dtype)


def spectral(f: Any) -> Any:
    """A function of eigenvectors that does not depend on their signs or phases."""
    return lambda a: (lambda e: (e[1] * column(f(e[0]), e[1])) @ H(e[1]))(la.eigh(a))


def singular(a: Any) -> Any:
    u, s, vh = la.svd(a, full_matrices=False)
    return (u * column(tg.exp(s * 0.3), u)) @ vh


#: function -> shapes of its operands; of the first derivatives of some the second are too slow
SMOOTH: dict[str, tuple[Any, tuple[Any, ...], int]] = {
    "solve": (la.solve, ((2, 3, 3), (3, 2)), 2),
    "solve vector": (la.solve, ((3, 3), (3,)), 2),
    "inv": (la.inv, ((3, 3),), 2),
    "det": (la.det, ((2, 2, 2),), 2),
    "slogdet": (la.slogdet, ((2, 3, 3),), 1),
    "cholesky": (lambda a: la.cholesky(positive(a)), ((3, 3),), 1),
    "cholesky upper": (lambda a: la.cholesky(positive(a), upper=True), ((2, 2),), 2),
    "eigvalsh": (la.eigvalsh, ((3, 3),), 1),
    "eigh": (spectral(lambda w: tg.sin(w)), ((2, 2),), 2),
    "svdvals": (la.svdvals, ((2, 3, 2),), 1),
    "svd": (singular, ((3, 2),), 1),
    "svd square": (singular, ((2, 2),), 2),
    "svd wide": (singular, ((2, 3),), 1),
    "qr": (la.qr, ((3, 2),), 2),
    "qr wide": (la.qr, ((2, 3),), 1),
    "pinv": (la.pinv, ((3, 2),), 2),
    "pinv wide": (la.pinv, ((2, 3),), 1),
    "matrix_power": (lambda a: la.matrix_power(a, -3), ((2, 2),), 1),
    "trace": (lambda a: la.trace(a, offset=1), ((2, 3, 3),), 1),
    "diagonal": (lambda a: la.diagonal(a, offset=-1), ((4, 3),), 1),
    "cross": (lambda a, b: la.cross(a, b, axis=-2), ((3, 2), (2, 3, 1)), 1),
    "vecdot": (la.vecdot, ((2, 3), (3,)), 1),
    "norm fro": (la.matrix_norm, ((2, 3, 2),), 1),
    "norm nuc": (lambda a: la.matrix_norm(a, ord="nuc", keepdims=True), ((3, 2),), 1),
    "norm -2": (lambda a: la.matrix_norm(a, ord=-2), ((3, 2),), 1),
    "norm 1": (lambda a: la.matrix_norm(a, ord=1), ((3, 2),), 1),
    "vector norm 3": (lambda a: la.vector_norm(a, ord=3, axis=-1), ((2, 3),), 1),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives(name, dtype):
    f, shapes, order = SMOOTH[name]
    rng = seeded(name)
    check_smooth(f, *[random(rng, s, dtype) for s in shapes], order=order, what=name)


def test_derivatives_of_factors_themselves():
    """Of real matrices factors are unique up to signs, which do not jump."""
    rng = seeded("factors")
    check_smooth(lambda a: la.eigh(a)[1], random(rng, (3, 3)), order=1)
    for shape in ((2, 2), (3, 2), (2, 3)):
        check_smooth(lambda a: la.svd(a, full_matrices=False), random(rng, shape), order=1)


VALUES: dict[str, Any] = {
    "solve": ((2, 3, 3), lambda a: la.solve(a, a[0]), lambda a: np.linalg.solve(a, a[0])),
    "inv": ((2, 3, 3), la.inv, np.linalg.inv),
    "det": ((2, 3, 3), la.det, np.linalg.det),
    "slogdet": ((2, 3, 3), la.slogdet, np.linalg.slogdet),
    "eigvalsh": ((2, 3, 3), la.eigvalsh, lambda a: np.linalg.eigvalsh((a + H_np(a)) / 2)),
    "svdvals": ((2, 4, 3), la.svdvals, lambda a: np.linalg.svd(a, compute_uv=False)),
    "pinv": ((2, 4, 3), la.pinv, np.linalg.pinv),
    "matrix_rank": ((2, 4, 3), la.matrix_rank, np.linalg.matrix_rank),
    "matrix_power": ((2, 3, 3), lambda a: la.matrix_power(a, 5),
                     lambda a: np.linalg.matrix_power(a, 5)),
    "matrix_power 0": ((2, 3, 3), lambda a: la.matrix_power(a, 0),
                       lambda a: np.linalg.matrix_power(a, 0)),
    "trace": ((2, 3, 4), la.trace, lambda a: np.trace(a, axis1=-2, axis2=-1)),
    "diagonal": ((3, 4), lambda a: la.diagonal(a, offset=2), lambda a: np.diagonal(a, 2)),
    "no diagonal": ((3, 4), lambda a: la.diagonal(a, offset=9), lambda a: np.diagonal(a, 9)),
    "vecdot": ((2, 3), lambda a: la.vecdot(a, a * 2 + 1),
               lambda a: (a.conj() * (a * 2 + 1)).sum(-1)),
    "outer": ((3,), lambda a: la.outer(a, a), lambda a: np.outer(a, a)),
    "cross": ((2, 3), lambda a: la.cross(a, a[::-1] + 1), lambda a: np.cross(a, a[::-1] + 1)),
    **{f"matrix_norm {o}": (
        (4, 3), lambda a, o=o: la.matrix_norm(a, ord=o), lambda a, o=o: np.linalg.norm(a, o)
    ) for o in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)},
    **{f"vector_norm {o}": (
        (7,), lambda a, o=o: la.vector_norm(a, ord=o), lambda a, o=o: np.linalg.norm(a, o)
    ) for o in (0, 1, 2, 3.5, -1, -2, np.inf, -np.inf)},
}  # fmt: skip


def H_np(a: np.ndarray) -> np.ndarray:
    return a.conj().swapaxes(-1, -2)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", VALUES)
def test_values_are_numpys(name, backend):
    shape, ours, theirs = VALUES[name]
    for dtype, tol in (("float64", 1e-12), ("complex128", 1e-12), ("complex64", 1e-4)):
        a = random(seeded(name), shape, dtype)
        want = theirs(a)
        with tg.use_backend(backend):
            for found in (ours(tg.tensor(a)), tg.jit(ours)(tg.tensor(a))):
                pairs = zip(found, want) if isinstance(want, tuple) else [(found, want)]
                for y, z in pairs:
                    close(y, z, tol, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_factorizations_make_the_matrix_again(dtype):
    rng = seeded("again")
    for m, n in ((3, 3), (4, 2), (2, 4), (0, 2), (3, 0)):
        a = tg.tensor(random(rng, (2, m, n), dtype))
        for mode, k in (("reduced", min(m, n)), ("complete", m)):
            q, r = la.qr(a, mode=mode)
            assert q.shape == (2, m, k) and r.shape == (2, k, n)
            close(q @ r, a, 1e-12)
            close(H(q) @ q, tg.broadcast_to(tg.eye(k, dtype=a.dtype), (2, k, k)), 1e-12)
            close(r, tg.triu(r), 0)
        for full in (False, True):
            u, s, vh = la.svd(a, full_matrices=full)
            assert u.shape[-1] == (m if full else min(m, n)) and (s[..., :-1] >= s[..., 1:]).all()
            close((u[..., : s.shape[-1]] * column(s, u)) @ vh[..., : s.shape[-1], :], a, 1e-12)
    b = positive(tg.tensor(random(rng, (2, 3, 3), dtype)))
    L = la.cholesky(b)
    close(L @ H(L), b, 1e-12)
    close(L, tg.tril(L), 0)
    w, v = la.eigh(b)
    close(b @ v, v * column(w, v), 1e-11)
    rank_one = tg.tensor(random(rng, (4, 1), dtype)) @ tg.tensor(random(rng, (1, 3), dtype))
    assert la.matrix_rank(rank_one).item() == 1
    p = la.pinv(rank_one)
    close(rank_one @ p @ rank_one, rank_one, 1e-12)
    close(p, np.linalg.pinv(rank_one.numpy()), 1e-10)


def test_batches_of_vmap_are_stacks():
    rng = seeded("vmap")
    a, b = random(rng, (4, 3, 3)), random(rng, (4, 3, 2))
    for f in (la.solve, lambda a, b: la.eigvalsh(a) @ b, lambda a, b: la.qr(a).R @ b):
        want = np.stack([f(tg.tensor(x), tg.tensor(y)).numpy() for x, y in zip(a, b)])
        close(tg.vmap(f)(tg.tensor(a), tg.tensor(b)), want, 1e-12)
        shared = np.stack([f(tg.tensor(x), tg.tensor(b[0])).numpy() for x in a])
        close(tg.vmap(f, (0, None))(tg.tensor(a), tg.tensor(b[0])), shared, 1e-12)


def test_gradients_where_eigenvalues_are_equal():
    """Eigenvalues alone have one there, and singular matrices have singular values."""
    same_values = tg.eye(3, dtype="float64")
    g = tg.grad(lambda a: la.eigvalsh(a).sum())(same_values)
    close(g, np.eye(3), 1e-12)
    rank_one = tg.ones((2, 2), "float64")
    close(tg.grad(lambda a: la.svdvals(a)[0])(rank_one), np.full((2, 2), 0.5), 1e-12)
    assert la.det(rank_one).item() == 0.0 and la.slogdet(rank_one).logabsdet.item() == -np.inf


MISUSE = {
    "singular": (lambda: la.inv(tg.ones((2, 2))), ValueError, r"float32\[2, 2\].*Singular"),
    "det": (
        lambda: tg.grad(lambda a: la.det(a))(tg.ones((2, 2))), ValueError, r"Singular",
    ),
    "not positive": (lambda: la.cholesky(-tg.eye(2)), tg.LinearAlgebraError, r"cholesky.*positive"),
    "square": (lambda: la.eigh(tg.ones((2, 3))), ValueError, r"eigh of f32\[2,3\].*square"),
    "det square": (lambda: la.det(tg.ones((2, 3))), ValueError, r"slogdet of f32\[2,3\].*square"),
    "vector": (lambda: la.svd(tg.ones(3)), ValueError, r"svd of f32\[3\].*matrices"),
    "half": (
        lambda: la.inv(tg.eye(2, dtype="float16")), TypeError, r"solve of f16\[2,2\].*float32",
    ),
    "sizes": (lambda: la.solve(tg.eye(2), tg.ones(3)), ValueError, r"f32\[2,2\] and f32\[3,1\]"),
    "mode": (lambda: la.qr(tg.eye(2), mode="r"), ValueError, r"'reduced' or 'complete'"),
    "ord": (lambda: la.matrix_norm(tg.eye(2), ord=3), ValueError, r"'fro', 'nuc'.*got 3"),
    "cross": (lambda: la.cross(tg.ones(2), tg.ones(2)), ValueError, r"axis -1 must have 3"),
    "complete qr": (
        lambda: tg.grad(lambda a: la.qr(a, mode="complete").Q.sum())(tg.ones((3, 1))),
        RuntimeError, r"arbitrary basis.*mode='reduced'",
    ),
    "full svd": (
        lambda: tg.grad(lambda a: la.svd(a).U.sum())(tg.ones((3, 1))),
        RuntimeError, r"arbitrary basis.*full_matrices=False",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISUSE)
def test_misuse(name):
    f, error, message = MISUSE[name]
    with pytest.raises(error, match=message):
        f()
