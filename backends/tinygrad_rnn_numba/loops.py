"""A scan as one compiled function: its Numba source.

In: a loop program. Out: a function on buffers (`calls` finds the memory that it works on). The
source is made of names of ours and of no numbers of the problem: sizes, strides and offsets arrive
in an array of integers, so one compiled function serves every size of the same structure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_rnn.graph import Node, Var
from tinygrad_rnn.loop_program import LoopProgram, Product
from tinygrad_rnn.lower import lower

from . import levels, runtime
from .assembly import MEMBERS
from .calls import Call
from .tiles import product


class Loop:
    """One scan node, lowered, and compiled when it first runs."""

    def __init__(self, node: Node):
        self.program: LoopProgram = lower(node)
        self.T: int = node.attrs["length"]
        self.reverse: bool = node.attrs["reverse"]
        self.symbols = [levels.symbols(self.program, k) for k in range(len(self.program.levels))]
        self.products = [p for level in self.program.levels for p in level.products]
        self.runs = self._runs()
        self.local = self._local()
        self.numbers: dict[tuple[Any, ...], int] = {}
        self.carry_stack = self._carry_stacks()
        self.source = self._source()
        self.run = 0
        self.call: Call | None = None

    # --- where things are --------------------------------------------------------------------

    def _carry_stacks(self) -> dict[Var, Var]:
        """Carries whose value after a step is stacked anyway: the next step reads the stack."""
        ys = set(self.program.ys)
        return {before: after for before, after in self.program.carry if after in ys}

    def _runs(self) -> list[list[int]]:
        """The levels in order, cut before each one that begins with products."""
        runs: list[list[int]] = []
        for k, level in enumerate(self.program.levels):
            if level.products or not runs:
                runs.append([])
            runs[-1].append(k)
        return runs

    def _local(self) -> list[Var]:
        """Scratch that is written and read within one run of levels, for some rows at a time."""
        several = sum(bool(x.loops or x.columns) for x in self.program.levels) > 1
        if len(self.runs) > 1 or self.products or not several:
            return []
        return [v for v, kind in self.program.kept.items() if kind == "scratch"]

    def number(self, *key: Any) -> str:
        """The name of an integer of the problem; `parameters` fills it in."""
        return f"q{self.numbers.setdefault(key, len(self.numbers))}"

    # --- source ------------------------------------------------------------------------------

    def _source(self) -> str:
        body: list[str] = []
        totals: list[str] = []
        address: dict[Var, str] = {}
        for v in self.program.consts:
            if any(("address", v) in symbols.names for symbols in self.symbols):
                address[v] = self.number("base", v)
        for i, (before, after) in enumerate(self.program.carry):
            name = f"c{i}"
            address[before] = name
            first, store = self.number("base", before), self.number("base", after)
            step = self.number("step", after)
            if before in self.carry_stack:
                body.append(f"{name} = {first} if s == 0 else {store} + (t - way) * {step}")
            else:
                body.append(f"{name} = {first} if s == 0 else {store} + ((s - 1) & 1) * {step}")
        for i, v in enumerate(self.program.xs):
            address[v] = f"x{i}"
            body.append(f"x{i} = {self.number('base', v)} + t * {self.number('step', v)}")
        stacked = set(self.program.ys)
        for i, (v, kind) in enumerate(self.program.kept.items()):
            if kind in ("stack", "carry"):
                address[v] = f"y{i}"
                at = "t" if v in stacked else "(s & 1)"
                body.append(f"y{i} = {self.number('base', v)} + {at} * {self.number('step', v)}")
            elif kind == "total":
                address[v] = f"z{i}"
                base, step = self.number("base", v), self.number("step", v)
                totals.append(f"z{i} = {base} + block * {step}")
            else:
                address[v] = f"w{i}" if v in self.local else self.number("base", v)
        wait = "if members > 1: barrier(gang, members)"
        for run in self.runs:
            if self.program.levels[run[0]].products:
                products = [self._product(p, address) for p in self.program.levels[run[0]].products]
                body += [wait, *products, wait]
            body += self._levels(run, address)
        rows, blocks, T = self.number("rows"), self.number("blocks"), self.number("T")
        gang, way = self.number("gang"), self.number("way")
        head = [f"q{i} = load(numbers, {i})" for i in range(len(self.numbers))]
        lines = [
            *head,
            f"gang, members, parts, way = {gang}, 1, {blocks}, {way}",
            "if gang != 0:",
            f"    members = parts = load(gang, {MEMBERS // 8})",
            f"size = ({rows} + parts - 1) // parts",
            "lo = block * size",
            f"hi = min({rows}, lo + size)",
            *totals,
            "first, count, share = lo, hi - lo, 0",
            "if gang != 0:",
            f"    first, count, share = 0, {rows}, block",
            f"for s in range({T}):",
            f"    t = s if way == 1 else {T} - 1 - s",
            *["    " + line for line in body],
        ]
        return "\n".join(["def loop(numbers, block):", *["    " + line for line in lines], ""])

    def _levels(self, run: list[int], address: dict[Var, str]) -> list[str]:
        """The loops over columns of levels without products between them: one after the other for
        some rows, which stay in the cache, then for the next ones."""
        calls = []
        for k in run:
            if self.program.levels[k].loops or self.program.levels[k].columns:
                names = ", ".join(self._symbol(key, address) for key in self.symbols[k].names)
                calls.append(f"level_{k}(({names},))")
        if len(calls) < 2:
            return [f"top, end = lo, hi; {call}" for call in calls]
        chunk, rows = self.number("chunk", run[0]), []
        for v in self.local:
            rows.append(
                f"{address[v]} = {self.number('base', v)} "
                f"+ (block * {chunk} - top) * {self.number('row', v)}"
            )
        return [
            f"for top in range(lo, hi, {chunk}):",
            *["    " + line for line in (f"end = min(hi, top + {chunk})", *rows, *calls)],
        ]

    def _symbol(self, key: tuple[Any, ...], address: dict[Var, str]) -> str:
        if key[0] == "address":
            return address[key[1]]
        if key[0] in ("lo", "hi"):
            return {"lo": "top", "hi": "end"}[key[0]]
        return self.number(*key)

    def _product(self, p: Product, address: dict[Var, str]) -> str:
        size = p.out.type.dtype.itemsize
        i = self.products.index(p)
        panels, packed, k = self.number("panels", i), self.number("packed", i), self.number("k", i)
        lda, ldc = self.number("stride", p.moving), self.number("stride", p.out)
        if p.rowwise:  # every thread does its own rows
            apart = self.number("panels apart", i)
            return (
                f"for r in range(lo, hi): product_{8 * size}("
                f"{address[p.moving]} + {size} * r * {lda}, {lda}, {packed} + r * {apart}, "
                f"{address[p.out]} + {size} * r * {ldc}, {ldc}, {k}, 0, {panels}, 1)"
            )
        return (
            f"product_{8 * size}("
            f"{address[p.moving]} + {size} * first * {lda}, {lda}, {packed}, "
            f"{address[p.out]} + {size} * first * {ldc}, {ldc}, {k}, "
            f"{panels} * share // members, {panels} * (share + 1) // members, count)"
        )

    # --- running -----------------------------------------------------------------------------

    def scope(self) -> dict[str, Any]:
        """What the source refers to."""
        from . import intrinsics

        bits = {8 * p.out.type.dtype.itemsize for p in self.products}
        names: dict[str, Any] = {f"product_{b}": product(b) for b in bits}
        for k, symbols in enumerate(self.symbols):
            names[f"level_{k}"] = levels.make(self.program, k, symbols)
        return names | {"load": intrinsics.load, "barrier": intrinsics.barrier}

    def function(self) -> Callable[[int, int], None]:
        """The loop in Python, for Numba to compile."""
        scope = self.scope()
        exec(compile(self.source, "<loop>", "exec"), scope)
        return scope["loop"]  # type: ignore[no-any-return]

    def structure(self) -> str:
        """Text that is equal for loops that the same compiled function serves."""
        return (
            self.source
            + "\n"
            + "\n".join(levels.text(self.program, k) for k in range(len(self.symbols)))
        )

    def compiled(self) -> int:
        """The address of the compiled loop."""
        if not self.run:
            self.run = runtime.compiled(self.structure(), self.function)
        return self.run

    def __call__(self, *buffers: Any) -> tuple[Any, ...]:
        if self.T == 0 or self.program.rows == 0:
            return self._nothing(buffers)
        threads = runtime.threads()
        if self.call is None or self.call.threads != threads:
            self.call = self.prepare(threads)
        return self.call(*buffers)

    def prepare(self, threads: int) -> Call:
        return Call(self, threads)

    def _nothing(self, buffers: Any) -> tuple[Any, ...]:
        p = self.program
        n = self.program.node.attrs["n_const"]
        carry = buffers[n : n + len(p.carry)]
        ys = [np.empty((self.T, *v.type.shape), v.type.dtype.np) for v in p.ys]
        sums = [np.zeros(v.type.shape[1:], v.type.dtype.np) for v in p.totals]
        return (*carry, *ys, *sums)
