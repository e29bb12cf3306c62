"""A scan on the device, road one: a CUDA graph of cuBLAS products and one fused kernel per step.

In: a loop program. Out: a function on CuPy arrays. The first call launches kernel by kernel; later
ones replay captured graphs of `CHUNK` steps. Graphs hold no address of the caller's arrays: kernels
find those in a table (see `places`), so nothing is copied but weights and first carries.
"""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from tinygrad_rnn.extend import Node, Var
from tinygrad_rnn.loop_program import LoopProgram, Product

from . import compiler
from .arrays import LoopArrays, contiguous
from .cublas import Workspace, workspace
from .products import Gemm
from .rows import Kernel
from .settings import Settings
from .steps import Cycle, geometry

#: Steps of a captured graph: even, because carries alternate between two slots.
CHUNK = 64
#: Up to this many steps, the whole loop is one graph.
WHOLE = 128


class CapturedLoop(LoopArrays):
    """One scan node, lowered."""

    def __init__(self, node: Node, program: LoopProgram, cycle: Cycle, settings: Settings):
        super().__init__(node, program)
        self.cycle, self.places, self.settings = cycle, cycle.places, settings
        self.states: dict[int, State] = {}

    def __call__(self, *buffers: Any) -> tuple[Any, ...]:
        operands = [contiguous(b) for b in buffers]
        if self.empty:
            return self.nothing(operands)
        room = workspace()
        with room.turn():  # static memory is in use until the last turn is over
            device = cupy.cuda.Device().id
            if device not in self.states:
                self.states[device] = State(self, room)
            return self.states[device].run(operands)


class State:
    """What a loop has on one device: static memory, compiled kernels, captured graphs."""

    def __init__(self, loop: CapturedLoop, room: Workspace):
        self.loop, self.room = loop, room
        places = loop.places
        self.table = cupy.empty(1 + len(places.external), np.int64)
        self.table_at = np.int64(self.table.data.ptr)
        self.static = {
            key: cupy.empty(shape, key[1].type.dtype.np) for key, shape in places.static.items()
        }
        module = compiler.module(loop.cycle.source)
        self.setup, self.advance = (module.get_function(n) for n in ("setup", "advance"))
        self.launches = {}
        for k in loop.cycle.kernels:
            values = [self._value(key) for key in k.keys]
            self.launches[k] = Launch(k, module, loop.program.rows, values)
        self.gemms: dict[bool, dict[Var, Gemm]] = {}
        self.graphs: dict[tuple[int, bool, bool], Any] = {}
        #: precisions in which all kernels have run once: only then are they in the device's memory
        self.warm: set[bool] = set()

    def run(self, operands: list[Any]) -> tuple[Any, ...]:
        loop = self.loop
        arrays = loop.given(operands)
        addresses = [np.int64(arrays[v].data.ptr) for v in loop.places.external]
        self.setup((1,), (1,), (self.table_at, *addresses))
        for q in loop.places.products:
            axes = [a for a in q.axes if a is not None]
            self.static["weights", q.out][...] = arrays[q.fixed].transpose(axes)
        for v, key in loop.places.begins.items():
            self.static[key][0] = arrays[v]
        tf32 = loop.settings.tf32
        if tf32 in self.warm and loop.settings.loops != "launches":
            self._replay(tf32)
        else:
            self.enqueue(loop.T, True, tf32)
            self.warm.add(tf32)
        own = {v: self.static["own", v] for _, v in loop.program.carry if v not in loop.stacked}
        return loop.results(arrays, {v: both[loop.T & 1].copy() for v, both in own.items()})

    def _value(self, key: tuple[Any, ...]) -> int:
        if key[0] == "static":
            return int(self.static[key[1], key[2]].data.ptr)
        return self.loop.value(key)

    # --- launching -----------------------------------------------------------------------------

    def enqueue(self, steps: int, last: bool, tf32: bool) -> None:
        """Launch the work of some steps; `last`: the loop ends with them."""
        self.room.use()
        for k in range(steps):
            for _, what in self.loop.cycle.works:
                if isinstance(what, Kernel):
                    self.launches[what](self.table_at, k)
                else:
                    for q in what:
                        self._product(q, k, tf32)
        if last and self.loop.cycle.rotated:
            self.launches[self.loop.cycle.kernels[0]](self.table_at, steps)

    def _product(self, q: Product, k: int, tf32: bool) -> None:
        gemms = self.gemms.setdefault(tf32, {})
        if q.out not in gemms:
            rows, dtype = self.loop.program.rows, q.out.type.dtype
            gemms[q.out] = Gemm(dtype, rows, q.n, q.k, q.rowwise, tf32)
        places = self.loop.places
        out, moving = (self._at(*place, k) for place in (places.result(q), places.moving(q)))
        gemms[q.out](out, moving, self._at(("weights", q.out), None, k))

    def _at(self, key: tuple[str, Any], parity: int | None, k: int) -> int:
        """The address of static memory, in the slot of step k + parity."""
        memory = self.static[key]
        if parity is not None:
            memory = memory[(k + parity) & 1]
        return int(memory.data.ptr)

    def _replay(self, tf32: bool) -> None:
        T = self.loop.T
        whole = 0 if T <= WHOLE else T // CHUNK
        for _ in range(whole):
            self._graph(CHUNK, False, tf32).launch()
        if T > whole * CHUNK or self.loop.cycle.rotated:
            self._graph(T - whole * CHUNK, True, tf32).launch()

    def _graph(self, steps: int, last: bool, tf32: bool) -> Any:
        key = steps, last, tf32
        if key not in self.graphs:
            stream = cupy.cuda.Stream(non_blocking=True)
            with stream:
                stream.begin_capture()
                try:
                    self.enqueue(steps, last, tf32)
                    if not last:
                        self.advance((1,), (1,), (self.table_at, np.int64(steps)))
                finally:
                    graph = stream.end_capture()
            self.graphs[key] = graph
        return self.graphs[key]


class Launch:
    """A kernel with its arguments, block and grid."""

    def __init__(self, kernel: Kernel, module: Any, rows: int, values: list[int]):
        self.function = module.get_function(kernel.name)
        self.args = [np.int64(v) for v in values]
        self.grid, self.block, self.shared = geometry(kernel, rows)

    def __call__(self, table: Any, k: int) -> None:
        self.function(self.grid, self.block, (table, np.int64(k), *self.args), self.shared)
