"""Where a program stands near a point at which one of its operations is not differentiable.

Used to skip what the policies for singular points and ties decide, and to count it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..extend import Graph, Node
from ..graph import watching

#: Nearer than this (relative to max(1, |x|)) is at the point.
NEAR = 1e-9


def _zero(x: Any, scale: Any = 1.0) -> bool:
    return bool((np.abs(x) <= NEAR * np.maximum(1.0, np.abs(scale))).any())


def _whole(x: Any) -> bool:
    x = x[np.isfinite(x)] if np.ndim(x) else x
    return _zero(x - np.round(x), x)


def _tie(x: Any, axes: tuple[int, ...]) -> bool:
    """Whether the two largest elements along the axes are equal."""
    x = np.asarray(x)
    if not x.size:
        return False
    rest = [i for i in range(x.ndim) if i not in axes]
    rows = x.transpose(*rest, *axes).reshape(*(x.shape[i] for i in rest), -1)
    if rows.shape[-1] < 2:
        return False
    top = np.partition(rows, -2, axis=-1)
    return _zero(top[..., -1] - top[..., -2], top[..., -1])


def _pair(a: Any, b: Any) -> bool:
    return _zero(a - b, a)


#: primitive -> whether its operands are at a kink, a jump or a singularity of it
POINTS: dict[str, Callable[..., bool]] = {
    "abs": lambda x: _zero(x), "sign": lambda x: _zero(x), "sqrt": lambda x: _zero(x),
    "log": lambda x: _zero(x), "log1p": lambda x: _zero(x + 1),
    "maximum": _pair, "minimum": _pair, "equal": _pair, "less": _pair, "less_equal": _pair,
    "max": _tie, "argmax": lambda x, axis: _tie(x, (axis,)),
    "floor": _whole, "ceil": _whole, "round": lambda x: _whole(x + 0.5),
    "floordiv": lambda a, b: _whole(a / b) or _zero(b), "mod": lambda a, b: _whole(a / b),
    "div": lambda a, b: _zero(b), "zdiv": lambda a, b: _zero(b), "pow": lambda a, b: _zero(a),
    "asin": lambda x: _zero(np.abs(x) - 1), "acos": lambda x: _zero(np.abs(x) - 1),
    "atanh": lambda x: _zero(np.abs(x) - 1), "acosh": lambda x: _zero(x - 1),
    "atan2": lambda a, b: _zero(np.where(b < 0, a, np.hypot(a, b))),  # b < 0: the cut
    "cast": lambda x, dtype: not dtype.is_float and _whole(x),
}  # fmt: skip


def points_met(graph: Graph, arrays: Sequence[Any]) -> list[str]:
    """Names of the operations, in order, that evaluating the graph meets at such a point.

    >>> import tinygrad_rnn as tg
    >>> graph = tg.trace(lambda x: tg.abs(x) + tg.sqrt(x))(tg.zeros((2,), "float64"))
    >>> points_met(graph, [np.array([0.0, 1.0])])
    ['abs', 'sqrt']
    """
    found: list[str] = []

    def watch(node: Node, operands: Sequence[Any], results: Sequence[Any]) -> None:
        test = POINTS.get(node.op.name)
        if test is not None and node.inputs[0].type.dtype.is_float:
            if test(*operands, **node.attrs):
                found.append(node.op.name)

    with watching(watch), np.errstate(all="ignore"):
        graph.interpret(*arrays)
    return found
