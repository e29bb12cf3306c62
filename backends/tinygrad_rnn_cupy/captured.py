"""A scan on the device, road one: a CUDA graph of cuBLAS products and one fused kernel per step.

In: a loop program. Out: a function on CuPy arrays. The first call launches kernel by kernel; later
ones replay captured graphs of `CHUNK` steps. Graphs hold no address of the caller's arrays: kernels
find those in a table (see `places`), so nothing is copied but weights and first carries.
"""

from __future__ import annotations

import threading
from typing import Any

import cupy
import numpy as np

from tinygrad_rnn.extend import Node, Var
from tinygrad_rnn.lower import LoopProgram, Product

from . import compiler, elements
from .products import Gemm
from .rows import Kernel
from .settings import Settings
from .steps import Cycle, geometry

#: Steps of a captured graph: even, because carries alternate between two slots.
CHUNK = 64
#: Up to this many steps, the whole loop is one graph.
WHOLE = 128


class CapturedLoop:
    """One scan node, lowered."""

    def __init__(self, node: Node, program: LoopProgram, cycle: Cycle, settings: Settings):
        self.program, self.cycle, self.settings = program, cycle, settings
        self.places = cycle.places
        self.T: int = node.attrs["length"]
        self.reverse: bool = node.attrs["reverse"]
        self.states: dict[int, State] = {}
        self.lock = threading.Lock()

    def __call__(self, *buffers: Any) -> tuple[Any, ...]:
        p = self.program
        operands = [cupy.ascontiguousarray(b) for b in buffers]
        if self.T == 0 or p.rows == 0:
            return self._nothing(operands)
        with self.lock:
            device = cupy.cuda.Device().id
            if device not in self.states:
                self.states[device] = State(self)
            return self.states[device].run(operands)

    def _nothing(self, operands: list[Any]) -> tuple[Any, ...]:
        p, n = self.program, self.program.node.attrs["n_const"]
        stacks = [cupy.empty((self.T, *v.type.shape), v.type.dtype.np) for v in p.ys]
        return (*operands[n : n + len(p.carry)], *stacks)

    def value(self, key: tuple[Any, ...], static: dict[tuple[str, Any], Any]) -> int:
        """The integer that an argument of a kernel stands for."""
        kind, *rest = key
        if kind == "static":
            return int(static[rest[0], rest[1]].data.ptr)
        if kind == "literal":
            v: Var = rest[0]
            return elements.bits(self.program.producer[v].attrs["value"], v.type.dtype)
        if kind == "step":
            return int(rest[0].type.size)
        if kind == "stride":
            return int(rest[0].type.shape[-1]) if rest[0].type.ndim == 2 else 1
        if kind in ("size", "offset"):
            return int(rest[0])
        return {"rows": self.program.rows, "T": self.T, "way": -1 if self.reverse else 1}[kind]


class State:
    """What a loop has on one device: static memory, compiled kernels, captured graphs."""

    def __init__(self, loop: CapturedLoop):
        self.loop = loop
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
            values = [loop.value(key, self.static) for key in k.keys]
            self.launches[k] = Launch(k, module, loop.program.rows, values)
        self.gemms: dict[bool, dict[Var, Gemm]] = {}
        self.graphs: dict[tuple[int, bool, bool], Any] = {}
        self.done = cupy.cuda.Event(disable_timing=True)
        self.stream: int | None = None
        self.calls = 0

    def run(self, operands: list[Any]) -> tuple[Any, ...]:
        stream = cupy.cuda.get_current_stream()
        if self.stream not in (None, stream.ptr):
            stream.wait_event(self.done)  # the static memory is in use until then
        loop, p = self.loop, self.loop.program
        arrays = dict(zip(p.body.inputs, operands))
        stacks = self._stacks(arrays)
        arrays |= stacks
        addresses = [np.int64(arrays[v].data.ptr) for v in loop.places.external]
        self.setup((1,), (1,), (self.table_at, *addresses))
        for q in loop.places.products:
            self.static["weights", q.fixed][...] = arrays[q.fixed]
        for v, key in loop.places.begins.items():
            self.static[key][0] = arrays[v]
        tf32 = loop.settings.tf32
        if loop.cycle.looped:
            self.enqueue(1, True, tf32)
        elif self.calls:
            self._replay(tf32)
        else:
            self.enqueue(loop.T, True, tf32)
        self.calls += 1
        results = self._results(arrays)
        self.done.record(stream)
        self.stream = stream.ptr
        return results

    def _stacks(self, arrays: dict[Var, Any]) -> dict[Var, Any]:
        """Memory of the stacked outputs. A carry that is stacked before and after every step lies
        in one buffer with room for a step more."""
        loop, p = self.loop, self.loop.program
        stacks = {}
        self.shifted = {}
        for before, after in p.shifted.items():
            whole = cupy.empty((loop.T + 1, *after.type.shape), after.type.dtype.np)
            whole[-1 if loop.reverse else 0] = arrays[before]
            later, earlier = (whole[:-1], whole[1:]) if loop.reverse else (whole[1:], whole[:-1])
            stacks[after], self.shifted[before] = later, earlier
        for v in loop.places.stacked - set(stacks) - set(self.shifted):
            stacks[v] = cupy.empty((loop.T, *v.type.shape), v.type.dtype.np)
        return stacks

    def _results(self, arrays: dict[Var, Any]) -> tuple[Any, ...]:
        loop = self.loop
        last = 0 if loop.reverse else loop.T - 1
        finals = []
        for _, after in loop.program.carry:
            if after in loop.places.stacked:
                finals.append(arrays[after][last].copy())
            else:
                finals.append(self.static["own", after][loop.T & 1].copy())
        return (*finals, *[self.shifted.get(v, arrays[v]) for v in loop.program.ys])

    # --- launching -----------------------------------------------------------------------------

    def enqueue(self, steps: int, last: bool, tf32: bool) -> None:
        """Launch the work of some steps; `last`: the loop ends with them."""
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
            gemms[q.out] = Gemm(dtype, rows, q.n, q.k, q.turned, tf32)
        places = self.loop.places
        out, moving = (self._at(*place, k) for place in (places.result(q), places.moving(q)))
        gemms[q.out](out, moving, self._at(("weights", q.fixed), None, k))

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
