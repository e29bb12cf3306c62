"""What a run of the fuzzer has seen: pairs of primitives, dtypes, sizes, shapes of programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from ...extend import Graph, Node, Var, subgraphs
from .cases import all_pairs
from .check import Outcome, Variant

#: Features whose share of all programs is reported.
FEATURES = (
    "loop", "loop in a loop", "reverse loop", "empty loop", "fan-out", "dead code", "duplicate",
    "equal inputs", "stopped gradient", "recomputed call", "rule of its own", "random bits",
    "narrow floats",
)  # fmt: skip


class Coverage:
    def __init__(self) -> None:
        self.graphs = 0
        self.pairs: Counter[tuple[str, str]] = Counter()
        self.cells: Counter[tuple[str, str, str]] = Counter()
        self.features: Counter[str] = Counter()
        self.orders: Counter[int] = Counter()
        self.variants: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.loops: Counter[str] = Counter()
        self.nodes: list[int] = []

    def add(self, graph: Graph, equal_inputs: bool, variants: tuple[Variant, ...],
            outcome: Outcome) -> None:  # fmt: skip
        self.graphs += 1
        self.nodes.append(sum(1 for _ in every_node(graph)))
        self._walk(graph)
        self.features.update(features(graph) | ({"equal inputs"} if equal_inputs else set()))
        self.orders[outcome.order] += 1
        self.variants.update(map(str, variants))
        self.skipped.update(outcome.skipped)
        self.loops.update(outcome.loops)

    def _walk(self, graph: Graph) -> None:
        made: dict[Var, str] = {}
        for node in graph.nodes:
            name = node.op.name
            for v in {*node.inputs}:
                if v in made:
                    self.pairs[made[v], name] += 1
            for v in node.outputs:
                made[v] = name
                self.cells[name, v.type.dtype.name, _size_class(v)] += 1
            for _, body in subgraphs(node):
                self._walk(body)

    def summary(self) -> dict[str, Any]:
        """What was seen, as data."""
        nodes, wanted = sorted(self.nodes) or [0], all_pairs()
        return {
            "programs": self.graphs,
            "operations_median": nodes[len(nodes) // 2],
            "operations_most": nodes[-1],
            "share_with": {f: round(self.features[f] / max(1, self.graphs), 3) for f in FEATURES},
            "order_of_derivatives": dict(sorted(self.orders.items())),
            "variants": dict(sorted(self.variants.items())),
            "pairs": {
                "allowed_by_dtypes": len(wanted),
                "seen": sum(self.pairs[p] > 0 for p in wanted),
                "seen_50_times": sum(self.pairs[p] >= 50 for p in wanted),
                "never": [f"{a} -> {b}" for a, b in wanted if not self.pairs[a, b]],
            },
            "cells": len(self.cells),
            "loops": {"compiled": self.loops["compiled"], "all": sum(self.loops.values())},
            "skipped": dict(self.skipped),
        }

    def lines(self) -> Iterator[str]:
        """The same for people."""
        found = self.summary()
        pairs, never, loops = found["pairs"], found["pairs"]["never"], found["loops"]
        yield (
            f"programs: median {found['operations_median']} operations, largest "
            f"{found['operations_most']}"
        )
        yield "with: " + ", ".join(f"{k} {v:.0%}" for k, v in found["share_with"].items())
        yield "order of derivatives: " + _counts(found["order_of_derivatives"])
        yield "variants: " + _counts(found["variants"])
        yield (
            f"ordered pairs of primitives: {pairs['seen']} of {pairs['allowed_by_dtypes']} that "
            f"dtypes allow, {pairs['seen_50_times']} at least 50 times"
        )
        if never:
            yield f"  never: {', '.join(never[:12])}{' ...' if len(never) > 12 else ''}"
        yield f"primitive x dtype x size class: {found['cells']} cells"
        if loops["all"]:
            yield f"loops elsewhere than on numpy: {loops['compiled']} of {loops['all']} compiled"
        yield "comparisons skipped: " + (_counts(found["skipped"]) or "none")


def _counts(counts: dict[Any, int]) -> str:
    return ", ".join(f"{key}: {count}" for key, count in counts.items())


def every_node(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        yield node
        for _, body in subgraphs(node):
            yield from every_node(body)


def features(graph: Graph) -> set[str]:
    """Which of FEATURES a program has."""
    found: set[str] = set()
    nodes = list(every_node(graph))
    loops = [n for n in nodes if n.op.name == "scan"]
    found |= {"loop"} if loops else set()
    for n in loops:
        found |= {"reverse loop"} if n.attrs["reverse"] else set()
        found |= {"empty loop"} if n.attrs["length"] == 0 else set()
        if any(inner.op.name == "scan" for inner in every_node(n.attrs["body"])):
            found.add("loop in a loop")
    kinds = {"call": "recomputed call", "custom": "rule of its own", "random_bits": "random bits"}
    found |= {kinds[n.op.name] for n in nodes if n.op.name in kinds}
    found |= {"stopped gradient"} if any(n.frozen for n in nodes) else set()
    uses = Counter(v for n in graph.nodes for v in n.inputs)
    found |= {"fan-out"} if any(c > 1 for c in uses.values()) else set()
    read = set(uses) | set(graph.outputs)
    found |= {"dead code"} if any(read.isdisjoint(n.outputs) for n in graph.nodes) else set()
    keys = [(n.op.name, n.inputs, str(n.attrs)) for n in graph.nodes if n.inputs]
    found |= {"duplicate"} if len(set(keys)) < len(keys) else set()
    if any(v.type.dtype.is_float and v.type.dtype.itemsize < 8 for n in nodes for v in n.outputs):
        found.add("narrow floats")
    return found


def _size_class(v: Var) -> str:
    n = v.type.size
    return "scalar" if not v.type.shape else "empty" if n == 0 else "one" if n == 1 else "many"
