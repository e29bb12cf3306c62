"""Strategies of random programs and of steps of loops."""

from __future__ import annotations

from hypothesis import strategies as st

from ..programs import BITS, Program, ScanBody, generate, scan_body

NUMBERS = st.integers(0, 2**BITS - 1)


@st.composite
def programs(
    draw: st.DrawFn,
    *,
    min_lines: int = 0,
    max_lines: int = 14,
    floats: str = "float64",
    rows: bool = False,
    loops: bool | None = None,
) -> Program:
    """Programs over all primitives, valid by construction: call them, print them.

    A line is a primitive, a few of them, or a loop, a call, a batch with lines of its own. floats:
    "float64", "float32" or "mixed". rows: loops over batches of rows, which backends compile.
    loops: False: none; True: at least one. `program.arrays()` are values for the inputs, in
    the domains of what is applied to them.
    """
    numbers = draw(st.lists(NUMBERS, min_size=min_lines + 2, max_size=max_lines + 2))
    return generate(numbers, floats=floats, rows=rows, loops=loops)


@st.composite
def scan_bodies(
    draw: st.DrawFn,
    *,
    min_lines: int = 1,
    max_lines: int = 10,
    floats: str = "float64",
    rows: bool = False,
) -> ScanBody:
    """Steps of loops, `(carry, x) -> (carry, y)`, with a carry, xs and captured arrays for them.

    `rows`: the carry is a batch of rows that a step treats alike, as recurrent cells do.
    """
    numbers = draw(st.lists(NUMBERS, min_size=min_lines + 2, max_size=max_lines + 2))
    return scan_body(numbers, floats=floats, rows=rows)
