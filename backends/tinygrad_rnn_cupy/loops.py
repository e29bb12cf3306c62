"""How a scan runs on the device, and why so.

In: a scan node. Out: a function on CuPy arrays, or the reason why there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_rnn.extend import Node
from tinygrad_rnn.lower import Unsupported, lower

from .captured import CapturedLoop
from .settings import Settings
from .single import SingleKernel
from .steps import Cycle


def loop(node: Node, settings: Settings) -> Callable[..., Any]:
    """The generated code of a scan or a fused group; Unsupported if there is none."""
    program = lower(node)
    if not program.padded:
        return SingleKernel(node, program)
    return CapturedLoop(node, program, Cycle(program), settings)


def how(node: Node) -> str:
    """How a scan runs, in words."""
    try:
        program = lower(node)
        if not program.padded:
            return "compiled: one kernel for all steps"
        cycle = Cycle(program)
    except Unsupported as reason:
        return f"loop over CuPy kernels: {reason}"
    products = sum(len(what) for _, what in cycle.works if isinstance(what, list))
    return f"CUDA graph: per step {products} cuBLAS products and {len(cycle.kernels)} fused kernels"


def worth(nodes: Sequence[Node]) -> bool:
    """Whether a group outside of loops is better one kernel than several."""
    return len(nodes) > 1
