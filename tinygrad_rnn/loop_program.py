"""Loop programs: what a loop does, level by level, for code generators to print.

Made by `lower`, from a scan or from a group of elementwise work.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .graph import Graph, Node, Var

#: How a value lies over the rows of the batch: a matrix [rows, width], one number per row, a vector
#: [width] that all rows share, one number.
Form = Literal["mat", "col", "vec", "one"]


@dataclass
class Product:
    """out[rows, n] = moving[rows, k] @ fixed, fixed stored [n, k] (turned) or [k, n].

    `rowwise`: every row has a matrix of its own, out[r] = moving[r] @ fixed[r]. `axes`: where in
    fixed the rows (None: nowhere), k and n lie.
    """

    out: Var
    moving: Var
    fixed: Var
    axes: tuple[int | None, int, int]
    k: int
    n: int

    @property
    def turned(self) -> bool:
        return self.axes[1] > self.axes[2]

    @property
    def rowwise(self) -> bool:
        return self.axes[0] is not None


@dataclass
class Store:
    """A piece [start, start + width) of a variable, written to its place."""

    var: Var
    start: int
    width: int


@dataclass
class Reduce:
    """A sum or maximum over each row; the result is one number per row."""

    out: Var
    op: str
    source: Var
    width: int


@dataclass
class Total:
    """A piece of a matrix, added to what was summed of the rows and steps before."""

    out: Var
    source: Var
    start: int
    width: int


Item = Store | Reduce | Total


@dataclass
class Level:
    products: list[Product] = field(default_factory=list)
    loops: dict[int, list[Item]] = field(default_factory=dict)
    columns: list[Var] = field(default_factory=list)

    def add(self, item: Item) -> None:
        self.loops.setdefault(item.width, []).append(item)


@dataclass
class LoopProgram:
    """Everything that a code generator needs of one scan.

    `padded`: products, whose rows are padded to whole panels. `form` and `level_of` of every
    variable; `levels` in order. `kept`: variables with memory of their own. `carry`: (before,
    after) of every step. `totals`: where sums over all rows and steps are gathered.
    """

    node: Node
    body: Graph
    rows: int
    form: dict[Var, Form]
    level_of: dict[Var, int]
    levels: list[Level]
    kept: dict[Var, str]
    consts: list[Var]
    carry: list[tuple[Var, Var]]
    xs: list[Var]
    ys: list[Var]
    producer: dict[Var, Node]
    totals: list[Var]

    @property
    def shifted(self) -> dict[Var, Var]:
        """Carries before a step that are stacked: their stack is that of the carry after the step,
        one step later."""
        return {before: after for before, after in self.carry if before in self.ys}

    @property
    def padded(self) -> set[Var]:
        return {p.out for level in self.levels for p in level.products}
