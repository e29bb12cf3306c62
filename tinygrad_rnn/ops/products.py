"""Products: matmul, einsum and relatives over the one contraction primitive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, ShapeError
from ..primitive import bind, operands
from ..tensor import Tensor
from ..types import broadcast_shapes, normalize_axis
from .complexes import conj
from .contraction import Contract, contract
from .functions import astype
from .movement import reshape, transpose
from .reduction import Sum


def _pair(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    x, y = operands(name, a, b)
    if x.dtype.is_bool:
        x, y = astype(x, int), astype(y, int)
    return x, y


def matmul(a: Any, b: Any) -> Tensor:
    """The matrix product over the last two axes; leading axes broadcast; 1-d operands are vectors.

    a[..., I, K] @ b[..., K, J] -> [..., I, J]

    >>> from tinygrad_rnn import tensor
    >>> matmul(tensor([[1.0, 2.0]]), tensor([[3.0], [4.0]])).tolist()
    [[11.0]]
    """
    x, y = _pair("matmul", a, b)
    if not x.ndim or not y.ndim:
        raise ShapeError(
            f"matmul: {x.type} @ {y.type}: operands need at least one axis; use * instead."
        )
    inner = y.shape[0] if y.ndim == 1 else y.shape[-2]
    if x.shape[-1] != inner:
        raise ShapeError(
            f"matmul: {x.type} @ {y.type}: the last axis of the left operand ({x.shape[-1]}) must "
            f"equal the {'only' if y.ndim == 1 else 'second-last'} axis of the right one "
            f"({inner}); transpose one of them (.mT)?"
        )
    if x.ndim == 2 and y.ndim == 2:
        return bind(Contract, x, y, a=(0, 1), b=(1, 2), out=(0, 2))
    return _batched(x, y)


def _batched(x: Tensor, y: Tensor) -> Tensor:
    lead_x, lead_y = x.shape[:-2], y.shape[:-2]
    try:
        lead = broadcast_shapes(lead_x, lead_y)
    except ShapeError:
        raise ShapeError(
            f"matmul: leading axes of {x.type} and {y.type} do not broadcast."
        ) from None
    n = len(lead)
    row, col, mid = n, n + 1, n + 2

    def labels(t: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, tuple[int, ...]]:
        """Leading axes of size 1 that the other operand widens are dropped: nothing is copied."""
        keep, names = [], []
        for i, size in enumerate(shape, n - len(shape)):
            if size == lead[i]:
                keep.append(size)
                names.append(i)
        tail = t.shape[len(shape) :]
        return reshape(t, (*keep, *tail)), tuple(names)

    x, a = labels(x, lead_x)
    y, b = labels(y, lead_y)
    a_labels = (*a, row, mid) if x.ndim - len(a) == 2 else (mid,)
    b_labels = (*b, mid, col) if y.ndim - len(b) == 2 else (mid,)
    present = {*a, *b}
    out = tuple(i for i in range(n) if i in present)
    tail = tuple(i for i in (row, col) if i in (*a_labels, *b_labels))
    result = contract(x, y, a_labels, b_labels, (*out, *tail))
    sizes = dict(zip((*a_labels, *b_labels), (*x.shape, *y.shape)))
    return reshape(result, (*lead, *[sizes[i] for i in tail]))


def dot(a: Any, b: Any) -> Tensor:
    """matmul for tensors of at most two axes; the product for numbers.

    >>> from tinygrad_rnn import tensor
    >>> dot(tensor([1, 2]), tensor([3, 4])).item()
    11
    """
    x, y = _pair("dot", a, b)
    return x * y if not x.ndim or not y.ndim else matmul(x, y)


def outer(a: Any, b: Any) -> Tensor:
    """a[i] * b[j] for two vectors.

    >>> from tinygrad_rnn import tensor
    >>> outer(tensor([1, 2]), tensor([3, 4])).tolist()
    [[3, 4], [6, 8]]
    """
    x, y = _pair("outer", a, b)
    if x.ndim != 1 or y.ndim != 1:
        raise ShapeError(f"outer: expected two vectors, got {x.type} and {y.type}.")
    return reshape(x, (x.size, 1)) * y  # a contraction would add 0.0, which loses the sign of -0.0


def vecdot(a: Any, b: Any, axis: int = -1) -> Tensor:
    """The sum of products conj(a) * b along one axis; the other axes broadcast.

    >>> from tinygrad_rnn import tensor
    >>> vecdot(tensor([[1, 2], [3, 4]]), tensor([1, 10])).tolist()
    [21, 43]
    """
    x, y = _pair("vecdot", a, b)
    ndim = max(x.ndim, y.ndim)
    at = normalize_axis(axis, ndim, "vecdot")
    sizes = {t.shape[at - ndim] for t in (x, y) if t.ndim >= ndim - at}
    if len(sizes) != 1 or min(x.ndim, y.ndim) < ndim - at:
        raise ShapeError(f"vecdot: {x.type} and {y.type} differ in size along axis {axis}.")
    out: Tensor = bind(Sum, conj(x) * y, axes=(at,))
    return out


def tensordot(a: Any, b: Any, axes: int | Sequence[Sequence[int]] = 2) -> Tensor:
    """The contraction of the last axes of a with the first of b (an integer), or of given pairs.

    >>> from tinygrad_rnn import zeros
    >>> tensordot(zeros((2, 3, 4)), zeros((3, 4, 5))).shape
    (2, 5)
    """
    x, y = _pair("tensordot", a, b)
    if isinstance(axes, int):
        if not 0 <= axes <= min(x.ndim, y.ndim):
            raise ShapeError(f"tensordot: {x.type} and {y.type} do not both have {axes} axes.")
        left, right = tuple(range(x.ndim - axes, x.ndim)), tuple(range(axes))
    else:
        left = tuple(normalize_axis(i, x.ndim, "tensordot") for i in axes[0])
        right = tuple(normalize_axis(i, y.ndim, "tensordot") for i in axes[1])
    if [x.shape[i] for i in left] != [y.shape[i] for i in right]:
        raise ShapeError(
            f"tensordot: axes {left} of {x.type} and {right} of {y.type} differ in size."
        )
    a_labels = tuple(range(x.ndim))
    pairs = dict(zip(right, left))
    b_labels = tuple(pairs[i] if i in pairs else x.ndim + i for i in range(y.ndim))
    out = tuple(i for i in a_labels if i not in left) + tuple(
        x.ndim + i for i in range(y.ndim) if i not in pairs
    )
    return contract(x, y, a_labels, b_labels, out)


def einsum(spec: str, *xs: Any) -> Tensor:
    """Einstein's summation, NumPy's notation: one letter per axis, `...` for leading axes.

    Operands are contracted from left to right.

    >>> from tinygrad_rnn import ones
    >>> einsum("tbi,ij->tbj", ones((4, 2, 3)), ones((3, 5))).shape
    (4, 2, 5)
    """
    if not isinstance(spec, str):
        raise ArgumentError("einsum: the first argument is the specification, such as 'ij,jk->ik'.")
    ts = operands("einsum", *xs)
    names, out = _parse(spec, [t.ndim for t in ts])
    sizes: dict[str, int] = {}
    pairs = [_single(t, n, spec) for t, n in zip(ts, names)]
    for t, n in pairs:
        for letter, size in zip(n, t.shape):
            if sizes.setdefault(letter, size) != size:
                raise ShapeError(
                    f"einsum '{spec}': axis '{letter}' has sizes {sizes[letter]} and {size}."
                )
    while len(pairs) > 1:
        (x, a), (y, b), *rest = pairs
        later = set(out).union(*[n for _, n in rest])
        x, a = _sum_out(x, a, later | set(b))
        y, b = _sum_out(y, b, later | set(a))
        merged = [c for c in dict.fromkeys((*a, *b)) if c in later]
        number = {c: i for i, c in enumerate(dict.fromkeys((*a, *b)))}
        made = contract(
            x,
            y,
            tuple(number[c] for c in a),
            tuple(number[c] for c in b),
            tuple(number[c] for c in merged),
        )
        pairs = [(made, merged), *rest]
    t, n = _sum_out(*pairs[0], set(out))
    return transpose(t, tuple(n.index(c) for c in out))


def _sum_out(t: Tensor, names: list[str], keep: set[str]) -> tuple[Tensor, list[str]]:
    axes = tuple(i for i, c in enumerate(names) if c not in keep)
    if not axes:
        return t, names
    return bind(Sum, t, axes=axes), [c for c in names if c in keep]


def _single(t: Tensor, names: list[str], spec: str) -> tuple[Tensor, list[str]]:
    """Repeated letters within one operand become a diagonal."""
    for c in dict.fromkeys(names):
        while names.count(c) > 1:
            i, j = [k for k, d in enumerate(names) if d == c][:2]
            if t.shape[i] != t.shape[j]:
                raise ShapeError(
                    f"einsum '{spec}': axis '{c}' has sizes {t.shape[i]} and {t.shape[j]}."
                )
            t, names = _diagonal(t, i, j), [d for k, d in enumerate(names) if k != j]
    return t, names


def _diagonal(t: Tensor, i: int, j: int) -> Tensor:
    """Axes i < j joined to their diagonal, at place i."""
    n = t.shape[i]
    order = [i, j, *[k for k in range(t.ndim) if k not in (i, j)]]
    flat = transpose(t, tuple(order))
    rest = flat.shape[2:]
    flat = reshape(flat, (n * n, *rest))
    step = n + 1
    picked = flat[::step] if n else reshape(flat, (0, *rest))
    back = [*range(1, i + 1), 0, *range(i + 1, len(rest) + 1)]
    return transpose(picked, tuple(back))


def _parse(spec: str, ranks: Sequence[int]) -> tuple[list[list[str]], list[str]]:
    left, arrow, right = spec.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ArgumentError(f"einsum '{spec}' names {len(terms)} operands, got {len(ranks)}.")
    width = max(
        (r - len(t.replace("...", "")) for t, r in zip(terms, ranks) if "..." in t), default=0
    )

    def expand(term: str, rank: int | None) -> list[str]:
        head, dots, tail = term.partition("...")
        n = width if rank is None else rank - len(head) - len(tail)
        if not (head + tail).isalpha() and head + tail:
            raise ArgumentError(f"einsum '{spec}': only letters, ',', '...' and '->' are allowed.")
        if (not dots and rank is not None and n != 0) or n < 0:
            raise ShapeError(f"einsum '{spec}': '{term}' does not fit an operand with {rank} axes.")
        return [*head, *([f"...{width - n + i}" for i in range(n)] if dots else []), *tail]

    names = [expand(t, r) for t, r in zip(terms, ranks)]
    every = [c for n in names for c in n]
    if arrow:
        out = expand(right, None)
    else:
        dotted = [c for c in dict.fromkeys(every) if c.startswith("...")]
        out = sorted(dotted) + sorted(
            c for c in set(every) if every.count(c) == 1 and c not in dotted
        )
    unknown = [c for c in out if c not in every]
    if unknown or len(set(out)) != len(out):
        raise ArgumentError(
            f"einsum '{spec}': the result must name axes of the operands, each once."
        )
    return names, out


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias: x [..., I], weight [J, I], bias [J] -> [..., J] (PyTorch's layout).

    >>> from tinygrad_rnn import tensor
    >>> linear(tensor([1.0, 2.0]), tensor([[3.0, 4.0]]), tensor([0.5])).tolist()
    [11.5]
    """
    if weight.ndim != 2 or not x.ndim or x.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"linear: input {x.type} and weight {weight.type} do not fit; the last axis of the "
            "input must equal the last axis of the weight [out_features, in_features]."
        )
    lead = tuple(range(x.ndim - 1))
    i, j = x.ndim - 1, x.ndim
    y = contract(x, weight, (*lead, i), (j, i), (*lead, j))
    return y if bias is None else y + bias
