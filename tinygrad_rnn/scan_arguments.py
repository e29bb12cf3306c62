"""The arguments of a scan as lists of tensors, and what is said of those that do not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .errors import ArgumentError, DTypeError, ShapeError
from .ops.creation import tensor
from .tensor import Tensor
from .tree import flatten, paths, unflatten


def tensors(what: str, tree: Any) -> tuple[list[Tensor], Any]:
    """The leaves of a tree as tensors, and the tree's structure."""
    leaves, treedef = flatten(tree)
    out = []
    for leaf in leaves:
        if not isinstance(leaf, Tensor | np.ndarray | np.generic | int | float):
            raise DTypeError(f"{what}: a leaf is a {type(leaf).__name__}, expected tensors.")
        out.append(leaf if isinstance(leaf, Tensor) else tensor(leaf))
    return out, treedef


def length_of(xs: Sequence[Tensor], names: Sequence[str], length: int | None) -> int:
    """The number of steps, on which all xs and `length` must agree."""
    sizes: dict[int, str] = {} if length is None else {int(length): "length"}
    for x, name in zip(xs, names):
        if not x.ndim:
            raise ShapeError(f"scan: {name} is {x.type}; xs need a leading axis of time steps.")
        sizes.setdefault(x.shape[0], name)
    if not sizes:
        raise ArgumentError("scan: xs has no leaves; give the number of steps as length=.")
    if len(sizes) > 1:
        found = ", ".join(f"{name} has {n}" for n, name in sizes.items())
        raise ShapeError(f"scan: the number of time steps differs: {found}.")
    T = next(iter(sizes))
    if T < 0:
        raise ArgumentError(f"scan: length={T} is negative.")
    return T


def check_carry(
    step: Callable[..., Any],
    old: Sequence[Tensor],
    old_def: Any,
    new: Sequence[Tensor],
    new_def: Any,
) -> None:
    """Raise unless a step returns a carry of the structure and the types that it was given."""
    if old_def != new_def:
        raise ShapeError(
            "scan: the step returns a carry of another structure than it was given:\n"
            f"  given    {old_def}\n  returned {new_def}\n"
            "Return the new carry in the structure of the old one, and y as second result."
        )
    if all(a.type is b.type for a, b in zip(old, new)):
        return
    names = paths(unflatten(old_def, old), _name(step))
    wrong = [
        f"  * {name}: given {a.type}, returned {b.type}"
        for name, a, b in zip(names, old, new)
        if a.type is not b.type
    ]
    raise ShapeError(
        "scan: the carry must keep its type from step to step, but\n" + "\n".join(wrong) + "\n"
        "Make the initial carry of the type that the step returns, or cast in the step."
    )


def _name(step: Callable[..., Any]) -> str:
    """The name of the step's first parameter, to speak of it in the user's words."""
    import inspect  # slow to import, and needed for messages only

    try:
        names = [p for p in inspect.signature(step).parameters if p != "self"]
    except (TypeError, ValueError):
        names = []
    return names[0] if names else "carry"
