"""Sums over all rows and steps, gathered by the loop that makes what is summed.

In: a graph in which stacks are summed over everything but their columns, alone or times another
stack: gradients of biases, gains, peepholes. Out: a graph in which loops and groups give these sums
(attribute `sums`: how many, behind the stacks), and stacks that nobody else reads are gone.
"""

from __future__ import annotations

import math
from typing import Any

from .backend import primitives
from .graph import Attrs, Graph, Node, Var
from .lower import Unsupported, lower
from .passes.prune import prune
from .residuals import LIGHT
from .types import Type

#: How many light operations, one after another, are worth repeating in a loop to have a sum there.
DEEP = 3


def column_sums(graph: Graph) -> Graph:
    """The graph with sums taken where their operands are made."""
    made = {v: n for n in graph.nodes for v in n.outputs}
    place = {n: i for i, n in enumerate(graph.nodes)}
    found: dict[Node, _Summing] = {}
    for node in graph.nodes:
        if _sums_columns(node):
            for loop in dict.fromkeys(made[v] for v in node.inputs if v in made):
                if loop.op.name in ("scan", "fused"):
                    if found.setdefault(loop, _Summing(loop, made, place)).take(node):
                        break
    new = {loop: s.node() for loop, s in found.items() if s.taken}
    new = {loop: node for loop, node in new.items() if _lowers(node)}
    if not new:
        return graph
    gone = {node for loop in new for node in found[loop].taken}
    nodes = [new.get(n, n) for n in graph.nodes if n not in gone]
    return prune(Graph(graph.inputs, nodes, graph.outputs))


def _sums_columns(node: Node) -> bool:
    """Whether a node is the sum of every column of one stack, or of the product of two."""
    if node.op.name not in ("sum", "contract"):
        return False
    first = node.inputs[0].type
    if first.ndim < 2 or first.shape[-1] < 2 or not first.dtype.is_float:
        return False
    if node.op.name == "sum":
        return bool(node.attrs["axes"] == tuple(range(first.ndim - 1)))
    a, b, out = (node.attrs[k] for k in ("a", "b", "out"))
    return bool(a == b and out == a[-1:])


class _Summing:
    """A loop or group, and the sums that it takes over."""

    def __init__(self, loop: Node, made: dict[Var, Node], place: dict[Node, int]):
        self.loop, self.made, self.place, self.body = loop, made, place, loop.attrs["body"]
        self.read: list[Var] = []
        self.nodes: list[Node] = list(self.body.nodes)
        self.taken: list[Node] = []
        self.summed: list[Var] = []
        n_carry = loop.attrs["n_carry"]
        first = loop.attrs["n_const"] + n_carry
        self.inside: dict[Var, Var] = dict(zip(loop.inputs[first:], self.body.inputs[first:]))
        self.inside |= zip(loop.outputs[n_carry:], self.body.outputs[n_carry:])

    def take(self, node: Node) -> bool:
        """Take a sum over, if a step has what is summed, or has a part of it and can read the
        rest."""
        before = len(self.nodes)
        parts = [self._part(v, DEEP) for v in node.inputs]
        known = [v for v in parts if v is not None]
        if not known or not all(p or self._ready(v) for p, v in zip(parts, node.inputs)):
            del self.nodes[before:]
            return False
        found = [p or self._read(v, known[0].type) for p, v in zip(parts, node.inputs)]
        if len(found) > 1:
            found = [self._emit(primitives["mul"], found, {}, known[0].type)]
        self.taken.append(node)
        self.summed.append(found[0])
        return True

    def _ready(self, v: Var) -> bool:
        """Whether `v` is there before the loop runs."""
        return v not in self.made or self.place[self.made[v]] < self.place[self.loop]

    def _read(self, v: Var, kind: Type) -> Var:
        """One more operand of every step."""
        self.read.append(v)
        self.inside[v] = Var(kind)
        return self.inside[v]

    def node(self) -> Node:
        """The loop that gives the sums too."""
        loop, body = self.loop, self.body
        new = Graph(
            [*body.inputs, *[self.inside[v] for v in self.read]],
            self.nodes,
            [*body.outputs, *self.summed],
        )
        attrs = {**loop.attrs, "body": new, "sums": loop.attrs.get("sums", 0) + len(self.taken)}
        outputs = *loop.outputs, *[n.output for n in self.taken]
        return Node(loop.op, (*loop.inputs, *self.read), attrs, outputs)

    def _parts(self, node: Node, deep: int) -> list[Var] | None:
        """The operands of a node in a step; None if one is not there."""
        before = len(self.nodes)
        parts = [self._part(v, deep) for v in node.inputs]
        found = [v for v in parts if v is not None]
        if len(found) == len(parts):
            return found
        del self.nodes[before:]
        return None

    def _part(self, v: Var, deep: int) -> Var | None:
        """`v` in a step: what it is the stack of, or what `deep` light operations make of such."""
        node, steps = self.made.get(v), self.loop.attrs["length"]
        if v in self.inside:
            t = self.inside[v].type
            whole = t.shape[1:] == v.type.shape[-1:] and v.type.size == steps * t.size
            return self.inside[v] if whole else None
        if node is not None and node.op.name == "full" and v.type.size == 1:
            return self._emit(node.op, [], {**node.attrs, "shape": ()}, Type((), v.type.dtype))
        if node is None or not deep or node.op.name not in LIGHT:
            return None
        parts = self._parts(node, deep - 1)
        if parts is None:
            return None
        first = self.loop.op.name == "scan"  # then the first axis is that of the steps
        kind = Type((math.prod(v.type.shape[first:-1]), v.type.shape[-1]), v.type.dtype)
        return self._emit(node.op, parts, node.attrs, kind)

    def _emit(self, op: Any, inputs: list[Var], attrs: Attrs, kind: Type) -> Var:
        for n in self.nodes:
            if n.op is op and n.inputs == tuple(inputs) and n.attrs == attrs:
                return n.output
        self.nodes.append(Node(op, tuple(inputs), attrs, (Var(kind),)))
        return self.nodes[-1].output


def _lowers(node: Node) -> bool:
    try:
        lower(node)
    except Unsupported:
        return False
    return True
