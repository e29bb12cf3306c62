"""A program and its derivatives as functions and graphs: what the fuzzer compares.

Level 0 is the program. Level n + 1 takes the arguments of level n and a cotangent for each of its
floating results, and gives the gradients of the floating arguments.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from ...derivatives import vjp
from ...extend import Graph
from ...ops.creation import tensor
from ...tensor import Tensor
from ...vectorize import replay
from ..complex_step import ComplexStep
from ..recorded import Recorded

Arrays = Sequence[np.ndarray]


class Level:
    """A graph, arguments for it, and the level below (None for a program)."""

    def __init__(self, graph: Graph, arrays: Arrays, below: Level | None = None):
        self.graph, self.arrays, self.below = graph, list(arrays), below
        self.order: int = 0 if below is None else below.order + 1
        self.floats = [i for i, v in enumerate(graph.inputs) if v.type.dtype.is_float]
        self.results = [i for i, v in enumerate(graph.outputs) if v.type.dtype.is_float]

    def tensors(self) -> list[Tensor]:
        return [tensor(a) for a in self.arrays]

    def eager(self, *xs: Tensor) -> Sequence[Tensor]:
        """The results, operation by operation; derivatives of derivatives by the tape's tape."""
        if self.below is None:
            return replay(self.graph, xs)
        return self.below.pullback(*xs)

    def pullback(self, *values: Tensor) -> Sequence[Tensor]:
        """Arguments and cotangents -> gradients of the floating arguments."""
        n = len(self.graph.inputs)
        xs, cotangents = list(values[:n]), values[n:]

        def of_floats(*floats: Tensor) -> tuple[Tensor, ...]:
            for i, new in zip(self.floats, floats):
                xs[i] = new
            found = self.eager(*xs)
            return tuple(found[i] for i in self.results)

        floats = [xs[i] for i in self.floats]
        return tuple(vjp(of_floats, *floats)[1](tuple(cotangents)))

    def above(self, rng: np.random.Generator) -> Level | None:
        """The derivative of this level at random cotangents; None if there is nothing to derive."""
        if not (self.floats and self.results):
            return None
        types = [self.graph.outputs[i].type for i in self.results]
        cotangents = [np.asarray(rng.normal(size=t.shape), t.dtype.np) for t in types]
        arrays = [*self.arrays, *cotangents]
        recorded = Recorded(self.pullback, arrays)
        assert not recorded.captured
        return Level(recorded.graph, arrays, self)

    @functools.cached_property
    def expected(self) -> list[np.ndarray]:
        """The results by the primitives' references."""
        with np.errstate(all="ignore"):
            return [np.asarray(y) for y in self.graph.interpret(*self.arrays)]

    def adjoint_error(self, rng: np.random.Generator) -> float:
        """|<J v, c> - <v, J' c>| relative to the sum of the terms' sizes: J v by complex step.

        J is that of the level below, c are the cotangents of this level, v is random.
        """
        below = self.below
        assert below is not None
        inner = self.arrays[len(below.arrays) :]
        directions: list[np.ndarray | None] = [None] * len(below.arrays)
        for i in below.floats:
            directions[i] = rng.normal(size=below.arrays[i].shape)
        moved = ComplexStep(below.graph).along(below.arrays, directions)
        left = [moved[i] * c for i, c in zip(below.results, inner)]
        right = [g * directions[i] for i, g in zip(below.floats, self.expected)]
        terms = sum(float(np.abs(t).sum()) for t in (*left, *right))
        gap = abs(sum(float(t.sum()) for t in left) - sum(float(t.sum()) for t in right))
        return gap / max(1.0, terms)
