"""Faults in compiled programs: which program is which, what it remembers, how it loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....extend import Graph, Node, Program, Var
from ..loopback import Loopback, Opaque
from .registry import sabotage


class _Cached(Loopback):
    """Programs are remembered by a key of the graph."""

    def __init__(self) -> None:
        self.programs: dict[Any, Program] = {}

    def key(self, graph: Graph) -> Any:
        raise NotImplementedError

    def make(self, graph: Graph) -> Program:
        return super().compile(graph)

    def compile(self, graph: Graph) -> Program:
        return self.programs.setdefault(self.key(graph), self.make(graph))


def _nodes(graph: Graph, *without: str) -> Any:
    """What a graph does, but for some attributes; and which of its values it returns."""
    number = {v: i for i, v in enumerate(graph.inputs)}
    nodes = []
    for node in graph.nodes:
        for v in node.outputs:
            number[v] = len(number)
        attrs = [
            (k, _nodes(v, *without) if isinstance(v, Graph) else repr(v))
            for k, v in sorted(node.attrs.items())
            if k not in without
        ]
        nodes.append((node.op.name, tuple(number[v] for v in node.inputs), tuple(attrs)))
    return tuple(nodes), tuple(number[v] for v in graph.outputs)


def _types(graph: Graph) -> Any:
    return tuple(v.type for v in graph.inputs)


@sabotage("F3")
class ForgetsConstants(_Cached):
    """Programs that differ in a constant are taken for one."""

    def key(self, graph: Graph) -> Any:
        return _nodes(graph, "value"), _types(graph)


@sabotage("F3")
class ForgetsDtypes(_Cached):
    """Programs for other dtypes are taken for one, whose results have the dtypes of the first."""

    def key(self, graph: Graph) -> Any:
        return _nodes(graph, "dtype"), tuple(t.shape for t in _types(graph))

    def make(self, graph: Graph) -> Program:
        program = super().make(graph)
        dtypes = [v.type.dtype.np for v in graph.outputs]

        def run(*buffers: Opaque) -> list[Opaque]:
            return [Opaque(y._host.astype(d)) for y, d in zip(program(*buffers), dtypes)]

        return run


@sabotage("F3")
class ForgetsShapes(_Cached):
    """Programs for other shapes are taken for one, whose results have the shapes of the first."""

    def key(self, graph: Graph) -> Any:
        return _nodes(graph, "shape"), tuple((t.dtype, t.size) for t in _types(graph))

    def make(self, graph: Graph) -> Program:
        program = super().make(graph)
        shapes = [v.type.shape for v in graph.outputs]

        def run(*buffers: Opaque) -> list[Opaque]:
            return [Opaque(np.resize(y._host, s)) for y, s in zip(program(*buffers), shapes)]

        return run


@sabotage("F3")
class ForgetsWhatIsReturned(_Cached):
    """Graphs that do the same are taken for one, whichever of their values they return."""

    def key(self, graph: Graph) -> Any:
        returned = sorted(str(v.type) for v in graph.outputs)
        return _nodes(graph)[0], _types(graph), tuple(returned)


@sabotage("F3")
class ForgetsAttributes(Loopback):
    """The kernel of a primitive is specialised once for each type of its operands."""

    def __init__(self) -> None:
        self.special: dict[Any, Any] = {}

    def specialize(self, node: Node) -> Any:
        if any(isinstance(v, Graph) for v in node.attrs.values()):
            return super().specialize(node)
        key = (node.op.name, *[v.type for v in node.inputs], *[v.type for v in node.outputs])
        return self.special.setdefault(key, super().specialize(node))


@sabotage("F1")
class RemembersItsFirstInputs(Loopback):
    """A program gives the results of its first call again."""

    def compile(self, graph: Graph) -> Program:
        program: Program = super().compile(graph)
        found: list[Sequence[Opaque]] = []

        def run(*buffers: Opaque) -> Sequence[Opaque]:
            if not found:
                found.append(program(*buffers))
            return found[0]

        return run


@sabotage("B5")
class ResultsAreOverwritten(Loopback):
    """A program writes the results of every call to the same place."""

    def compile(self, graph: Graph) -> Program:
        program: Program = super().compile(graph)
        place: list[Opaque] = []

        def run(*buffers: Opaque) -> Sequence[Opaque]:
            found = program(*buffers)
            if not place:
                place.extend(Opaque(y._host.copy()) for y in found)
            for at, y in zip(place, found):
                at._host[...] = y._host
            return list(place)

        return run


@sabotage("B5")
class WritesOverViews(Loopback):
    """An operand that is read for the last time is written over, though a view of it is read."""

    def takes_out(self, kernel: Any, node: Node) -> bool:
        return False

    def specialize(self, node: Node) -> Any:
        kernel: Any = super().specialize(node)
        if node.op.name != "tanh":
            return kernel

        def run(x: Opaque) -> Any:
            if not x._host.ndim or not x._host.flags.writeable:
                return kernel(x)
            np.tanh(x._host, out=x._host)
            return x

        return run


@sabotage("D1")
class IgnoresOut(Loopback):
    """A kernel that is given memory for its result makes its own, and leaves that as it is."""

    def specialize(self, node: Node) -> Any:
        kernel: Any = super().specialize(node)
        if not getattr(kernel, "takes_out", False):
            return kernel

        def run(*buffers: Opaque, out: Opaque | None = None) -> Any:
            return kernel(*buffers)

        run.takes_out = True  # type: ignore[attr-defined]
        return run


@sabotage("A26")
class SinglePrecisionPrograms(Loopback):
    """Programs of more than two operations compute products in float32."""

    def compile(self, graph: Graph) -> Program:
        program = super().compile(graph)
        if len(graph.nodes) <= 2:
            return program

        def run(*buffers: Opaque) -> Sequence[Opaque]:
            return [
                Opaque(np.asarray(y._host.astype("f4").astype("f8")))
                if y._host.dtype == np.float64
                else y
                for y in program(*buffers)
            ]

        return run


@sabotage("F13")
class Recursive(Loopback):
    """Programs are evaluated by recursion, as deep as the graph."""

    def compile(self, graph: Graph) -> Program:
        makers = {v: node for node in graph.nodes for v in node.outputs}
        kernels: dict[int, Any] = {id(node): self.specialize(node) for node in graph.nodes}
        if None in kernels.values():
            return super().compile(graph)

        def run(*buffers: Opaque) -> Sequence[Opaque]:
            known: dict[Var, Opaque] = dict(zip(graph.inputs, buffers))

            def value(v: Var) -> Opaque:
                if v not in known:
                    node = makers[v]
                    found = kernels[id(node)](*[value(w) for w in node.inputs])
                    known.update(zip(node.outputs, found if isinstance(found, tuple) else (found,)))
                return known[v]

            return [value(v) for v in graph.outputs]

        return run


@sabotage("F12")
class BusyAfterAnError(Loopback):
    """A program that failed once is marked as running, and gives nothing but zeros."""

    def compile(self, graph: Graph) -> Program:
        program: Program = super().compile(graph)
        busy: list[Any] = []

        def run(*buffers: Opaque) -> Sequence[Opaque]:
            if busy:
                return [Opaque(np.zeros_like(busy[0])) for _ in graph.outputs]
            busy.append(buffers[0]._host if buffers else 0)
            found = program(*buffers)
            busy.clear()
            return found

        return run
