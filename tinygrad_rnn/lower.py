"""From a scan to a loop program: what is computed at which level, kept where, and packed.

In: a scan node of an optimised graph whose body treats the rows of a batch independently. Out: a
LoopProgram that knows nothing of Numba or CUDA; code generators print from it.

A step of the loop is a sequence of levels. A level begins with products (each needs whole rows of
what the levels before made) and goes on with loops over the columns of every row, in which all
elementwise work is fused; sums over a row end a level. Movement is index arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable

from .backend import primitives
from .graph import Graph, Node, Var
from .loop_program import Form, Level, LoopProgram, Product, Reduce, Store, Total

ELEMENTWISE = frozenset(
    "neg abs sign add sub mul div zmul zdiv maximum minimum exp expm1 log log1p sqrt sin cos tan "
    "asin acos atan sinh cosh tanh asinh acosh atanh sigmoid erf floor ceil round equal less "
    "less_equal and or xor invert where cast alias pow atan2".split()
)
#: What else may stand in a fused loop.
MOVING = ("slice", "concat", "reshape", "broadcast_to", "sum", "max", "pad")
#: Of these, the ones that code is made for when the operands are integers or booleans.
EXACT = frozenset(
    "neg add sub mul maximum minimum equal less less_equal and or xor invert where cast "
    "alias".split()
)
#: Worth keeping when several loops read the result.
COSTLY = frozenset(
    "exp expm1 log log1p sqrt sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh sigmoid "
    "erf pow atan2 div zdiv".split()
)
#: Operations whose result the level after the one that makes it reads from memory.
BARRIERS = ("sum", "max", "concat", "pad")
#: Operations that put a matrix together from pieces.
JOINS = ("concat", "pad")


class Unsupported(Exception):
    """The scan cannot become a loop program; the message names the operation and why."""


def lower(node: Node, halves: bool = False) -> LoopProgram:
    """The loop program of a scan; Unsupported if its body is not one, or has floats of 16 bits and
    the code generator does not (`halves`)."""
    body: Graph = node.attrs["body"]
    for v in (*body.inputs, *[v for n in body.nodes for v in n.outputs]):
        if v.type.dtype.is_float and v.type.dtype.itemsize < 4 and not halves:
            raise Unsupported(f"{v.type} inside the loop")
    return _Lowering(node).run()


def _with_copies(body: Graph, n_const: int, n_carry: int) -> Graph:
    """Outputs that need memory of their own get it.

    These are stacked products (they are written in padded rows), operands of the step that are
    results too, and constant arrays. A stack of the carry before every step needs none when the
    carry after is stacked: see `LoopProgram.shifted`.
    """
    products = {n.output for n in body.nodes if n.op.name == "contract"}
    given, ys = set(body.inputs), body.outputs[n_carry:]
    carries = dict(zip(body.inputs[n_const : n_const + n_carry], body.outputs))
    shifted = {v for v in ys if carries.get(v) in ys and carries[v] not in given | products}
    copies: dict[Var, Var] = {}
    constant = {n.output: n for n in body.nodes if n.op.name == "full" and n.output.type.ndim}

    def own(v: Var, stacked: bool) -> Var:
        if v in constant:
            return copies.setdefault(v, Var(v.type))
        if (v in shifted and stacked) or not (v in given or (stacked and v in products)):
            return v
        return copies.setdefault(v, Var(v.type))

    outputs = [own(v, j >= n_carry) for j, v in enumerate(body.outputs)]
    nodes = list(body.nodes)
    for v, w in copies.items():
        if v in constant:
            one = Var(v.type.with_shape(()))
            nodes.append(Node(primitives["full"], (), {**constant[v].attrs, "shape": ()}, (one,)))
            nodes.append(Node(primitives["broadcast_to"], (one,), {"shape": v.type.shape}, (w,)))
        else:
            nodes.append(Node(primitives["alias"], (v,), {}, (w,)))
    return Graph(body.inputs, nodes, outputs)


def _with_columns(body: Graph) -> Graph:
    """A single column of a matrix as the maximum of a slice of it: one number per row."""
    nodes: list[Node] = []
    for n in body.nodes:
        out = n.outputs[0].type
        if n.op.name != "slice" or out.ndim != 2 or out.shape[1] != 1 or not out.dtype.is_float:
            nodes.append(n)
            continue
        piece, column = Var(out), Var(out.with_shape(out.shape[:1]))
        nodes += [
            Node(n.op, n.inputs, n.attrs, (piece,)),
            Node(primitives["max"], (piece,), {"axes": (1,)}, (column,)),
            Node(primitives["reshape"], (column,), {"shape": out.shape}, n.outputs),
        ]
    return Graph(body.inputs, nodes, body.outputs)


class _Lowering:
    def __init__(self, node: Node):
        self.node = node
        n_const, n_carry = node.attrs["n_const"], node.attrs["n_carry"]
        given: Graph = _with_columns(node.attrs["body"])
        shown = len(given.outputs) - node.attrs.get("sums", 0)
        self.body: Graph = _with_copies(
            Graph(given.inputs, given.nodes, given.outputs[:shown]), n_const, n_carry
        )
        self.summed = given.outputs[shown:]
        self.consts = list(self.body.inputs[:n_const])
        self.carry_in = list(self.body.inputs[n_const : n_const + n_carry])
        self.carry_out = list(self.body.outputs[:n_carry])
        self.xs = list(self.body.inputs[n_const + n_carry :])
        self.ys = list(self.body.outputs[n_carry:])
        self.producer = {v: n for n in self.body.nodes for v in n.outputs}
        self.form: dict[Var, Form] = {}
        self.level: dict[Var, int] = {}
        self.products: list[Product] = []
        self.rows = self._rows()

    def run(self) -> LoopProgram:
        for v in self.consts:
            self.level[v] = 0
        for v in self.carry_in:
            self.form[v], self.level[v] = self._varying(v), 0
        for v in self.xs:
            self.form[v], self.level[v] = self._of_step(v), 0
        for n in self.body.nodes:
            self._type(n)
        for v in (*self.carry_out, *self.ys):
            if v not in self.form:
                self.form[v] = self._fixed(v)
        for v, w in zip(self.carry_in, self.carry_out):
            if self.form[v] != self.form[w]:
                raise Unsupported(
                    f"the carry {v.type} is {self.form[v]} before and {self.form[w]} after a step"
                )
        self.totals = {Var(v.type): v for v in self.summed}
        if any(self.form[v] != "mat" for v in self.summed):
            raise Unsupported("a sum over rows of what is no matrix")
        levels = self._levels()
        return LoopProgram(
            self.node, self.body, self.rows, self.form, self.level, levels, self.kept, self.consts,
            list(zip(self.carry_in, self.carry_out)), self.xs, self.ys, self.producer,
            list(self.totals),
        )  # fmt: skip

    # --- forms -------------------------------------------------------------------------------

    def _rows(self) -> int:
        if "rows" in self.node.attrs:
            return int(self.node.attrs["rows"])
        sizes = {v.type.shape[0] for v in self.carry_in if v.type.shape}
        if len(sizes) != 1 or any(not v.type.shape or v.type.ndim > 2 for v in self.carry_in):
            raise Unsupported(
                "carries "
                + ", ".join(str(v.type) for v in self.carry_in)
                + " are not all [rows, …]"
            )
        return sizes.pop()

    @staticmethod
    def _check_element(v: Var) -> None:
        dtype = v.type.dtype
        if dtype.is_complex or (dtype.is_integer and dtype.itemsize not in (4, 8)):
            raise Unsupported(f"an operand is {v.type}")

    def _varying(self, v: Var) -> Form:
        shape = v.type.shape
        self._check_element(v)
        if len(shape) == 2 and shape[0] == self.rows:
            return "col" if shape[1] == 1 else "mat"
        if len(shape) == 1 and shape[0] == self.rows:
            return "col"
        if not shape:
            return "one"
        raise Unsupported(f"an operand {v.type} has no axis of {self.rows} rows in front")

    def _of_step(self, v: Var) -> Form:
        """An x: rows, or what all rows of a step share."""
        shape = v.type.shape
        if len(shape) == 1 and any(
            v in n.inputs and n.op.name in ELEMENTWISE and n.outputs[0].type.ndim > 1
            for n in self.body.nodes
        ):
            shape = (1, *shape)
        if len(shape) == 2 and shape[0] == 1 < self.rows:
            self._check_element(v)
            return "one" if shape[1] == 1 else "vec"
        return self._varying(v)

    def _fixed(self, v: Var) -> Form:
        """A const where an elementwise operation reads it."""
        shape = v.type.shape
        if len(shape) == 2 and shape[0] == self.rows and self.rows > 1:
            return "col" if shape[1] == 1 else "mat"
        if len(shape) == 2 and shape[0] == 1:
            return "one" if shape[1] == 1 else "vec"
        if len(shape) == 1:
            return "one" if shape[0] == 1 else "vec"
        if not shape:
            return "one"
        raise Unsupported(f"a const {v.type} is read elementwise")

    def _of(self, v: Var) -> Form:
        if v not in self.form:
            self.form[v] = self._fixed(v)
        return self.form[v]

    def _type(self, n: Node) -> None:
        name, out = n.op.name, n.outputs[0]
        for v in (*n.inputs, out):
            if v.type.dtype.is_complex:
                raise Unsupported(f"'{name}' of {v.type} inside the loop")
        if name == "full":
            self.form[out], self.level[out] = "one", 0
            return
        if name == "contract":
            self._contract(n)
            return
        if name not in ELEMENTWISE and name not in MOVING:
            raise Unsupported(f"'{name}' inside the loop")
        exact = n.inputs and not n.inputs[-1].type.dtype.is_float
        if exact and name not in EXACT and (name in ELEMENTWISE or name in ("sum", "max")):
            raise Unsupported(f"'{name}' of {n.inputs[-1].type} inside the loop")
        forms = [self._of(v) for v in n.inputs]
        self.level[out] = max([self.level[v] for v in n.inputs], default=0)
        if name in ("sum", "max"):
            if forms != ["mat"] or n.attrs["axes"] != (1,):
                raise Unsupported(f"'{name}' of {n.inputs[0].type} over axes {n.attrs['axes']}")
            self.form[out] = "col"
            self.level[out] += 1
            return
        self.form[out] = getattr(self, f"_form_of_{name}", self._form_of_elementwise)(n, forms)
        if name in JOINS:  # written piece by piece, read as a whole by the next level
            self.level[out] += 1

    def _form_of_elementwise(self, n: Node, forms: list[Form]) -> Form:
        out = n.outputs[0].type
        for v, f in zip(n.inputs, forms):
            if f in ("mat", "col") and v.type.ndim != out.ndim:
                raise Unsupported(f"'{n.op.name}' broadcasts {v.type} to {out}")
        if "vec" in forms and "col" in forms and out.ndim != 2:
            raise Unsupported(f"'{n.op.name}' reads a const along the rows of {out}")
        if "mat" in forms or ("col" in forms and "vec" in forms):
            return "mat"
        form: Form = "col" if "col" in forms else "vec" if "vec" in forms else "one"
        if out.ndim == 2 and out.shape[0] == self.rows and out.shape[1] > 1:
            if form == "col" or (form == "vec" and self.rows > 1):
                return "mat"  # one of the operands is a constant array
        return form

    def _form_of_slice(self, n: Node, forms: list[Form]) -> Form:
        source, out = n.inputs[0].type, n.outputs[0].type
        if set(n.attrs["step"]) > {1} or forms[0] not in ("mat", "vec"):
            raise Unsupported(f"a slice of {source} with steps {n.attrs['step']}")
        if forms[0] == "mat" and out.shape[0] != source.shape[0]:
            raise Unsupported(f"a slice of {source} cuts rows")
        if forms[0] == "mat" and out.shape[1] == 1 and not out.dtype.is_float:
            raise Unsupported(f"a single column of {source}")
        return forms[0]

    def _is_matrix(self, v: Var, form: Form) -> bool:
        """Whether `v` can be a piece of a matrix: it is one, or a column of one, or constant."""
        rows_in_front = v.type.ndim == 2 and v.type.shape[0] == self.rows
        return form == "mat" or (rows_in_front and (form == "one" or v.type.shape[1] == 1))

    def _form_of_concat(self, n: Node, forms: list[Form]) -> Form:
        if n.attrs["axis"] != 1 or not all(map(self._is_matrix, n.inputs, forms)):
            given = ", ".join(str(v.type) for v in n.inputs)
            raise Unsupported(f"concat of {given} along axis {n.attrs['axis']}")
        return "mat"

    def _form_of_pad(self, n: Node, forms: list[Form]) -> Form:
        low, high, between = (n.attrs[k] for k in ("low", "high", "interior"))
        if not self._is_matrix(n.inputs[0], forms[0]) or low[0] or high[0] or any(between):
            raise Unsupported(f"pad of {n.inputs[0].type} by {low}, {high}, {between}")
        return "mat"

    def _form_of_reshape(self, n: Node, forms: list[Form]) -> Form:
        (source, out), f = (n.inputs[0].type, n.outputs[0].type), forms[0]
        if f == "col" and out.shape in ((self.rows,), (self.rows, 1)):
            return "col"
        if f == "one" or (
            f == "vec" and out.shape in ((1, source.size), (source.size,))
        ):
            return f
        raise Unsupported(f"reshape of {source} to {out.shape}")

    def _form_of_broadcast_to(self, n: Node, forms: list[Form]) -> Form:
        source, out, f = n.inputs[0].type, n.outputs[0].type, forms[0]
        if out.shape == source.shape:
            return f
        if f == "col" and source.ndim == out.ndim == 2:
            return "mat"
        if f in ("one", "vec") and out.ndim == 2 and out.shape[0] == self.rows:
            return "mat" if out.shape[1] > 1 else "col"
        if f == "one" and out.ndim == 1:
            return "col" if out.shape[0] == self.rows else "vec"
        raise Unsupported(f"broadcast of {source} to {out.shape}")

    def _contract(self, n: Node) -> None:
        x, y = n.inputs
        a, b, out = n.attrs["a"], n.attrs["b"], n.attrs["out"]
        if x in self.consts and x not in self.form and self._is_moving(y):
            x, y, a, b = y, x, b, a
        if not (self._is_moving(x) and y in self.consts and x.type.ndim == 2 == n.output.type.ndim):
            raise Unsupported(f"a product of {n.inputs[0].type} and {n.inputs[1].type}")
        row, new = a[0], [i for i in out if i not in a]
        k = [i for i in a if i in b and i not in out]
        whole = k == [a[1]] and len(new) == 1 and out == (row, new[0])
        if not whole or sorted(b) not in (sorted([*k, *new]), sorted([row, *k, *new])):
            raise Unsupported(
                f"a product with labels {n.attrs['a']}, {n.attrs['b']} -> {n.attrs['out']}"
            )
        o = n.outputs[0]
        self.form[o] = "mat" if o.type.shape[1] > 1 else "col"
        made = self.producer.get(x)
        self.level[o] = self.level[x] + (made is None or made.op.name not in BARRIERS)
        axes = (b.index(row) if row in b else None, b.index(k[0]), b.index(new[0]))
        self.products.append(Product(o, x, y, axes, x.type.shape[1], o.type.shape[1]))

    def _is_moving(self, v: Var) -> bool:
        return self.form.get(v) == "mat" and (v not in self.consts)

    # --- levels ------------------------------------------------------------------------------

    def _levels(self) -> list[Level]:
        kept: dict[Var, str] = {}
        for v in self.ys:
            if v not in self.carry_in:
                kept[v] = "stack"
        for v in self.carry_out:
            kept.setdefault(v, "carry")
        for p in self.products:
            kept.setdefault(p.out, "product")
            if p.moving in self.producer:
                kept.setdefault(p.moving, "scratch")
        for n in self.body.nodes:
            if n.op.name in BARRIERS:
                kept.setdefault(n.outputs[0], "scratch")
        self._keep_costly(kept)
        self.kept = kept
        count = 1 + max([self.level.get(v, 0) for v in (*kept, *self.summed)], default=0)
        levels = [Level() for _ in range(count)]
        for p in self.products:
            levels[self.level[p.out]].products.append(p)
        for n in self.body.nodes:
            o = n.outputs[0]
            if n.op.name in ("sum", "max"):
                source = n.inputs[0]
                levels[self.level[o] - 1].add(Reduce(o, n.op.name, source, source.type.shape[1]))
        made = {p.out for p in self.products}
        reduced = {n.outputs[0] for n in self.body.nodes if n.op.name in ("sum", "max")}
        for v in kept:
            if v in made or v in reduced:  # its product or reduction writes it where it is kept
                continue
            level = levels[self._storing(v)]
            f = self.form[v]
            if f == "mat":
                for start, w in self._pieces(v):
                    level.add(Store(v, start, w))
            elif f == "col":
                level.columns.append(v)
            else:
                raise Unsupported(f"an output {v.type} that is the same for all rows")
        for out, v in self.totals.items():
            self.form[out], kept[out] = "mat", "total"
            for start, w in self._pieces(v):
                levels[self._storing(v)].add(Total(out, v, start, w))
        return levels

    def _storing(self, v: Var) -> int:
        """The level whose loops write `v`."""
        node = self.producer.get(v)
        joined = node is not None and node.op.name in JOINS
        return self.level.get(v, 0) - joined

    def _keep_costly(self, kept: dict[Var, str]) -> None:
        """Costly results that a later level reads are kept, not computed again."""
        for n in self.body.nodes:
            for v in n.inputs:
                made = self.producer.get(v)
                if made is None or made.op.name not in COSTLY or v in kept:
                    continue
                if self.form[v] in ("mat", "col") and self.level[n.outputs[0]] > self.level[v]:
                    kept[v] = "scratch"

    def _pieces(self, v: Var) -> Iterable[tuple[int, int]]:
        """How a stored matrix is cut so that what it is made of is fused.

        Along its concat, or along the slices that others read of it.
        """
        n = self.producer.get(v)
        total = v.type.shape[1]
        if n is not None and n.op.name == "concat":
            at = 0
            for part in n.inputs:
                if part.type.shape[1]:
                    yield at, part.type.shape[1]
                at += part.type.shape[1]
            return
        if n is not None and n.op.name == "pad":
            low, inside = n.attrs["low"][1], n.inputs[0].type.shape[1]
            for start, w in ((0, low), (low, inside), (low + inside, total - low - inside)):
                if w:
                    yield start, w
            return
        cuts = set()
        for m in self.body.nodes:
            if m.op.name == "slice" and m.inputs[0] is v and m.output.type.shape[1] > 1:
                cuts.add((m.attrs["start"][1], m.outputs[0].type.shape[1]))
        widths = {w for _, w in cuts}
        if len(widths) == 1:
            w = widths.pop()
            if total % w == 0 and all(s % w == 0 for s, _ in cuts):
                yield from ((s, w) for s in range(0, total, w))
                return
        yield 0, total
