"""How a scan runs on the device, and why so.

In: a scan node. Out: a function on CuPy arrays, or the reason why there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cupy

from tinygrad_rnn.extend import Node
from tinygrad_rnn.lower import Unsupported, lower

from .captured import CapturedLoop
from .choice import Choice, Device, choose, problem_of
from .persistent import Body
from .resident import PersistentLoop
from .settings import Settings
from .single import SingleKernel
from .steps import Cycle


def device() -> Device:
    """Facts about the current device."""
    here = cupy.cuda.Device()
    about = here.attributes
    new = int(here.compute_capability) >= 80
    return Device(
        about["MultiProcessorCount"], about["MaxSharedMemoryPerBlockOptin"], new,
        bool(about["CooperativeLaunch"]),
    )  # fmt: skip


class Road:
    """One loop with products: both roads, and the choice between them."""

    def __init__(self, node: Node, cycle: Cycle, settings: Settings):
        self.node, self.program, self.cycle = node, cycle.program, cycle
        program = cycle.program
        self.launches = settings.loops == "launches"
        self.body: Body | None = None
        try:
            self.body = Body(program)
            self.problem = problem_of(program, self.body, settings.tf32)
        except Unsupported as reason:
            self.choice = Choice(None, None, 0.0, str(reason))
            return
        self.choice = choose(self.problem, device(), settings.loops)

    def run(self, settings: Settings) -> Callable[..., Any]:
        if self.choice.shape is None or self.body is None:
            return CapturedLoop(self.node, self.program, self.cycle, settings)
        return PersistentLoop(self.node, self.program, self.body, self.problem, self.choice.shape)

    def __str__(self) -> str:
        shape, why = self.choice.shape, self.choice.why
        if shape is not None:
            return (
                f"persistent kernel, {shape.groups} x {shape.blocks} blocks with {shape.rows} rows "
                f"and {shape.columns} columns each, {shape.kind}: {why}"
            )
        products = sum(len(what) for _, what in self.cycle.works if isinstance(what, list))
        kernels = len(self.cycle.kernels)
        launches = "launches" if self.launches else "CUDA graph"
        return (
            f"{launches}, per step {products} cuBLAS products and {kernels} fused kernels; not "
            f"persistent: {why}"
        )


def loop(node: Node, settings: Settings) -> Callable[..., Any]:
    """The generated code of a scan or a fused group; Unsupported if there is none."""
    program = lower(node, halves=True)
    if not program.padded:
        return SingleKernel(node, program)
    return Chosen(node, Cycle(program), settings)


class Chosen:
    """A loop on the road that is right now: settings may change between calls."""

    def __init__(self, node: Node, cycle: Cycle, settings: Settings):
        self.node, self.cycle, self.settings = node, cycle, settings
        self.loops: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def __call__(self, *buffers: Any) -> Any:
        key = cupy.cuda.Device().id, *self.settings.key
        found = self.loops.get(key)
        if found is None:
            road = Road(self.node, self.cycle, self.settings)
            found = self.loops[key] = road.run(self.settings)
        return found(*buffers)


def how(node: Node, settings: Settings) -> str:
    """How the generated code of a scan runs, in words."""
    program = lower(node, halves=True)
    if not program.padded:
        return "compiled: one kernel for all steps"
    return str(Road(node, Cycle(program), settings))


def worth(nodes: Sequence[Node]) -> bool:
    """Whether a group outside of loops is better one kernel than several."""
    return len(nodes) > 1
