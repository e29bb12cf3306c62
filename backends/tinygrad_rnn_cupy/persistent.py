"""A scan on the device, road two: one kernel whose blocks stay on the device for all steps.

In: a loop program with one product per step. Out: CUDA source. A group of blocks has some rows of
the batch; a block has some columns of every matrix of these rows, the weights for them in shared
memory and its part of the carry in registers. What the product reads of other blocks goes through
memory, once per step (`exchange.cuh`).
"""

from __future__ import annotations

from typing import NamedTuple

from tinygrad_rnn.extend import Var
from tinygrad_rnn.loop_program import LoopProgram, Product, Reduce, Store
from tinygrad_rnn.lower import Unsupported

from .values import Scope, Values


class Shape(NamedTuple):
    """How the work is shared out: `groups` of `blocks` each; a group has `rows` rows, a block
    `columns` columns of every matrix. `kind`: the arithmetic of products ("fma", "f16", "bf16",
    "tf32"). `weights_16`: on tensor cores, weights are the operand of 16 lines, not the one of 8.
    """

    groups: int
    blocks: int
    rows: int
    columns: int
    warps: int
    kind: str
    weights_16: bool = True

    @property
    def threads(self) -> int:
        return 32 * self.warps

    @property
    def elements(self) -> int:
        """Elements of a matrix that a thread has."""
        return -(-self.rows * self.columns // self.threads)


class Body:
    """What the kernel needs of a program; Unsupported says why there is no such kernel.

    `pieces`: the columns at which the pieces of every stored matrix begin. `made`: the variable
    whose pieces are exchanged; `early`: whether it is made before the product of the same step
    (else it is a carry, made after the product of the step before). `results`: (variable, piece)
    that are written to memory, piece -1 for a number per row.
    """

    def __init__(self, program: LoopProgram):
        p = self.p = program
        products = [q for level in p.levels for q in level.products]
        if len(products) != 1:
            raise Unsupported(f"{len(products)} products per step")
        self.product: Product = products[0]
        if self.product.rowwise or self.product.n == 1:
            raise Unsupported(f"a product with {self.product.fixed.type}")
        self.after = dict(p.carry)
        loops = [loop for level in p.levels for loop in level.loops.items()]
        items = [item for _, loop in loops for item in loop]
        if any(isinstance(item, Reduce) for item in items):
            raise Unsupported("a sum over the row in every step")
        widths = {width for width, _ in loops} or {self.product.n}
        if len(widths) != 1:
            raise Unsupported(f"loops over {sorted(widths)} columns in one step")
        self.width = widths.pop()
        self.pieces: dict[Var, list[int]] = {}
        for item in items:
            if isinstance(item, Store):
                self.pieces.setdefault(item.var, []).append(item.start)
        if self.product.out in self.after.values():
            self.pieces[self.product.out] = list(range(0, self.product.n, self.width))
        moving = self.product.moving
        self.early = moving not in self.after
        self.made = self.after.get(moving, moving)
        self._check()
        outputs = {*p.ys, *self.after.values()}
        self.results = [(v, at) for v, pieces in self.pieces.items() if v in outputs
                        for at in pieces]  # fmt: skip
        self.results += [(v, -1) for level in p.levels for v in level.columns if v in outputs]
        self.late = self._after_product()

    def _check(self) -> None:
        if self.made in self.p.xs:
            raise Unsupported("the product reads an input of the step")
        if sorted(self.pieces.get(self.made, [])) != list(range(0, self.product.k, self.width)):
            raise Unsupported("what the product reads is not made in pieces of equal width")

    def _after_product(self) -> set[Var]:
        """Variables that depend on the product of the step."""
        late = {self.product.out}
        for n in self.p.body.nodes:
            if late & set(n.inputs):
                late |= set(n.outputs)
        return late


class Reads:
    """A `Memory` for `Values`: everything that a thread reads is in its registers, in arrays with
    one element for each of its matrix elements. `fixed` are loaded once, `steps` at every step;
    `carry` goes from step to step."""

    def __init__(self, body: Body):
        self.body, self.p = body, body.p
        self.fixed: dict[tuple[Var, int], str] = {}
        self.steps: dict[tuple[Var, int], str] = {}
        self.carry: dict[tuple[Var, int], str] = {}
        #: columns at which pieces of the product begin
        self.sums: list[int] = []
        self.literals: list[Var] = []

    def element(self, v: Var, start: int) -> str:
        if v is self.body.product.out:
            if start not in self.sums:
                self.sums.append(start)
            return f"product.result(r, {self.sums.index(start)} * U + u)"
        if v in self.body.after:
            pieces = self.body.pieces.get(self.body.after[v], ())
            if start >= 0 and start not in pieces:
                raise Unsupported(f"a step reads other columns of the carry {v.type} than its own")
            return self._register(self.carry, "c", v, start)
        if v in self.p.xs:
            return self._register(self.steps, "m", v, start)
        return self._register(self.fixed, "f", v, start)

    def number(self, v: Var) -> str:
        return self.element(v, -1)

    def constant(self, v: Var) -> str:
        if v not in self.literals:
            self.literals.append(v)
        return f"k{self.literals.index(v)}"

    def _register(self, table: dict[tuple[Var, int], str], letter: str, v: Var, at: int) -> str:
        return table.setdefault((v, at), f"{letter}{len(table)}") + "[e]"


class _Values(Values):
    """Only operands of the step and the product are read; all else is computed where it is used."""

    def is_stored(self, v: Var, computing: bool) -> bool:
        return v not in self.p.producer or self.p.producer[v].op.name == "contract"


class Phase:
    """What a thread computes for each of its elements between two waits: statements, and the names
    of the values."""

    def __init__(self, body: Body, reads: Reads):
        self.scope = Scope("x")
        self.values = _Values(body.p, 0, reads, self.scope, self.scope)

    def value(self, v: Var, at: int) -> str:
        if at < 0:
            return self.values.number(v, computing=True)
        return self.values.element(v, at, computing=True)
