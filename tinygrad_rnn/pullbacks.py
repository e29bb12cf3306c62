"""Derivative rules as compiled programs, for an eager backward pass that nobody records.

In: a recorded application. Out: a program on buffers `g, y, operands -> cotangents`, made once per
operation, operand types and attributes from the same rules, through the same passes, by the same
backend as every other graph.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from .backend import Backend, Program, optimize
from .graph import Graph
from .ops.movement import sum_to
from .tensor import Value, wrap
from .trace import Tracer
from .types import Type

_programs: dict[Any, Program] = {}
_LIMIT = 8192
_type = attrgetter("type")


class _Nowhere(Backend):
    """Rules are recorded, not computed."""


_NOWHERE = _Nowhere()


def pullback_program(v: Any, needs: tuple[bool, ...]) -> Program:
    """The cotangents of the operands that need one."""
    attrs = v.attrs
    key = (
        v.op,
        tuple(map(_type, v.inputs)),
        needs,
        v.backend,
        tuple(attrs.items()) if attrs else None,
    )
    program = _programs.get(key)
    if program is None:
        if len(_programs) > _LIMIT:
            _programs.clear()
        graph = _rule(v.op, v.type, key[1], needs, attrs)
        program = _programs[key] = v.backend.compile(optimize(graph))
    return program


def _rule(op: Any, y: Type, types: tuple[Type, ...], needs: tuple[bool, ...], attrs: Any) -> Graph:
    """The rules of one application as a graph `g, y, operands -> cotangents`."""
    with Tracer(f"the derivative of {op.name}", _NOWHERE) as tracer:
        g, out, *xs = (wrap(Value(t, tracer.input(t), _NOWHERE)) for t in (y, y, *types))
        cotangents = []
        for need, rule, x in zip(needs, op.vjp, xs):
            if need and rule is not None:
                cotangents.append(sum_to(rule(g, out, *xs, **attrs), x.shape))
        return tracer.finish([tracer.lift(t._value, t) for t in cotangents])
