"""One level of a loop program as a Numba intrinsic: all its fused loops over the columns of rows.

The intrinsic takes one tuple of integers: addresses of the operands (at this time step), row
strides, the range of rows, widths and offsets. It emits explicit vector IR, so nothing depends on
whether LLVM recognises a loop.
"""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir

from tinygrad_rnn.graph import Var
from tinygrad_rnn.loop_program import Item, Level, LoopProgram, Reduce, Store, Total
from tinygrad_rnn.lower import BARRIERS

from . import vmath
from .operations import operation
from .target import target
from .tiles import splat

I64, I32, I8, I1 = (ir.IntType(n) for n in (64, 32, 8, 1))
const = functools.partial(ir.Constant, I64)


class Symbols:
    """The integers that a level needs, in the order in which its code asks for them."""

    def __init__(self) -> None:
        self.names: list[tuple[Any, ...]] = []

    def index(self, *key: Any) -> int:
        if key not in self.names:
            self.names.append(key)
        return self.names.index(key)


class LevelEmitter:
    """Emits the IR of one level. `places[v]`: the symbol under which a kept variable or operand is
    found; used once to collect symbols and once to emit."""

    def __init__(self, program: LoopProgram, level: int, symbols: Symbols):
        self.p, self.number, self.symbols = program, level, symbols
        self.level: Level = program.levels[level]
        wide = any(
            v.type.dtype.itemsize == 8 and v.type.dtype.is_float and f in ("mat", "vec")
            for v, f in program.form.items()
        )
        self.bits = 64 if wide else 32
        self.lanes = target().lanes(self.bits // 8)

    # --- skeleton ----------------------------------------------------------------------------

    def emit(self, builder: ir.IRBuilder, values: Any) -> None:
        """`values[i]`: the integer of symbol i."""
        self.values = values
        self.entry = builder
        self.memo: dict[Any, Any] = {}
        fn = builder.function
        head, row_block, done = (fn.append_basic_block(n) for n in ("rows", "row", "rows_end"))
        start = builder.block
        lo, hi = self.sym("lo"), self.sym("hi")
        self.entry_tail = builder.block
        body = ir.IRBuilder(head)
        b = body.phi(I64)
        b.add_incoming(lo, start)
        self.b = b
        row = ir.IRBuilder(row_block)
        self.row = row
        self.row_memo: dict[Any, Any] = {}
        self.cur = ir.IRBuilder(fn.append_basic_block("columns"))
        first = self.cur.block
        for width, items in self.level.loops.items():
            self._columns(width, items)
        for v in self.level.columns:
            self._store_column(v)
        following = self.cur.add(b, const(1))
        b.add_incoming(following, self.cur.block)
        self.cur.branch(head)
        row.branch(first)
        body.cbranch(body.icmp_signed("<", b, hi), row_block, done)
        builder.branch(head)
        builder.position_at_end(done)

    def sym(self, *key: Any) -> Any:
        return self.values[self.symbols.index(*key)]

    # --- loops over columns ------------------------------------------------------------------

    def _columns(self, width: int, items: list[Item]) -> None:
        n = self.sym("size", width)
        before = self.cur
        fn = before.function
        whole = before.sub(n, before.srem(n, const(self.lanes)))
        loop, after, rest, end = (
            fn.append_basic_block(x) for x in ("vector", "vectors_end", "rest", "columns_end")
        )
        reduces = [i for i in items if isinstance(i, Reduce)]
        starts = [self._neutral(r) for r in reduces]
        source = before.block
        before.cbranch(before.icmp_signed(">", whole, const(0)), loop, after)

        self.cur = ir.IRBuilder(loop)
        j = self.cur.phi(I64)
        j.add_incoming(const(0), source)
        sums = []
        for s in starts:
            phi = self.cur.phi(s.type)
            phi.add_incoming(s, source)
            sums.append(phi)
        new = self._body(j, items, sums, None)
        following = self.cur.add(j, const(self.lanes))
        j.add_incoming(following, self.cur.block)
        for phi, s in zip(sums, new):
            phi.add_incoming(s, self.cur.block)
        tail = self.cur.block
        self.cur.cbranch(self.cur.icmp_signed("<", following, whole), loop, after)

        self.cur = ir.IRBuilder(after)
        merged = []
        for s, t in zip(starts, new):
            phi = self.cur.phi(s.type)
            phi.add_incoming(s, source)
            phi.add_incoming(t, tail)
            merged.append(phi)
        self.cur.cbranch(self.cur.icmp_signed("<", whole, n), rest, end)

        self.cur = ir.IRBuilder(rest)
        lane = ir.Constant(ir.VectorType(I64, self.lanes), list(range(self.lanes)))
        left = splat(self.cur, self.cur.sub(n, whole), self.lanes)
        mask = self.cur.icmp_signed("<", lane, left)
        masked = self._body(whole, items, merged, mask)
        rest_end = self.cur.block
        self.cur.branch(end)

        self.cur = ir.IRBuilder(end)
        finals = []
        for s, t in zip(merged, masked):
            phi = self.cur.phi(s.type)
            phi.add_incoming(s, after)
            phi.add_incoming(t, rest_end)
            finals.append(phi)
        for r, f in zip(reduces, finals):
            self._finish(r, f)

    def _body(self, j: Any, items: list[Item], sums: list[Any], mask: Any) -> list[Any]:
        self.memo, self.j, self.mask = {}, j, mask
        new, k = [], 0
        for item in items:
            if isinstance(item, Store):
                x = self.mat(item.var, item.start, computing=True)
                self._store(item.var, item.start, x)
            elif isinstance(item, Total):
                x = self.mat(item.source, item.start)
                before = self._load(item.out, self._column(item.out, item.start))
                self._store(item.out, item.start, self._float(item.out).add(before, x))
            else:
                x = self.mat(item.source, 0)
                lanes = self._float(item.source)
                if mask is not None:
                    x = self.cur.select(mask, x, self._neutral(item))
                if item.op == "sum":
                    new.append(lanes.add(sums[k], x))
                else:
                    new.append(self._maximum(lanes, sums[k], x))
                k += 1
        return new

    def _neutral(self, r: Reduce) -> Any:
        lanes = self._float(r.source)
        return lanes.const(0.0 if r.op == "sum" else float("-inf"))

    def _finish(self, r: Reduce, vector: Any) -> None:
        """The lanes of a reduction joined, from the two halves down, and stored for the row."""
        lanes, n = self._float(r.source), self.lanes
        b = self.cur
        while n > 1:
            n //= 2
            index = ir.VectorType(I32, n)
            low = b.shuffle_vector(vector, vector, ir.Constant(index, list(range(n))))
            high = b.shuffle_vector(vector, vector, ir.Constant(index, list(range(n, 2 * n))))
            part = vmath.Lanes(b, lanes.bits, n)
            vector = part.add(low, high) if r.op == "sum" else self._maximum(part, low, high)
        total = b.extract_element(vector, ir.Constant(I32, 0))
        b.store(total, self._address(b, r.out, self.b), align=r.out.type.dtype.itemsize)

    def _store_column(self, v: Var) -> None:
        self.mask = None
        x = self.scalar(v, computing=True)
        x = self.row.zext(x, I8) if x.type == I1 else x
        # emitted last in the row: everything it reads was loaded at its start
        self.cur.store(x, self._address(self.cur, v, self.b), align=v.type.dtype.itemsize)

    # --- memory ------------------------------------------------------------------------------

    def _memory_type(self, v: Var) -> Any:
        d = v.type.dtype
        if d.is_bool:
            return I8
        if d.is_float:
            return ir.FloatType() if d.itemsize == 4 else ir.DoubleType()
        return ir.IntType(8 * d.itemsize)

    def _address(self, b: ir.IRBuilder, v: Var, index: Any) -> Any:
        base = b.inttoptr(self.sym("address", v), self._memory_type(v).as_pointer())
        return b.gep(base, [index])

    def _row_address(self, v: Var) -> Any:
        """The address of this row of a matrix, computed at the start of the row."""
        key = ("row", v)
        if key not in self.row_memo:
            self.row_memo[key] = self._address(
                self.row, v, self.row.mul(self.b, self.sym("stride", v))
            )
        return self.row_memo[key]

    def _load(self, v: Var, pointer: Any) -> Any:
        kind = ir.VectorType(self._memory_type(v), self.lanes)
        where = self.cur.bitcast(pointer, kind.as_pointer())
        size = v.type.dtype.itemsize
        if self.mask is None:
            x = self.cur.load(where, align=size)
        else:
            x = self._masked(kind, where, size)
        return self.cur.trunc(x, ir.VectorType(I1, self.lanes)) if v.type.dtype.is_bool else x

    def _masked(self, kind: Any, where: Any, size: int) -> Any:
        mask_type = ir.VectorType(I1, self.lanes)
        name = f"llvm.masked.load.v{self.lanes}{_suffix(kind.element)}.p0"
        module = self.cur.module
        fn = module.globals.get(name) or ir.Function(
            module, ir.FunctionType(kind, [kind.as_pointer(), I32, mask_type, kind]), name
        )
        return self.cur.call(
            fn, [where, ir.Constant(I32, size), self.mask, ir.Constant(kind, None)]
        )

    def _store(self, v: Var, start: int, x: Any) -> None:
        pointer = self._column(v, start)
        if v.type.dtype.is_bool:
            x = self.cur.zext(x, ir.VectorType(I8, self.lanes))
        size = v.type.dtype.itemsize
        where = self.cur.bitcast(pointer, x.type.as_pointer())
        if self.mask is None:
            self.cur.store(x, where, align=size)
            return
        name = f"llvm.masked.store.v{self.lanes}{_suffix(x.type.element)}.p0"
        module = self.cur.module
        fn = module.globals.get(name) or ir.Function(
            module,
            ir.FunctionType(ir.VoidType(), [x.type, x.type.as_pointer(), I32, self.mask.type]),
            name,
        )
        self.cur.call(fn, [x, where, ir.Constant(I32, size), self.mask])

    def _column(self, v: Var, start: int) -> Any:
        """The address of column start + j of this row (of a vector: of the vector)."""
        form = self.p.form[v]
        base = self._row_address(v) if form == "mat" else self._address(self.row, v, const(0))
        offset = self.j if start == 0 else self.cur.add(self.j, self.sym("offset", start))
        return self.cur.gep(base, [offset])

    # --- values ------------------------------------------------------------------------------

    def _float(self, v: Var, n: int | None = None) -> vmath.Lanes:
        bits = 8 * v.type.dtype.itemsize if v.type.dtype.is_float else 32
        return vmath.Lanes(self.cur, bits, self.lanes if n is None else n)

    def _stored(self, v: Var, computing: bool) -> bool:
        """Whether `v` is read from memory here rather than computed."""
        if v not in self.p.producer:
            return True
        if v not in self.p.kept or computing:
            return False
        made = self.p.producer[v].op.name
        at = self.p.level_of[v]
        return made == "contract" or made in BARRIERS or at < self.number

    def mat(self, v: Var, start: int, computing: bool = False) -> Any:
        """Lanes j … of columns start … of `v` in this row."""
        key = (v, start)
        if key not in self.memo:
            self.memo[key] = self._mat(v, start, computing)
        return self.memo[key]

    def _mat(self, v: Var, start: int, computing: bool) -> Any:
        form = self.p.form[v]
        if form in ("col", "one"):
            return self._spread(v)
        if self._stored(v, computing):
            return self._load(v, self._column(v, start))
        node = self.p.producer[v]
        name = node.op.name
        if name == "slice":
            axis = v.type.ndim - 1
            return self.mat(node.inputs[0], start + node.attrs["start"][axis])
        if name == "concat":
            at = 0
            for part in node.inputs:
                if at <= start < at + part.type.shape[1]:
                    return self.mat(part, start - at)
                at += part.type.shape[1]
        if name == "pad":
            low, part = node.attrs["low"][1], node.inputs[0]
            if low <= start < low + part.type.shape[1]:
                return self.mat(part, start - low)
            return splat(self.row, self._literal(v, node.attrs["value"]), self.lanes)
        if name in ("reshape", "broadcast_to", "alias"):
            return self.mat(node.inputs[0], start)
        args = [self.mat(u, start) for u in node.inputs]
        return operation(self.cur, self.lanes, node, args)

    def _spread(self, v: Var) -> Any:
        """One number per row, in every lane."""
        key = ("spread", v)
        if key not in self.row_memo:
            self.row_memo[key] = splat(self.row, self.scalar(v), self.lanes)
        return self.row_memo[key]

    def scalar(self, v: Var, computing: bool = False) -> Any:
        """One number per row (or for all rows), computed at the start of the row."""
        if v not in self.row_memo:
            self.row_memo[v] = self._scalar(v, computing)
        return self.row_memo[v]

    def _scalar(self, v: Var, computing: bool) -> Any:
        b = self.row
        if self._stored(v, computing):
            index = self.b if self.p.form[v] == "col" else const(0)
            if dict(self.p.carry).get(v, v) in self.p.padded:  # a product of one column
                index = b.mul(index, self.sym("stride", v))
            x = b.load(self._address(b, v, index), align=v.type.dtype.itemsize)
            return b.trunc(x, I1) if v.type.dtype.is_bool else x
        node = self.p.producer[v]
        if node.op.name == "full":
            return self._literal(v, node.attrs["value"])
        if node.op.name in ("reshape", "broadcast_to", "alias"):
            return self.scalar(node.inputs[0])
        return operation(b, 0, node, [self.scalar(u) for u in node.inputs])

    def _literal(self, v: Var, value: Any) -> Any:
        """A constant of the graph. Few floats are constants of the code: others may come of sizes
        (the mean of a row divides by its width), which the code must not depend on."""
        d = v.type.dtype
        if not d.is_float:
            return ir.Constant(I1 if d.is_bool else ir.IntType(8 * d.itemsize), int(value))
        kind = ir.FloatType() if d.itemsize == 4 else ir.DoubleType()
        if value in (0.0, 1.0, -1.0):
            return ir.Constant(kind, float(value))
        bits = self.sym("literal", v)
        return self.row.bitcast(self.row.trunc(bits, I32) if d.itemsize == 4 else bits, kind)

    @staticmethod
    def _maximum(lanes: vmath.Lanes, a: Any, b: Any) -> Any:
        return lanes.call("maximum", a, b)


def _suffix(kind: Any) -> str:
    if isinstance(kind, ir.IntType):
        return f"i{kind.width}"
    return "f32" if isinstance(kind, ir.FloatType) else "f64"


def symbols(program: LoopProgram, level: int) -> Symbols:
    """Which integers the code of a level takes."""
    found = Symbols()
    _collect(program, level, found)
    return found


def make(program: LoopProgram, level: int, symbols: Symbols) -> Any:
    """The intrinsic of a level, of a tuple of integers."""
    from numba import types
    from numba.extending import intrinsic

    count = len(symbols.names)

    @intrinsic  # type: ignore[misc]
    def run(typingctx: Any, numbers: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            values = [builder.extract_value(args[0], i) for i in range(count)]
            LevelEmitter(program, level, symbols).emit(builder, values)
            return context.get_dummy_value()

        return types.void(numbers), codegen

    return run


def _collect(program: LoopProgram, level: int, symbols: Symbols) -> None:
    """Emit into a module that is thrown away, to learn which symbols the code asks for."""
    module = ir.Module()
    fn = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "collect")

    class Any64(dict[int, Any]):
        def __missing__(self, key: int) -> Any:
            return const(0)

    builder = ir.IRBuilder(fn.append_basic_block())
    LevelEmitter(program, level, symbols).emit(builder, Any64())
    builder.ret_void()


def text(program: LoopProgram, level: int) -> str:
    """The IR of a level as text: what its compiled code depends on."""
    found = symbols(program, level)
    module = ir.Module()
    count = len(found.names)
    fn = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * count), "level")
    builder = ir.IRBuilder(fn.append_basic_block())
    LevelEmitter(program, level, found).emit(builder, fn.args)
    builder.ret_void()
    return str(fn)
