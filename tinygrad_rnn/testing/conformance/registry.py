"""The list of checks: one function for one property, at one level.

In: functions marked with `@check`. Out: `CHECKS`, which the test class, the command and the
scorecard walk through. A check takes the subject (the backend under test) and, where it has cases,
the name of one; it returns, raises AssertionError, or raises `Skip` with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .subject import Subject


class Level(IntEnum):
    """How deep a run goes; every level includes those before it."""

    SMOKE = 0
    FORWARD = 1
    GRADIENTS = 2
    LOOPS = 3
    RESOURCES = 4


class Skip(Exception):
    """Raised by a check that does not apply to this backend; the message says why."""


#: What the numbered properties say; a scorecard quotes them.
PROPERTIES = {
    "A2": "a zero cotangent gives exact zeros wherever the value is finite, even by 0 * inf",
    "A3": "<Jv, u> = <v, J'u>: gradients equal the complex step through the references, in float64",
    "A8": "an input that is not used gets zeros of its own shape and dtype",
    "A9": "asking for the same gradient twice gives the same answer, for some inputs or for all",
    "A10": "second derivatives equal the complex step of the first",
    "A22": "a recomputed function has the values and gradients of one that was kept",
    "A26": "compiled gradient = gradient of the compiled function = eager gradient",
    "A28": "float32 gradients are about as close to float64's as NumPy's are",
    "B1": "a gradient has the shape and the dtype of its input, whatever was broadcast",
    "B2": "every size: 0, 1, odd, around the width of a vector, large",
    "B3": "transposed, strided, reversed and broadcast operands = contiguous copies",
    "B4": "operands are not changed",
    "B5": "results share no memory with operands or with later results (views may, as documented)",
    "B7": "duplicate indices add up, in scatter_add and in the gradient of take",
    "B10": "reductions over every choice of axes, over empty ones too",
    "B11": "ties: argmax takes the first, gradients of max share equally",
    "B12": "`where` and masks let nothing through from what is not chosen, NaN included",
    "B14": "shape and dtype of every result are what the type rule says",
    "C7": "sums of half precision are accumulated in single precision",
    "C8": "a long sum is within n eps sum|x| of the exact one",
    "C9": "NaN and infinities appear where the references have them",
    "C10": "integers wrap, divide and shift as the references do; dividing by zero raises nothing",
    "C11": "signs of zeros and subnormal numbers are kept",
    "D1": "a scan is the Python loop: values, gradients, second gradients",
    "D2": "no steps: the carry comes back and the stacks are empty; one step = one call",
    "D3": "a scan in two parts = the scan in one, bit for bit",
    "D4": "a reversed scan = flip, scan, flip",
    "D5": "a scan inside a scan, `where` and random bits inside a scan",
    "D6": "carries that are unused, fixed, swapped, integer or boolean; no xs, no ys",
    "D14": "poison in the padding of a ragged batch reaches no value and no gradient",
    "O6": "no result depends on what was in the memory before",
    "F1": "compiled = eager = the reference interpreter, optimised or not",
    "F2": "values are those of the references",
    "F3": "compiled programs are told apart by constants, attributes, shapes, dtypes and structure",
    "F4": "the backend is found by its name, says what it misses, and has the kernels it claims",
    "F5": "the same bits every time",
    "F6": "random bits are Philox4x32-10's",
    "F7": "put and get keep every bit, copy, and refuse dtypes that are not claimed",
    "F9": "several threads compute what one does",
    "F10": "buffers of dropped results are given up at once",
    "F11": "memory does not grow over many steps",
    "F12": "an error leaves nothing half-changed",
    "F13": "a chain of thousands of operations compiles and runs",
    "F14": "importing and using the backend changes no global state",
    "F15": "misuse raises an error of this library that names the operation",
    "F18": "no warnings in a clean run",
}

Run = Callable[..., None]
Cases = Callable[["Subject"], Sequence[str]]


class Check(NamedTuple):
    """One property at one level; `cases(subject)` names what it is tested on one by one."""

    property: str
    level: Level
    run: Run
    cases: Cases | None

    @property
    def name(self) -> str:
        return f"{self.level.name.lower()}_{self.property}_{self.run.__name__}"

    def names(self, subject: Subject) -> Sequence[str]:
        """Its cases; one without a name if it has none."""
        return self.cases(subject) if self.cases else ("",)

    def __call__(self, subject: Subject, case: str = "") -> None:
        self.run(subject, case) if self.cases else self.run(subject)


#: All checks in the order in which they run.
CHECKS: list[Check] = []


def check(property: str, level: Level, cases: Cases | None = None) -> Callable[[Run], Run]:
    """Enter a function into the list of checks."""
    assert property in PROPERTIES, property

    def enter(run: Run) -> Run:
        CHECKS.append(Check(property, level, run, cases))
        return run

    return enter


def selected(level: int = Level.RESOURCES, properties: Any = None) -> list[Check]:
    """Checks up to a level, in order; of some properties only, if they are named."""
    return [
        c for c in CHECKS if c.level <= level and (properties is None or c.property in properties)
    ]
