"""Fission: what a loop need not do step by step is done before or after it, for all steps.

In: a Graph with scans. Out: a Graph whose loops hold only what is recurrent.

| class | depends on | goes |
|---|---|---|
| invariant | consts alone | before the loop, once |
| input-only | consts and xs | before the loop, batched over T, if product, WHOLE or SMALL |
| recurrent | on a path carry -> carry | stays |
| output-only | the carry, reaches only ys | after the loop, batched over T, likewise |
| accumulator | c' = c + f, c read nowhere else | one contraction over T after the loop |

SMALL is what is made of numbers of the step alone. Other elementwise work alone never moves: it
would only cost memory. Nor does elementwise work that makes a matrix of two vectors, unless a
product reads it. Everything else is decided by reachability.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from ..graph import Graph, Node, Var
from ..ops.contraction import contract
from ..ops.elementwise import Cast
from ..ops.gathering import ScatterAdd
from ..ops.movement import reshape, transpose
from ..ops.reduction import Sum
from ..primitive import Elementwise, bind
from ..tensor import Tensor
from ..vectorize import batch_nodes, lead, replay
from .arrange import arrange
from .classes import CARRY, Classes, X
from .prune import prune
from .rewriting import has_product, perform, producer, rebuild, uses
from .simplify import simplify
from .vectors import with_matrices

Thunk = Callable[[], Tensor]

#: Operations on inputs that are done for all steps at once: no part of a fused loop, or slower so.
WHOLE = frozenset("take argmax argsort cumsum mod floordiv".split())


def fission(graph: Graph) -> Graph:
    """The graph with every loop split; loops inside loops first."""
    return rebuild(graph, _rewrite)


def _rewrite(node: Node, args: list[Tensor]) -> Sequence[Tensor] | None:
    body = node.attrs.get("body")
    if not isinstance(body, Graph):
        return None
    attrs = {**node.attrs, "body": prune(simplify(fission(body)))}
    if node.op.name == "custom":  # its rule has had its say
        return replay(attrs["body"], args)
    if node.op.name != "scan":
        return perform(node.op, args, attrs)
    n_const, n_carry = attrs["n_const"], attrs["n_carry"]
    attrs["body"] = arrange(with_matrices(attrs["body"], n_const, n_carry), n_const, n_carry)
    return Split(Node(node.op, node.inputs, attrs, node.outputs), args).run()


class Split:
    """One loop being taken apart. Stacks of in-loop variables are asked for with `need` before the
    new loop is made, and read with `stacked` after."""

    def __init__(self, node: Node, args: list[Tensor]):
        self.node, self.attrs, self.args = node, node.attrs, args
        self.body: Graph = node.attrs["body"]
        self.T: int = node.attrs["length"]
        n_const, n_carry = node.attrs["n_const"], node.attrs["n_carry"]
        self.n_carry = n_carry
        self.classes = c = Classes(self.body, n_const, n_carry)
        #: values outside the loop: consts and invariants as they are, `batched` ones with a T axis
        self.env: dict[Var, Tensor] = dict(zip(self.body.inputs[:n_const], args))
        self.env |= zip(c.xs, args[n_const + n_carry :])
        self.batched: set[Var] = set(c.xs)
        self.order = {node: i for i, node in enumerate(self.body.nodes)}
        self.ys = set(self.body.outputs[n_carry:])
        self.before = self._descend(X)
        self.needed: dict[Var, None] = {}
        self.wanted: list[Var] = []
        self.uses = uses(self.body)
        self.made: dict[Var, Thunk | None] = {}
        self.totals = {i: t for i, f in c.accumulators.items() if (t := self.total(f)) is not None}
        self.core = c.core(set(self.totals))
        self.after = self._descend(CARRY)

    def _descend(self, kind: int) -> set[Var]:
        """Products of a class (of inputs, also what is WHOLE), and everything of the class that
        depends on one; of inputs, also what is SMALL."""
        c, found = self.classes, set[Var]()
        small = {v for v in c.xs if v.type.ndim == 0}
        for node in self.body.nodes:
            bits = c.mask[node.outputs[0]]
            if kind is X and bits != X:
                continue
            if kind is CARRY and (not bits & CARRY or not self.core.isdisjoint(node.outputs)):
                continue
            shared = kind is X and all(v in small or c.mask[v] == 0 for v in node.inputs)
            if shared and all(v.type.ndim < 2 for v in node.outputs):
                small.update(node.outputs)
                found.update(node.outputs)
                continue
            moves = has_product(node) or (kind is X and node.op.name in WHOLE)
            if kind is X and _spreads(node, c.mask):
                continue  # of two vectors a matrix: cheap to make at each step, large for all
            if moves or any(v in found and v not in small for v in node.inputs):
                found.update(node.outputs)
        return found

    # --- values outside the loop -------------------------------------------------------------

    def outside(self, v: Var) -> bool:
        """Whether `v` is known without the loop (or follows from its stacks)."""
        return self.classes.mask[v] & CARRY == 0 or v in self.after

    def need(self, v: Var) -> None:
        """Ask for the stack of `v`: if the loop makes it, the loop must keep it."""
        stack, seen = [v], set[Var]()
        while stack:
            u = stack.pop()
            if u in seen or self.classes.mask[u] & CARRY == 0:
                continue
            seen.add(u)
            if u in self.after:
                stack += self.classes.producer[u].inputs
            else:
                self.needed[u] = None

    def value(self, v: Var) -> Tensor:
        """`v` outside the loop: with a leading T axis if it varies (then it is in `batched`)."""
        todo: set[Node] = set()
        stack = [v]
        while stack:
            u = stack.pop()
            if u not in self.env:
                node = self.classes.producer[u]
                if node not in todo:
                    todo.add(node)
                    stack += node.inputs
        batch_nodes(sorted(todo, key=self.order.__getitem__), self.env, self.batched, self.T)
        return self.env[v]

    def stacked(self, v: Var) -> Tensor:
        """`v` of every step: [T, ...]."""
        t = self.value(v)
        return t if v in self.batched else lead(t, self.T)

    # --- accumulators ------------------------------------------------------------------------

    def total(self, v: Var) -> Thunk | None:
        """How to make the sum of `v` over all steps outside the loop; None if it should not be."""
        if v not in self.made:
            made = self._total(v)
            self.made[v] = None if made is None else functools.cache(made)
        return self.made[v]

    def _total(self, v: Var) -> Thunk | None:
        c = self.classes
        if c.mask[v] == 0:
            return lambda: self._every_step(self.value(v))
        node = c.producer.get(v)
        if node is None:
            return self._sum_of(v) if v in self.batched else None
        rule = TOTALS.get(node.op.name)
        made = rule(self, node) if rule is not None else None
        if made is None and v in self.ys:
            made = self._sum_of(v)
        return made

    def _every_step(self, x: Tensor) -> Tensor:
        """T times x; half precision cannot hold every T, and small integers wrap around."""
        if x.dtype.wide is not x.dtype:
            wide: Tensor = bind(Cast, x, dtype=x.dtype.wide) * float(self.T)
            wide = bind(Cast, wide, dtype=x.dtype)
            return wide
        if x.dtype.is_float:
            return x * float(self.T)
        times: int = np.asarray(self.T).astype(x.dtype.np).item()
        return x * times

    def _sum_of(self, v: Var) -> Thunk:
        self.later(v)
        return lambda: bind(Sum, self.stacked(v), axes=(0,))

    def later(self, *vs: Var) -> None:
        """Remember to `need` these once it is settled what stays in the loop."""
        self.wanted += vs

    # --- the new loop ------------------------------------------------------------------------

    def run(self) -> list[Tensor]:
        for v in self.wanted:
            self.need(v)
        for v in self.ys:
            if v in self.after:
                self.need(v)
        kept = [i for i in range(self.n_carry) if i not in self.totals]
        inside = self._inside(kept)
        outs = self._loop(kept, inside)
        finals: dict[int, Tensor] = dict(zip(kept, outs))
        for i, thunk in self.totals.items():
            finals[i] = _plus(self.args[self.attrs["n_const"] + i], thunk())
        ys = [self.stacked(v) for v in self.body.outputs[self.n_carry :]]
        return [*[finals[i] for i in range(self.n_carry)], *ys]

    def _inside(self, kept: list[int]) -> list[Node]:
        """The nodes that stay, in order."""
        live = {self.body.outputs[i] for i in kept} | {v for v in self.ys if not self.outside(v)}
        live |= set(self.needed)
        nodes = []
        for node in reversed(self.body.nodes):
            if live.isdisjoint(node.outputs) or not self.before.isdisjoint(node.outputs):
                continue
            if self.classes.mask[node.outputs[0]] == 0 and node.op.name != "full":
                continue
            nodes.append(node)
            live.update(node.inputs)
        return nodes[::-1]

    def _loop(self, kept: list[int], nodes: list[Node]) -> list[Tensor]:
        """Make the new loop; afterwards `env` holds its stacks. Returns the kept carries."""
        c, body, attrs = self.classes, self.body, self.attrs
        defined = {v for node in nodes for v in node.outputs} | {c.carry_in[i] for i in kept}
        outputs = [body.outputs[i] for i in kept]
        shown = dict.fromkeys(
            v for v in body.outputs[self.n_carry : attrs["shown"]] if not self.outside(v)
        )
        shown |= {v: None for v in self.needed if v not in self.ys}
        rest = dict.fromkeys(
            v for v in body.outputs[self.n_carry :] if not self.outside(v) and v not in shown
        )
        stacks = [*shown, *rest]
        if not outputs and not stacks:
            return []
        reads = dict.fromkeys(v for node in nodes for v in node.inputs if v not in defined)
        reads |= dict.fromkeys(v for v in (*outputs, *stacks) if v not in defined)
        for v in reads:
            self.value(v)
        consts = [v for v in reads if v not in self.batched]
        xs = [v for v in reads if v in self.batched]
        graph = Graph([*consts, *[c.carry_in[i] for i in kept], *xs], nodes, [*outputs, *stacks])
        outs = perform(
            self.node.op,
            [*[self.env[v] for v in consts], *[self.args[attrs["n_const"] + i] for i in kept],
             *[self.env[v] for v in xs]],
            {**attrs, "body": graph, "n_const": len(consts), "n_carry": len(kept),
             "shown": len(kept) + len(shown)},
        )  # fmt: skip
        self.env |= zip(stacks, outs[len(kept) :])
        self.batched.update(stacks)
        return list(outs[: len(kept)])


def _spreads(node: Node, mask: dict[Var, int]) -> bool:
    """Whether a result is larger than what it is made of, element by element."""
    if node.op.name == "contract":
        by_element = all(i in node.attrs["out"] for i in node.attrs["a"])
    else:
        by_element = node.op.name == "broadcast_to" or issubclass(node.op, Elementwise)
    varying = [v.type.size for v in node.inputs if mask[v]]
    return by_element and node.outputs[0].type.size > sum(varying)


def _plus(first: Tensor, total: Tensor) -> Tensor:
    start = producer(first, "full")
    return total if start is not None and start.attrs["value"] == 0 else first + total


# --- sums over all steps: linear operations commute with them -----------------------------------


def _add(s: Split, node: Node) -> Thunk | None:
    """A whole tree of additions at once: an unrolled loop in a step makes it very deep."""
    terms: list[Var] = []
    stack = [node.output]
    while stack:
        v = stack.pop()
        inside = s.classes.producer.get(v)
        if inside is node or (inside is not None and inside.op.name == "add" and s.uses[v] == 1):
            if any(w.type is not v.type for w in inside.inputs):
                return None
            stack += inside.inputs[::-1]
        else:
            terms.append(v)
    totals = [s.total(v) for v in terms]

    def make() -> Tensor:
        first, *rest = [t() for t in totals if t is not None]
        for t in rest:
            first = first + t
        return first

    return None if None in totals else make


def _neg(s: Split, node: Node) -> Thunk | None:
    inside = s.total(node.inputs[0])
    return None if inside is None else lambda: -inside()


def _scale(s: Split, node: Node) -> Thunk | None:
    """v * w with one factor the same at every step; a total of zero stops it as each v does."""
    for k in (0, 1) if node.op.name == "mul" else (0,):
        v, w = node.inputs[k], node.inputs[1 - k]
        if s.classes.mask[w] == 0 and v.type is node.output.type:
            inside = s.total(v)
            if inside is None:
                return None
            return lambda: perform(
                node.op, [inside(), s.value(w)] if k == 0 else [s.value(w), inside()], {}
            )[0]
    return None


def _moved(s: Split, node: Node) -> Thunk | None:
    if node.op.name == "pad" and node.attrs["value"] != 0:
        return None
    inside = s.total(node.inputs[0])
    return None if inside is None else lambda: perform(node.op, [inside()], node.attrs)[0]


def _concat(s: Split, node: Node) -> Thunk | None:
    inside = [s.total(v) for v in node.inputs]
    if any(t is None for t in inside):
        return None
    return lambda: perform(node.op, [t() for t in inside if t is not None], node.attrs)[0]


def _contract(s: Split, node: Node) -> Thunk | None:
    """The products of all steps and their sum: one contraction over T too."""
    x, y = node.inputs
    a, b, out = (node.attrs[k] for k in ("a", "b", "out"))
    fixed = [s.classes.mask[v] == 0 for v in (x, y)]
    if any(fixed):
        inside = s.total(y if fixed[0] else x)
        if inside is None:
            s.later(y if fixed[0] else x)
            inside = s._sum_of(y if fixed[0] else x)
        make = inside
        return lambda: (
            contract(s.value(x), make(), a, b, out)
            if fixed[0]
            else contract(make(), s.value(y), a, b, out)
        )
    s.later(x, y)
    t = max(*a, *b, -1) + 1
    return lambda: contract(s.stacked(x), s.stacked(y), (t, *a), (t, *b), out)


def _summed(s: Split, node: Node) -> Thunk | None:
    """Sums over axes: of a product of two that vary they are a contraction, which needs no stack of
    the product."""
    v, axes = node.inputs[0], node.attrs["axes"]
    factor = s.classes.producer.get(v)
    if factor is not None and factor.op.name == "mul" and v not in s.ys:
        x, y = factor.inputs
        if x.type is y.type is v.type and s.classes.mask[x] and s.classes.mask[y]:
            s.later(x, y)
            labels = tuple(range(v.type.ndim + 1))
            out = tuple(i + 1 for i in range(v.type.ndim) if i not in axes)
            return lambda: contract(s.stacked(x), s.stacked(y), labels, labels, out)
    s.later(v)
    return lambda: bind(Sum, s.stacked(v), axes=(0, *[i + 1 for i in axes]))


def _scattered(s: Split, node: Node) -> Thunk | None:
    u, i = node.inputs
    axis, size = node.attrs["axis"], node.attrs["size"]
    s.later(u, i)

    def make() -> Tensor:
        updates, indices = s.stacked(u), s.stacked(i)
        order = (*range(1, axis + 1), 0, *range(axis + 1, updates.ndim))
        flat = transpose(updates, order)
        out: Tensor = bind(ScatterAdd, flat, reshape(indices, indices.shape), axis=axis, size=size)
        return out

    return make


TOTALS: dict[str, Callable[[Split, Node], Thunk | None]] = {
    "add": _add, "neg": _neg, "mul": _scale, "div": _scale, "zdiv": _scale, "zmul": _scale,
    "contract": _contract,
    "sum": _summed, "scatter_add": _scattered, "reshape": _moved, "transpose": _moved,
    "slice": _moved, "pad": _moved, "flip": _moved, "broadcast_to": _moved, "alias": _moved,
    "concat": _concat,
}  # fmt: skip
