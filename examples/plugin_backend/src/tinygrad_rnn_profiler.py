"""A backend that computes on another one, and counts calls, seconds and bytes of every primitive.

    TINYGRAD_RNN_BACKEND=profiler python train.py       # and in it: print(tg.get_backend().table())

It profiles NumPy's backend, or the one that the variable PROFILED_BACKEND names.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections import defaultdict
from typing import Any

from tinygrad_rnn.backend import get_backend
from tinygrad_rnn.extend import Backend, Node, Type


class Profiler(Backend):
    """Every kernel is the other backend's, with a clock around it."""

    name = "profiler"

    def __init__(self) -> None:
        self.base = get_backend(os.environ.get("PROFILED_BACKEND", "numpy"))
        self.capabilities = self.base.capabilities
        self.kernels = {name: self._timed(name, k) for name, k in self.base.kernels.items()}
        self.lock = threading.Lock()
        self.reset()

    def put(self, host: Any) -> Any:
        return self.base.put(host)

    def get(self, buffer: Any) -> Any:
        return self.base.get(buffer)

    def empty(self, type: Type) -> Any:
        return self.base.empty(type)

    def synchronize(self) -> None:
        self.base.synchronize()

    def specialize(self, node: Node) -> Any:
        """The kernel of a node in a compiled program; loops without one run over their kernels."""
        if node.op.name == "scan" or node.op.name not in self.base.kernels:
            return super().specialize(node)
        return self._timed(node.op.name, self.base.specialize(node))

    def takes_out(self, kernel: Any, node: Node) -> bool:
        return self.base.takes_out(getattr(kernel, "__wrapped__", kernel), node)

    def _timed(self, name: str, kernel: Any) -> Any:
        @functools.wraps(kernel, assigned=())
        def run(*buffers: Any, **attrs: Any) -> Any:
            begun = time.perf_counter()
            result = kernel(*buffers, **attrs)
            self.base.synchronize()
            seconds = time.perf_counter() - begun
            with self.lock:
                row = self.rows[name]
                row[0] += 1
                row[1] += seconds
                row[2] += getattr(result, "nbytes", 0)
            return result

        return run

    def reset(self) -> None:
        """Forget what was counted."""
        self.rows: dict[str, list[Any]] = defaultdict(lambda: [0, 0.0, 0])

    def table(self) -> str:
        """Primitives by the time they took: calls, milliseconds, megabytes of results."""
        rows = sorted(self.rows.items(), key=lambda row: -row[1][1])
        lines = [f"{name:<14}{n:>9}{s * 1e3:>11.2f}{b / 1e6:>11.2f}" for name, (n, s, b) in rows]
        return "\n".join([f"{'primitive':<14}{'calls':>9}{'ms':>11}{'MB':>11}", *lines])
