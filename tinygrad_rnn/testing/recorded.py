"""A function at some arguments as a graph, evaluated by the references or by a backend.

In: a function of tensors. Out: its graph with the arrays that it captures, in host memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import passes
from ..backend import Backend, get_backend, optimize, run
from ..extend import Graph
from ..jit import record
from ..ops.creation import tensor
from ..tensor import Tensor
from .assertions import host

#: What may happen to a graph before it is compiled: nothing, each pass alone, all of them.
PASSES: dict[str, tuple[Callable[[Graph], Graph], ...]] = {
    "none": (),
    "simplify": (passes.simplify,),
    "prune": (passes.prune,),
    "fission": (passes.fission,),
    "all": (optimize,),
}


def tensors(arrays: Sequence[Any]) -> list[Tensor]:
    """Every array as a tensor; tensors as they are."""
    return [a if isinstance(a, Tensor) else tensor(np.asarray(a)) for a in arrays]


def rewritten(graph: Graph, which: str) -> Graph:
    """`graph` after the passes of that name in `PASSES`, verified."""
    for rewrite in PASSES[which]:
        graph = rewrite(graph)
    graph.verify()
    return graph


def run_graph(
    graph: Graph, arrays: Sequence[np.ndarray], backend: str | Backend
) -> list[np.ndarray]:
    """The outputs of the graph as it stands, compiled for a backend."""
    where = get_backend(backend)
    program = where.compile(graph)
    return [np.asarray(where.get(b)) for b in run(program, [where.put(a) for a in arrays])]


class Recorded:
    """f at some arguments as a graph, with the arrays that it captures."""

    def __init__(self, f: Callable[..., Any], arrays: Sequence[Any]):
        self.args = tensors(arrays)
        recording = record(f, tuple(self.args), {})
        self.graph: Graph = recording.graph
        self.n = sum(s is None for s in recording.static)
        self.captured = [host(source(self.args)) for source in recording.sources]

    def interpret(self, *arrays: Any) -> list[Any]:
        """The results by the primitives' references, real or complex."""
        return self.graph.interpret(*arrays, *self.captured)[: self.n]

    def run(self, which: str, backend: str = "numpy") -> list[np.ndarray]:
        """The results by a backend's program, after the named passes."""
        arrays = [*map(host, self.args), *self.captured]
        return run_graph(rewritten(self.graph, which), arrays, backend)[: self.n]
