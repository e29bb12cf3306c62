"""Linear algebra by the names of the Array API standard: matrices are the last two axes.

Factorizations have derivatives where these are unique: eigenvectors and singular vectors up to a
sign (complex: a phase), so let the loss not depend on it; those of equal eigenvalues not at all.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from .call import custom_vjp
from .errors import ArgumentError, DTypeError, ShapeError
from .ops import factorizations as f
from .ops.creation import eye, zeros
from .ops.functions import as_tensor, astype, exp, floating, where
from .ops.functions import power as pow_
from .ops.movement import broadcast_to, narrow, reshape
from .ops.numbers import abs as abs_
from .ops.products import matmul, outer, tensordot, vecdot
from .ops.reductions import max as max_
from .ops.reductions import min as min_
from .ops.reductions import norm as norm_
from .ops.reductions import sum as sum_
from .ops.shaping import concat, matrix_transpose
from .primitive import bind, bind_all, operands
from .tensor import Tensor
from .types import broadcast_shapes, normalize_axis

__all__ = [
    "cholesky", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "matmul", "matrix_norm",
    "matrix_power", "matrix_rank", "matrix_transpose", "outer", "pinv", "qr", "slogdet", "solve",
    "svd", "svdvals", "tensordot", "trace", "vecdot", "vector_norm",
]  # fmt: skip


class EighResult(NamedTuple):
    eigenvalues: Tensor
    eigenvectors: Tensor


class QRResult(NamedTuple):
    Q: Tensor
    R: Tensor


class SlogdetResult(NamedTuple):
    sign: Tensor
    logabsdet: Tensor


class SVDResult(NamedTuple):
    U: Tensor
    S: Tensor
    Vh: Tensor


def _matrices(name: str, x: Any) -> Tensor:
    t = floating(name, x)
    if t.ndim < 2:
        raise ShapeError(f"{name} of {t.type}: expected matrices [..., m, n].")
    return t


def _hermitian(name: str, x: Any) -> Tensor:
    """(x + x^H) / 2: the factorizations read one triangle, gradients go to both."""
    t = _matrices(name, x)
    if t.shape[-1] != t.shape[-2]:
        raise ShapeError(f"{name} of {t.type}: expected square matrices [..., n, n].")
    return (t + f.H(t)) * 0.5


# --- systems and determinants --------------------------------------------------------------------


def solve(a: Any, b: Any) -> Tensor:
    """The x with a x = b: a [..., n, n]; b [n], a vector, or [..., n, k].

    >>> from tinygrad_rnn import tensor
    >>> solve(tensor([[2.0, 0.0], [0.0, 4.0]]), tensor([2.0, 2.0])).tolist()
    [1.0, 0.5]
    """
    x, y = operands("solve", a, b)
    x, y = _matrices("solve", x), floating("solve", y)
    vector = y.ndim == 1
    if vector:
        y = reshape(y, (y.shape[0], 1))
    lead = broadcast_shapes(x.shape[:-2], y.shape[:-2])
    x, y = (broadcast_to(t, (*lead, *t.shape[-2:])) for t in (x, y))
    out = f.solve(x, y)
    return reshape(out, out.shape[:-1]) if vector else out


def inv(x: Any) -> Tensor:
    """The inverse of square matrices.

    >>> from tinygrad_rnn import tensor
    >>> inv(tensor([[2.0, 0.0], [0.0, 4.0]])).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    t = _matrices("inv", x)
    return solve(t, eye(t.shape[-1], dtype=t.dtype, backend=t.backend))


def slogdet(x: Any) -> SlogdetResult:
    """sign and logarithm of the absolute value of determinants; 0 and -inf of singular matrices."""
    sign, logabsdet = bind_all(f.SlogDet, _matrices("slogdet", x))
    return SlogdetResult(sign, logabsdet)


def det(x: Any) -> Tensor:
    """Determinants; the gradient needs the inverse, so it is refused for singular matrices.

    >>> from tinygrad_rnn import tensor
    >>> round(det(tensor([[1.0, 2.0], [3.0, 4.0]], "float64")).item(), 12)
    -2.0
    """
    sign, logabsdet = slogdet(x)
    return sign * astype(exp(logabsdet), sign.dtype)


# --- factorizations ------------------------------------------------------------------------------


def cholesky(x: Any, upper: bool = False) -> Tensor:
    """The lower triangular L with L L^H = x (U with U^H U = x if `upper`), x positive definite.

    >>> from tinygrad_rnn import tensor
    >>> cholesky(tensor([[4.0, 2.0], [2.0, 5.0]])).tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    L: Tensor = bind(f.Cholesky, _hermitian("cholesky", x))
    return f.H(L) if upper else L


def eigh(x: Any) -> EighResult:
    """Eigenvalues in ascending order and eigenvectors, in columns, of Hermitian matrices.

    >>> from tinygrad_rnn import tensor
    >>> eigh(tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues.tolist()
    [1.0, 2.0]
    """
    return EighResult(*bind_all(f.Eigh, _hermitian("eigh", x)))


def eigvalsh(x: Any) -> Tensor:
    """The eigenvalues of Hermitian matrices, in ascending order."""
    return eigh(x).eigenvalues


def qr(x: Any, mode: str = "reduced") -> QRResult:
    """x = Q R: Q [..., m, k] with orthonormal columns, R [..., k, n] upper triangular; k is
    min(m, n), or m if the mode is "complete"."""
    if mode not in ("reduced", "complete"):
        raise ArgumentError(f"qr: mode must be 'reduced' or 'complete', got {mode!r}.")
    return QRResult(*bind_all(f.QR, _matrices("qr", x), full=mode == "complete"))


def svd(x: Any, full_matrices: bool = True) -> SVDResult:
    """x = U diag(S) Vh, S in descending order: U [..., m, m], S [..., k], Vh [..., n, n] with
    k = min(m, n); U [..., m, k] and Vh [..., k, n] without `full_matrices`."""
    return SVDResult(*bind_all(f.SVD, _matrices("svd", x), full=bool(full_matrices)))


def svdvals(x: Any) -> Tensor:
    """The singular values, in descending order."""
    return svd(x, full_matrices=False).S


def _cutoff(t: Tensor, s: Tensor, rtol: Any) -> Tensor:
    """Singular values below this count as 0; rtol may be one number, or one for each matrix."""
    if rtol is None:
        from .array_api import finfo

        rtol = max(t.shape[-2:]) * finfo(t.dtype).eps
    largest = max_(s, -1) if s.shape[-1] else sum_(s, -1)
    return reshape(largest * rtol, (*largest.shape, 1)).detach()


def matrix_rank(x: Any, rtol: Any = None) -> Tensor:
    """The number of singular values above `rtol` times the largest (default: eps * max(m, n))."""
    t = _matrices("matrix_rank", x)
    s = svdvals(t)
    return sum_(s > _cutoff(t, s, rtol), -1)


def pinv(x: Any, rtol: Any = None) -> Tensor:
    """The pseudo-inverse; singular values up to `rtol` times the largest count as 0 (default: eps *
    max(m, n)). Its derivative is that at constant rank: G. Golub, V. Pereyra, "The differentiation
    of pseudo-inverses", SIAM J. Numer. Anal. 10, 1973.

    >>> from tinygrad_rnn import tensor
    >>> pinv(tensor([[2.0], [0.0]])).tolist()
    [[0.5, 0.0]]
    """
    t = _matrices("pinv", x)

    def values(a: Tensor) -> Tensor:
        u, s, vh = svd(a, full_matrices=False)
        small = s <= _cutoff(a, s, rtol)
        inverse = where(small, 0.0, 1.0 / where(small, 1.0, s))
        scaled = f.H(vh) * astype(reshape(inverse, (*s.shape[:-1], 1, s.shape[-1])), a.dtype)
        return scaled @ f.H(u)

    def rule(g: Tensor, y: Tensor, a: Tensor) -> Tensor:
        yh = f.H(y)
        left, right = g - y @ (a @ g), g - (g @ a) @ y  # (1 - y a) g and g (1 - a y)
        return f.H(right) @ (y @ yh) + (yh @ y) @ f.H(left) - yh @ g @ yh

    out: Tensor = custom_vjp(values, rule)(t)
    return out


# --- norms ---------------------------------------------------------------------------------------


def vector_norm(x: Any, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Tensor:
    """sum(|x|^ord)^(1/ord); the largest or smallest |x| for ord inf or -inf, the number of elements
    that are not 0 for ord 0.

    >>> from tinygrad_rnn import tensor
    >>> vector_norm(tensor([3.0, -4.0])).item(), vector_norm(tensor([3.0, -4.0]), ord=1).item()
    (5.0, 7.0)
    """
    t = floating("vector_norm", x)
    if ord == 2:
        return norm_(t, axis, keepdims)
    size = abs_(t)
    if ord in (math.inf, -math.inf):
        return (max_ if ord > 0 else min_)(size, axis, keepdims)
    if ord == 0:
        return sum_(astype(size != 0, size.dtype), axis, keepdims)
    total = sum_(pow_(size, float(ord)), axis, keepdims)
    return total if ord == 1 else pow_(total, 1 / ord)


def matrix_norm(x: Any, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """Norms of matrices: "fro" (root of the sum of squares), "nuc" (sum of the singular values), 2
    and -2 (the largest and smallest of them), 1 and -1 (largest and smallest sum of a column's
    absolute values), inf and -inf (of a row's)."""
    t = _matrices("matrix_norm", x)
    if ord == "fro":
        return norm_(t, (-2, -1), keepdims)
    if ord in ("nuc", 2, -2):
        s = svdvals(t)
        out = sum_(s, -1) if ord == "nuc" else (max_ if ord == 2 else min_)(s, -1)
    elif ord in (1, -1, math.inf, -math.inf):
        sums = sum_(abs_(t), -2 if abs(ord) == 1 else -1)
        out = (max_ if ord > 0 else min_)(sums, -1)
    else:
        raise ArgumentError(
            f"matrix_norm: ord must be 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, got {ord!r}."
        )
    return reshape(out, (*out.shape, 1, 1)) if keepdims else out


# --- composites ----------------------------------------------------------------------------------


def matrix_power(x: Any, n: int) -> Tensor:
    """The product of n copies of square matrices; of their inverses if n is negative."""
    t = _matrices("matrix_power", x)
    if t.shape[-1] != t.shape[-2]:
        raise ShapeError(f"matrix_power of {t.type}: expected square matrices [..., n, n].")
    if n < 0:
        t, n = inv(t), -n
    out: Tensor | None = None
    while n:
        if n & 1:
            out = t if out is None else out @ t
        n >>= 1
        t = t @ t if n else t
    if out is None:
        return broadcast_to(eye(t.shape[-1], dtype=t.dtype, backend=t.backend), t.shape)
    return out


def diagonal(x: Any, offset: int = 0) -> Tensor:
    """The elements x[..., i, i + offset].

    >>> from tinygrad_rnn import tensor
    >>> diagonal(tensor([[1, 2], [3, 4]])).tolist()
    [1, 4]
    """
    t = as_tensor("diagonal", x)
    if t.ndim < 2:
        raise ShapeError(f"diagonal of {t.type}: expected matrices [..., m, n].")
    *lead, m, n = t.shape
    row, column = max(-offset, 0), max(offset, 0)
    count = max(0, min(m - row, n - column))
    if not count:
        return zeros((*lead, 0), t.dtype, t.backend)
    first = row * n + column
    flat = reshape(t, (*lead, m * n))
    return flat[..., first : first + (count - 1) * (n + 1) + 1 : n + 1]


def trace(x: Any, offset: int = 0, dtype: Any = None) -> Tensor:
    """The sum of a diagonal."""
    return sum_(diagonal(x, offset), -1, dtype=dtype)


def cross(a: Any, b: Any, axis: int = -1) -> Tensor:
    """The cross product of vectors of three elements along an axis; other axes broadcast.

    >>> from tinygrad_rnn import tensor
    >>> cross(tensor([1, 0, 0]), tensor([0, 1, 0])).tolist()
    [0, 0, 1]
    """
    x, y = operands("cross", a, b)
    if x.dtype.is_bool:
        raise DTypeError(f"cross of {x.type} and {y.type}: expected numbers.")
    at = [normalize_axis(axis, t.ndim, "cross") for t in (x, y)]
    if any(t.shape[i] != 3 for t, i in zip((x, y), at)):
        raise ShapeError(
            f"cross of {x.type} and {y.type}: axis {axis} must have 3 elements in both."
        )
    (a0, a1, a2), (b0, b1, b2) = (
        [narrow(t, i, k, k + 1) for k in range(3)] for t, i in zip((x, y), at)
    )
    parts = [a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0]
    place = normalize_axis(axis, parts[0].ndim, "cross")
    return concat(parts, place)
