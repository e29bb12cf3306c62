"""Calls of a compiled loop: where everything lies, worked out once for every number of threads.

In: a loop with its source, and buffers. Out: the loop's results. What changes from call to call is
only addresses; the other integers that the code takes are kept.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from tinygrad_rnn_numpy import pool

from tinygrad_rnn.graph import Var

from . import gemm, runtime
from .target import target
from .tiles import padded, panel_width

if TYPE_CHECKING:
    from .loops import Loop

#: What one core reads of its own cache; how long a step must be, in cycles, before two waits pay.
BYTES_PER_CYCLE, WORTH_WAITING = 48, 4000
#: Bytes of a row's widest value that stay in the cache from one level to the next; elements that
#: one thread computes while another one wakes up.
CACHED, ALONE = 16384, 8192

Take = Callable[[list[Any]], Any]
#: Where integers of a call stand, and what they are.
Layout = list[tuple[int, int]]


class Call:
    """What a call needs beside the buffers. Arrays are known by their place in a list: the inputs,
    then what is made. `leading`: axes of xs in front of those of a step."""

    leading = 1

    def __init__(self, loop: Loop, threads: int):
        self.loop, self.threads, self.program = loop, threads, loop.program
        self.run = loop.compiled()
        self.together = self._together()
        self.blocks = 1 if self.together else self._blocks()
        self.stacked = set(self.program.ys)
        kept = self.program.kept
        self.place = {v: i for i, v in enumerate((*self.program.body.inputs, *kept))}
        self.made = [(self._shape(v, kind), v.type.dtype.np) for v, kind in kept.items()]
        self.numbers = np.array([self._value(key) for key in loop.numbers], np.int64)
        bases = [(i, key[1]) for key, i in loop.numbers.items() if key[0] == "base"]
        self.slots = np.array([i for i, _ in bases], np.intp)
        self.bases = [(self.place[v], self._offset(v)) for _, v in bases]
        self.packs = [
            (loop.numbers["packed", i], self.place[q.fixed], gemm.Packing(q.fixed.type, q.axes))
            for i, q in enumerate(loop.products)
        ]
        packed, read = {i for _, i, _ in self.packs}, {i for i, _ in self.bases}
        self.any_layout = packed - read
        self.xs = {self.place[v]: v for v in self.program.xs}
        self.layouts: dict[tuple[int, tuple[int, ...]], Layout | None] = {}
        self.starts = self._starts()
        self.results = self._results()

    def __call__(self, *buffers: Any) -> tuple[Any, ...]:
        arrays, numbers = list(buffers), self.numbers.copy()
        for i, b in enumerate(buffers):
            if type(b) is not np.ndarray or not b.flags.c_contiguous:
                arrays[i] = self._taken(i, b, numbers)
        for shape, dtype in self.made:
            arrays.append(pool.empty(shape, dtype))
        for start in self.starts:
            start(arrays)
        numbers[self.slots] = [runtime.address(arrays[i]) + more for i, more in self.bases]
        packed = []  # lives until the loop has run
        for i, place, pack in self.packs:
            packed.append(pack(arrays[place]))
            numbers[i] = runtime.address(packed[-1])
        if self.together:
            runtime.drive_gang(self.run, numbers, self.loop.numbers["gang",])
        else:
            runtime.drive(self.run, numbers, self.blocks)
        return tuple([take(arrays) for take in self.results])

    # --- memory ------------------------------------------------------------------------------

    def _taken(self, i: int, b: Any, numbers: Any) -> Any:
        """An operand that is no array in C order: as it lies if the code can read it so, else a
        copy."""
        whole = not any(s % b.itemsize for s in b.strides)
        if whole and i in self.any_layout:
            return b
        key = (i, b.strides)
        if key not in self.layouts:
            readable = whole and i in self.xs
            self.layouts[key] = self._layout(self.xs[i], b) if readable else None
        layout = self.layouts[key]
        if layout is None:
            return runtime.contiguous(b)
        for slot, value in layout:
            numbers[slot] = value
        return b

    def _layout(self, v: Var, b: Any) -> Layout | None:
        """The integers by which the code finds the rows of a matrix; None if they do not lie one
        after another at equal distances."""
        size, between = b.dtype.itemsize, b.strides[self.leading : -1]
        rows = [(n, s) for n, s in zip(b.shape[self.leading : -1], between) if n > 1]
        even = all(s == n * after for (_, s), (n, after) in itertools.pairwise(rows))
        apart = rows[-1][1] if rows else 0
        if (
            self.program.form[v] != "mat"
            or b.shape[-1:] != v.type.shape[1:]
            or b.strides[-1] != size
            or not even
        ):
            return None
        found = {"row": apart, "stride": apart // size, "step": b.strides[0]}
        places = self.loop.numbers
        return [(places[kind, v], n) for kind, n in found.items() if (kind, v) in places]

    def _shape(self, v: Var, kind: str) -> tuple[int, ...]:
        shape = v.type.shape
        if kind == "total":  # one for every block; threads that wait for each other share none
            return (self.program.rows if self.together else self.blocks, *shape[1:])
        if v in self.loop.local:
            return (self.blocks * self._chunk(0), *shape[1:])
        if v in self.program.padded:
            shape = (shape[0], padded(shape[1], v.type.dtype.itemsize))
        if v in self.stacked:  # with room for the carry before the first step, if that is asked for
            return (self.loop.T + (v in self.program.shifted.values()), *shape)
        return (2, *shape) if kind == "carry" else shape

    def _offset(self, v: Var) -> int:
        """Where a value begins in its array, in bytes."""
        late = v in self.program.shifted.values() and not self.loop.reverse
        return self._value(("step", v)) if late else 0

    def _starts(self) -> list[Callable[[list[Any]], None]]:
        """What is written before the loop runs: sums of nothing, carries before the first step."""
        todo: list[Callable[[list[Any]], None]] = []
        p = self.program
        for v in p.totals:
            todo.append(lambda arrays, i=self.place[v]: arrays[i].fill(0))
        for before, after in p.carry:
            at, to, n = self.place[before], self.place[after], before.type.shape[-1:]
            if after in p.padded:  # rows of the first carry lie as far apart as those of the others

                def spread(arrays: list[Any], at: int = at, to: int = to, n: Any = n) -> None:
                    first = np.empty(arrays[to].shape[1:], arrays[at].dtype)
                    first[:, : n[0]] = arrays[at]
                    arrays[at] = first

                todo.append(spread)
            if before in p.shifted:
                end = -1 if self.loop.reverse else 0

                def begin(arrays: list[Any], at: int = at, to: int = to, end: int = end) -> None:
                    arrays[to][end] = arrays[at]

                todo.append(begin)
        return todo

    def _results(self) -> list[Take]:
        """How results are taken from the arrays: carries after the last step, stacks, sums."""
        p, T, reverse = self.program, self.loop.T, self.loop.reverse
        shifted = {after: before for before, after in p.shifted.items()}
        later, earlier = (
            (slice(None, -1), slice(1, None)) if reverse else (slice(1, None), slice(None, -1))
        )
        taken: list[Take] = []
        for _, after in p.carry:
            i, n = self.place[after], after.type.shape[-1:]
            if after in self.stacked:
                last = 0 if reverse else T - 1 + (after in shifted)
                taken.append(lambda arrays, i=i, last=last: arrays[i][last].copy())
            elif after in p.padded:
                last = (T - 1) & 1
                taken.append(lambda arrays, i=i, last=last, n=n: arrays[i][last][:, : n[0]])
            else:
                last = (T - 1) & 1
                taken.append(lambda arrays, i=i, last=last: arrays[i][last])
        for v in p.ys:
            after = p.shifted.get(v, v)
            i, part = self.place[after], earlier if v in p.shifted else later
            if after in shifted:
                taken.append(lambda arrays, i=i, part=part: arrays[i][part])
            else:
                taken.append(lambda arrays, i=i: arrays[i])
        for v in p.totals:
            taken.append(lambda arrays, i=self.place[v]: arrays[i].sum(0))
        return taken

    # --- sharing -----------------------------------------------------------------------------

    def _blocks(self) -> int:
        """Threads times one, as long as every block has the rows of a tile, or enough to do."""
        p = self.program
        if self.loop.products:
            return max(1, min(self.threads, p.rows // min(target().rows, 4)))
        widths = sum(w for level in p.levels for w in level.loops)
        return max(1, min(self.threads, p.rows, self.loop.T * p.rows * widths // ALONE))

    def _together(self) -> bool:
        """Whether threads share the columns of every product and wait for each other, instead of
        the rows of the whole loop: when there are few rows, and a step is long enough."""
        if self._blocks() == self.threads or not self.loop.products:
            return False
        cycles = 0.0
        for p in self.loop.products:
            size = p.out.type.dtype.itemsize
            multiplied = self.program.rows * p.k * p.n / (2 * target().lanes(size))
            cycles += max(multiplied, size * p.k * p.n / BYTES_PER_CYCLE)
        phases = sum(bool(level.products) for level in self.program.levels)
        return cycles > WORTH_WAITING * phases and runtime.gangs()

    def _chunk(self, first: int) -> int:
        """Rows at a time for the run of levels that begins with `first`: what a cache holds."""
        run = next(run for run in self.loop.runs if run[0] == first)
        widths = [w for k in run for w in self.program.levels[k].loops]
        return max(1, CACHED // (8 * max([*widths, 1])))

    # --- integers ----------------------------------------------------------------------------

    def _value(self, key: tuple[Any, ...]) -> int:
        """An integer of the problem that is the same in every call (0 for others)."""
        kind, *rest = key
        p = self.program
        if kind in ("base", "packed", "gang"):
            return 0
        if kind == "chunk":
            return self._chunk(rest[0])
        if kind in ("step", "stride") and rest[0] in p.totals:
            n = rest[0].type.shape[1]
            if kind == "stride":
                return n if self.together else 0
            return 0 if self.together else rest[0].type.dtype.itemsize * n
        if kind == "row":
            return rest[0].type.dtype.itemsize * self._width(rest[0])
        if kind == "step":
            t = rest[0].type
            return t.dtype.itemsize * math.prod((*t.shape[:1], self._width(rest[0])))
        if kind == "stride":
            return self._width(rest[0])
        if kind == "k":
            return self.loop.products[rest[0]].k
        if kind in ("panels", "panels apart"):
            q = self.loop.products[rest[0]]
            size = q.out.type.dtype.itemsize
            wide = padded(q.n, size)
            return wide // panel_width(size) if kind == "panels" else size * wide * q.k
        if kind == "literal":
            d = rest[0].type.dtype.np
            filled = np.array(p.producer[rest[0]].attrs["value"], d)
            return int(filled.view(f"i{d.itemsize}"))
        if kind in ("size", "offset"):
            return int(rest[0])
        way = -1 if self.loop.reverse else 1
        return {"rows": p.rows, "T": self.loop.T, "way": way, "blocks": self.blocks}[kind]

    def _width(self, v: Var) -> int:
        """Elements from one row of a value to the next one."""
        if v.type.ndim < 2:
            return 1
        n = v.type.shape[1]
        after = dict(self.program.carry).get(v, v)
        return padded(n, v.type.dtype.itemsize) if after in self.program.padded else n
