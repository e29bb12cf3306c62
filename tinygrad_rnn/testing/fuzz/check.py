"""One program, examined: every variant of it, and of its derivatives, against the references.

In: a graph, inputs, an order of derivatives, variants. Out: a Failure or None; what was skipped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...backend import get_backend, use_backend
from ...extend import Graph
from ...ops.creation import tensor
from ..assertions import difference, host
from ..complex_step import NotAnalytic
from ..recorded import rewritten, run_graph
from ..singular import points_met
from .levels import Arrays, Level
from .precision import agrees_in_precision, is_single

#: Of float64 results, relative to the largest of each; of <J v, c> = <v, J' c>, to all terms.
TOLERANCE = 1e-9
#: Inputs moved by this much must not change results by more than that: else neither does rounding.
NUDGE = 1e-13


class Variant(NamedTuple):
    """A way to run a graph: "eager", or compiled after the passes of that name; where."""

    way: str
    backend: str

    def __str__(self) -> str:
        return f"{self.way} on {self.backend}"


class Failure(NamedTuple):
    """What went wrong: in which variant, at which order of derivatives."""

    variant: str
    order: int
    message: str

    def __str__(self) -> str:
        return f"{self.variant}, derivative of order {self.order}: {self.message}"


class Outcome(NamedTuple):
    failure: Failure | None
    skipped: Counter[str]
    order: int
    loops: Counter[str]


def examine(
    graph: Graph, arrays: Arrays, order: int, variants: Sequence[Variant], seed: int
) -> Outcome:
    """Compare the variants of the graph's derivative of an order with the references.

    Gradients that the references compute are compared with the complex step of the order below.
    """
    rng = np.random.default_rng(seed)
    skipped: Counter[str] = Counter()
    loops: Counter[str] = Counter()
    level = Level(graph, arrays)
    failure = None
    try:
        graph.verify()
        for _ in range(order):
            above = level.above(rng)
            if above is None:
                break
            level = above
        failure = _reference(level, rng, skipped)
    except Exception as error:
        failure = _raised("references", level, error)
    for variant in variants:
        if failure is None:
            failure = _variant(level, variant, skipped, loops)
    return Outcome(failure, skipped, level.order, loops)


def _raised(where: str, level: Level, error: Exception) -> Failure:
    return Failure(where, level.order, f"{type(error).__name__}: {error}")


def _reference(level: Level, rng: np.random.Generator, skipped: Counter[str]) -> Failure | None:
    """What the references alone must satisfy: finite gradients, which are the adjoint."""
    if level.below is None:
        return None
    finite = all(np.isfinite(y).all() for y in level.below.expected if y.dtype.kind == "f")
    if finite and not all(np.isfinite(y).all() for y in level.expected):
        if unsteady(level):
            skipped["singular point"] += 1
            return None
        return Failure("references", level.order, "the values are finite, a gradient is not")
    if is_single(level.graph):
        return None
    try:
        error = level.adjoint_error(rng)
    except NotAnalytic:
        skipped["no complex step"] += 1
        return None
    if error <= TOLERANCE:
        return None
    if meets(level.below, JUMPS | TIES) or unsteady(level) or unsteady(level.below):
        skipped["singular point"] += 1
        return None
    return Failure("references", level.order, f"<J v, c> and <v, J' c> differ by {error:.3g}")


def _variant(
    level: Level, variant: Variant, skipped: Counter[str], loops: Counter[str]
) -> Failure | None:
    try:
        found = run_variant(level, variant, loops)
    except Exception as error:  # whatever it is, it is the finding
        return _raised(str(variant), level, error)
    for k, (v, a) in enumerate(zip(level.graph.outputs, found, strict=True)):
        if (a.shape, a.dtype) != (v.type.shape, v.type.dtype.np):
            return Failure(
                str(variant), level.order, f"result {k} is {a.dtype}{list(a.shape)}, not {v.type}"
            )
    if is_single(level.graph):
        problem = agrees_in_precision(level, found)
    else:
        parts = [difference(a, b, TOLERANCE) for a, b in zip(found, level.expected)]
        problem = next((f"result {k}: {p}" for k, p in enumerate(parts) if p), None)
    if problem is None:
        return None
    if meets(level, JUMPS):
        skipped["at a jump"] += 1
        return None
    if unsteady(level):
        skipped["badly conditioned"] += 1
        return None
    return Failure(str(variant), level.order, problem)


def run_variant(level: Level, variant: Variant, loops: Counter[str]) -> list[np.ndarray]:
    """The results of a level, run another way."""
    if variant.way == "eager":
        with use_backend(variant.backend):
            xs = [tensor(a) for a in level.arrays]
            return [np.asarray(host(y)) for y in level.eager(*xs)]
    graph = rewritten(level.graph, variant.way)
    if variant.backend != "numpy":
        for name, how in get_backend(variant.backend).report(graph):
            if name == "scan":
                loops["compiled" if how == "compiled" else how] += 1
    return run_graph(graph, level.arrays, variant.backend)


#: Where results jump: a rounding error, or the sign of a zero, decides on which side they are.
JUMPS = frozenset({
    "floor", "ceil", "round", "floordiv", "mod", "cast", "less", "less_equal", "sign", "argmax",
    "atan2",
})  # fmt: skip
#: Choices between equal values: x and its own copy, whatever x is. The policies share the cotangent
#: out, the complex step gives it to one of the two.
TIES = frozenset({"maximum", "minimum", "max", "abs"})


def meets(level: Level, points: frozenset[str]) -> bool:
    """Whether one of these operations is at such a point here, which no nudge may take it from:
    x - x is 0 and x / x is 1, whatever x is."""
    return not points.isdisjoint(points_met(level.graph, level.arrays))


def unsteady(level: Level) -> bool:
    """Whether moving the inputs by rounding errors changes the results by more than those: near a
    jump, at a tie, or where the function itself magnifies errors."""
    single = is_single(level.graph)
    for seed in (1, 2, 3):
        rng = np.random.default_rng(seed)
        moved = []
        for v, a in zip(level.graph.inputs, level.arrays):
            if v.type.dtype.is_float:
                unit = np.finfo(a.dtype).eps if single else NUDGE
                a = (a * (1 + unit * rng.uniform(-1, 1, a.shape))).astype(a.dtype)
                a = a + np.asarray(unit * 1e-3 * rng.uniform(-1, 1, a.shape), a.dtype)
            moved.append(a)
        with np.errstate(all="ignore"):
            found = [np.asarray(y) for y in level.graph.interpret(*moved)]
        tolerance = 1e-3 if single else TOLERANCE / 10
        if any(difference(a, b, tolerance) for a, b in zip(found, level.expected)):
            return True
    return False
