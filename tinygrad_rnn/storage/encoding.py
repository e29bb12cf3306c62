"""Nested Python state (dicts, lists, numbers, tensors) as JSON text plus named arrays, and back.

In: what a `state_dict()` returns. Out: a string and a dict of arrays. Builds nothing but the types
listed here, so reading a stranger's text runs nobody's code.

    None, bool, int, str   themselves            list, tuple   {"l": [...]}, {"t": [...]}
    float                  {"f": float.hex}      dict          {"d": [[key, value], ...]}
    Tensor, ndarray        {"x": name}, {"a": name}; the array is stored under that name
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from ..errors import ArgumentError, CheckpointError, DTypeError
from ..tensor import Tensor
from ..types import kind_of

MAX_DEPTH = 32  # levels of nested containers
JSON_DEPTH = 3 * MAX_DEPTH + 4  # a dict is {"d": [[key, value], ...]}: three levels of JSON
_MAX_INT = 2**64


def encode(value: Any, path: str, arrays: dict[str, np.ndarray[Any, Any]], depth: int = 0) -> Any:
    """JSON for `value`; its arrays are added to `arrays` under names that start with `path`.

    Errors: DTypeError for anything that is not in the table above.
    """
    if depth > MAX_DEPTH:
        raise ArgumentError(f"save: {path[:200]} is nested more than {MAX_DEPTH} levels deep.")
    if path in arrays:
        raise ArgumentError(f"save: two entries are both called {path!r}; rename a key.")
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        if abs(int(value)) >= _MAX_INT:
            raise ArgumentError(f"save: {path} is {int(value)}; integers must fit into 64 bits.")
        return int(value)
    if isinstance(value, float) or (isinstance(value, np.generic) and kind_of(value.dtype) == "f"):
        return {"f": float(value).hex()}
    if isinstance(value, Tensor):
        arrays[path] = value.detach().numpy()
        return {"x": path}
    if isinstance(value, np.ndarray):
        arrays[path] = value
        return {"a": path}
    if isinstance(value, (list, tuple)):
        tag = "t" if isinstance(value, tuple) else "l"
        return {tag: [encode(v, f"{path}/{i}", arrays, depth + 1) for i, v in enumerate(value)]}
    if isinstance(value, Mapping):
        pairs = [(_key(k, path), v) for k, v in value.items()]
        return {"d": [[k, encode(v, f"{path}/{k}", arrays, depth + 1)] for k, v in pairs]}
    raise DTypeError(
        f"save: {path} is a {type(value).__name__}; a checkpoint holds None, bool, int, float, "
        "str, list, tuple, dict, Tensor and ndarray. Convert it first."
    )


def decode(
    code: Any, arrays: Mapping[str, np.ndarray[Any, Any]], put: Callable[[str, Any], Tensor]
) -> Any:
    """The inverse of `encode`; `put(name, array)` makes the tensors.

    Errors: CheckpointError for text that `encode` cannot have written.
    """

    def refuse() -> NoReturn:
        raise CheckpointError("The checkpoint's description of its contents is not well formed.")

    def array(name: Any) -> np.ndarray[Any, Any]:
        return arrays[name] if isinstance(name, str) and name in arrays else refuse()

    def build(node: Any) -> Any:
        if node is None or isinstance(node, (bool, int, str)):
            return node
        if not isinstance(node, dict) or len(node) != 1:
            refuse()
        [(tag, body)] = node.items()
        if tag == "f" and isinstance(body, str):
            try:
                return float.fromhex(body)
            except (ValueError, OverflowError):
                refuse()
        if tag == "x":
            return put(body, array(body))
        if tag == "a":
            return array(body)
        if tag in ("l", "t", "d") and isinstance(body, list):
            if tag == "d":
                if not all(isinstance(p, list) and len(p) == 2 and _is_key(p[0]) for p in body):
                    refuse()
                return {key: build(child) for key, child in body}
            items = [build(child) for child in body]
            return items if tag == "l" else tuple(items)
        refuse()

    return build(code)


def arrays_in(value: Any, path: str = "") -> dict[str, Tensor | np.ndarray[Any, Any]]:
    """Every tensor and array in a nested state by its path, without copying."""
    if isinstance(value, (Tensor, np.ndarray)):
        return {path: value}
    if isinstance(value, (list, tuple)):
        items: Any = enumerate(value)
    elif isinstance(value, Mapping):
        items = value.items()
    else:
        return {}
    found: dict[str, Tensor | np.ndarray[Any, Any]] = {}
    for key, child in items:
        found.update(arrays_in(child, f"{path}/{key}"))
    return found


def snapshot(value: Any) -> Any:
    """A copy that later assignments to the same handles do not change."""
    if isinstance(value, Tensor):
        return value.detach()  # a new handle on the same immutable value
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, (list, tuple)):
        items = [snapshot(v) for v in value]
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*items)
        return type(value)(items)
    if isinstance(value, Mapping):
        return {key: snapshot(v) for key, v in value.items()}
    return value


def _is_key(key: Any) -> bool:
    return isinstance(key, str) or type(key) is int


def _key(key: Any, path: str) -> int | str:
    if isinstance(key, np.integer):
        key = int(key)
    if not _is_key(key):
        raise DTypeError(f"save: {path} has the key {key!r}; keys are strings or integers.")
    result: int | str = key
    return result
