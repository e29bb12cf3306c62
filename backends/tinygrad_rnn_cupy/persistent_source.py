"""The text of a persistent kernel.

In: a `Body` and a `Shape`. Out: CUDA source and what its arguments are. Sizes are constants of the
source here, unlike elsewhere: registers and shared memory are shared out by them.
"""

from __future__ import annotations

from collections.abc import Iterable

from tinygrad_rnn.extend import Var

from .elements import stored, working
from .persistent import Body, Phase, Reads, Shape
from .source import module_source

KINDS = {"f16": "HalfKind", "bf16": "BrainKind", "tf32": "Tf32Kind"}
Place = tuple[Var, int]


class PersistentSource:
    """`keys`: the integer arguments. `sums`: how many pieces of the product a block has.
    `shared`: bytes of shared memory that it will be launched with."""

    def __init__(self, body: Body, shape: Shape, shared: int):
        self.body, self.p, self.shape, self.shared = body, body.p, shape, shared
        self.keys: list[tuple[object, ...]] = []
        self.reads = Reads(body)
        made = [(body.made, at) for at in body.pieces[body.made]]
        early = [r for r in body.results if r[0] not in body.late]
        if body.early:
            self.first = self._sending(made, [r for r in early if r[0] is body.made], "s")
            self.aside = self._storing([r for r in early if r[0] is not body.made])
            self.last = self._last([], [r for r in body.results if r[0] in body.late])
        else:
            self.first, self.aside = [], []
            self.last = self._last(made, body.results)
        self.sums = len(self.reads.sums)
        lines = self._kernel()
        product = "product_fma" if shape.kind == "fma" else "product_mma"
        args = ", ".join(f"const i64 a{i}" for i in range(len(self.keys)))
        bounds = f"__launch_bounds__({shape.threads}, 1)"
        head = f'extern "C" __global__ void {bounds} persistent({args}) {{'
        text = "\n".join([head, *["    " + line for line in lines], "}"])
        self.source = module_source(["exchange", "partial_sums", product], [text])

    def argument(self, *key: object) -> str:
        if key not in self.keys:
            self.keys.append(key)
        return f"a{self.keys.index(key)}"

    # --- phases --------------------------------------------------------------------------------

    def _sending(self, made: list[Place], results: list[Place], step: str) -> list[str]:
        """Compute what the product reads and tell the others; only then store what is a result."""
        phase = Phase(self.body, self.reads)
        names = {place: phase.value(*place) for place in made}
        body = [self._send(at, names[v, at]) for v, at in made]
        return self._publish(phase, body, results, names, step)

    def _publish(
        self, phase: Phase, sends: list[str], results: list[Place], names: dict[Place, str],
        step: str,
    ) -> list[str]:  # fmt: skip
        kept = {place: f"o{i}" for i, place in enumerate(results)}
        arrays = [f"{working(v.type.dtype)} {o}[E];" for (v, _), o in kept.items()]
        saves = [f"{o}[e] = {names[place]};" for place, o in kept.items()]
        stores = [line for place, o in kept.items() for line in self._store(*place, f"{o}[e]")]
        return [
            *arrays,
            *_each([*phase.scope.lines, *saves, *_live(sends)]),
            f"exchange.done((u32)({step} + 1));",
            *_each(_live(stores)),
        ]

    def _storing(self, results: list[Place]) -> list[str]:
        phase = Phase(self.body, self.reads)
        stores = [line for r in results for line in self._store(*r, phase.value(*r))]
        return _each([*phase.scope.lines, *_live(stores)]) if stores else []

    def _last(self, made: list[Place], results: list[Place]) -> list[str]:
        """After the product: the rest, and the carry for the next step."""
        phase = Phase(self.body, self.reads)
        names = {place: phase.value(*place) for place in (*made, *results)}
        updates: dict[Place, str] = {}
        while len(updates) < len(self.reads.carry):  # what the next carry is made of may be a carry
            for v, at in list(self.reads.carry):
                updates[v, at] = phase.value(self.body.after[v], at)
        for (v, at), name in updates.items():
            kind = v.type.dtype.name
            rounded = f"as_{stored(v.type.dtype)}({name})" if kind.endswith("16") else name
            phase.scope.lines.append(f"{self.reads.carry[v, at]}[e] = {rounded};")
        if not made:
            stores = [line for r in results for line in self._store(*r, names[r])]
            return _each([*phase.scope.lines, *_live(stores)])
        sends = [self._send(at, names[v, at], "s + 1") for v, at in made]
        return self._publish(phase, sends, results, names, "s + 1")

    # --- statements ----------------------------------------------------------------------------

    def _send(self, start: int, name: str, step: str = "s") -> str:
        return (
            f"store_shared_with_blocks(slot({step}) + r * P::PITCH + {start} + j, "
            f"P::moved((P::Result){name}));"
        )

    def _store(self, v: Var, start: int, name: str) -> list[str]:
        """To the stack of `v`, and to its place among the results at the last step."""
        lines = []
        if v in self.p.ys:
            at = f"t * {self.argument('step', v)} + " + self._offset(v, start)
            lines.append(self._put(v, start, f"{self._base('external', v)} + {at}", name))
        elif v in self.body.after.values():
            where = f"{self._base('final', v)} + {self._offset(v, start)}"
            lines.append("if (s + 1 == T) " + self._put(v, start, where, name))
        return lines

    @staticmethod
    def _put(v: Var, start: int, where: str, name: str) -> str:
        once = "if (me == 0 && u == 0) " if start < 0 else ""
        return f"{once}put({where}, ({working(v.type.dtype)}){name});"

    def _base(self, kind: str, v: Var) -> str:
        return f"({stored(v.type.dtype)} *){self.argument(kind, v)}"

    def _offset(self, v: Var, start: int) -> str:
        """Where an element's value of `v` lies within a step."""
        form = self.p.form[v]
        if start < 0:
            return "b" if form == "col" else "0"
        columns = f"{start} + j"
        return columns if form == "vec" else f"b * {self.argument('stride', v)} + {columns}"

    def _loads(self, table: dict[Place, str], prefix: str, step: str) -> list[str]:
        """Statements that fill registers; `step`: an offset by the step, or none."""
        lines = []
        for (v, start), name in table.items():
            moves = f"{step} * {self.argument('step', v)} + " if step else ""
            where = f"(const {stored(v.type.dtype)} *){self.argument('external', v)}"
            lines.append(f"{prefix}{name}[e] = get({where} + {moves}{self._offset(v, start)});")
        return lines

    # --- the kernel ----------------------------------------------------------------------------

    def _kernel(self) -> list[str]:
        reads = self.reads
        registers = [
            f"{working(v.type.dtype)} {prefix}{name}[E];"
            for table, prefixes in ((reads.fixed, [""]), (reads.steps, ["", "n"]),
                                    (reads.carry, [""]))
            for (v, _), name in table.items() for prefix in prefixes
        ]  # fmt: skip
        constants = [
            f"const {working(v.type.dtype)} k{i} = {working(v.type.dtype)}_from_bits("
            f"{self.argument('literal', v)});"
            for i, v in enumerate(reads.literals)
        ]
        begin = [*self._loads(reads.fixed, "", ""), *self._loads(reads.carry, "", "")]
        begin += self._loads(reads.steps, "", "(way > 0 ? 0 : T - 1)")
        if not self.body.early:
            begin += _live(self._first_sends())
        return [
            *self._head(), *registers, *constants, *self._weights(), *_each(begin),
            *([] if self.body.early else ["exchange.done(1);"]),
            "for (i64 s = 0; s < T; ++s) {",
            "    const i64 t = way > 0 ? s : T - 1 - s;",
            *["    " + line for line in self._step()],
            "}",
        ]  # fmt: skip

    def _step(self) -> Iterable[str]:
        reads = self.reads
        yield from self.first
        yield from self.aside
        if reads.steps:  # while others are waited for, the next step's inputs arrive
            yield "const i64 following = s + 1 < T ? t + way : t;"
            yield from _each(self._loads(reads.steps, "n", "following"))
        yield "exchange.wait((u32)(s + 1));"
        yield "product.run(slot(s));"
        yield from self.last
        if reads.steps:
            yield from _each([f"{name}[e] = n{name}[e];" for name in reads.steps.values()])

    def _head(self) -> list[str]:
        shape, q = self.shape, self.body.product
        kind = "f64" if q.out.type.dtype.itemsize == 8 else "f32"
        name = "FmaProduct" if shape.kind == "fma" else "MmaProduct"
        what = kind
        if shape.kind != "fma":
            what = f"{KINDS[shape.kind]}, {'true' if shape.weights_16 else 'false'}"
        rows = self.argument("rows")
        return [
            f"constexpr int C = {shape.blocks}, R = {shape.rows}, U = {shape.columns}, "
            f"W = {self.body.width}, E = {shape.elements};",
            f"using P = {name}<{what}, R, {self.sums} * U, {q.k}, {shape.warps}>;",
            f'static_assert(P::BYTES == {self.shared}, "the host knows another size");',
            "DYNAMIC_SHARED(shared);",
            "P product(shared);",
            "const int me = blockIdx.x % C, group = blockIdx.x / C;",
            f"const i64 rows = {rows}, T = {self.argument('T')}, way = {self.argument('way')};",
            f"const Exchange exchange = {{(u32 *){self.argument('flags')} + group * C, C, me}};",
            f"P::Moved *const moving = (P::Moved *){self.argument('exchange')} + "
            "(i64)group * 2 * P::PADDED_ROWS * P::PITCH;",
            "const auto slot = [&](i64 s) {",
            "    return moving + (s & 1) * P::PADDED_ROWS * P::PITCH;",
            "};",
        ]

    def _weights(self) -> list[str]:
        q = self.body.product
        begins = [str(start) for start in self.reads.sums]
        column = begins[-1]
        for i, start in reversed(list(enumerate(begins[:-1]))):
            column = f"n / U == {i} ? {start} : {column}"
        at = f"(i64)column * {q.k} + k" if q.turned else f"(i64)k * {q.n} + column"
        source = f"(const {stored(q.fixed.type.dtype)} *){self.argument('external', q.fixed)}"
        return [
            "product.load([&](int n, int k) -> P::Result {",
            "    const int u = me * U + n % U;",
            "    if (u >= W) return 0;",
            f"    const int column = ({column}) + u;",
            f"    return (P::Result)get({source} + {at});",
            "});",
        ]

    def _first_sends(self) -> list[str]:
        """The first carry, for the product of the first step."""
        v = self.body.product.moving
        source = f"(const {stored(v.type.dtype)} *){self.argument('external', v)}"
        lines = []
        for start in self.body.pieces[self.body.made]:
            value = f"get({source} + {self._offset(v, start)})"
            lines.append(
                f"store_shared_with_blocks(slot(0) + r * P::PITCH + {start} + j, "
                f"P::moved((P::Result){value}));"
            )
        return lines


def _each(lines: list[str]) -> list[str]:
    """Statements for every element of a thread: row r of the group, column u of the block."""
    if not lines:
        return []
    return [
        "#pragma unroll",
        "for (int e = 0; e < E; ++e) {",
        "    const int which = e * (int)blockDim.x + (int)threadIdx.x;",
        "    const int inside = which < R * U ? which : 0, r = inside / U, u = inside % U;",
        "    const bool there = group * (i64)R + r < rows && me * U + u < W;",
        "    const bool live = which < R * U && there;",
        "    const i64 b = there ? group * (i64)R + r : 0;",
        "    const i64 j = there ? me * U + u : 0;",
        *["    " + line for line in lines],
        "}",
    ]


def _live(lines: list[str]) -> list[str]:
    return ["if (live) {", *["    " + line for line in lines], "}"] if lines else []
