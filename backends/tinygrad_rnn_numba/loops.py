"""A scan as one compiled function: its Numba source, and the arrays that it works on.

In: a loop program. Out: a function on buffers. The source is made of names of ours and of no
numbers of the problem: sizes, strides and offsets arrive in an array of integers, so one compiled
function serves every size of the same structure.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from tinygrad_rnn_numpy import pool

from tinygrad_rnn.graph import Node, Var
from tinygrad_rnn.lower import LoopProgram, Product, lower

from . import gemm, levels, runtime
from .assembly import MEMBERS
from .target import target
from .tiles import padded, panel_width, product

#: What one core reads of its own cache; how long a step must be, in cycles, before two waits pay.
BYTES_PER_CYCLE, WORTH_WAITING = 48, 4000
#: Bytes of a row's widest value that stay in the cache from one level to the next; elements that
#: one thread computes while another one wakes up.
CACHED, ALONE = 16384, 8192


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
        self.constant: np.ndarray | None = None
        self.bases = [(i, key[1]) for key, i in self.numbers.items() if key[0] == "base"]

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
        address: dict[Var, str] = {}
        for v in self.program.consts:
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
        panels = self.number("panels", i)
        lda, ldc = self.number("stride", p.moving), self.number("stride", p.out)
        return (
            f"product_{8 * size}("
            f"{address[p.moving]} + {size} * first * {lda}, {lda}, {self.number('packed', i)}, "
            f"{address[p.out]} + {size} * first * {ldc}, {ldc}, {self.number('k', i)}, "
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

    def _compile(self) -> None:
        if not self.run:
            self.run = runtime.compiled(self.structure(), self.function)

    def __call__(self, *buffers: Any) -> tuple[Any, ...]:
        p = self.program
        if self.T == 0 or p.rows == 0:
            return self._nothing(buffers)
        self._compile()
        together = self._together()
        blocks = 1 if together else self._blocks()
        inputs = dict(zip(p.body.inputs, [runtime.contiguous(b) for b in buffers]))
        arrays: dict[Var, Any] = dict(inputs)
        for v, kind in p.kept.items():
            arrays[v] = self._allocate(v, kind, blocks)
        for before, after in p.carry:
            if after in p.padded:  # rows of the first carry lie as far apart as those of the others
                first = np.empty(arrays[after].shape[1:], arrays[before].dtype)
                first[:, : before.type.shape[1]] = arrays[before]
                arrays[before] = first
        before_stacks = {
            before: self._shift(before, after, arrays) for before, after in p.shifted.items()
        }
        packed = [
            gemm.pack(inputs[q.fixed].T if q.turned else inputs[q.fixed]) for q in self.products
        ]
        numbers = self._numbers(arrays, packed, blocks)
        if together:
            runtime.drive_gang(self.run, numbers, self.numbers["gang",])
        else:
            runtime.drive(self.run, numbers, blocks)
        return self._results({**arrays, **before_stacks})

    def _numbers(self, arrays: dict[Var, Any], packed: list[Any], blocks: int) -> np.ndarray:
        """The integers of the problem: addresses are new in every call, the others are kept."""
        if self.constant is None:
            self.constant = np.array([self._value(key) for key in self.numbers], np.int64)
        numbers = self.constant.copy()
        numbers[self.numbers["blocks",]] = blocks
        for i, v in self.bases:
            numbers[i] = runtime.address(arrays[v])
        for key, i in self.numbers.items():
            if key[0] == "packed":
                numbers[i] = runtime.address(packed[key[1]])
        return numbers

    def _nothing(self, buffers: Any) -> tuple[Any, ...]:
        p = self.program
        n = self.program.node.attrs["n_const"]
        carry = buffers[n : n + len(p.carry)]
        return (*carry, *[np.empty((self.T, *v.type.shape), v.type.dtype.np) for v in p.ys])

    def _allocate(self, v: Var, kind: str, blocks: int) -> Any:
        d = v.type.dtype
        shape = v.type.shape
        if v in self.local:
            return pool.empty((blocks * self._chunk(0), *shape[1:]), d.np)
        if v in self.program.padded:
            shape = (shape[0], padded(shape[1], d.itemsize))
        if v in self._stacked:
            shape = (self.T, *shape)
        elif kind == "carry":
            shape = (2, *shape)
        return pool.empty(shape, d.np)

    def _shift(self, before: Var, after: Var, arrays: dict[Var, Any]) -> Any:
        """One buffer with room for a step more: the carry after every step, and before it."""
        whole = pool.empty((self.T + 1, *after.type.shape), after.type.dtype.np)
        whole[-1 if self.reverse else 0] = arrays[before]
        later, earlier = (whole[:-1], whole[1:]) if self.reverse else (whole[1:], whole[:-1])
        arrays[after] = later
        return earlier

    @functools.cached_property
    def _stacked(self) -> set[Var]:
        return set(self.program.ys)

    def _blocks(self) -> int:
        """Threads times one, as long as every block has the rows of a tile, or enough to do."""
        if self.products:
            return max(1, min(runtime.threads(), self.program.rows // min(target().rows, 4)))
        widths = sum(w for level in self.program.levels for w in level.loops)
        share = self.T * self.program.rows * widths // ALONE
        return max(1, min(runtime.threads(), self.program.rows, share))

    def _together(self) -> bool:
        """Whether threads share the columns of every product and wait for each other, instead of
        the rows of the whole loop: when there are few rows, and a step is long enough."""
        if self._blocks() == runtime.threads() or not self.products:
            return False
        cycles = 0.0
        for p in self.products:
            size = p.out.type.dtype.itemsize
            multiplied = self.program.rows * p.k * p.n / (2 * target().lanes(size))
            cycles += max(multiplied, size * p.k * p.n / BYTES_PER_CYCLE)
        phases = sum(bool(level.products) for level in self.program.levels)
        return cycles > WORTH_WAITING * phases and runtime.gangs()

    def _chunk(self, first: int) -> int:
        """Rows at a time for the run of levels that begins with `first`: what a cache holds."""
        run = next(run for run in self.runs if run[0] == first)
        widths = [w for k in run for w in self.program.levels[k].loops]
        return max(1, CACHED // (8 * max([*widths, 1])))

    def _value(self, key: tuple[Any, ...]) -> int:
        """An integer of the problem that is the same in every call (0 for others)."""
        kind, *rest = key
        p = self.program
        if kind in ("base", "packed", "blocks", "gang"):
            return 0
        if kind == "chunk":
            return self._chunk(rest[0])
        if kind == "row":
            return rest[0].type.dtype.itemsize * self._width(rest[0])
        if kind == "step":
            t = rest[0].type
            return t.dtype.itemsize * math.prod((*t.shape[:1], self._width(rest[0])))
        if kind == "stride":
            return self._width(rest[0])
        if kind == "k":
            return self.products[rest[0]].k
        if kind == "panels":
            q = self.products[rest[0]]
            size = q.out.type.dtype.itemsize
            return padded(q.n, size) // panel_width(size)
        if kind == "literal":
            d = rest[0].type.dtype.np
            filled = np.array(p.producer[rest[0]].attrs["value"], d)
            return int(filled.view(f"i{d.itemsize}"))
        if kind in ("size", "offset"):
            return int(rest[0])
        return {"rows": p.rows, "T": self.T, "way": -1 if self.reverse else 1}[kind]

    def _width(self, v: Var) -> int:
        """Elements from one row of a value to the next one."""
        if v.type.ndim < 2:
            return 1
        n = v.type.shape[1]
        after = dict(self.program.carry).get(v, v)
        return padded(n, v.type.dtype.itemsize) if after in self.program.padded else n

    def _results(self, arrays: dict[Var, Any]) -> tuple[Any, ...]:
        last = 0 if self.reverse else self.T - 1
        finals = []
        for _, after in self.program.carry:
            if after in self._stacked:
                finals.append(arrays[after][last].copy())
            else:
                final = arrays[after][(self.T - 1) & 1]
                finals.append(
                    final[:, : after.type.shape[1]] if after in self.program.padded else final
                )
        return (*finals, *[arrays[v] for v in self.program.ys])
