"""Loading a state dictionary: check everything, then change everything.

In: the tensors of a module by name, and a mapping of names to arrays. Out: the names that did not
match. Knows nothing of modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..dlpack import host_of
from ..errors import CheckpointError, DTypeError
from ..ops import asarray
from ..tensor import Tensor
from ..types import Type, as_dtype


class LoadResult(NamedTuple):
    """Names that the dictionary lacked, and names that the module does not have."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load_into(members: Mapping[str, Tensor], given: Any, strict: bool, where: str) -> LoadResult:
    """Assign `given[name]` to `members[name]` for all names, or raise and assign nothing."""
    if not isinstance(given, Mapping):
        raise CheckpointError(
            f"{where}.load_state_dict: got {type(given).__name__}, expected a mapping of names to "
            f"arrays. Nothing was loaded."
        )
    missing = [name for name in members if name not in given]
    unexpected = [str(name) for name in given if name not in members]
    problems = []
    if strict:
        problems += [f"missing: {name!r} ({members[name].type})" for name in missing]
        problems += [f"unexpected: {name!r} ({describe(given[name])})" for name in unexpected]
    values: dict[int, tuple[str, Tensor, np.ndarray[Any, Any]]] = {}
    for name, member in members.items():
        if name not in given:
            continue
        array = to_array(given[name])
        found = describe(given[name])
        if array is None or found != str(member.type):
            cast = array is not None and array.shape == member.shape
            how = f"; cast it with .astype('{member.dtype}')" if cast else ""
            problems.append(f"{name!r} is {found}, expected {member.type}{how}")
            continue
        first = values.setdefault(id(member), (name, member, array))
        if first[2] is not array and first[2].tobytes() != array.tobytes():
            problems.append(f"{first[0]!r} and {name!r} are one parameter, but their values differ")
    if problems:
        lines = "\n  ".join(problems)
        raise CheckpointError(
            f"{where}.load_state_dict: {len(problems)} problem{'s' * (len(problems) > 1)}, "
            f"nothing was loaded:\n  {lines}"
        )
    for _, member, array in values.values():
        member.assign_(asarray(array).to(member.backend))
    return LoadResult(missing, unexpected)


def to_array(value: Any) -> np.ndarray[Any, Any] | None:
    """`value` (a Tensor, NumPy array, PyTorch tensor) as a fresh NumPy array; None for others."""
    if hasattr(value, "detach") and hasattr(value, "numpy"):
        value = value.detach()
        value = value.numpy() if isinstance(value, Tensor) else host_of(value)
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "__array__"):
        return np.array(value)
    return None


def describe(value: Any) -> str:
    """The type of an array as `f32[7,3]`, the Python type's name for anything else."""
    if isinstance(value, Tensor):
        return str(value.type)
    array = to_array(value)
    if array is None:
        return type(value).__name__
    try:
        return str(Type(array.shape, as_dtype(array.dtype)))
    except DTypeError:
        return f"{array.dtype}{list(array.shape)}"
