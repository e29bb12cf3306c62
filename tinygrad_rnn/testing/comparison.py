"""compare_backends: the first node of a graph that two backends compute differently.

In: a graph (or a function) and inputs. Out: a Comparison that says whether all agree, and if not,
which operation is the first that differs, in which element, at which step of which loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import Backend, get_backend, optimize
from ..errors import ArgumentError
from ..extend import Graph, Node, Var, subgraphs
from ..graph import show
from .assertions import difference, host
from .recorded import Recorded, run_graph

#: What counts as equal, relative to max(1, largest element).
TOLERANCES = {"float64": 1e-9, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
Env = dict[Var, np.ndarray]


class Comparison(NamedTuple):
    """The result of `compare_backends`; true if the backends agree.

    node: the operation that differs first, as its graph prints it. how: "alone" if it differs on
    equal operands, "together" if only in a program with what comes before it. inside: for a loop,
    the operation of its body, and the step. detail: element, values, sizes in words.
    """

    agree: bool
    backends: tuple[str, ...]
    nodes: int
    backend: str | None = None
    position: int | None = None
    node: str | None = None
    how: str | None = None
    inside: str | None = None
    step: int | None = None
    detail: str | None = None

    def __bool__(self) -> bool:
        return self.agree

    def __str__(self) -> str:
        if self.agree:
            return f"{' and '.join(self.backends)} agree on {self.nodes} operations"
        lines = [
            f"{self.backend} differs from {self.backends[0]} first at operation {self.position} of "
            f"{self.nodes} ({self.how}):",
            f"  {self.node}",
        ]
        if self.inside is not None:
            lines.append(f"  in its body, at step {self.step}: {self.inside}")
        return "\n".join([*lines, f"  {self.detail}"])


def compare_backends(
    graph: Graph | Callable[..., Any],
    *inputs: Any,
    backends: Sequence[str | Backend] = ("numpy", "numba"),
    optimized: bool = True,
    tolerance: float | None = None,
) -> Comparison:
    """Run a graph on every backend and name the first operation whose result differs.

    graph: a Graph, or a function of tensors that is recorded. inputs: arrays or tensors. The first
    backend is what the others are compared with. optimized: compare the graph after all passes (as
    it runs), or as it was recorded. tolerance: relative to max(1, largest element); 1e-9 for
    float64, 1e-4 for float32, 2e-2 for float16, 1e-1 for bfloat16 unless given; integers must be
    equal.

    >>> import tinygrad_rnn as tg
    >>> print(compare_backends(lambda x: tg.tanh(x) * 2, np.ones(3), backends=("numpy", "numpy")))
    numpy and numpy agree on 3 operations
    """
    if len(backends) < 2:
        raise ArgumentError(f"compare_backends: got backends={backends}, expected two or more.")
    where = [get_backend(b) for b in backends]
    arrays = [host(x) for x in inputs]
    if not isinstance(graph, Graph):
        recorded = Recorded(graph, arrays)
        graph, arrays = recorded.graph, [*arrays, *recorded.captured]
    if len(arrays) != len(graph.inputs):
        raise ArgumentError(
            f"compare_backends: the graph takes {len(graph.inputs)} inputs, got {len(arrays)}."
        )
    graph = optimize(graph) if optimized else graph
    names = tuple(b.name for b in where)
    for other in where[1:]:
        pair = _Pair(where[0], other, tolerance)
        if pair.differs(graph, arrays) is not None:
            return pair.locate(graph, arrays)._replace(backends=names)
    return Comparison(True, names, len(graph.nodes))


class _Pair:
    """Two backends: the first says what is right."""

    def __init__(self, first: Backend, second: Backend, tolerance: float | None):
        self.first, self.second, self.tolerance = first, second, tolerance

    def differs(
        self, graph: Graph, arrays: Sequence[np.ndarray]
    ) -> tuple[int, np.ndarray, np.ndarray, str] | None:
        """(number of the result, both values, what is wrong) of the first result that differs."""
        want = run_graph(graph, arrays, self.first)
        try:
            got = run_graph(graph, arrays, self.second)
        except Exception as error:  # not computing at all is a difference too
            return 0, np.asarray(np.nan), np.asarray(want[0]), f"{type(error).__name__}: {error}"
        for k, (a, b) in enumerate(zip(got, want, strict=True)):
            if a.dtype != b.dtype:
                return k, a, b, f"got {a.dtype}, expected {b.dtype}"
            limit = self.tolerance
            limit = TOLERANCES.get(b.dtype.name, 0.0) if limit is None else limit
            problem = difference(a, b, limit)
            if problem is not None:
                return k, a, b, problem
        return None

    def locate(self, graph: Graph, arrays: Sequence[np.ndarray]) -> Comparison:
        """The first operation that differs on equal operands, else the first in a program."""
        env: Env = dict(zip(graph.inputs, arrays))
        names = graph.names()
        for k, node in enumerate(graph.nodes):
            alone, operands = _alone(node), [env[v] for v in node.inputs]
            found = self.differs(alone, operands)
            if found is not None:
                return self.found(graph, k, "alone", node, operands, found, names)
            env.update(zip(node.outputs, run_graph(alone, operands, self.first)))
        for k, node in enumerate(graph.nodes):
            prefix = Graph(graph.inputs, graph.nodes[: k + 1], node.outputs)
            found = self.differs(prefix, arrays)
            if found is not None:
                operands = [env[v] for v in node.inputs]
                return self.found(graph, k, "together", node, operands, found, names)
        found = self.differs(graph, arrays)
        detail = found[3] if found is not None else "it does not differ in every run"
        return Comparison(False, (), len(graph.nodes), self.second.name, len(graph.nodes),
                          "the whole graph", "together", detail=detail)  # fmt: skip

    def found(
        self, graph: Graph, k: int, how: str, node: Node, operands: Sequence[np.ndarray],
        what: tuple[int, np.ndarray, np.ndarray, str], names: dict[Var, str],
    ) -> Comparison:  # fmt: skip
        _, got, want, problem = what
        inside, step = None, None
        if node.op.name == "scan" and node.attrs["length"]:
            for text, t, a, b, why in self.in_loop(node, operands):
                inside, step, got, want, problem = text, t, a, b, why
                break
        return Comparison(
            False, (), len(graph.nodes), self.second.name, k, _line(node, names), how, inside,
            step, _detail(got, want, problem),
        )  # fmt: skip

    def in_loop(
        self, node: Node, operands: Sequence[np.ndarray]
    ) -> Iterator[tuple[str, int, np.ndarray, np.ndarray, str]]:
        """The values of the body that differ, in order, each made an output of the loop."""
        body, first = node.attrs["body"], node.attrs["n_carry"]
        names, T = body.names(), node.attrs["length"]
        for inner in body.nodes:
            for v in inner.outputs:
                outputs = [*body.outputs[:first], v]
                smaller = Graph(body.inputs, body.nodes, outputs)
                attrs = {**node.attrs, "body": smaller, "shown": len(outputs)}
                stack = Var(v.type.with_shape((T, *v.type.shape)))
                fresh = tuple([Var(u.type) for u in node.inputs])
                ends = [Var(u.type) for u in outputs[:first]]
                loop = Node(node.op, fresh, attrs, (*ends, stack))
                found = self.differs(Graph(fresh, [loop], [stack]), operands)
                if found is None:
                    continue
                _, got, want, problem = found
                if got.shape != want.shape:
                    yield _line(inner, names), 0, got, want, problem
                    continue
                for t in range(T)[:: -1 if node.attrs["reverse"] else 1]:
                    limit = TOLERANCES.get(want.dtype.name, 0.0)
                    limit = limit if self.tolerance is None else self.tolerance
                    here = difference(got[t], want[t], limit)
                    if here is not None:
                        yield _line(inner, names), t, got[t], want[t], here
                        break


def _alone(node: Node) -> Graph:
    """A graph of this operation, an input for every operand."""
    inputs = tuple([Var(v.type) for v in node.inputs])
    outputs = tuple([Var(v.type) for v in node.outputs])
    return Graph(inputs, [Node(node.op, inputs, node.attrs, outputs, node.frozen)], outputs)


def _line(node: Node, names: dict[Var, str]) -> str:
    left = ", ".join(f"{names.get(v, '?')}: {v.type}" for v in node.outputs)
    args = [f"{names.get(v, '?')}: {v.type}" for v in node.inputs]
    args += [f"{k}={show(v)}" for k, v in node.attrs.items() if not isinstance(v, Graph)]
    return f"{left} = {node.op.name}({', '.join(args)}{', …' if subgraphs(node) else ''})"


def _detail(got: np.ndarray, want: np.ndarray, problem: str) -> str:
    if got.shape != want.shape or not want.size:
        return problem
    with np.errstate(all="ignore"):
        off = np.nan_to_num(np.abs(np.subtract(got, want, dtype=float)), nan=np.inf)
        off[(got == want) | (np.isnan(got) & np.isnan(want))] = 0.0
    at = tuple(map(int, np.unravel_index(int(off.argmax()), off.shape)))
    where = f"element {list(at)}" if at else "the value"
    count = int((off > 0).sum())
    return f"{where}: expected {want[at]!r}, got {got[at]!r}; {count} of {off.size} differ"
