"""What a graph becomes: its loops before and after the passes, in words.

In: a recorded Graph. Out: an Explanation with `.loops` and a readable `str`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from .backend import Backend, optimize
from .graph import Graph, Node, Var, subgraphs


class Loop(NamedTuple):
    """One loop of the optimised graph.

    products: contractions in the body, those of loops inside included. residuals: types of the
    stacks that the loop keeps for a backward loop; residual_bytes: their bytes per step.
    """

    length: int
    reverse: bool
    products: int
    nodes: int
    carry: tuple[str, ...]
    residuals: tuple[str, ...]
    residual_bytes: int
    body: Graph


def products(graph: Graph) -> int:
    """The number of contractions in a graph and in the bodies inside it."""
    count = 0
    for node in graph.nodes:
        count += node.op.name == "contract"
        count += sum(products(sub) for _, sub in subgraphs(node))
    return count


def scans(graph: Graph) -> Iterator[Node]:
    """All scan nodes, outer ones first."""
    for node in graph.nodes:
        if node.op.name == "scan":
            yield node
        for _, sub in subgraphs(node):
            yield from scans(sub)


def loop_of(node: Node) -> Loop:
    body, n_carry, shown = node.attrs["body"], node.attrs["n_carry"], node.attrs["shown"]
    kept: list[Var] = list(body.outputs[shown:])
    return Loop(
        node.attrs["length"],
        node.attrs["reverse"],
        products(body),
        len(body.nodes),
        tuple(str(v.type) for v in body.outputs[:n_carry]),
        tuple(str(v.type) for v in kept),
        sum(v.type.nbytes for v in kept),
        body,
    )


class Explanation:
    """The loops of a function, before and after the passes; print it."""

    def __init__(self, graph: Graph, backend: Backend):
        self.recorded, self.backend = graph, backend
        self.graph = optimize(graph)
        self.before = [loop_of(n) for n in scans(self.recorded)]
        self.loops = [loop_of(n) for n in scans(self.graph)]

    @property
    def products_outside(self) -> int:
        """Contractions that run once, not in a loop."""
        return sum(node.op.name == "contract" for node in self.graph.nodes)

    def __str__(self) -> str:
        lines = [
            f"{len(self.recorded.nodes)} operations recorded, "
            f"{len(self.graph.nodes)} after the passes, "
            f"{self.products_outside} products outside of loops; backend {self.backend.name}"
        ]
        how = Counter(how for _, how in self.backend.report(self.graph))
        lines.append("how they run: " + ", ".join(f"{n} x {what}" for what, n in how.items()))
        for title, loops in (("recorded", self.before), ("optimised", self.loops)):
            lines.append(f"{title}: {len(loops)} loops")
            for k, loop in enumerate(loops):
                way = "backwards" if loop.reverse else "forwards"
                lines.append(
                    f"  loop {k}: {loop.length} steps {way}, {loop.products} products and "
                    f"{loop.nodes} operations per step, carry ({', '.join(loop.carry)})"
                )
                if loop.residuals:
                    lines.append(
                        f"    saves {loop.residual_bytes} bytes per step: "
                        + ", ".join(loop.residuals)
                    )
        for k, loop in enumerate(self.loops):
            lines += [f"loop {k}: " + str(loop.body)]
        return "\n".join(lines)

    __repr__ = __str__
