"""Nested tuples, lists, dicts and named tuples, flattened to their leaves and built again.

In: any Python structure. Out: a list of leaves and a hashable description. Knows nothing of
tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .errors import ArgumentError


class TreeDef:
    """The structure of a tree without its leaves; hashable, comparable, printable."""

    __slots__ = ("children", "keys", "kind")

    def __init__(self, kind: Any, keys: tuple[Any, ...], children: tuple[TreeDef, ...]):
        self.kind, self.keys, self.children = kind, keys, children

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, TreeDef)
            and self.kind == other.kind
            and self.keys == other.keys
            and self.children == other.children
        )

    def __hash__(self) -> int:
        return hash((self.kind, self.keys, self.children))

    def __repr__(self) -> str:
        inner = ", ".join(map(repr, self.children))
        if self.kind == "leaf":
            return "*"
        if self.kind is None:
            return "None"
        if self.kind is dict:
            return "{" + ", ".join(f"{k!r}: {c!r}" for k, c in zip(self.keys, self.children)) + "}"
        if self.kind is list:
            return f"[{inner}]"
        if self.kind is tuple:
            return f"({inner}{',' * (len(self.children) == 1)})"
        return f"{self.kind.__name__}({inner})"


_LEAF, _NONE = TreeDef("leaf", (), ()), TreeDef(None, (), ())


def _children(tree: Any) -> tuple[Any, tuple[Any, ...], list[Any]] | None:
    if isinstance(tree, dict):
        keys = tuple(sorted(tree, key=lambda k: (type(k).__name__, k)))
        return dict, keys, [tree[k] for k in keys]
    if isinstance(tree, tuple):
        return (type(tree) if hasattr(tree, "_fields") else tuple), (), list(tree)
    if isinstance(tree, list):
        return list, (), tree
    return None


def flatten(tree: Any) -> tuple[list[Any], TreeDef]:
    """Leaves from left to right (dict keys sorted) and the structure; None has no leaves.

    >>> flatten({"b": (1, None), "a": [2]})
    ([2, 1], {'a': [*], 'b': (*, None)})
    """
    leaves: list[Any] = []
    return leaves, _visit(tree, leaves)


# Not a function inside `flatten`: one that calls itself is a cycle, and would keep leaves alive.
def _visit(node: Any, leaves: list[Any]) -> TreeDef:
    if node is None:
        return _NONE
    parts = _children(node)
    if parts is None:
        leaves.append(node)
        return _LEAF
    kind, keys, children = parts
    return TreeDef(kind, keys, tuple([_visit(c, leaves) for c in children]))


def unflatten(treedef: TreeDef, leaves: Iterable[Any]) -> Any:
    """The inverse of `flatten`."""
    return _build(treedef, iter(leaves))


def _build(d: TreeDef, leaves: Iterator[Any]) -> Any:
    if d is _LEAF or d.kind == "leaf":
        return next(leaves)
    if d.kind is None:
        return None
    children = [_build(c, leaves) for c in d.children]
    if d.kind is dict:
        return dict(zip(d.keys, children))
    if d.kind in (tuple, list):
        return d.kind(children)
    return d.kind(*children)


def tree_map(f: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """`f` applied to every leaf (and to the matching leaves of `rest`, same structure required)."""
    leaves, treedef = flatten(tree)
    columns = [leaves]
    for other in rest:
        more, other_def = flatten(other)
        if other_def != treedef:
            raise ArgumentError(f"tree_map: structures differ: {treedef} and {other_def}.")
        columns.append(more)
    return unflatten(treedef, [f(*xs) for xs in zip(*columns)])


def paths(tree: Any, root: str = "") -> list[str]:
    """A readable path for every leaf, in the order of `flatten`.

    >>> paths({"b": (1, 2)}, "carry")
    ["carry['b'][0]", "carry['b'][1]"]
    """
    if tree is None:
        return []
    parts = _children(tree)
    if parts is None:
        return [root]
    kind, keys, children = parts
    if kind is dict:
        names = [f"{root}[{k!r}]" for k in keys]
    elif kind in (tuple, list):
        names = [f"{root}[{i}]" for i in range(len(children))]
    else:
        names = [f"{root}.{f}" for f in kind._fields]
    return [p for name, child in zip(names, children) for p in paths(child, name)]
