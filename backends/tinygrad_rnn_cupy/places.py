"""Where the variables of a loop lie in memory, and how a kernel finds them.

In: a loop program. Out: C expressions of addresses at step `s` (at position `t` of the stacks).

Arrays of the caller change with every call, but a captured graph of launches does not: kernels find
them through a table in device memory. What cuBLAS reads and writes lies in static memory, which
belongs to the loop: copies of the weights, of products, and of the operands of products ("fed").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_rnn.extend import Var
from tinygrad_rnn.loop_program import LoopProgram, Product
from tinygrad_rnn.lower import Unsupported

from .elements import stored

#: Gives the name of an integer argument of the kernel.
Argument = Callable[..., str]


class Places:
    """`table[0]` is the step at which a captured graph begins; `table[1 + i]` is `external[i]`.
    Where nothing is captured (`direct`), kernels take the addresses as arguments.

    `static`: shapes of static memory by key. ("own", v): the memory of a kept variable that is not
    an output; carries have two slots there. ("fed", v): what products read as operand v.
    """

    def __init__(self, program: LoopProgram, direct: bool = False):
        p = self.p = program
        self.direct = direct
        self.products = [q for level in p.levels for q in level.products]
        self.stacked = set(p.ys)
        self.after = dict(p.carry)
        firsts = [before for before, _ in p.carry]
        stacks = [v for v, kind in p.kept.items() if v in self.stacked]
        self.external: list[Var] = [*p.consts, *firsts, *p.xs, *stacks]
        self.static: dict[tuple[str, Any], tuple[int, ...]] = {}
        for v, kind in p.kept.items():
            if v not in self.stacked:
                slots = (2,) if kind == "carry" else ()
                self.static["own", v] = (*slots, *v.type.shape)
        #: variables whose making also writes operands of products, and these operands
        self.feeds: dict[Var, list[Var]] = {}
        #: carries whose first value is copied to slot 0 of static memory
        self.begins: dict[Var, tuple[str, Any]] = {}
        made = {q.out for q in self.products}
        for v in dict.fromkeys(q.moving for q in self.products):
            self._feed(v, made)
        for q in self.products:
            self.static["weights", q.out] = (*((p.rows,) if q.rowwise else ()), q.k, q.n)

    def _feed(self, v: Var, made: set[Var]) -> None:
        if v in self.after:
            after = self.after[v]
            if after in made:  # the product itself writes the operand of the next step
                if list(self.after.values()).count(after) > 1:
                    raise Unsupported(f"two carries {v.type} that become the same product")
                self.begins[v] = ("own", after)
                return
            self.begins[v] = ("fed", v)
            self.static["fed", v] = (2, *v.type.shape)
            self.feeds.setdefault(after, []).append(v)
        elif ("own", v) not in self.static or (self.p.kept[v] == "carry" and v not in made):
            self.static["fed", v] = v.type.shape
            self.feeds.setdefault(v, []).append(v)

    # --- addresses in the source ---------------------------------------------------------------

    def read(self, v: Var, argument: Argument) -> str:
        """Where `v` begins at this step."""
        if v in self.after:
            return f"s == 0 ? {self._external(v, argument)} : {self._before(v, argument)}"
        if v in self.p.kept:
            return self.own(v, argument)
        moves = f" + t * {argument('step', v)}" if v in self.p.xs else ""
        return self._external(v, argument) + moves

    def own(self, v: Var, argument: Argument) -> str:
        """Where a kept variable is written at this step."""
        if v in self.stacked:
            return f"{self._external(v, argument)} + t * {argument('step', v)}"
        slot = f" + ((s + 1) & 1) * {argument('step', v)}" if self.p.kept[v] == "carry" else ""
        return f"({stored(v.type.dtype)} *){argument('static', 'own', v)}{slot}"

    def fed(self, v: Var, argument: Argument) -> str:
        """Where the operand `v` of products is written at this step (a carry: for the next)."""
        slot = f" + ((s + 1) & 1) * {argument('step', v)}" if v in self.after else ""
        return f"({stored(v.type.dtype)} *){argument('static', 'fed', v)}{slot}"

    def _before(self, v: Var, argument: Argument) -> str:
        after = self.after[v]
        step = argument("step", after)
        if after in self.stacked:
            return f"{self._external(after, argument)} + (t - way) * {step}"
        return f"({stored(v.type.dtype)} *){argument('static', 'own', after)} + (s & 1) * {step}"

    def _external(self, v: Var, argument: Argument) -> str:
        if self.direct:
            return f"({stored(v.type.dtype)} *){argument('external', v)}"
        return f"({stored(v.type.dtype)} *)table[{1 + self.external.index(v)}]"

    def cell(self, v: Var, lag: int) -> object:
        """What piece of memory `v` of the step before the last `lag` steps is: equal for two
        variables of two steps if one is written over the other."""
        if v in self.after:
            after = self.after[v]
            return after, -lag - 1 if after in self.stacked else lag & 1
        if v in self.stacked or v in self.p.xs:
            return v, -lag
        if self.p.kept.get(v) == "carry":
            return v, (lag + 1) & 1
        return v

    # --- memory of products --------------------------------------------------------------------

    def moving(self, q: Product) -> tuple[tuple[str, Any], int | None]:
        """The static memory of a product's operand; k if its slot is that of step s + k."""
        v = q.moving
        if v in self.begins:
            return self.begins[v], 0
        if ("fed", v) in self.static:
            return ("fed", v), None
        return ("own", v), 1 if self.p.kept[v] == "carry" else None

    def result(self, q: Product) -> tuple[tuple[str, Any], int | None]:
        """The static memory of a product; k if its slot is that of step s + k."""
        return ("own", q.out), 1 if self.p.kept[q.out] == "carry" else None
