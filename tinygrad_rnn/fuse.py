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
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .backend import primitives
from .graph import Graph, Node, Var
from .lower import ELEMENTWISE, EXACT, Form, Unsupported, lower
from .types import Shape, Type

#: What a call of a kernel costs beyond its elements, and one element, in nanoseconds; what a call
#: of a compiled group costs. A group must be worth its call.
CALL, ELEMENT, GROUP = 400, 0.4, 12_000
#: Nodes of a group at most: code of bounded size.
MOST = 120


class Fused:
    """A group of operations; attributes are those of a scan of one step, and `rows`."""

    name = "fused"


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

    def __init__(self, number: int, body: _Body):
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
        g = _Group(len(self.groups), _Body(self.made, math.prod(lead)))
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
        body, bits = _Body(self.made, g.rows), g.bit | other.bit
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

    def _cut(self, g: _Group) -> _Body:
        """The body of a group; a single row is cut in parts, as rows are what threads share."""
        if g.rows > 1 or not g.body.flat:
            return g.body
        body = _Body(self.made, 1, g.body.parts())
        for n in g.nodes:
            body.add(n)
        return body

    def _needed(self, kept: dict[_Group, _Body]) -> dict[_Group, list[Var]]:
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


class _Body:
    """The body of a group under construction: its values as matrices, columns, vectors, numbers.

    `flat`: there is nothing but matrices and numbers in it; then a single row may be cut in parts.
    """

    def __init__(self, made: dict[Var, Node], rows: int, parts: int = 1):
        self.made, self.rows_outside = made, rows
        self.parts_of_row, self.rows = parts, rows * parts
        self.members: list[Node] = []
        self.nodes: list[Node] = []
        self.inside: dict[Var, Var] = {}
        self.given: dict[tuple[Var, Form], Var] = {}
        self.moved: dict[tuple[Var, Form], Var] = {}
        self.flat = True

    @property
    def outside(self) -> list[Var]:
        return [v for v, _ in self.given]

    def read(self) -> list[Var]:
        """The values from outside that the body reads."""
        inside = {v for n in self.nodes for v in n.inputs}
        return [v for (v, _), u in self.given.items() if u in inside]

    def mark(self) -> tuple[int, int, int, int, bool]:
        """Where the body stands, to come back to."""
        return len(self.given), len(self.moved), len(self.nodes), len(self.inside), self.flat

    def back(self, mark: tuple[int, int, int, int, bool]) -> None:
        """Take back what was added since."""
        tables: tuple[dict[Any, Var], ...] = (self.given, self.moved, self.inside)
        for table, size in zip(tables, (mark[0], mark[1], mark[3])):
            while len(table) > size:
                table.popitem()
        del self.nodes[mark[2] :], self.members[mark[3] :]
        self.flat = mark[4]

    def parts(self) -> int:
        """In how many parts of equal size the one row of a flat body is cut."""
        widths = {v.type.size for v in self.inside}
        return max(d for d in (16, 8, 4, 2, 1) if all(n % d == 0 and n >= 256 * d for n in widths)
                   or d == 1)  # fmt: skip

    def node(self, outputs: Sequence[Var]) -> Node:
        """The finished group."""
        read = set(self.read())
        given = [k for k in self.given if k[0] in read]
        xs = [k for k in given if k[1] in ("mat", "col")]
        consts = [k for k in given if k[1] in ("vec", "one")]
        inputs = [self.given[k] for k in (*consts, *xs)]
        body = Graph(inputs, self.nodes, [self.inside[v] for v in outputs])
        attrs = {
            "body": body, "n_const": len(consts), "n_carry": 0, "length": 1, "reverse": False,
            "shown": len(outputs), "rows": self.rows,
        }  # fmt: skip
        return Node(Fused, tuple([v for v, _ in (*consts, *xs)]), attrs, tuple(outputs))

    # --- nodes -------------------------------------------------------------------------------

    def add(self, node: Node) -> bool:
        """Put a node into the body; False if a value has no form in it."""
        out = node.outputs[0]
        if node.op.name in ("sum", "max"):
            operand = self._value(node.inputs[0], "mat")
            if operand is None or out.type.size != self.rows_outside:
                return False
            self.flat = False
            total = self._emit(node.op, (operand,), {**node.attrs, "axes": (1,)}, (self.rows,), out)
            self.inside[out] = self._reshaped(total)
            self.members.append(node)
            return True
        form = self._form(out.type.shape)
        operands = [self._operand(v, out.type.shape, form) for v in node.inputs]
        if form is None or any(v is None for v in operands):
            return False
        args = [v for v in operands if v is not None]
        shape = self._shape(form, out.type.shape)
        if all(v.type.shape != shape for v in args):
            args[0] = self._broadcast(args[0], shape)
        self.inside[out] = self._emit(node.op, tuple(args), node.attrs, shape, out)
        self.members.append(node)
        return True

    def _emit(
        self, op: Any, inputs: tuple[Var, ...], attrs: Mapping[str, Any], shape: Shape, like: Var
    ) -> Var:
        new = Var(Type(shape, like.type.dtype))
        self.nodes.append(Node(op, inputs, attrs, (new,)))
        return new

    def _broadcast(self, v: Var, shape: Shape) -> Var:
        return self._emit(primitives["broadcast_to"], (v,), {"shape": shape}, shape, v)

    def _reshaped(self, column: Var) -> Var:
        shape = (self.rows, 1)
        return self._emit(primitives["reshape"], (column,), {"shape": shape}, shape, column)

    # --- forms -------------------------------------------------------------------------------

    def _form(self, shape: Shape) -> Form | None:
        """How a result of this shape lies in the rows of the group."""
        if shape and self.rows_outside > 1 and math.prod(shape) == 1:
            return None
        if shape and math.prod(shape[:-1]) == self.rows_outside:
            return "mat" if shape[-1] > 1 else "col"
        return "col" if math.prod(shape) == self.rows_outside else None

    def _shape(self, form: Form, shape: Shape) -> Shape:
        if form == "mat":
            return (self.rows, shape[-1] // self.parts_of_row)
        return {"col": (self.rows, 1), "vec": shape[-1:], "one": ()}[form]

    def _operand(self, v: Var, whole: Shape, form: Form | None) -> Var | None:
        """An operand of an operation whose result has the shape `whole` and this form."""
        given = v.type.shape
        if given == whole and form is not None:
            return self._value(v, form)
        if v.type.size == 1:
            return self._value(v, "col" if v in self.inside else "one")
        if form == "mat" and given == (*whole[:-1], 1):
            return self._value(v, "col")
        if form == "mat" and given[-1] == whole[-1] == v.type.size:
            return self._value(v, "vec")
        return None

    # --- values ------------------------------------------------------------------------------

    def _value(self, v: Var, form: Form) -> Var | None:
        """`v` in this form; movement is followed to where it begins."""
        self.flat &= form in ("mat", "one")
        if v in self.inside:
            found = self.inside[v]
            return found if found.type.shape == self._shape(form, v.type.shape) else None
        key = (v, form)
        node = self.made.get(v)
        if key not in self.moved and node is not None:
            made = self._moved(node, form)
            if made is not None:
                self.moved[key] = made
        if key in self.moved:
            return self.moved[key]
        if key not in self.given:
            self.given[key] = Var(Type(self._shape(form, v.type.shape), v.type.dtype))
        return self.given[key]

    def _moved(self, node: Node, form: Form) -> Var | None:
        """The result of an operation that only moves, as part of the body."""
        name, out = node.op.name, node.outputs[0]
        if name == "full":
            return self._emit(node.op, (), {**node.attrs, "shape": ()}, (), out)
        if name == "reshape":
            source = node.inputs[0].type.shape
            same = form in ("col", "one") or source[-1:] == out.type.shape[-1:]
            return self._value(node.inputs[0], form) if same and form != "vec" else None
        if name == "broadcast_to" and form in ("mat", "col"):
            operand = self._operand(node.inputs[0], out.type.shape, form)
            shape = self._shape(form, out.type.shape)
            if operand is None or operand.type.shape == shape:
                return operand
            return self._broadcast(operand, shape)
        if name == "slice" and form == "mat":
            return self._slice(node)
        return None

    def _slice(self, node: Node) -> Var | None:
        """Columns of a matrix."""
        source, out = node.inputs[0].type.shape, node.outputs[0].type.shape
        if source[:-1] != out[:-1] or set(node.attrs["step"]) != {1}:
            return None
        self.flat = False
        operand = self._value(node.inputs[0], "mat")
        if operand is None or self.parts_of_row > 1:
            return None
        start = node.attrs["start"][-1]
        attrs = {"start": (0, start), "stop": (self.rows, start + out[-1]), "step": (1, 1)}
        return self._emit(node.op, (operand,), attrs, (self.rows, out[-1]), node.outputs[0])
