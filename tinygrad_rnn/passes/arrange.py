"""Rearranges a loop body so that fission finds what can leave it, and one product does for several.

* `concat(x, h) @ W` becomes `x @ W1 + h @ W2` when x and h depend on different things.
* Sums are re-associated: what does not depend on the carry is added up first.
* Products of one recurrent operand with several consts become one (the gates of a cell).
* Sums of products of recurrent operands with consts become one (the gates' derivative).
* A slice of a product with a const is the product with a slice of the const.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..graph import Graph, Node, Var
from ..ops.contraction import contract
from ..ops.movement import Concat, narrow, transpose
from ..primitive import bind
from ..tensor import Tensor
from .classes import CARRY, Classes, invariant_first, masks
from .rewriting import perform, producer, rebuild, tensor_of, uses, var

Labels = tuple[int, ...]


def arrange(body: Graph, n_const: int, n_carry: int) -> Graph:
    """The body rearranged; its inputs and outputs stay in place."""
    body = _narrow_sums(body, _core(body, n_const, n_carry))
    body = _Sums(body, n_const, n_carry).run()
    return _join_shared(body, n_const, n_carry)


def _core(body: Graph, n_const: int, n_carry: int) -> set[Var]:
    classes = Classes(body, n_const, n_carry)
    return classes.core(set(classes.accumulators))


def _narrow_sums(body: Graph, core: set[Var]) -> Graph:
    """Slices of a sum, some recurrent and some not, become sums of slices."""
    read = _read_in_slices(body, "add", core)

    def rewrite(node: Node, args: list[Tensor]) -> Sequence[Tensor] | None:
        if node.op.name != "slice" or node.inputs[0] not in read:
            return None
        return [_slice_terms(args[0], node)]

    return rebuild(body, rewrite) if read else body


def _slice_terms(t: Tensor, node: Node) -> Tensor:
    total = producer(t, "add")
    if total is not None and all(v.type is t.type for v in total.inputs):
        left, right = (tensor_of(v) for v in total.inputs)
        return _slice_terms(left, node) + _slice_terms(right, node)
    return perform(node.op, [t], node.attrs)[0]


def _read_in_slices(body: Graph, name: str, core: set[Var]) -> set[Var]:
    """Results of operations `name` that only slices read (or such operations), some of the slices
    recurrent and some not: cut early, the latter can leave the loop."""
    count = uses(body)
    readers: dict[Var, list[Node]] = {}
    for node in body.nodes:
        for v in node.inputs:
            readers.setdefault(v, []).append(node)
    slices: dict[Var, list[Var]] = {}
    for node in reversed(body.nodes):
        if node.op.name != name:
            continue
        inside = readers.get(node.output, [])
        if len(inside) != count.get(node.output, 0):
            continue  # an output of the body reads it too
        ends: list[Var] | None = []
        for n in inside:
            more = (
                [n.output]
                if n.op.name == "slice"
                else slices.get(n.output)
                if n.op.name == name
                else None
            )
            ends = None if ends is None or more is None else ends + more
        if ends is not None:
            slices[node.output] = ends
    return {v for v, ends in slices.items() if 0 < sum(e in core for e in ends) < len(ends)}


class _Sums:
    """Splits concatenated operands, moves slices to the consts, and rebuilds sums by what they
    depend on."""

    def __init__(self, body: Graph, n_const: int, n_carry: int):
        mask = masks(body, n_const, n_carry)
        self.body = Graph(body.inputs, invariant_first(body.nodes, mask), body.outputs)
        self.n_const, self.n_carry = n_const, n_carry
        count = uses(body)
        readers: dict[Var, list[str]] = {}
        for node in body.nodes:
            for v in node.inputs:
                readers.setdefault(v, []).append(node.op.name)
        #: sums that only another sum reads: their terms may be regrouped with its own
        self.inner = {
            n.output
            for n in body.nodes
            if n.op.name == "add" and count[n.output] == 1 and readers.get(n.output) == ["add"]
        }
        #: products that are read in slices only
        self.sliced = _read_in_slices(body, "contract", _core(body, n_const, n_carry))
        self.mask: dict[Var, int] = {}
        self.terms: dict[Var, list[Tensor]] = {}

    def run(self) -> Graph:
        return rebuild(self.body, self._rewrite)

    def _bits(self, t: Tensor) -> int:
        """What a tensor of the graph under construction depends on."""
        v = var(t)
        if v not in self.mask:
            stack = [v]
            while stack:
                u = stack[-1]
                node = producer(tensor_of(u))
                missing = [w for w in node.inputs if w not in self.mask] if node else []
                if missing:
                    stack += missing
                    continue
                bits = 0
                for w in node.inputs if node else ():
                    bits |= self.mask[w]
                self.mask[u] = bits
                stack.pop()
        return self.mask[v]

    def _rewrite(self, node: Node, args: list[Tensor]) -> Sequence[Tensor] | None:
        if not self.mask:
            self._seed()
        if node.op.name == "contract":
            return self._split(node, args)
        if node.op.name == "slice" and node.inputs[0] in self.sliced:
            return self._narrow(node, args[0])
        if node.op.name == "add":
            return self._sum(node, args)
        return None

    def _seed(self) -> None:
        from ..trace import state

        assert state.tracer is not None
        for i, v in enumerate(state.tracer.inputs):
            end = self.n_const + self.n_carry
            self.mask[v] = 0 if i < self.n_const else CARRY if i < end else 1

    def _split(self, node: Node, args: list[Tensor]) -> Sequence[Tensor] | None:
        labels = (node.attrs["a"], node.attrs["b"])
        for k in (0, 1):
            joined = producer(args[k], "concat")
            if joined is None:
                continue
            label = labels[k][joined.attrs["axis"]]
            parts = [tensor_of(v) for v in joined.inputs]
            if label in node.attrs["out"] or len({self._bits(p) for p in parts}) == 1:
                continue
            other, axis, at = args[1 - k], labels[1 - k].index(label), 0
            total: Tensor | None = None
            terms = []
            for p in parts:
                n = p.shape[joined.attrs["axis"]]
                part = narrow(other, axis, at, at + n)
                x, y = (p, part) if k == 0 else (part, p)
                term = contract(x, y, labels[0], labels[1], node.attrs["out"])
                terms.append(term)
                total = term if total is None else total + term
                at += n
            assert total is not None
            self.terms[var(total)] = terms
            self.inner.add(node.output)
            return [total]
        return None

    def _narrow(self, node: Node, whole: Tensor) -> Sequence[Tensor] | None:
        product = producer(whole, "contract")
        start, stop, step = (node.attrs[k] for k in ("start", "stop", "step"))
        axes = [i for i, n in enumerate(whole.shape) if (start[i], stop[i], step[i]) != (0, n, 1)]
        if product is None or len(axes) != 1 or step[axes[0]] != 1:
            return None
        label = product.attrs["out"][axes[0]]
        labels = (product.attrs["a"], product.attrs["b"])
        operands = [tensor_of(v) for v in product.inputs]
        for k in (0, 1):
            if label in labels[k] and label not in labels[1 - k] and self._bits(operands[k]) == 0:
                operands[k] = narrow(
                    operands[k], labels[k].index(label), start[axes[0]], stop[axes[0]]
                )
                x, y = operands
                return [contract(x, y, *labels, product.attrs["out"])]
        return None

    def _sum(self, node: Node, args: list[Tensor]) -> Sequence[Tensor]:
        terms: list[Tensor] = []
        for v, t in zip(node.inputs, args):
            terms += self.terms.get(var(t), [t]) if v in self.inner else [t]
        recurrent = [t for t in terms if self._bits(t) & CARRY]
        rest = [t for t in terms if not self._bits(t) & CARRY]
        joined = _join_sum(recurrent, self._bits)
        if (rest and recurrent) or len(joined) < len(recurrent):
            per_step = [t for t in rest if self._bits(t)]
            fixed = [t for t in rest if not self._bits(t)]
            groups = [g for g in (_total(per_step), _total(fixed)) if g is not None]
            outside = _total(groups)
            total = _total([*([] if outside is None else [outside]), *joined])
            assert total is not None
        else:
            total = perform(node.op, args, node.attrs)[0]
        self.terms[var(total)] = terms
        return [total]


def _total(terms: Sequence[Tensor]) -> Tensor | None:
    total: Tensor | None = None
    for t in terms:
        total = t if total is None else total + t
    return total


class _Product(NamedTuple):
    """A product of a recurrent operand with a const, in normal form.

    moving, fixed: the operands; pattern: what must agree for two products to be joined; labels: of
    moving, of fixed, of the result.
    """

    moving: Tensor
    fixed: Tensor
    a: Labels
    b: Labels
    out: Labels


def _product(node: Node | None, bits: dict[Var, int]) -> _Product | None:
    """`node` as recurrent operand times const, without batch axes; else None."""
    if node is None or node.op.name != "contract":
        return None
    x, y = node.inputs
    a, b, out = node.attrs["a"], node.attrs["b"], node.attrs["out"]
    if bits[y] & CARRY and bits[x] == 0:
        x, y, a, b = y, x, b, a
    if not (bits[x] & CARRY and bits[y] == 0) or any(i in b for i in a if i in out):
        return None
    number = {label: i for i, label in enumerate(dict.fromkeys((*a, *b)))}
    a, b, out = (tuple(number[i] for i in labels) for labels in (a, b, out))
    return _Product(tensor_of(x), tensor_of(y), a, b, out)


def _join_sum(terms: list[Tensor], bits_of: object) -> list[Tensor]:
    """Terms a1 @ B1 + a2 @ B2 + … as concat(a…) @ concat(B…): one product."""
    assert callable(bits_of)
    groups: dict[object, list[int]] = {}
    products: dict[int, _Product] = {}
    for i, t in enumerate(terms):
        node = producer(t, "contract")
        if node is None:
            continue
        p = _product(node, {v: bits_of(tensor_of(v)) for v in node.inputs})
        shared = [] if p is None else [k for k in p.a if k in p.b]
        if p is None or len(shared) != 1:
            continue
        k = shared[0]
        free = tuple(n for n, label in zip(p.moving.shape, p.a) if label != k)
        order = tuple(label for label in p.out if label in p.b)
        groups.setdefault((p.a, p.out, free, order, t.shape), []).append(i)
        products[i] = p
    merged: dict[int, Tensor] = {}
    gone: set[int] = set()
    for members in groups.values():
        if len(members) < 2:
            continue
        ps = [products[i] for i in members]
        k = next(label for label in ps[0].a if label in ps[0].b)
        order = (k, *[label for label in ps[0].out if label in ps[0].b])
        fixed = [transpose(p.fixed, tuple(p.b.index(label) for label in order)) for p in ps]
        moving = bind(Concat, *[p.moving for p in ps], axis=ps[0].a.index(k))
        merged[members[0]] = contract(
            moving, bind(Concat, *fixed, axis=0), ps[0].a, order, ps[0].out
        )
        gone.update(members[1:])
    return [merged.get(i, t) for i, t in enumerate(terms) if i not in gone]


def _join_shared(body: Graph, n_const: int, n_carry: int) -> Graph:
    """Products of one recurrent variable with several consts become one product and slices.

    Only of products that stay in the loop: one that can leave must not be tied to it.
    """
    classes = Classes(body, n_const, n_carry)
    mask, core = classes.mask, classes.core(set(classes.accumulators))
    body = Graph(body.inputs, invariant_first(body.nodes, mask), body.outputs)
    groups: dict[object, list[Node]] = {}
    for node in body.nodes:
        p = _product(node, mask) if node.outputs[0] in core else None
        free = [] if p is None else [label for label in p.b if label not in p.a]
        if p is None or len(free) != 1:
            continue
        key = (var(p.moving), p.a, p.out.index(free[0]), tuple(i for i in p.out if i in p.a))
        groups.setdefault(key, []).append(node)
    first = {g[0]: g for g in groups.values() if len(g) > 1}
    if not first:
        return body
    member = {node.output: g[0] for g in first.values() for node in g}
    place: dict[Node, list[Tensor]] = {}
    env: dict[Var, Tensor] = {}

    def rewrite(node: Node, args: list[Tensor]) -> Sequence[Tensor] | None:
        head = member.get(node.outputs[0])
        if head is None:
            return None
        if head not in place:
            place[head] = _joined(first[head], mask, env)
        return [place[head][first[head].index(node)]]

    return rebuild(body, rewrite, env)


def _joined(nodes: list[Node], mask: dict[Var, int], env: dict[Var, Tensor]) -> list[Tensor]:
    ps = [_product(n, mask) for n in nodes]
    head = ps[0]
    assert head is not None
    free = next(label for label in head.b if label not in head.a)
    inner = [label for label in head.a if label in head.b]
    fixed, sizes = [], []
    for p in ps:
        assert p is not None
        mine = next(label for label in p.b if label not in p.a)
        order = (mine, *inner)
        fixed.append(transpose(env[var(p.fixed)], tuple(p.b.index(label) for label in order)))
        sizes.append(fixed[-1].shape[0])
    moving = env[var(head.moving)]
    axis = head.out.index(free)
    whole = contract(moving, bind(Concat, *fixed, axis=0), head.a, (free, *inner), head.out)
    parts, at = [], 0
    for n in sizes:
        parts.append(narrow(whole, axis, at, at + n))
        at += n
    return parts
