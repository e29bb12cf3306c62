"""Graphs made smaller: outputs dropped, values turned into inputs, operations left out.

In: a graph and arrays for its inputs. Out: candidates, each a valid graph with arrays of its own;
whether one still fails is for the caller to find out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...extend import Graph, Node, Var, subgraphs

Candidate = tuple[Graph, list[np.ndarray]]


def evaluate(graph: Graph, arrays: Sequence[Any]) -> dict[Var, Any]:
    """The value of every variable by the references."""
    env: dict[Var, Any] = dict(zip(graph.inputs, arrays))
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            found = node.op.reference(*[env[v] for v in node.inputs], **node.attrs)
            env.update(zip(node.outputs, found if isinstance(found, tuple) else (found,)))
    return env


def renamed(graph: Graph, new: Mapping[Var, Var]) -> Graph:
    """The graph with some variables read in place of others."""
    nodes = [
        Node(n.op, tuple([new.get(v, v) for v in n.inputs]), n.attrs, n.outputs, n.frozen)
        for n in graph.nodes
    ]
    return Graph(graph.inputs, nodes, [new.get(v, v) for v in graph.outputs])


def live(graph: Graph, keep_inputs: bool = True) -> Graph:
    """Without operations that no output needs; inputs that nothing reads go too, if asked."""
    read, nodes = set(graph.outputs), []
    for node in reversed(graph.nodes):
        if not read.isdisjoint(node.outputs):
            nodes.append(node)
            read.update(node.inputs)
    inputs = [v for v in graph.inputs if keep_inputs or v in read]
    return Graph(inputs, nodes[::-1], graph.outputs)


def closed(graph: Graph, env: Mapping[Var, Any]) -> Candidate:
    """The live part of the graph, of which whatever is not defined becomes an input."""
    graph = live(graph, keep_inputs=False)
    defined = {v for node in graph.nodes for v in node.outputs}
    read = dict.fromkeys([v for node in graph.nodes for v in node.inputs] + list(graph.outputs))
    inputs = [v for v in read if v not in defined]
    arrays = [np.asarray(env[v], v.type.dtype.np) for v in inputs]
    return Graph(inputs, graph.nodes, graph.outputs), arrays


def candidates(graph: Graph, arrays: Sequence[np.ndarray]) -> Iterator[Candidate]:
    """Smaller graphs, those that are much smaller first."""
    env = evaluate(graph, arrays)
    if len(graph.outputs) > 1:
        for v in graph.outputs:
            yield closed(Graph(graph.inputs, graph.nodes, [v]), env)
        for k in range(len(graph.outputs)):
            rest = [v for i, v in enumerate(graph.outputs) if i != k]
            yield closed(Graph(graph.inputs, graph.nodes, rest), env)
    for node in graph.nodes:  # what comes early is a small graph
        for v in node.outputs:
            yield closed(Graph(graph.inputs, graph.nodes, [v]), env)
    size = len(graph.nodes)
    for start in sorted({size - 1, size - 2, size * 3 // 4, size // 2, size // 4}, reverse=True):
        if start > 0:  # only what comes last; all before becomes inputs
            yield closed(Graph(graph.inputs, graph.nodes[start:], graph.outputs), env)
    yield closed(graph, env)
    for k in reversed(range(size)):
        node, left = graph.nodes[k], [*graph.nodes[:k], *graph.nodes[k + 1 :]]
        if set(node.outputs).isdisjoint(graph.outputs):
            yield closed(Graph(graph.inputs, left, graph.outputs), env)
        for new in bypasses(graph, k):
            yield closed(renamed(Graph(graph.inputs, left, graph.outputs), new), env)
    for k, node in enumerate(graph.nodes):
        if node.op.name in ("call", "custom"):
            yield closed(opened(graph, k), env)
        for smaller in inside(node):
            nodes = [*graph.nodes[:k], smaller, *graph.nodes[k + 1 :]]
            gone = set(node.outputs) - set(smaller.outputs)
            used = {v for n in nodes for v in n.inputs} | set(graph.outputs)
            if gone.isdisjoint(used):
                yield closed(Graph(graph.inputs, nodes, graph.outputs), env)


def bypasses(graph: Graph, k: int) -> Iterator[dict[Var, Var]]:
    """An operation left out: its result is one of its operands, or an input, of the same type."""
    node = graph.nodes[k]
    if len(node.outputs) != 1:
        return
    out = node.output
    for v in dict.fromkeys([*node.inputs, *graph.inputs]):
        if v.type is out.type:
            yield {out: v}


def opened(graph: Graph, k: int) -> Graph:
    """The graph with a call's body in place of the call (and without a rule of the user's)."""
    node = graph.nodes[k]
    body: Graph = node.attrs["body"]
    new = dict(zip(body.inputs, node.inputs))
    new |= {v: new.get(w, w) for v, w in zip(node.outputs, body.outputs)}
    nodes = [*graph.nodes[:k], *body.nodes, *graph.nodes[k + 1 :]]
    return renamed(Graph(graph.inputs, nodes, graph.outputs), new)


def inside(node: Node) -> Iterator[Node]:
    """The node with a smaller body: an operation less, an output less.

    A function with a rule of the user's is left whole: the rule is right for that function only.
    """
    if node.attrs.get("rule") is not None:
        return
    for name, body in subgraphs(node):
        for k in reversed(range(len(body.nodes))):
            for new in bypasses(body, k):
                rest = [*body.nodes[:k], *body.nodes[k + 1 :]]
                smaller = live(renamed(Graph(body.inputs, rest, body.outputs), new))
                yield _with_body(node, name, smaller, node.outputs)
        first = node.attrs.get("n_carry", 0)
        if node.op.name == "scan":
            for k in range(first, len(body.outputs)):
                outputs = [v for i, v in enumerate(body.outputs) if i != k]
                kept = tuple([v for i, v in enumerate(node.outputs) if i != k])
                yield _with_body(node, name, live(Graph(body.inputs, body.nodes, outputs)), kept)


def _with_body(node: Node, name: str, body: Graph, outputs: tuple[Var, ...]) -> Node:
    attrs = {**node.attrs, name: body}
    if "shown" in attrs:
        attrs["shown"] = len(body.outputs)
    return Node(node.op, node.inputs, attrs, outputs, node.frozen)
