"""How a scan runs on the device, and why so.

In: a scan node. Out: a function on CuPy arrays, or the reason why there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_rnn.extend import Node
from tinygrad_rnn.lower import Unsupported, lower

from .captured import CapturedLoop
from .settings import Settings
from .steps import Cycle


def loop(node: Node, settings: Settings) -> Callable[..., Any]:
    """The generated code of a scan; Unsupported if there is none."""
    program = lower(node)
    return CapturedLoop(node, program, Cycle(program), settings)


def how(node: Node) -> str:
    """How a scan runs, in words."""
    try:
        cycle = Cycle(lower(node))
    except Unsupported as reason:
        return f"loop over CuPy kernels: {reason}"
    if cycle.looped:
        return "compiled: one kernel for all steps"
    products = sum(len(what) for kind, what in cycle.works if isinstance(what, list))
    return f"CUDA graph: per step {products} cuBLAS products and {len(cycle.kernels)} fused kernels"
