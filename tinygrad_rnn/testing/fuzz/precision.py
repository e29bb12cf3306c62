"""float32 results, judged by a float64 truth: a variant may err a few times as much as the
references do, or as the truth moves when every operation's result is rounded to float32 (at random:
Monte Carlo arithmetic; Parker, 1997), however much the function magnifies rounding."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...extend import DType, Graph, Node, Type, Var
from ...types import float64
from .levels import Level

#: How many times the error of the references, what rounding does to the truth, or roundings of the
#: largest value, are allowed.
FACTOR = 8


def is_single(graph: Graph) -> bool:
    """Whether a value somewhere has a floating dtype narrower than float64."""
    for node in graph.nodes:
        if any(v.type.dtype.is_float and v.type.dtype is not float64
               for v in (*node.inputs, *node.outputs)):  # fmt: skip
            return True
        if any(is_single(g) for g in node.attrs.values() if isinstance(g, Graph)):
            return True
    return False


def widened(graph: Graph) -> Graph:
    """The same graph with every floating value in float64."""
    new: dict[Var, Var] = {}

    def var(v: Var) -> Var:
        if v not in new:
            t = v.type
            new[v] = Var(t.with_dtype(float64) if t.dtype.is_float else t)
        return new[v]

    nodes = [
        Node(n.op, tuple(map(var, n.inputs)), {k: _wide(a) for k, a in n.attrs.items()},
             tuple(map(var, n.outputs)), n.frozen)
        for n in graph.nodes
    ]  # fmt: skip
    return Graph([var(v) for v in graph.inputs], nodes, [var(v) for v in graph.outputs])


def _wide(value: Any) -> Any:
    if isinstance(value, Graph):
        return widened(value)
    if isinstance(value, DType):
        return float64 if value.is_float else value
    if isinstance(value, Type):
        return value.with_dtype(float64) if value.dtype.is_float else value
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # the rule of custom_vjp
        return type(value)(*[_wide(v) for v in value])
    return value


@functools.lru_cache(maxsize=1)
def _truth(level: Level) -> list[np.ndarray]:
    return _wide_results(level, lambda y: y)


@functools.lru_cache(maxsize=1)
def _spread(level: Level) -> list[float]:
    """By how much each result of the truth moves when inputs and results are rounded at random."""
    rng = np.random.default_rng(0)

    def rounded(y: np.ndarray) -> np.ndarray:
        if y.dtype.kind != "f":
            return y
        moved: np.ndarray = y * (1 + float(np.finfo(np.float32).eps) * rng.uniform(-1, 1, y.shape))
        return moved

    runs = [_wide_results(level, rounded) for _ in range(4)]
    with np.errstate(all="ignore"):
        gaps = [[np.abs(run[k] - y) for run in runs] for k, y in enumerate(_truth(level))]
    return [max(float(np.max(g[np.isfinite(g)], initial=0.0)) for g in group) for group in gaps]


def _wide_results(level: Level, each: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
    """The results in float64; `each` is applied to the inputs and to every operation's result."""
    graph = widened(level.graph)
    wide = [a.astype(float) if a.dtype.kind == "f" else a for a in level.arrays]
    env = dict(zip(graph.inputs, map(each, wide)))
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            found = node.op.reference(*[env[v] for v in node.inputs], **node.attrs)
            found = found if isinstance(found, tuple) else (found,)
            env.update(zip(node.outputs, [each(np.asarray(y)) for y in found]))
    return [env[v] for v in graph.outputs]


def agrees_in_precision(level: Level, found: Sequence[np.ndarray]) -> str | None:
    """What is wrong with results of a level in float32, in words; None if nothing is."""
    for k, (a, b, c) in enumerate(zip(found, level.expected, _truth(level))):
        if b.dtype.kind != "f":
            if not np.array_equal(a, b):
                return f"result {k}: got {a}, expected {b}"
            continue
        bad = ~np.isfinite(b)
        if not np.array_equal(a[bad], b[bad], equal_nan=True) or not np.isfinite(a[~bad]).all():
            return f"result {k}: NaN or infinity: got {a}, expected {b}"
        fine = ~bad & np.isfinite(c)
        if not fine.any():
            continue
        truth = c[fine]
        error, reference = (float(np.abs(x[fine] - truth).max()) for x in (a, b))
        unit = float(np.finfo(np.float32).eps) * max(1.0, float(np.abs(truth).max()))
        allowed = FACTOR * max(reference, FACTOR * unit)
        if error > allowed:
            allowed = max(allowed, FACTOR * _spread(level)[k])
        if error > allowed:
            return (
                f"result {k}: errs by {error:.3g}, the references by {reference:.3g}, "
                f"allowed {allowed:.3g}"
            )
    return None
