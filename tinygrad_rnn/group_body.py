"""The body of a group of elementwise work: what `fuse` has chosen, as one step of a loop program.

In: nodes, one after another. Out: a node `fused`, or that a value has no form in the group.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .backend import primitives
from .graph import Graph, Node, Var
from .loop_program import Form
from .types import Shape, Type


class Fused:
    """A group of operations; attributes are those of a scan of one step, and `rows`."""

    name = "fused"


class Body:
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
