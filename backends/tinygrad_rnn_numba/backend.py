"""NumbaBackend: loops become compiled code; single operations use NumPy's kernels."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from tinygrad_rnn_numpy import NumpyBackend

from tinygrad_rnn.extend import Graph, Node
from tinygrad_rnn.lower import Unsupported, lower


class NumbaBackend(NumpyBackend):
    """Arrays are NumPy's; a scan is one function generated for this CPU."""

    name = "numba"

    @classmethod
    def missing(cls) -> str | None:
        if importlib.util.find_spec("numba") is None:
            return 'the package \'numba\' is not installed: pip install "tinygrad-rnn[numba]"'
        return None

    def specialize(self, node: Node) -> Callable[..., Any] | None:
        if node.op.name != "scan":
            return super().specialize(node)
        from .loops import Loop

        try:
            return Loop(node)
        except Unsupported:
            return None

    def report(self, graph: Graph) -> list[tuple[str, str]]:
        rows = []
        for node in graph.nodes:
            how = "library call" if node.op.name == "contract" else "NumPy kernel"
            if node.op.name == "scan":
                try:
                    lower(node)
                    how = "compiled"
                except Unsupported as reason:
                    how = f"loop over NumPy kernels: {reason}"
            rows.append((node.op.name, how))
        return rows
