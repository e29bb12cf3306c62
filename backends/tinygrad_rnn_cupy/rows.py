"""Fused kernels over the rows of a batch: levels of a loop program as CUDA functions.

In: levels without products between them. Out: a function that computes them for all rows at one
step. Where every value is made and read by the same thread, columns are shared out among blocks
too; otherwise a block has whole rows and waits between levels.
"""

from __future__ import annotations

from typing import NamedTuple

from tinygrad_rnn.extend import Var
from tinygrad_rnn.loop_program import Level, Reduce, Store

from .elements import stored, working
from .places import Places
from .values import Scope, Values

HOW = {"sum": "Sum", "max": "Max"}


class Part(NamedTuple):
    """Consecutive levels of a step; `lag`: how many steps they are behind the launch."""

    levels: range
    lag: int


class Kernel:
    """The text of one CUDA function, and what its integer arguments are."""

    def __init__(self, name: str):
        self.name = name
        self.keys: list[tuple[object, ...]] = []
        self.lines: list[str] = []
        self.whole_rows = False
        #: columns of the widest loop
        self.width = 1

    def argument(self, *key: object) -> str:
        """The name of an integer of the problem."""
        if key not in self.keys:
            self.keys.append(key)
        return f"a{self.keys.index(key)}"

    @property
    def source(self) -> str:
        args = ["i64 *const table", "const i64 k"]
        args += [f"const i64 a{i}" for i in range(len(self.keys))]
        head = f'extern "C" __global__ void {self.name}({", ".join(args)}) {{'
        return "\n".join([head, *["    " + line for line in self.lines], "}"])


def kernel(name: str, places: Places, parts: list[Part], looped: bool = False) -> Kernel:
    """The kernel of some parts, its columns shared out among blocks where that is possible.

    `looped`: it goes through all steps by itself.
    """
    for whole_rows in (False, True):
        out = Kernel(name)
        out.whole_rows = whole_rows
        printed = [PartPrinter(places, part, out) for part in parts]
        if whole_rows or own_columns(printed, looped):
            break
    if whole_rows:
        out.lines.append("DYNAMIC_SHARED(shared);")
    rows = out.argument("rows")
    out.lines += [
        "const i64 row = blockIdx.x * (i64)blockDim.y + threadIdx.y;",
        f"const bool live = row < {rows};",
        f"const i64 b = live ? row : {rows} - 1;  // beyond the last row, its work is done again",
        "const i32 first = blockIdx.y * blockDim.x + threadIdx.x, among = gridDim.y * blockDim.x;",
        f"const i64 T = {out.argument('T')}, way = {out.argument('way')};",
    ]
    if looped:
        out.lines.append("for (i64 s = 0; s < T; ++s) {")
    for i, part in enumerate(printed):
        lag = f" - {part.part.lag}" if part.part.lag else ""
        out.lines += [
            "{",
            *([] if looped else [f"    const i64 s = table[0] + k{lag};"]),
            "    const i64 t = way > 0 ? s : T - 1 - s;",
            "    if (0 <= s && s < T) {" if len(parts) > 1 else "    {",
            *["        " + line for line in (*part.declarations, *part.lines)],
            "    }",
            "}",
        ]
        if whole_rows and (looped or i + 1 < len(printed)):
            out.lines.append("sync_block();")
    if looped:
        out.lines.append("}")
    return out


def own_columns(printed: list[PartPrinter], looped: bool) -> bool:
    """Whether every element is written and read by one thread, and nothing is reduced.

    It is so if all loops that touch a piece of memory are equally wide and their pieces lie side
    by side: then a column belongs to the thread of its place in the piece.
    """
    shapes: dict[object, set[tuple[int, int]]] = {}
    written = set()
    for part in printed:

        def cell(v: Var, part: PartPrinter = part) -> object:
            places = part.places
            return places.after.get(v, v) if looped else places.cell(v, part.part.lag)

        for access in part.accesses:
            if access is None:
                return False
            width, reads, writes = access
            for v, start in reads | writes:
                shapes.setdefault(cell(v), set()).add((start, width))
            written |= {cell(v) for v, _ in writes}
    return all(
        len({width for _, width in shapes[c]}) == 1
        and all(start % width == 0 for start, width in shapes[c] if width)
        for c in written
    )


class PartPrinter:
    """Prints the levels of one part; a `Memory` for `Values`."""

    def __init__(self, places: Places, part: Part, out: Kernel):
        self.p, self.places, self.part, self.out = places.p, places, part, out
        self.pointers: dict[Var | tuple[str, Var], str] = {}
        self.declarations: list[str] = []
        self.lines: list[str] = []
        #: per loop: its width, and the (variable, first column) that it reads and writes; None
        #: where other threads of the row are needed
        self.accesses: list[tuple[int, Accesses, Accesses] | None] = []
        self.reads: Accesses = set()
        self.row = Scope("r")
        for k in part.levels:
            if self.lines and out.whole_rows:
                self.lines.append("sync_block();")
            self._level(k, self.p.levels[k])

    # --- reading -------------------------------------------------------------------------------

    def element(self, v: Var, start: int) -> str:
        self.reads.add((v, start))
        return f"get({self._pointer(v)} + {self._at(start)})"

    def number(self, v: Var) -> str:
        self.reads.add((v, -1))
        return f"get({self._pointer(v)})"

    def constant(self, v: Var) -> str:
        return f"{working(v.type.dtype)}_from_bits({self.out.argument('literal', v)})"

    def _at(self, start: int) -> str:
        return f"{self.out.argument('offset', start)} + j" if start else "j"

    def _pointer(self, v: Var) -> str:
        """The address of this row of `v`, for reading."""
        return self._declared(v, v, self.places.read(v, self.out.argument), "const ")

    def _declared(self, key: Var | tuple[str, Var], v: Var, base: str, const: str) -> str:
        name = self.pointers.get(key)
        if name is None:
            name = self.pointers[key] = f"p{len(self.pointers)}"
            row = {"mat": f" + b * {self.out.argument('stride', v)}", "col": " + b"}
            where = row.get(self.p.form[v], "")
            kind = f"{const}{stored(v.type.dtype)} *const"
            self.declarations.append(f"{kind} {name} = ({base}){where};")
        return name

    # --- levels --------------------------------------------------------------------------------

    def _level(self, number: int, level: Level) -> None:
        for width, items in level.loops.items():
            self._loop(number, width, items)
        if level.columns:
            values = Values(self.p, number, self, self.row, Scope("x"))
            names = [values.number(v, computing=True) for v in level.columns]
            self._flush_row()
            self.lines.append("if (live && first == 0) {")
            for v, name in zip(level.columns, names):
                self._put(v, None, name)
            self.lines.append("}")
            self.accesses.append((0, set(self.reads), {(v, -1) for v in level.columns}))

    def _loop(self, number: int, width: int, items: list[Store | Reduce]) -> None:
        self.out.width = max(self.out.width, width)
        self.reads = set()
        columns = Scope("x")
        values = Values(self.p, number, self, self.row, columns)
        stores, sums = [], []
        for item in items:
            if isinstance(item, Store):
                stores.append((item, values.element(item.var, item.start, computing=True)))
            else:
                sums.append((item, f"sum{len(self.row.names)}", values.element(item.source, 0)))
                self.row.names[item.out] = f"r{len(self.row.names)}"
        before = len(self.lines)
        self._flush_row()
        for item, total, _ in sums:
            kind = working(item.out.type.dtype)
            self.lines.append(f"{kind} {total} = {HOW[item.op]}::neutral<{kind}>();")
        n = self.out.argument("size", width)
        self.lines.append(f"for (i32 j = first; j < {n}; j += among) {{")
        self.lines += ["    " + line for line in columns.lines]
        for item, total, name in sums:
            self.lines.append(f"    {total} = {HOW[item.op]}::join({total}, {name});")
        if stores:
            self.lines.append("    if (live) {")
            for item, name in stores:
                self._put(item.var, item.start, name)
            self.lines.append("    }")
        self.lines.append("}")
        for item, total, _ in sums:
            kind, name = working(item.out.type.dtype), self.row.names[item.out]
            how = f"over_row<{HOW[item.op]}>({total}, shared)"
            self.lines.append(f"const {kind} {name} = {how};")
            self.lines.append("if (live && threadIdx.x == 0) {")
            self._put(item.out, None, name)
            self.lines.append("}")
        assert len(self.lines) > before
        writes = {(item.var, item.start) for item, _ in stores}
        self.accesses.append(None if sums else (width, set(self.reads), writes))

    def _flush_row(self) -> None:
        self.lines += self.row.lines
        self.row.lines.clear()

    def _put(self, v: Var, start: int | None, name: str) -> None:
        """Write one value to every place where `v` is kept."""
        at = "" if start is None else f" + {self._at(start)}"
        targets = []
        if v in self.p.kept:
            own = self.places.own(v, self.out.argument)
            targets.append(self._declared(("own", v), v, own, ""))
        for u in self.places.feeds.get(v, ()):
            fed = self.places.fed(u, self.out.argument)
            targets.append(self._declared(("fed", u), u, fed, ""))
        self.lines += [f"        put({target}{at}, {name});" for target in targets]


Accesses = set[tuple[Var, int]]
