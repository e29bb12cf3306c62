"""A program: a graph, what its inputs range over, and the seed of their values.

It can be called like the function that it is, and prints as one.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from ...extend import Graph, Type
from ...tensor import Tensor
from ...vectorize import replay
from .printing import function_source, script_source


class Leaf(NamedTuple):
    """An input of a program: its type, its range, the input whose values it repeats (if any)."""

    type: Type
    low: float
    high: float
    same_as: int | None = None


class Program:
    """`program(*tensors)` evaluates it; `program.arrays()` are inputs for it; it prints as code."""

    def __init__(self, graph: Graph, leaves: tuple[Leaf, ...], seed: int):
        self.graph, self.leaves, self.seed = graph, leaves, seed

    def __call__(self, *xs: Tensor) -> tuple[Tensor, ...]:
        return tuple(replay(self.graph, xs))

    def arrays(self) -> list[np.ndarray]:
        """Values for all inputs: the same in every call."""
        rng = np.random.default_rng(self.seed)
        out: list[np.ndarray] = []
        for leaf in self.leaves:
            dtype, shape = leaf.type.dtype.np, leaf.type.shape
            if leaf.same_as is not None:
                out.append(out[leaf.same_as].copy())
            elif dtype.kind == "b":
                out.append(rng.random(shape) < 0.5)
            elif dtype.kind == "f":
                out.append(np.asarray(np.round(rng.uniform(leaf.low, leaf.high, shape), 6), dtype))
            else:
                ends = int(leaf.low), int(leaf.high)
                out.append(rng.integers(*ends, shape, dtype, endpoint=True))
        return out

    @functools.cached_property
    def source(self) -> str:
        """The program as a Python function."""
        return function_source(self.graph)

    def script(self, arrays: Any = None) -> str:
        """A stand-alone script: the function, its inputs, a call of it."""
        return script_source(self.graph, self.arrays() if arrays is None else arrays)

    def __repr__(self) -> str:
        return self.source
