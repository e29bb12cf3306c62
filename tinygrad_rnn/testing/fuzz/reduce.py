"""A failing program made as small as it gets while it still fails in the same variant."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from ...errors import TinygradRnnError
from ...extend import Graph
from .cases import Case
from .check import Failure, Outcome, Variant, examine
from .edits import candidates

#: How long to look for something smaller.
SECONDS = 120.0


class Small(NamedTuple):
    """A graph, inputs, and what fails with them."""

    graph: Graph
    arrays: list[np.ndarray]
    order: int
    variants: tuple[Variant, ...]
    seed: int
    failure: Failure

    def size(self) -> tuple[int, int]:
        count = 0
        stack = [self.graph]
        while stack:
            graph = stack.pop()
            count += len(graph.nodes) + len(graph.outputs)
            stack += [v for n in graph.nodes for v in n.attrs.values() if isinstance(v, Graph)]
        return count, sum(a.size for a in self.arrays)


def reduced(case: Case, outcome: Outcome, seconds: float = SECONDS) -> Small:
    """The smallest failing part of a case that greedy search finds in time."""
    assert outcome.failure is not None
    failed = tuple(v for v in case.variants if str(v) == outcome.failure.variant)
    small = Small(
        case.program.graph, case.program.arrays(), case.order, failed, case.seed, outcome.failure
    )
    end = time.perf_counter() + seconds
    for order in range(outcome.order):  # at a lower order, if it fails there too
        found = _tried(small, small.graph, small.arrays, order)
        if found is not None:
            small = found
            break
    while time.perf_counter() < end:
        better = _smaller(small, end)
        if better is None:
            break
        small = better
    return small


def _smaller(small: Small, end: float) -> Small | None:
    for graph, arrays in candidates(small.graph, small.arrays):
        found = _tried(small, graph, arrays, small.order)
        if found is not None and found.size() < small.size():
            return found
        if time.perf_counter() > end:
            return None
    return None


def _tried(small: Small, graph: Graph, arrays: list[np.ndarray], order: int) -> Small | None:
    """The candidate, if it is a graph and fails where the original did."""
    try:
        graph.verify()
    except (TinygradRnnError, TypeError, ValueError):
        return None
    failure = examine(graph, arrays, order, small.variants, small.seed).failure
    if failure is None or failure.variant != small.failure.variant:
        return None
    return small._replace(graph=graph, arrays=arrays, order=order, failure=failure)
