"""Linear systems, determinants and factorizations of matrices [..., m, n].

Rules are written for adjoints: `G` is the conjugate of the cotangent, `H` the conjugate transpose.
Sources: M. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation", 2008 (solve, determinant, eigh, svd of real matrices); I. Murray, "Differentiation
of the Cholesky decomposition", arXiv:1602.07527; Z.-Q. Wan and S.-X. Zhang, "Automatic
differentiation for complex valued SVD", arXiv:1909.02659; J. Roberts and L. Roberts, "QR and LQ
decomposition matrix backpropagation algorithms", arXiv:2009.10071.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, GradientError, ShapeError
from ..primitive import Arg, Flags, Operands, Primitive, Sample, apply, bind, item
from ..tensor import Tensor, wrap
from ..types import Type
from .complexes import conj, imag, real
from .creation import eye, zeros_like
from .elementwise import zero_like, zmul
from .functions import astype, where
from .movement import BroadcastTo, broadcast_to, narrow, reshape
from .shaping import concat, tril


def _sample(*shapes: tuple[int, ...], dtype: str = "float64", **attrs: Any) -> Sample:
    """Positive columns or 1 x 1 matrices: whatever is drawn for them is invertible."""
    return Sample(tuple(Arg(s, 0.5, 2, dtype) for s in shapes), attrs)


class Matrices(Primitive):
    """Operands are floating matrices with the same leading axes."""

    square = True

    @classmethod
    def check(cls, x: Type) -> Type:
        if not x.dtype.is_inexact or x.dtype.itemsize == 2:
            raise DTypeError(f"{cls.name} of {x}: expected float32, float64 or complex matrices.")
        if x.ndim < 2 or (cls.square and x.shape[-1] != x.shape[-2]):
            shape = "square matrices [..., n, n]" if cls.square else "matrices [..., m, n]"
            raise ShapeError(f"{cls.name} of {x}: expected {shape}.")
        return x

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, **attrs: Any) -> Any:
        full = [
            a if b else bind(BroadcastTo, a, shape=(size, *a.shape)) for a, b in zip(args, batched)
        ]
        return apply(cls, tuple(full), attrs)


def H(x: Tensor) -> Tensor:
    return conj(x).mT


def solve(a: Tensor, b: Tensor) -> Tensor:
    out: Tensor = bind(Solve, a, b)
    return out


class Solve(Matrices, name="solve"):
    """The solution x of a x = b: a [..., n, n], b [..., n, k]."""

    reference = np.linalg.solve
    samples = (
        _sample((1, 1), (1, 3)),
        _sample((2, 1, 1), (2, 1, 2), dtype="float32"),
        _sample((0, 0), (0, 2)),
        _sample((1, 1), (1, 2), dtype="complex128"),
    )
    vjp = (
        lambda g, y, a, b: -(solve(a.mT, g) @ y.mT),
        lambda g, y, a, b: solve(a.mT, g),
    )

    @classmethod
    def type(cls, a: Type, b: Type) -> Type:
        cls.check(a)
        if b.dtype is not a.dtype or b.ndim != a.ndim or b.shape[:-1] != a.shape[:-1]:
            raise ShapeError(f"solve: {a} and {b} do not fit; expected [..., n, n], [..., n, k].")
        return b


Adjoints = list[Tensor | None]


class Several(Matrices):
    """Several results; the cotangents of some of them are given."""

    analytic = False
    vjp = ()

    @classmethod
    def pullback(
        cls, needs: Sequence[bool], g: Any, y: Tensor, inputs: Operands, attrs: Any
    ) -> list[Tensor | None]:
        record: Any = y._value
        results = [wrap(item(record, i)) for i in range(len(record.type))]
        adjoints = [conj(g[i]) if i in g else None for i in range(len(results))]
        return [conj(cls.adjoint(adjoints, results, inputs[0], **attrs))]

    @classmethod
    def adjoint(cls, G: Adjoints, y: list[Tensor], a: Tensor, **attrs: Any) -> Tensor:
        raise NotImplementedError


class SlogDet(Several, name="slogdet"):
    """sign and log|det| of the determinant; of a singular matrix 0 and -inf."""

    reference = staticmethod(lambda x: tuple(np.linalg.slogdet(x)))
    samples = (_sample((1, 1)), _sample((2, 1, 1), dtype="float32"), _sample((0, 0)))

    @classmethod
    def type(cls, x: Type) -> tuple[Type, Type]:
        shape = cls.check(x).shape[:-2]
        return Type(shape, x.dtype), Type(shape, x.dtype.real)

    @classmethod
    def adjoint(cls, G: Adjoints, y: list[Tensor], a: Tensor, **attrs: Any) -> Tensor:
        """d log det = tr(a^-1 da), of which the imaginary part turns the sign."""
        n = a.shape[-1]
        weight = zero_like(a)
        if G[1] is not None:
            weight = weight + _matrix(astype(G[1], a.dtype))
        if G[0] is not None and a.dtype.is_complex:
            turn = imag(conj(y[0]) * G[0])
            weight = weight + _matrix(astype(turn, a.dtype)) * 1j
        identity = broadcast_to(eye(n, dtype=a.dtype, backend=a.backend), a.shape)
        return zmul(weight, H(solve(a, identity)))


def _matrix(x: Tensor) -> Tensor:
    return reshape(x, (*x.shape, 1, 1))


def _half_lower(x: Tensor) -> Tensor:
    """The lower triangle with half of the diagonal."""
    return (tril(x) + tril(x, -1)) * 0.5


def _of_lower(G: Tensor) -> Tensor:
    """The adjoint of the entries of the lower triangle, for a function that reads only them."""
    return _half_lower(G + H(G))


class Cholesky(Matrices, name="cholesky"):
    """The lower triangular L with L L^H = a, a positive definite; reads the lower triangle of a."""

    analytic = False
    reference = np.linalg.cholesky
    samples = (_sample((1, 1)), _sample((3, 1, 1), dtype="float32"), _sample((0, 0)))
    vjp = (lambda g, y, a: _cholesky_rule(g, y),)

    @classmethod
    def type(cls, x: Type) -> Type:
        return cls.check(x)


def _cholesky_rule(g: Tensor, L: Tensor) -> Tensor:
    middle = solve(H(L), _half_lower(H(L) @ conj(g)))
    return conj(_of_lower(H(solve(H(L), H(middle)))))


class Eigh(Several, name="eigh"):
    """Eigenvalues in ascending order and eigenvectors (columns) of a Hermitian matrix, of which the
    lower triangle is read."""

    reference = staticmethod(lambda x: tuple(np.linalg.eigh(x)))
    samples = (_sample((1, 1)), _sample((2, 1, 1), dtype="float32"), _sample((0, 0)))

    @classmethod
    def type(cls, x: Type) -> tuple[Type, Type]:
        cls.check(x)
        return Type(x.shape[:-1], x.dtype.real), x

    @classmethod
    def adjoint(cls, G: Adjoints, y: list[Tensor], a: Tensor, **attrs: Any) -> Tensor:
        w, V = y
        inner = zero_like(a)
        if G[0] is not None:
            inner = inner + _diagonal(G[0], a)
        if G[1] is not None:
            inner = inner + zmul(H(V) @ G[1], _inverse_gaps(w, a))
        return _of_lower(V @ inner @ H(V))


def _diagonal(x: Tensor, like: Tensor) -> Tensor:
    """Vectors [..., n] as diagonal matrices, of the dtype of `like`."""
    n = x.shape[-1]
    row = reshape(astype(x, like.dtype), (*x.shape[:-1], 1, n))
    return row * eye(n, dtype=like.dtype, backend=like.backend)


def _inverse_gaps(w: Tensor, like: Tensor) -> Tensor:
    """1 / (w[j] - w[i]) at [i, j], and 0 on the diagonal."""
    n = w.shape[-1]
    row, column = reshape(w, (*w.shape[:-1], 1, n)), reshape(w, (*w.shape, 1))
    same = eye(n, dtype=bool, backend=w.backend)
    return astype(where(same, 0.0, 1.0 / where(same, 1.0, row - column)), like.dtype)


class SVD(Several, name="svd"):
    """u [..., m, k], singular values [..., k] in descending order, v^H [..., k, n], with
    a = u diag(s) v^H; k = min(m, n), and m or n instead for u and v^H if `full`."""

    square = False
    reference = staticmethod(lambda x, full: tuple(np.linalg.svd(x, full_matrices=full)))
    samples = (
        _sample((1, 1), full=False),
        _sample((2, 1, 1), dtype="float32", full=True),
        _sample((0, 0), full=True),
    )

    @classmethod
    def type(cls, x: Type, *, full: bool) -> tuple[Type, Type, Type]:
        *lead, m, n = cls.check(x).shape
        k = min(m, n)
        return (
            x.with_shape((*lead, m, m if full else k)),
            Type((*lead, k), x.dtype.real),
            x.with_shape((*lead, n if full else k, n)),
        )

    @classmethod
    def adjoint(cls, G: Adjoints, y: list[Tensor], a: Tensor, **attrs: Any) -> Tensor:
        full, (*_, m, n) = attrs["full"], a.shape
        k = min(m, n)
        if full and m != n and (G[0] is not None or G[2] is not None):
            raise GradientError(
                f"svd of {a.type}: the columns that full_matrices=True adds to u and v are an "
                "arbitrary basis and have no derivative; use full_matrices=False."
            )
        u, v = narrow(y[0], a.ndim - 1, 0, k), H(narrow(y[2], a.ndim - 2, 0, k))
        s = reshape(astype(y[1], a.dtype), (*y[1].shape[:-1], 1, k))
        gaps = _inverse_gaps(y[1] * y[1], a)
        inner, out = zero_like(a), zero_like(a)
        if G[1] is not None:
            inner = inner + _diagonal(G[1], a)
        if G[0] is not None:
            turned = H(u) @ G[0]
            J = zmul(turned, gaps)
            inner = inner + (J + H(J)) * s
            if m > k:
                out = out + ((G[0] - u @ turned) / s) @ H(v)
        if G[2] is not None:
            GV = H(G[2])
            turned = H(v) @ GV
            K = zmul(turned, gaps)
            inner = inner + s.mT * (K + H(K))
            if a.dtype.is_complex:
                phase = turned * eye(k, dtype=a.dtype, backend=a.backend)
                inner = inner + (H(phase) - phase) * 0.5 / s
            if n > k:
                out = out + (u / s) @ H(GV - v @ turned)
        return out + u @ inner @ H(v)


class QR(Several, name="qr"):
    """q [..., m, k] with orthonormal columns and upper triangular r [..., k, n], a = q r;
    k = min(m, n), and m if `full`."""

    square = False
    reference = staticmethod(
        lambda x, full: tuple(np.linalg.qr(x, "complete" if full else "reduced"))
    )
    samples = (
        _sample((3, 1), full=False),
        _sample((2, 1, 3), dtype="float32", full=False),
        _sample((1, 2), full=True),
    )

    @classmethod
    def type(cls, x: Type, *, full: bool) -> tuple[Type, Type]:
        *lead, m, n = cls.check(x).shape
        k = m if full else min(m, n)
        return x.with_shape((*lead, m, k)), x.with_shape((*lead, k, n))

    @classmethod
    def adjoint(cls, G: Adjoints, y: list[Tensor], a: Tensor, **attrs: Any) -> Tensor:
        full, (*_, m, n), last = attrs["full"], a.shape, a.ndim - 1
        if full and m > n:
            raise GradientError(
                f"qr of {a.type}: the last columns of the complete q are an arbitrary basis and "
                "have no derivative; use mode='reduced'."
            )
        q, r = y
        GQ, GR = (zeros_like(b) if g is None else g for g, b in zip(G, y))
        if m >= n:
            return _qr_rule(GQ, GR, q, r)
        # a = [x, z], r = [s, t]: q s = x is a factorization of its own, and t = q^H z
        z, s = narrow(a, last, m, n), narrow(r, last, 0, m)
        GS, GT = narrow(GR, last, 0, m), narrow(GR, last, m, n)
        return concat([_qr_rule(GQ + z @ H(GT), GS, q, s), q @ GT], last)


def _qr_rule(GQ: Tensor, GR: Tensor, q: Tensor, r: Tensor) -> Tensor:
    middle = r @ H(GR) - H(GQ) @ q
    low = tril(middle, -1)
    diagonal = astype(real(middle), q.dtype) * eye(r.shape[-1], dtype=q.dtype, backend=q.backend)
    return H(solve(r, H(GQ + q @ (low + H(low) + diagonal))))
