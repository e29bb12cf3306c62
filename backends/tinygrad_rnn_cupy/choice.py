"""Which road a loop takes on the device, by an estimate of the time of one step.

In: a loop and facts about the device. Out: a shape for the persistent kernel, or why there is none,
and both estimates in microseconds. `explain` shows them.

The rule: a persistent kernel if its weights fit into the shared memory of blocks that are all on
the device at once, a thread has no more than 8 elements, and its estimate is the smaller one.

    graph       LAUNCH for every kernel and product, and the larger of arithmetic and memory traffic
    persistent  EXCHANGE if a group has several blocks, + what a block reads from L2, + arithmetic
                or the reading of weights from shared memory, + ELEMENT for each of its elements
"""

from __future__ import annotations

from typing import NamedTuple

from tinygrad_rnn.extend import DType
from tinygrad_rnn.loop_program import LoopProgram

from .elements import stored
from .persistent import Body, Shape
from .persistent_source import PersistentSource
from .steps import Cycle

#: Microseconds. The first two are what is published of captured graphs and of flags in memory on
#: devices of 2022 to 2025; none has been measured with this code yet.
LAUNCH, EXCHANGE, ELEMENT = 2.2, 1.0, 0.1
#: Bytes per microsecond: L2 altogether, L2 to one multiprocessor, shared memory of one.
L2, L2_ONE, SHARED = 5.0e6, 1.0e5, 2.2e5
#: Multiply-adds per microsecond on one multiprocessor, of which FRACTION is reached.
SPEED = {"f32": 2.2e5, "f64": 1.1e5, "tf32": 8.7e5, "f16": 1.7e6, "bf16": 1.7e6}
FRACTION = 0.5
WARPS = 8
MOST_ELEMENTS = 8


class Device(NamedTuple):
    """Multiprocessors, bytes of shared memory that a block can have; whether there are the
    instructions for tensor cores that the kernels use (those of sm_80), and whether blocks may wait
    for each other."""

    processors: int
    shared: int
    tensor_cores: bool = True
    cooperative: bool = True


class Problem(NamedTuple):
    """A product of [rows, k] with weights of which a block has `sums` pieces of its columns of
    `width`; `n`: all columns of the product; `kernels`: of a step, on the other road."""

    rows: int
    k: int
    n: int
    width: int
    sums: int
    kernels: int
    dtype: DType
    tf32: bool

    @property
    def kind(self) -> str:
        """The arithmetic of products."""
        if self.dtype.wide is not self.dtype:
            return stored(self.dtype)
        return "tf32" if self.tf32 and self.dtype.name == "float32" else "fma"

    @property
    def speed(self) -> float:
        """Multiply-adds that are reached per microsecond on one multiprocessor."""
        own = "f64" if self.dtype.itemsize == 8 else "f32"
        return FRACTION * SPEED[own if self.kind == "fma" else self.kind]


def problem_of(program: LoopProgram, body: Body, tf32: bool) -> Problem:
    """The product of a loop as a problem."""
    product = body.product
    sums = PersistentSource(body, Shape(1, 1, 1, 1, 1, "fma"), 0).sums
    return Problem(
        program.rows, product.k, product.n, body.width, sums, len(Cycle(program).kernels),
        product.out.type.dtype, tf32,
    )  # fmt: skip


class Choice(NamedTuple):
    """`shape`: of the persistent kernel, None for the graph. Times in microseconds per step."""

    shape: Shape | None
    persistent: float | None
    graph: float
    why: str


def choose(problem: Problem, device: Device, road: str = "auto") -> Choice:
    """The faster road by the estimates above, or the one that is asked for."""
    graph = graph_time(problem, device)
    if not device.cooperative:
        return Choice(None, None, graph, "on this device blocks may not wait for each other")
    if problem.kind != "fma" and not device.tensor_cores:
        return Choice(None, None, graph, "the device is older than sm_80")
    best: tuple[float, Shape] | None = None
    for shape in shapes(problem, device):
        if Room.of(problem, shape).bytes <= device.shared and shape.elements <= MOST_ELEMENTS:
            time = persistent_time(problem, shape)
            if best is None or time < best[0]:
                best = time, shape
    if best is None:
        return Choice(None, None, graph, "weights or rows do not fit on the device at once")
    why = f"estimated {best[0]:.1f} us per step, as a graph {graph:.1f}"
    if road != "auto":
        why = f"asked for; {why}"
    take = best[0] < graph if road == "auto" else road == "persistent"
    return Choice(best[1] if take else None, best[0], graph, why)


def shapes(problem: Problem, device: Device) -> list[Shape]:
    """Ways to share out columns and rows among blocks that run at once."""
    found = []
    columns = sorted({-(-problem.width // c) for c in range(1, device.processors + 1)})
    for u in columns:
        blocks = -(-problem.width // u)
        most = min(device.processors // blocks, problem.rows)
        for groups in {1, 2, 4, 8, 16, 32, 64, 128, most}:
            if 1 <= groups <= most:
                rows = -(-problem.rows // groups)
                needed = -(-problem.rows // rows)
                for sixteen in (True,) if problem.kind == "fma" else (True, False):
                    found.append(Shape(needed, blocks, rows, u, WARPS, problem.kind, sixteen))
    return found


def graph_time(problem: Problem, device: Device) -> float:
    """A step as products and kernels launched one after another."""
    work = problem.rows * problem.k * problem.n / (problem.speed * device.processors)
    size = problem.dtype.itemsize
    traffic = size * (problem.k * problem.n + 8 * problem.rows * problem.n) / L2
    return LAUNCH * (1 + problem.kernels) + max(work, traffic)


def persistent_time(problem: Problem, shape: Shape) -> float:
    """A step of the persistent kernel."""
    size = problem.dtype.itemsize
    read = shape.rows * problem.k * size
    reading = max(read / L2_ONE, read * shape.blocks * shape.groups / L2)
    room = Room.of(problem, shape)
    arithmetic = room.lines * room.rows * problem.k / problem.speed
    weights = room.tiles * room.lines * problem.k * size / SHARED
    exchange = EXCHANGE if shape.blocks > 1 else 0.1
    return exchange + reading + max(arithmetic, weights) + ELEMENT * (2 + shape.elements)


class Room(NamedTuple):
    """What the device code makes of a shape, from the same sums as in product_*.cuh: columns
    (`lines`) and rows with padding, elements of a row that travels (`pitch`), bytes of shared
    memory."""

    lines: int
    rows: int
    tiles: int
    pitch: int
    bytes: int

    @staticmethod
    def of(problem: Problem, shape: Shape) -> Room:
        n, k, warps = problem.sums * shape.columns, problem.k, shape.warps
        if shape.kind == "fma":
            size = 8 if problem.dtype.itemsize == 8 else 4
            lines, pitch, vector = _up(n, 8), _up(k, 32), 16 // size
            tile = _up(min(shape.rows, 16), 4)
            fixed = lines * (pitch + vector) + warps * tile * (32 + vector)
        else:
            size, span = 4, 16 if shape.kind == "tf32" else 32
            lines, pitch = _up(n, 16 if shape.weights_16 else 8), _up(k, span)
            tile = _up(min(shape.rows, 64), 8 if shape.weights_16 else 16)
            fixed = lines // 8 * (pitch // span) * 32 * 16 // size
        tiles = -(-shape.rows // tile)
        sums = (warps + (tiles if tiles > 1 else 0)) * tile * (lines + 1)
        return Room(lines, tiles * tile, tiles, pitch, size * (fixed + sums))


def _up(n: int, step: int) -> int:
    """n, or the next multiple of `step` above it."""
    return -(-n // step) * step
