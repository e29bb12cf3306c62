"""A graph as straight-line Python that calls kernels: what a backend runs unless it has better.

In: a Graph and the kernel of every node. Out: a Python function on buffers. The source is made
only of names that are ours (`v12`, `k3`); values reach it as objects, never as text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .graph import Graph, Node, Var

Kernel = Callable[..., Any]
#: Operations whose kernels return a tuple, even of one.
SEVERAL = ("call", "custom", "scan", "fused")
#: Operations whose result may be a view of their operand.
VIEWS = ("reshape", "transpose", "broadcast_to", "slice", "flip", "alias", "bitcast")
#: Operations whose element i of the result is written after element i of the operands was read.
ELEMENTWISE = tuple("neg add sub mul div tanh exp log sqrt maximum minimum abs".split())
#: Operations that always make a buffer of their own.
FRESH = (*ELEMENTWISE, "contract", "sigmoid")
#: Results of this many bytes get their memory from the backend, which may have some at hand.
LARGE = 1 << 15


class Lifetimes:
    """Where in a graph every variable is read last, and which buffers may be written again.

    A buffer may be written again when the variable that it was made for and all views of it are
    read for the last time.
    """

    def __init__(self, graph: Graph, escaping: set[Var]):
        self.last: dict[Var, int] = {}
        self.root: dict[Var, Var] = {}
        self.fresh: set[Var] = set()
        for i, node in enumerate(graph.nodes):
            for v in (*node.inputs, *node.outputs):
                self.last[v] = i
            for v in node.outputs:
                if node.op.name in VIEWS:
                    self.root[v] = self.root.get(node.inputs[0], node.inputs[0])
                elif node.op.name in (*FRESH, "fused"):
                    self.fresh.add(v)
        self.born = {v for node in graph.nodes for v in node.outputs}
        self.group_last: dict[Var, int] = {}
        for v, i in self.last.items():
            r = self.root.get(v, v)
            self.group_last[r] = max(self.group_last.get(r, 0), i)
        # a loop may hand on an operand as its result, under a name that is not known here as a view
        handing = [node for node in graph.nodes if node.op.name in SEVERAL[:-1]]
        handed = [v for node in handing for v in node.inputs]
        self.escaping = {self.root.get(v, v) for v in (*escaping, *handed, *graph.outputs)}

    def ending(self, i: int, node: Node) -> list[Var]:
        """Variables of this block that nobody reads after node i."""
        return [
            v
            for v in dict.fromkeys((*node.inputs, *node.outputs))
            if v in self.born and self.last[v] == i
        ]

    def reusable(self, i: int, node: Node) -> Var | None:
        """An operand of node i in whose buffer the result may be written."""
        if node.op.name not in ELEMENTWISE:
            return None
        for v in node.inputs:
            if (
                v in self.fresh and v.type is node.output.type
                and self.group_last[v] == i and v not in self.escaping
            ):  # fmt: skip
                return v
        return None


class Printer:
    """Collects the lines of one function and the objects that it refers to."""

    def __init__(
        self, kernel: Callable[[Node], Kernel | None], empty: Callable[..., Any], takes_out: Any
    ):
        self.kernel, self.empty, self.takes_out = kernel, empty, takes_out
        self.lines: list[str] = []
        self.scope: dict[str, Any] = {"empty": empty}
        self.names: dict[Var, str] = {}
        self.literals: set[Var] = set()

    def name(self, v: Var) -> str:
        return self.names.setdefault(v, f"v{len(self.names)}")

    def refer(self, value: Any) -> str:
        key = f"k{len(self.scope)}"
        self.scope[key] = value
        return key

    def block(
        self, graph: Graph, indent: str, stores: dict[Var, list[str]], keep: set[Var]
    ) -> None:
        """Print the nodes of `graph`; a variable in `stores` is written to those places too."""
        life = Lifetimes(graph, keep | set(stores))
        for i, node in enumerate(graph.nodes):
            kernel = self.kernel(node)
            done: set[Var] = set()
            if kernel is None:
                self.loop(node, indent)
            else:
                done = self.call(kernel, node, indent, stores, life.reusable(i, node))
            for v in node.outputs:
                if v not in done:
                    self.lines += [
                        f"{indent}{place} = {self.name(v)}" for place in stores.get(v, ())
                    ]
            dead = [v for v in life.ending(i, node) if v not in keep and v not in self.literals]
            if dead:
                self.lines.append(f"{indent}{' = '.join(self.name(v) for v in dead)} = None")

    def call(
        self,
        kernel: Kernel,
        node: Node,
        indent: str,
        stores: dict[Var, list[str]],
        reusable: Var | None,
    ) -> set[Var]:
        if node.op.name == "full" and node.output.type.size == 1:
            # a literal: made once, here
            self.names[node.output] = self.refer(kernel())
            self.literals.add(node.output)
            return set()
        args = [self.name(v) for v in node.inputs]
        left = ", ".join(self.name(v) for v in node.outputs)
        places: list[str] = []
        if len(node.outputs) == 1 and node.op.name not in SEVERAL and self.takes_out(kernel, node):
            places = stores.get(node.output, [])
            if places:
                args.append(f"out={places[0]}")
            elif reusable is not None:
                args.append(f"out={self.name(reusable)}")
            elif node.output.type.nbytes >= LARGE:
                args.append(f"out=empty({self.refer(node.output.type)})")
        comma = "," if node.op.name in SEVERAL else ""
        self.lines.append(f"{indent}{left}{comma} = {self.refer(kernel)}({', '.join(args)})")
        self.lines += [f"{indent}{other} = {left}" for other in places[1:]]
        return {node.output} if places else set()

    def loop(self, node: Node, indent: str) -> None:
        """A scan as a Python `for`; stacked outputs are allocated once and written in place."""
        body: Graph = node.attrs["body"]
        n_const, n_carry = node.attrs["n_const"], node.attrs["n_carry"]
        outer = [self.name(v) for v in node.inputs]
        consts, carry, xs = (
            body.inputs[:n_const],
            body.inputs[n_const : n_const + n_carry],
            body.inputs[n_const + n_carry :],
        )
        carry_out, ys = body.outputs[:n_carry], body.outputs[n_carry:]
        emit = self.lines.append
        for v, source in zip((*consts, *carry), outer):
            emit(f"{indent}{self.name(v)} = {source}")
        stacks = [self.name(v) for v in node.outputs[n_carry:]]
        for stack, v in zip(stacks, node.outputs[n_carry:]):
            emit(f"{indent}{stack} = empty({self.refer(v.type)})")
        t = f"t{len(self.names)}_{len(self.lines)}"
        order = self.refer(
            range(node.attrs["length"] - 1, -1, -1)
            if node.attrs["reverse"]
            else range(node.attrs["length"])
        )
        emit(f"{indent}for {t} in {order}:")
        inner = indent + "  "
        for v, source in zip(xs, outer[n_const + n_carry :]):
            emit(f"{inner}{self.name(v)} = {source}[{t}]")
        stores: dict[Var, list[str]] = {}
        for v, stack in zip(ys, stacks):
            stores.setdefault(v, []).append(
                f"{stack}[{t}, ...]" if not v.type.shape else f"{stack}[{t}]"
            )
        first = len(self.lines)
        self.block(body, inner, stores, keep=set(carry_out))
        given = set(body.inputs)
        for v in dict.fromkeys(ys):
            if v in given:
                self.lines += [f"{inner}{place} = {self.name(v)}" for place in stores[v]]
        moves = [(self.name(a), self.name(b)) for a, b in zip(carry, carry_out) if a is not b]
        if moves:
            emit(f"{inner}{', '.join(m[0] for m in moves)} = {', '.join(m[1] for m in moves)}")
        if len(self.lines) == first:
            emit(f"{inner}pass")
        for v, inside in zip(node.outputs[:n_carry], carry):
            emit(f"{indent}{self.name(v)} = {self.name(inside)}")


def compile_python(
    graph: Graph,
    kernel: Callable[[Node], Kernel | None],
    empty: Callable[..., Any],
    takes_out: Callable[[Kernel, Node], bool] = lambda kernel, node: False,
) -> Callable[..., Sequence[Any]]:
    """The graph as a function on buffers that returns the list of its outputs."""
    printer = Printer(kernel, empty, takes_out)
    args = ", ".join(printer.name(v) for v in graph.inputs)
    printer.block(graph, "  ", {}, keep=set(graph.outputs))
    result = ", ".join(printer.name(v) for v in graph.outputs)
    source = "\n".join([f"def run({args}):", *printer.lines, f"  return [{result}]"])
    scope = printer.scope
    exec(compile(source, f"<graph {graph.digest[:12]}>", "exec"), scope)
    run: Callable[..., Sequence[Any]] = scope["run"]
    return run
