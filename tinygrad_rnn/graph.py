"""Graphs: closed, typed, immutable programs of primitive applications.

In: variables, nodes, outputs. Out: something that prints, verifies, evaluates and hashes.
Knows nothing of tensors, derivatives or backends; of a primitive it uses the name, `infer` and
`reference`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from .errors import GraphError
from .types import DType, Type

Attrs = Mapping[str, Any]


class Operation(Protocol):
    """What a graph needs to know of a primitive."""

    name: str

    def infer(self, types: tuple[Type, ...], attrs: Attrs) -> Type | tuple[Type, ...]: ...

    @property
    def reference(self) -> Callable[..., Any]: ...


class Var:
    """A variable of a graph: a type and an identity. `owner` marks the trace that made it."""

    __slots__ = ("owner", "type")

    def __init__(self, type: Type, owner: object = None):
        self.type, self.owner = type, owner

    def __repr__(self) -> str:
        return f"Var({self.type})"


class Node:
    """An application of a primitive; `frozen` nodes pass no gradient (recorded under `no_grad`)."""

    __slots__ = ("attrs", "frozen", "inputs", "op", "outputs")

    def __init__(
        self,
        op: Any,
        inputs: tuple[Var, ...],
        attrs: Attrs,
        outputs: tuple[Var, ...],
        frozen: bool = False,
    ):
        self.op, self.inputs, self.attrs = op, inputs, attrs
        self.outputs, self.frozen = outputs, frozen

    @property
    def output(self) -> Var:
        return self.outputs[0]


class Graph:
    """`inputs -> outputs` through `nodes` in order of evaluation."""

    __slots__ = ("_digest", "inputs", "nodes", "outputs")

    def __init__(self, inputs: Sequence[Var], nodes: Sequence[Node], outputs: Sequence[Var]):
        self.inputs, self.nodes, self.outputs = tuple(inputs), tuple(nodes), tuple(outputs)
        self._digest: str | None = None

    # --- meaning -----------------------------------------------------------------------------

    def interpret(self, *arrays: Any) -> list[Any]:
        """Evaluate with the primitives' NumPy references: the meaning of the graph, and slow."""
        if len(arrays) != len(self.inputs):
            raise GraphError(f"graph takes {len(self.inputs)} inputs, got {len(arrays)}.")
        env = dict(zip(self.inputs, arrays))
        for node in self.nodes:
            operands = [env[v] for v in node.inputs]
            result = node.op.reference(*operands, **node.attrs)
            results = result if isinstance(result, tuple) else (result,)
            env.update(zip(node.outputs, results))
            if _watchers.active is not None:
                _watchers.active(node, operands, results)
        return [env[v] for v in self.outputs]

    def verify(self) -> None:
        """Check that every variable is defined before use and every type is what its rule says."""
        defined = set(self.inputs)
        if len(defined) != len(self.inputs):
            raise GraphError("an input appears twice in the graph's inputs.")
        for node in self.nodes:
            for v in node.inputs:
                if v not in defined:
                    raise GraphError(f"'{node.op.name}' reads a variable that is not defined yet.")
            for _, sub in subgraphs(node):
                sub.verify()
            found = node.op.infer(tuple(v.type for v in node.inputs), node.attrs)
            types = found if isinstance(found, tuple) else (found,)
            if types != tuple(v.type for v in node.outputs):
                have = ", ".join(str(v.type) for v in node.outputs)
                want = ", ".join(map(str, types))
                raise GraphError(f"'{node.op.name}' has type {have}, its rule says {want}.")
            for v in node.outputs:
                if v in defined:
                    raise GraphError(f"'{node.op.name}' defines a variable twice.")
                defined.add(v)
        for v in self.outputs:
            if v not in defined:
                raise GraphError("an output of the graph is not defined.")

    # --- identity ----------------------------------------------------------------------------

    @property
    def digest(self) -> str:
        """A hash of the structure: equal for graphs that differ only in variables' identities."""
        if self._digest is None:
            import hashlib  # slow to import, and not needed by eager programs

            number = {v: i for i, v in enumerate(self.inputs)}
            parts = [",".join(str(v.type) for v in self.inputs)]
            for node in self.nodes:
                for v in node.outputs:
                    number[v] = len(number)
                args = ",".join([str(number[v]) for v in node.inputs])
                types = ",".join([str(v.type) for v in node.outputs])
                attrs = encode(tuple(sorted(node.attrs.items()))) if node.attrs else ""
                parts.append(f"{node.op.name}({args}){attrs}:{types}{'!' if node.frozen else ''}")
            parts.append(",".join([str(number[v]) for v in self.outputs]))
            self._digest = hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()
        return self._digest

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Graph) and self.digest == other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)

    # --- pictures ----------------------------------------------------------------------------

    def names(self) -> dict[Var, str]:
        """A short name for every variable: a, b, … for inputs, v0, v1, … for the rest."""
        names: dict[Var, str] = {}
        for i, v in enumerate(self.inputs):
            letter = chr(ord("a") + i % 26)
            names[v] = letter if i < 26 else f"{letter}{i // 26}"
        count = 0
        for node in self.nodes:
            for v in node.outputs:
                names[v] = f"v{count}"
                count += 1
        return names

    def __str__(self) -> str:
        names = self.names()
        head = ", ".join(f"{names[v]}: {v.type}" for v in self.inputs)
        lines = [f"graph({head}) {{"]
        for node in self.nodes:
            left = ", ".join(f"{names[v]}: {v.type}" for v in node.outputs)
            args = [names[v] for v in node.inputs]
            args += [f"{k}={show(v)}" for k, v in node.attrs.items() if not isinstance(v, Graph)]
            lines.append(f"  {left} = {node.op.name}({', '.join(args)})")
            for name, sub in subgraphs(node):
                lines += [f"    {name} = " + str(sub).replace("\n", "\n    ")]
        lines.append(f"  return {', '.join(names[v] for v in self.outputs)}")
        return "\n".join([*lines, "}"])

    __repr__ = __str__

    def edges(self) -> Iterator[tuple[str, str, str]]:
        """(producer, consumer, label) for every use of a variable, with `in0`/`n3`/`out0` names."""
        source = {v: (f"in{i}", f"{v.type}") for i, v in enumerate(self.inputs)}
        for k, node in enumerate(self.nodes):
            for v in node.inputs:
                yield source[v][0], f"n{k}", source[v][1]
            source.update({v: (f"n{k}", str(v.type)) for v in node.outputs})
        for i, v in enumerate(self.outputs):
            yield source[v][0], f"out{i}", source[v][1]

    def _boxes(self) -> Iterator[tuple[str, str]]:
        for i, v in enumerate(self.inputs):
            yield f"in{i}", f"input {i}: {v.type}"
        for k, node in enumerate(self.nodes):
            yield f"n{k}", node.op.name
        for i in range(len(self.outputs)):
            yield f"out{i}", f"output {i}"

    def to_mermaid(self) -> str:
        """The graph as Mermaid flowchart text."""
        boxes = [f'  {key}["{label}"]' for key, label in self._boxes()]
        arrows = [f'  {a} -->|"{label}"| {b}' for a, b, label in self.edges()]
        return "\n".join(["flowchart TD", *boxes, *arrows])

    def to_graphviz(self) -> str:
        """The graph as Graphviz text (`dot -Tpng` draws it)."""
        boxes = [f'  {key} [label="{label}"];' for key, label in self._boxes()]
        arrows = [f'  {a} -> {b} [label="{label}"];' for a, b, label in self.edges()]
        return "\n".join(["digraph {", "  node [shape=box];", *boxes, *arrows, "}"])


Watch = Callable[[Node, Sequence[Any], Sequence[Any]], None]


class _Watchers(threading.local):
    active: Watch | None = None


_watchers = _Watchers()


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Inside, `watch(node, operands, results)` sees every node that is interpreted, those of loop
    bodies too, step by step.

    >>> import numpy as np, tinygrad_rnn as tg
    >>> graph = tg.trace(lambda x: tg.exp(x).sum())(tg.ones((2,)))
    >>> with watching(lambda node, operands, results: print(node.op.name, results[0].shape)):
    ...     _ = graph.interpret(np.zeros(2, np.float32))
    exp (2,)
    sum ()
    """
    outer, _watchers.active = _watchers.active, watch
    try:
        yield
    finally:
        _watchers.active = outer


def subgraphs(node: Node) -> list[tuple[str, Graph]]:
    """The graphs among a node's attributes (the body of a scan, …)."""
    return [(k, v) for k, v in node.attrs.items() if isinstance(v, Graph)]


def encode(value: Any) -> str:
    """An attribute as exact text, for hashing."""
    if value is None or isinstance(value, bool | int | str):
        return repr(value)
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, complex):
        return f"({value.real.hex()},{value.imag.hex()})"
    if isinstance(value, tuple):
        return "(" + ",".join([encode(v) for v in value]) + ")"
    if isinstance(value, DType | Type):
        return str(value)
    if isinstance(value, Graph):
        return value.digest
    if callable(value):
        return f"<{getattr(value, '__name__', 'callable')}@{id(value)}>"
    raise GraphError(f"attribute {value!r} is not one of the kinds that a graph may hold.")


def show(value: Any) -> str:
    """An attribute for people."""
    if isinstance(value, tuple):
        return "(" + ",".join(show(v) for v in value) + ")"
    return getattr(value, "__name__", None) or str(value)
