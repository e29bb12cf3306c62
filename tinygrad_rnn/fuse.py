"""Elementwise work outside of loops, in groups: each is one pass over the rows of its arrays.

In: an optimised graph. Out: a graph in which such groups are single nodes `fused`, whose bodies
code generators take like the step of a loop (`lower`): rows are independent, one step, no carry.

The arrays of a group have the same number of rows, the product of their leading axes; a value is a
matrix [rows, n], one number per row, a vector [n] that all rows share, or one number. Sums and
maxima over the last axis may stand in a group. Movement is taken along where it is index
arithmetic. A node joins the group of an operand unless a path leads from the group to the node
through something outside: then the group could not be run at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from .graph import Graph, Node, Var
from .group_body import Body
from .lower import ELEMENTWISE, EXACT, Unsupported, lower
from .types import Type

#: What a call of a kernel costs beyond its elements, and one element, in nanoseconds; what a call
#: of a compiled group costs. A group must be worth its call.
CALL, ELEMENT, GROUP = 400, 0.4, 12_000
#: Nodes of a group at most: code of bounded size.
MOST = 120


def fuse(
    graph: Graph, worth: Callable[[Sequence[Node]], bool] | None = None, halves: bool = False
) -> Graph:
    """The graph with its groups of elementwise work as single nodes.

    `worth` says whether a group is faster than its operations one by one (by default, on a CPU);
    `halves`: whether the code generator computes with floats of 16 bits.
    """
    return _Grouping(_split_sums(graph), worth or _worth, 2 if halves else 4).run()


def _split_sums(graph: Graph) -> Graph:
    """Sums over the last and other axes become sums over the last axis, then over the others."""
    nodes: list[Node] = []
    for node in graph.nodes:
        source = node.inputs[0].type if node.inputs else None
        if (
            node.op.name == "sum" and source is not None and source.dtype.is_float
            and len(node.attrs["axes"]) > 1 and source.ndim - 1 in node.attrs["axes"]
            and source.size * ELEMENT > CALL
        ):  # fmt: skip
            axes = node.attrs["axes"]
            inner = Var(Type(source.shape[:-1], source.dtype))
            last = source.ndim - 1
            nodes.append(Node(node.op, node.inputs, {**node.attrs, "axes": (last,)}, (inner,)))
            rest = tuple(a for a in axes if a != last)
            node = Node(node.op, (inner,), {**node.attrs, "axes": rest}, node.outputs)
        nodes.append(node)
    return Graph(graph.inputs, nodes, graph.outputs)


class _Group:
    """Nodes that are computed together. `bit` names it in sets of groups; `reads`: the groups that
    it depends on."""

    def __init__(self, number: int, body: Body):
        self.bit, self.body, self.reads = 1 << number, body, 0

    @property
    def rows(self) -> int:
        return self.body.rows

    @property
    def nodes(self) -> list[Node]:
        return self.body.members


class _Grouping:
    def __init__(self, graph: Graph, worth: Callable[[Sequence[Node]], bool], smallest: int):
        self.graph, self.worth, self.smallest = graph, worth, smallest
        self.made = {v: n for n in graph.nodes for v in n.outputs}
        self.group: dict[Node, _Group] = {}
        self.groups: list[_Group] = []
        self.above: dict[Node, int] = {}  # bits of the groups that a node depends on
        self.place = {n: i for i, n in enumerate(graph.nodes)}

    def run(self) -> Graph:
        for node in self.graph.nodes:
            above = 0
            for v in node.inputs:
                if v in self.made:
                    above |= self.above[self.made[v]]
            self.above[node] = above
            if self._eligible(node):
                self._place(node)
        self._gather()
        return self._finished()

    def _gather(self) -> None:
        """Groups of one row (numbers and vectors, as of an optimizer) become few."""
        last: _Group | None = None
        for g in dict.fromkeys(self.groups):
            if g.rows == 1 and len(g.nodes) < MOST // 2:
                if last is not None and len(last.nodes) + len(g.nodes) <= MOST:
                    self._merge(last, g)
                if self.group[g.nodes[0]] is g:
                    last = g

    # --- who belongs together ----------------------------------------------------------------

    def _eligible(self, node: Node) -> bool:
        name, out = node.op.name, node.outputs[0].type
        if name in ("sum", "max"):
            source = node.inputs[0].type
            return (
                node.attrs["axes"] == (source.ndim - 1,)
                and source.dtype.is_float and source.dtype.itemsize >= self.smallest
                and source.size > 0
            )  # fmt: skip
        if name not in ELEMENTWISE or name == "alias" or not out.size:
            return False
        exact = not node.inputs[-1].type.dtype.is_float
        return (not exact or name in EXACT) and all(
            d.is_bool
            or (d.is_float and d.itemsize >= self.smallest)
            or (d.kind == "i" and d.itemsize > 2)
            for d in (out.dtype, *[v.type.dtype for v in node.inputs])
        )

    def _place(self, node: Node) -> None:
        """Put a node into the group of an operand, or begin a group with it."""
        near = [self.group[m] for m in map(self._root, node.inputs) if m in self.group]
        for g in sorted(dict.fromkeys(near), key=lambda g: -len(g.nodes)):
            if len(g.nodes) < MOST and self._joins(node, g):
                for other in dict.fromkeys(near):
                    if other is not g and other.rows == g.rows:
                        self._merge(g, other)
                return
        shape = node.outputs[0].type.shape
        lead = shape if node.op.name in ("sum", "max") else shape[:-1]
        g = _Group(len(self.groups), Body(self.made, math.prod(lead)))
        if self._joins(node, g):
            self.groups.append(g)

    def _root(self, v: Var) -> Node | None:
        """The node that computes `v`, seen through movement."""
        n = self.made.get(v)
        while n is not None and n.op.name in ("reshape", "broadcast_to", "slice"):
            n = self.made.get(n.inputs[0])
        return n

    def _joins(self, node: Node, g: _Group) -> bool:
        """Add a node to a group if its operands have a form there, and none depends on the group
        by a way through the outside."""
        before = g.body.mark()
        if not g.body.add(node) or self._around(g.body.outside[before[0] :], g.bit):
            g.body.back(before)
            return False
        g.reads |= self.above[node] & ~g.bit
        self.group[node] = g
        self.above[node] |= g.bit
        return True

    def _around(self, operands: Sequence[Var], bits: int) -> bool:
        """Whether one of these values from outside depends on a group."""
        makers = [self.made[v] for v in operands if v in self.made]
        return any(self._closure(self.above[m]) & bits for m in makers)

    def _merge(self, g: _Group, other: _Group) -> None:
        """Make one group of two, if it can be run at once."""
        nodes = sorted([*g.nodes, *other.nodes], key=self.place.__getitem__)
        body, bits = Body(self.made, g.rows), g.bit | other.bit
        if len(nodes) > MOST or not all(body.add(n) for n in nodes):
            return
        if self._around(body.outside, bits):
            return
        g.body, g.bit, g.reads = body, bits, (g.reads | other.reads) & ~bits
        for n in other.nodes:
            self.group[n] = g
            self.above[n] |= bits
        self.groups = [g if h is other else h for h in self.groups]

    def _closure(self, bits: int) -> int:
        """The groups on which these depend, themselves included."""
        seen, new = 0, bits
        while new:
            g = self.groups[(new & -new).bit_length() - 1]
            seen |= new & g.bit or new & -new
            new = (new | g.reads) & ~seen
        return seen

    # --- groups as nodes ---------------------------------------------------------------------

    def _finished(self) -> Graph:
        """The graph with the groups that are worth it as nodes."""
        kept = {g: self._cut(g) for g in dict.fromkeys(self.groups) if self.worth(g.nodes)}
        while True:
            needed = self._needed(kept)
            new = {g: body.node(needed[g]) for g, body in kept.items() if needed[g]}
            refused = [g for g, node in new.items() if not _lowers(node)]
            if not refused:
                return self._with(new)
            for g in refused:
                del kept[g]

    def _cut(self, g: _Group) -> Body:
        """The body of a group; a single row is cut in parts, as rows are what threads share."""
        if g.rows > 1 or not g.body.flat:
            return g.body
        body = Body(self.made, 1, g.body.parts())
        for n in g.nodes:
            body.add(n)
        return body

    def _needed(self, kept: dict[_Group, Body]) -> dict[_Group, list[Var]]:
        """What others read of the groups. Movement that was taken along may be read by nobody."""
        member = {n: g for g in kept for n in g.nodes}
        found: dict[_Group, dict[Var, None]] = {g: {} for g in kept}
        seen: set[object] = set()
        stack = list(self.graph.outputs)
        while stack:
            v = stack.pop()
            node = self.made.get(v)
            if node is None:
                continue
            g = member.get(node)
            if g is not None:
                found[g][v] = None
            who = node if g is None else g
            if who not in seen:
                seen.add(who)
                stack += node.inputs if g is None else kept[g].read()
        return {g: [v for n in g.nodes for v in n.outputs if v in vs] for g, vs in found.items()}

    def _with(self, new: dict[_Group, Node]) -> Graph:
        """The graph with groups replaced, in an order in which everything is there when read."""
        members = {n: node for g, node in new.items() for n in g.nodes}
        mapped = [members.get(n, n) for n in self.graph.nodes]
        nodes = list(dict.fromkeys(mapped[::-1]))[::-1]  # a group runs late
        made = {v: n for n in nodes for v in n.outputs}
        ordered: dict[Node, None] = {}
        waiting = [made[v] for v in self.graph.outputs[::-1] if v in made]
        live = set()
        while waiting:
            n = waiting.pop()
            if n not in live:
                live.add(n)
                waiting += [made[v] for v in n.inputs if v in made]
        for first in (n for n in nodes if n in live):
            waiting = [first]
            while waiting:
                missing = [made[v] for v in waiting[-1].inputs if v in made]
                missing = [n for n in missing if n not in ordered]
                if missing:
                    waiting += missing
                else:
                    ordered[waiting.pop()] = None
        return Graph(self.graph.inputs, list(ordered), self.graph.outputs)


def _worth(nodes: Sequence[Node]) -> bool:
    """Whether single kernels would take longer than a call of the compiled group."""
    sizes = [max(v.type.size for v in (*n.inputs, *n.outputs)) for n in nodes]
    return sum(CALL + ELEMENT * n for n in sizes) > GROUP


def _lowers(node: Node) -> bool:
    try:
        lower(node, halves=True)
    except Unsupported:
        return False
    return True
