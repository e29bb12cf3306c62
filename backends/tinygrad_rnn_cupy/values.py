"""What the levels of a loop program compute, as C statements of one thread.

In: a loop program and a `Memory` that says how elements are read. Out: statements, each value once.
A thread has a row and, inside a loop over columns, a column `j`; how rows and columns are shared
out among threads is not known here.
"""

from __future__ import annotations

from typing import Protocol

from tinygrad_rnn.extend import Node, Var
from tinygrad_rnn.loop_program import LoopProgram
from tinygrad_rnn.lower import BARRIERS

from .elements import literal, working
from .operations import expression

#: Constants that may stand in the source. Others may come of sizes (the mean of a row divides by
#: its width), which the source must not depend on.
COMMON = (0.0, 1.0, -1.0)


class Memory(Protocol):
    """How a kernel reads; every method gives a C expression in the working type of the variable."""

    def element(self, v: Var, start: int) -> str:
        """Column start + j of this row (of a vector: its element)."""

    def number(self, v: Var) -> str:
        """The one number of this row, or of all rows."""

    def constant(self, v: Var) -> str:
        """A literal that is an argument of the kernel."""


class Scope:
    """Statements, and the names of the values that they compute."""

    def __init__(self, prefix: str, names: dict[object, str] | None = None):
        self.prefix, self.lines = prefix, list[str]()
        self.names: dict[object, str] = {} if names is None else names

    def define(self, key: object, kind: str, value: str) -> str:
        name = self.names[key] = f"{self.prefix}{len(self.names)}"
        self.lines.append(f"const {kind} {name} = {value};")
        return name


class Values:
    """Prints the values of one level. `row`: what is computed once per row; `columns`: what is
    computed for every column."""

    def __init__(
        self, program: LoopProgram, level: int, memory: Memory, row: Scope, columns: Scope
    ):
        self.p, self.level, self.memory = program, level, memory
        self.row, self.columns = row, columns

    # --- one number per row ------------------------------------------------------------------

    def number(self, v: Var, computing: bool = False) -> str:
        """The name of a value that all columns of a row share."""
        if v not in self.row.names:
            self.row.define(v, working(v.type.dtype), self._number(v, computing))
        return self.row.names[v]

    def _number(self, v: Var, computing: bool) -> str:
        if self.is_stored(v, computing):
            return self.memory.number(v)
        node = self.p.producer[v]
        if node.op.name == "full":
            return self._literal(v, node)
        if node.op.name in ("reshape", "broadcast_to", "alias"):
            return self.number(node.inputs[0])
        return expression(node, [self.number(u) for u in node.inputs])

    def _literal(self, v: Var, node: Node) -> str:
        value, dtype = node.attrs["value"], v.type.dtype
        if dtype.is_float and value not in COMMON:
            return self.memory.constant(v)
        return literal(value, dtype)

    # --- a value per column ------------------------------------------------------------------

    def element(self, v: Var, start: int, computing: bool = False) -> str:
        """The name of column start + j of `v`."""
        if self.p.form[v] in ("col", "one"):
            return self.number(v)
        key = (v, start)
        if key not in self.columns.names:
            found = self._element(v, start, computing)
            if isinstance(found, tuple):  # another name for the same value
                self.columns.names[key] = found[0]
            else:
                self.columns.define(key, working(v.type.dtype), found)
        return self.columns.names[key]

    def _element(self, v: Var, start: int, computing: bool) -> str | tuple[str]:
        if self.is_stored(v, computing):
            return self.memory.element(v, start)
        node = self.p.producer[v]
        name = node.op.name
        if name == "slice":
            return (self.element(node.inputs[0], start + node.attrs["start"][v.type.ndim - 1]),)
        if name == "concat":
            at = 0
            for part in node.inputs:
                if at <= start < at + part.type.shape[1]:
                    return (self.element(part, start - at),)
                at += part.type.shape[1]
        if name == "pad":
            low, part = node.attrs["low"][1], node.inputs[0]
            if low <= start < low + part.type.shape[1]:
                return (self.element(part, start - low),)
            return literal(node.attrs["value"], v.type.dtype)
        if name in ("reshape", "broadcast_to", "alias"):
            return (self.element(node.inputs[0], start),)
        return expression(node, [self.element(u, start) for u in node.inputs])

    def is_stored(self, v: Var, computing: bool) -> bool:
        """Whether `v` is read from memory at this level rather than computed."""
        if v not in self.p.producer:
            return True
        if v not in self.p.kept or computing:
            return False
        made = self.p.producer[v].op.name
        return made == "contract" or made in BARRIERS or self.p.level_of[v] < self.level
