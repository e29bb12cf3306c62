"""The order of work in a loop whose products are cuBLAS's: which kernels, around which products.

In: a loop program. Out: a cycle of kernels and products that runs once per step. What comes after
the last product of a step and what comes before the first of the next one is one kernel.
"""

from __future__ import annotations

import itertools
from typing import Literal

from tinygrad_rnn.loop_program import Level, LoopProgram, Product, Store

from .places import Places
from .rows import Kernel, Part, kernel
from .source import module_source

#: Of a grid's second axis. Where columns are more, threads take several of them.
MOST_BLOCKS = 65535
Work = tuple[Literal["kernel"], Kernel] | tuple[Literal["products"], list[Product]]


class Cycle:
    """`works`: what is launched for step s, in order. `rotated`: the first kernel also ends step
    s - 1, so it is launched once more after the last step."""

    def __init__(self, program: LoopProgram):
        self.program, self.places = program, Places(program)
        self._copy_operands(program)
        assert self.places.products, "without products, one kernel goes through all steps"
        at = [k for k, level in enumerate(program.levels) if level.products]
        ends = [0, *at, len(program.levels)]
        segments = [range(a, b) for a, b in itertools.pairwise(ends)]
        busy = [any(_has_work(program.levels[k]) for k in s) for s in segments]
        self.rotated = busy[0] and busy[-1]
        self.works: list[Work] = []
        for i, segment in enumerate(segments):
            if i:
                self.works.append(("products", program.levels[segment.start].products))
            parts = [Part(segment, 0)]
            if self.rotated and i == 0:
                parts.insert(0, Part(segments[-1], 1))
            elif self.rotated and i == len(segments) - 1:
                continue
            if busy[i]:
                self.works.append(("kernel", kernel(f"rows_{i}", self.places, parts)))

    @property
    def kernels(self) -> list[Kernel]:
        return [what for kind, what in self.works if isinstance(what, Kernel)]

    @property
    def source(self) -> str:
        """The module of all its kernels."""
        setup = setup_source(len(self.places.external))
        return module_source(["rows"], [*[k.source for k in self.kernels], setup])

    def _copy_operands(self, program: LoopProgram) -> None:
        """Inputs of a step that a product reads are copied to static memory first."""
        for v in self.places.feeds:
            if v in program.xs:
                program.levels[0].add(Store(v, 0, v.type.shape[1]))


def _has_work(level: Level) -> bool:
    return bool(level.loops or level.columns)


def setup_source(externals: int) -> str:
    """Kernels that fill the table with this call's addresses, and that move it on by a chunk."""
    args = "".join(f", const i64 p{i}" for i in range(externals))
    fill = " ".join(f"table[{1 + i}] = p{i};" for i in range(externals))
    return (
        f'extern "C" __global__ void setup(i64 *const table{args}) {{ table[0] = 0; {fill} }}\n'
        'extern "C" __global__ void advance(i64 *const table, const i64 n) { table[0] += n; }'
    )


def geometry(kernel: Kernel, rows: int) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Grid, block and bytes of shared memory of a kernel over rows."""
    if kernel.whole_rows:
        across = min(512, 32 * -(-kernel.width // 128))
    else:
        across = min(128, 1 << (kernel.width - 1).bit_length())
    down = 1 << (min(128 // across, rows) - 1).bit_length() if across < 128 else 1
    blocks = 1 if kernel.whole_rows else min(MOST_BLOCKS, -(-kernel.width // across))
    return (-(-rows // down), blocks), (across, down), 8 * 32 * down if kernel.whole_rows else 0
