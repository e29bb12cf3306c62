"""The arrays around a loop: its operands, its stacks, its results, and integers about them.

In: a loop program and the caller's arrays. Knows nothing of how the loop runs.
"""

from __future__ import annotations

from typing import Any

import cupy

from tinygrad_rnn.extend import Node, Var
from tinygrad_rnn.loop_program import LoopProgram

from . import elements


def contiguous(x: Any) -> Any:
    """The array, or a copy in C order. CuPy's `ascontiguousarray` makes a vector of a number."""
    return x if x.flags.c_contiguous else x.copy()


class LoopArrays:
    """What every way to run a loop needs to know of its program."""

    def __init__(self, node: Node, program: LoopProgram):
        self.program = program
        self.T: int = node.attrs["length"]
        self.reverse: bool = node.attrs["reverse"]
        self.stacked = set(program.ys)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to compute."""
        return self.T == 0 or self.program.rows == 0

    def nothing(self, operands: list[Any]) -> tuple[Any, ...]:
        """The results of a loop without steps or rows."""
        n = self.program.node.attrs["n_const"]
        stacks = [cupy.empty((self.T, *v.type.shape), v.type.dtype.np) for v in self.program.ys]
        return (*operands[n : n + len(self.program.carry)], *stacks)

    def given(self, operands: list[Any]) -> dict[Var, Any]:
        """The operands by variable of the body, and memory for its stacks.

        A carry that is stacked before and after every step lies in one buffer with room for a step
        more; the stack of those before is found under ("before", v).
        """
        arrays: dict[Any, Any] = dict(zip(self.program.body.inputs, operands))
        for before, after in self.program.shifted.items():
            whole = cupy.empty((self.T + 1, *after.type.shape), after.type.dtype.np)
            whole[-1 if self.reverse else 0] = arrays[before]
            rows = (whole[:-1], whole[1:])
            arrays[after], arrays["before", before] = rows if self.reverse else rows[::-1]
        for v in self.program.ys:
            if v not in arrays:
                arrays[v] = cupy.empty((self.T, *v.type.shape), v.type.dtype.np)
        return arrays

    def results(self, arrays: dict[Any, Any], final: dict[Var, Any]) -> tuple[Any, ...]:
        """What the scan gives; `final`: the last values of carries that are not stacked."""
        last = 0 if self.reverse else self.T - 1
        carries = [
            arrays[after][last].copy() if after in self.stacked else final[after]
            for _, after in self.program.carry
        ]
        stacks = [arrays.get(("before", v), arrays[v]) for v in self.program.ys]
        return (*carries, *stacks)

    def value(self, key: tuple[Any, ...]) -> int:
        """The integer that an argument of a kernel stands for, unless it is an address."""
        kind, *rest = key
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
