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
SEVERAL = ("call", "custom", "scan")


class Printer:
    """Collects the lines of one function and the objects that it refers to."""

    def __init__(self, kernel: Callable[[Node], Kernel | None], empty: Callable[..., Any], takes_out: Any):
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

    def block(self, graph: Graph, indent: str, stores: dict[Var, list[str]], keep: set[Var]) -> None:
        """Print the nodes of `graph`; a variable in `stores` is written to those places too."""
        last: dict[Var, int] = {}
        for i, node in enumerate(graph.nodes):
            for v in (*node.inputs, *node.outputs):
                last[v] = i
        born = {v for node in graph.nodes for v in node.outputs}
        for i, node in enumerate(graph.nodes):
            kernel = self.kernel(node)
            done: set[Var] = set()
            if kernel is None:
                self.loop(node, indent)
            else:
                done = self.call(kernel, node, indent, stores)
            for v in node.outputs:
                if v not in done:
                    self.lines += [f"{indent}{place} = {self.name(v)}" for place in stores.get(v, ())]
            dead = [v for v in dict.fromkeys((*node.inputs, *node.outputs))
                    if v in born and last[v] == i and v not in keep and v not in self.literals]  # fmt: skip
            if dead:
                self.lines.append(f"{indent}{' = '.join(self.name(v) for v in dead)} = None")

    def call(self, kernel: Kernel, node: Node, indent: str, stores: dict[Var, list[str]]) -> set[Var]:
        if node.op.name == "full" and node.output.type.size == 1:
            # a literal: made once, here
            self.names[node.output] = self.refer(kernel())
            self.literals.add(node.output)
            return set()
        args = [self.name(v) for v in node.inputs]
        left = ", ".join(self.name(v) for v in node.outputs)
        written: set[Var] = set()
        if len(node.outputs) == 1 and stores.get(node.output) and self.takes_out(kernel, node):
            place, *others = stores[node.output]
            args.append(place)
            self.lines.append(f"{indent}{left} = {self.refer(kernel)}({', '.join(args)})")
            self.lines += [f"{indent}{other} = {left}" for other in others]
            written.add(node.output)
        else:
            comma = "," if node.op.name in SEVERAL else ""
            self.lines.append(f"{indent}{left}{comma} = {self.refer(kernel)}({', '.join(args)})")
        return written

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
            range(node.attrs["length"] - 1, -1, -1) if node.attrs["reverse"] else range(node.attrs["length"])
        )
        emit(f"{indent}for {t} in {order}:")
        inner = indent + "  "
        for v, source in zip(xs, outer[n_const + n_carry :]):
            emit(f"{inner}{self.name(v)} = {source}[{t}]")
        stores: dict[Var, list[str]] = {}
        for v, stack in zip(ys, stacks):
            stores.setdefault(v, []).append(f"{stack}[{t}, ...]" if not v.type.shape else f"{stack}[{t}]")
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
