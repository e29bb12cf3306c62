"""Faults in loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ....extend import Graph, Node
from ..loopback import Loopback, Opaque, wrapped
from .registry import sabotage

Step = Callable[..., list[Any]]


class _Looping(Loopback):
    """Loops run step by step; subclasses change how."""

    def order(self, node: Node) -> range:
        length = node.attrs["length"]
        return range(length)[:: -1 if node.attrs["reverse"] else 1]

    def row(self, x: Opaque, t: int) -> Opaque:
        return x[t]

    def step(self, run: Step, consts: Any, carry: list[Any], rows: Any) -> list[Any]:
        return list(run(*consts, *carry, *rows))

    def begin(self, node: Node, carry: list[Any]) -> list[Any]:
        return carry

    def specialize(self, node: Node) -> Any:
        if node.op.name != "scan":
            return super().specialize(node)
        body: Graph = node.attrs["body"]
        n, m = node.attrs["n_const"], node.attrs["n_const"] + node.attrs["n_carry"]
        run = self.compile(body)

        def loop(*buffers: Opaque) -> tuple[Any, ...]:
            carry = self.begin(node, list(buffers[n:m]))
            stacks = [self.empty(v.type) for v in node.outputs[m - n :]]
            for t in self.order(node):
                rows = [self.row(x, t) for x in buffers[m:]]
                out = self.step(run, buffers[:n], carry, rows)  # type: ignore[arg-type]
                carry = out[: m - n]
                for stack, y in zip(stacks, out[m - n :]):
                    stack[t] = y
            return (*carry, *stacks)

        return loop


@sabotage("D4")
class NeverReversed(_Looping):
    """Loops in reverse run forwards."""

    def order(self, node: Node) -> range:
        return range(node.attrs["length"])


@sabotage("D1")
class OneStepLate(_Looping):
    """Every step reads the row of the step before it."""

    def row(self, x: Opaque, t: int) -> Opaque:
        return x[max(t - 1, 0)]


@sabotage("D2")
class NoStepsGiveZeros(_Looping):
    """The carry of a loop without steps is zero."""

    def begin(self, node: Node, carry: list[Any]) -> list[Any]:
        return carry if node.attrs["length"] else [Opaque(np.zeros_like(c._host)) for c in carry]


@sabotage("D1")
class CarriesOneAfterAnother(_Looping):
    """The second carry is computed from the new first one."""

    def step(self, run: Step, consts: Any, carry: list[Any], rows: Any) -> list[Any]:
        out = list(run(*consts, *carry, *rows))
        if len(carry) > 1:
            out[1] = list(run(*consts, out[0], *carry[1:], *rows))[1]
        return out


@sabotage("D3")
class ForgetsTheFirstCarry(_Looping):
    """Loops of fewer than four steps begin at zero."""

    def begin(self, node: Node, carry: list[Any]) -> list[Any]:
        if node.attrs["length"] in (0, 4, 5):
            return carry
        return [Opaque(np.zeros_like(c._host)) for c in carry]


@sabotage("D5")
class DrawsOnce(_Looping):
    """Random bits are drawn before the loop, the same in every step."""

    def step(self, run: Step, consts: Any, carry: list[Any], rows: Any) -> list[Any]:
        out = list(run(*consts, *carry, *rows))
        if carry and carry[0]._host.dtype == np.uint32:
            out[0] = carry[0]
        return out


@sabotage("D6")
class TiredCounters(_Looping):
    """Integer carries stop counting at four."""

    def step(self, run: Step, consts: Any, carry: list[Any], rows: Any) -> list[Any]:
        out = list(run(*consts, *carry, *rows))
        for k, c in enumerate(carry):
            if c._host.dtype == np.int64:
                out[k] = Opaque(np.asarray(np.minimum(out[k]._host, 4)))
        return out


def _where(c: Any, a: Any, b: Any) -> Any:
    return (c * a + ~c * b).astype(a.dtype) if a.dtype.kind == "f" else np.where(c, a, b)


@sabotage("D14")
class MasksByArithmetic(_Looping):
    """In programs, `where` multiplies by 0 and 1: NaN in the padding survives."""

    def specialize(self, node: Node) -> Any:
        return wrapped(_where) if node.op.name == "where" else super().specialize(node)


@sabotage("A28")
class LoopsInHalf(_Looping):
    """Carries of loops in float32 are rounded to half precision between the steps."""

    def step(self, run: Step, consts: Any, carry: list[Any], rows: Any) -> list[Any]:
        out = list(run(*consts, *carry, *rows))
        for k, c in enumerate(carry):
            if c._host.dtype == np.float32 and c._host.size > 6:
                out[k] = Opaque(out[k]._host.astype("f2").astype("f4"))
        return out
