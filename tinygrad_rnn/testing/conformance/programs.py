"""Level 1: compiled programs compute what single operations do, and mind their memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ... import tanh, trace
from ...extend import DType, Graph, Sample, bind, bind_all, primitives
from ...tensor import Tensor
from ..calls import PrimitiveCall
from .calls import assignments, draw, graph_of, poison, valid
from .compare import agree, close, same
from .registry import Level, check
from .subject import Subject
from .values import primitives_of, some


def others(subject: Subject, call: PrimitiveCall) -> PrimitiveCall:
    """The same application to other values: the operands' elements in reversed order."""
    args = [np.flip(a.reshape(-1)).reshape(a.shape).copy() for a in call.args]
    return call._replace(args=tuple(args))


@check("F1", Level.FORWARD, primitives_of)
def compiled(subject: Subject, name: str) -> None:
    """A program of one operation, run three times on two sets of operands."""
    for call in some(subject.calls(name), "dtype that it takes is claimed"):
        program = subject.compile(graph_of(call))
        for now in (call, others(subject, call), call):
            agree(now, program(*now.args), subject.claims, f"compiled {call}")


@check("F1", Level.FORWARD, primitives_of)
def optimised(subject: Subject, name: str) -> None:
    """The operation as a user compiles it, among others that the passes may move it past."""

    def f(*xs: Tensor) -> Any:
        with_sums = [x + x - x if x.dtype.is_float else x for x in xs]
        ys = bind_all(op, *with_sums, **call.attrs)
        return ys, [y * 2.0 for y in ys if y.dtype.is_float]

    op = subject.op(name)
    for call in some(subject.calls(name, subject.plain), "dtype that it takes is claimed"):
        got = subject.compiled(f, *call.args)
        if any(t.dtype.is_integer for t in call.types()):
            continue  # a comparison may turn over by a rounding of x + x - x
        for y, z in zip(got, subject.eager(f, *call.args), strict=True):
            close(y, z, subject.claims, f"compiled with others: {call}", terms=8)


@check("B4", Level.FORWARD, primitives_of)
def inputs_stay(subject: Subject, name: str) -> None:
    for call in some(subject.calls(name, subject.typical), "dtype that it takes is claimed"):
        buffers = [subject.buffer(a) for a in call.args]
        subject.run(graph_of(call), buffers)
        for i, (buffer, a) in enumerate(zip(buffers, call.args)):
            same(subject.host(buffer), a, f"{call}: operand {i} after the program")


@check("B5", Level.FORWARD, primitives_of)
def memory_is_not_shared(subject: Subject, name: str) -> None:
    """A program that writes over an operand once nobody reads it: the result must not change."""

    def f(*xs: Tensor) -> Any:
        cs = [x if x.dtype.is_bool else bind(neg, bind(neg, x)) for x in xs]
        ys = bind_all(op, *cs, **call.attrs)
        return ys, [tanh(c) if c.dtype.is_float else c + 1 for c in cs if not c.dtype.is_bool]

    op, neg = subject.op(name), primitives["neg"]
    for call in some(subject.calls(name, subject.plain), "dtype that it takes is claimed"):
        ts = [subject.tensor(a) for a in call.args]
        graph = trace(f)(*ts)
        got = subject.run(graph, [t._value.data for t in ts])
        agree(call, [subject.host(y) for y in got[: len(call.types())]], subject.claims,
              f"{call}, its operands written over afterwards")  # fmt: skip


@check("O6", Level.FORWARD, primitives_of)
def memory_was_used_before(subject: Subject, name: str) -> None:
    """NaN is left behind wherever a result may be put."""
    for call in some(subject.calls(name, subject.plain), "dtype that it takes is claimed"):
        program = subject.compile(graph_of(call))
        for _ in range(3):
            dirty(subject, call)
            agree(call, program(*call.args), subject.claims, f"{call} in used memory")
            dirty(subject, call)
            agree(call, subject.apply(call), subject.claims, f"{call} in used memory")


def dirty(subject: Subject, call: PrimitiveCall) -> None:
    """Put poison where results of these types will be, and give the memory back."""
    like = [(t.shape, t.dtype.np) for t in call.types()] + [(a.shape, a.dtype) for a in call.args]
    hosts = [np.full(shape, poison(dtype), dtype) for shape, dtype in like]
    held = [subject.backend.put(h) for h in hosts for _ in range(3)]
    del held


# --- which program is which ----------------------------------------------------------------------


def variants(value: Any) -> Iterator[Any]:
    """Other values of the kind that an attribute is of."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (n for n in range(4) if n != value)
    elif isinstance(value, float):
        yield from (0.0, -0.0, 1.0, 2.0, float("nan"), float("inf"))
    elif isinstance(value, tuple) and all(isinstance(v, int) for v in value):
        yield from itertools.permutations(value)
        for i, v in enumerate(value):
            yield from ((*value[:i], n, *value[i + 1 :]) for n in (v - 1, v + 1) if n >= 0)
        yield from (value[1:], value[:-1])


def attribute_calls(subject: Subject, name: str) -> list[PrimitiveCall]:
    """Applications to operands of one type that differ in one attribute only."""
    op, found = subject.op(name), []
    for k, sample in enumerate(op.samples):
        square = [a._replace(shape=(3,) * len(a.shape)) for a in sample.args]
        args = square if _takes(op, square, sample.attrs) else list(sample.args)
        for assigned in assignments(op, Sample(tuple(args), sample.attrs), subject.dtypes)[:1]:
            for attrs in [sample.attrs, *_changed(sample.attrs)]:
                if valid(op, [a.shape for a in args], assigned.dtypes, attrs):
                    of = Sample(tuple(args), attrs)
                    one = assigned._replace(attrs=attrs)
                    found.append(draw(op, of, one, f"attributes {k}"))
    return subject.accepted(found)


def _takes(op: Any, args: Any, attrs: Mapping[str, Any]) -> bool:
    return valid(op, [a.shape for a in args], [np_float(a.dtype) for a in args], attrs)


def np_float(name: str | None) -> DType:
    from ...types import as_dtype

    return as_dtype(name or "float64")


def _changed(attrs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key, value in attrs.items():
        if not isinstance(value, DType | Graph) and key not in ("shown", "n_const", "n_carry"):
            for other in variants(value):
                yield {**attrs, key: other}


def with_attributes(subject: Subject) -> list[str]:
    return [n for n in primitives_of(subject) if any(s.attrs for s in primitives[n].samples)]


@check("F3", Level.FORWARD, with_attributes)
def attributes(subject: Subject, name: str) -> None:
    """Programs that differ in one attribute are compiled first and run afterwards."""
    calls = some(attribute_calls(subject, name), "dtype that it takes is claimed")
    programs = [subject.compile(graph_of(call)) for call in calls]
    eager = [subject.apply(call) for call in calls]
    for call, program, got in reversed(list(zip(calls, programs, eager, strict=True))):
        agree(call, program(*call.args), subject.claims, f"compiled {call!r}")
        agree(call, got, subject.claims, repr(call))
