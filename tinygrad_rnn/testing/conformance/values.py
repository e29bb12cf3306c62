"""Level 1: every primitive computes what its reference does, in every dtype, size and layout."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...extend import Elementwise, Sample, primitives
from ...program import SEVERAL, VIEWS
from ...types import as_dtype
from ..calls import PrimitiveCall, callable_primitives
from ..strategies import primitive_calls
from .calls import assignments, draw, meant, resized, valid
from .compare import agree, same, same_type
from .registry import Level, Skip, check
from .subject import LAYOUTS, Subject

#: Extents that every axis gets in turn: none, few, around the lengths of vectors, many.
SIZES = (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 257, 1001)
#: Primitives whose result may be an operand, or a view of one.
MAY_BE_OPERANDS = (*VIEWS, *SEVERAL)


def primitives_of(subject: Subject) -> list[str]:
    return callable_primitives()


def some(found: list[Any], what: str) -> list[Any]:
    """What there is to check; a skip if that is nothing."""
    if not found:
        raise Skip(f"no {what}")
    return found


@check("B14", Level.FORWARD, primitives_of)
def types(subject: Subject, name: str) -> None:
    for call in some(subject.calls(name), "dtype that it takes is claimed"):
        for got, rule in zip(subject.apply(call), call.types(), strict=True):
            same_type(got, rule, str(call))


@check("F2", Level.FORWARD, primitives_of)
def values(subject: Subject, name: str) -> None:
    for call in some(subject.calls(name), "dtype that it takes is claimed"):
        agree(call, subject.apply(call), subject.claims, str(call))


@check("B2", Level.FORWARD, primitives_of)
def sizes(subject: Subject, name: str) -> None:
    op, found = subject.op(name), []
    for k, sample in enumerate(op.samples):
        for assigned in assignments(op, sample, subject.dtypes):
            wanted = [{a.dtype} if a.dtype else set(subject.typical) for a in sample.args]
            if all(d.name in names for d, names in zip(assigned.dtypes, wanted)):
                of = Sample(sample.args, assigned.attrs)
                found += [draw(op, larger, assigned, f"sizes {k}")
                          for larger in resized(op, of, assigned.dtypes, SIZES)]  # fmt: skip
                if issubclass(op, Elementwise) and k == 0:
                    vectors = [[a._replace(shape=(n,)) for a in sample.args] for n in SIZES]
                    found += [draw(op, Sample(tuple(args), sample.attrs), assigned, "vectors")
                              for args in vectors]  # fmt: skip
    for call in some(subject.accepted(found), "sample of another size"):
        agree(call, subject.apply(call), subject.claims, str(call))


@check("B3", Level.FORWARD, primitives_of)
def layouts(subject: Subject, name: str) -> None:
    for lacked in {"transpose", "flip", "broadcast_to", "slice"} & set(subject.claims.lacks):
        raise Skip(f"layouts are made with {lacked}, which it lacks")
    for call in some(subject.calls(name, subject.typical), "dtype that it takes is claimed"):
        for layout in LAYOUTS:
            if layout == "broadcast":
                args = [np.broadcast_to(a[:1], a.shape) if a.size and a.ndim else a
                        for a in call.args]  # fmt: skip
                call = call._replace(args=tuple(args))
            got = subject.apply(call, [layout if a.size else "" for a in call.args])
            agree(call, got, subject.claims, f"{call}, operands {layout}")


@check("B4", Level.FORWARD, primitives_of)
def operands_stay(subject: Subject, name: str) -> None:
    for call in some(subject.calls(name, subject.typical), "dtype that it takes is claimed"):
        buffers = [subject.buffer(a) for a in call.args]
        kernel = subject.kernel(call)
        kernel(*buffers)
        for i, (buffer, a) in enumerate(zip(buffers, call.args)):
            same(subject.host(buffer), a, f"{call}: operand {i} after the operation")


@check("B5", Level.FORWARD, lambda s: [n for n in primitives_of(s) if n not in MAY_BE_OPERANDS])
def results_are_new(subject: Subject, name: str) -> None:
    """Zeros, ones and equal operands tempt a backend to return an operand as it is."""
    for call in some(subject.calls(name, subject.plain), "dtype that it takes is claimed"):
        for k in (None, 0, 1):
            args = [a if k is None else np.full_like(a, k) for a in call.args]
            if meant(call._replace(args=tuple(args))) is None:
                continue  # a matrix of zeros has no inverse
            buffers = [subject.buffer(a) for a in args]
            result = subject.kernel(call)(*buffers)
            results = result if isinstance(result, tuple | list) else (result,)
            given = [subject.host(b) for b in buffers]
            for y in map(subject.host, results):
                for i, a in enumerate(given):
                    assert not np.shares_memory(a, y), f"{call}: the result is operand {i} itself"


def with_axes(subject: Subject) -> list[str]:
    """Primitives of one operand with an attribute that names axes."""
    return [name for name in callable_primitives() if _attribute(primitives[name].samples[0])]


def _attribute(sample: Sample) -> str | None:
    """The name of the attribute that names axes of the only operand."""
    named = [k for k in ("axes", "axis") if k in sample.attrs]
    return named[0] if named and len(sample.args) == 1 else None


@check("B10", Level.FORWARD, with_axes)
def axes(subject: Subject, name: str) -> None:
    op, found = subject.op(name), []
    for sample in op.samples:
        named = _attribute(sample)
        if named is None:
            continue
        for shape in ((), (5,), (2, 3, 4), (0, 3), (3, 0, 2), (1, 1, 3, 1)):
            arg = sample.args[0]._replace(shape=shape)
            for chosen in _axes(len(shape)) if named == "axes" else range(len(shape)):
                attrs = {**sample.attrs, named: chosen}
                for dtype in subject.typical:
                    if valid(op, [shape], [as_dtype(dtype)], attrs):
                        one = Sample((arg,), attrs)
                        assigned = assignments(op, one, [as_dtype(dtype)])
                        found += [draw(op, one, a, f"axes {chosen}") for a in assigned]
    for call in some(subject.accepted(found), "dtype that it takes is claimed"):
        agree(call, subject.apply(call), subject.claims, str(call))


def _axes(rank: int) -> list[tuple[int, ...]]:
    """All sets of axes."""
    return [tuple(i for i in range(rank) if bits >> i & 1) for bits in range(2**rank)]


def elementwise(subject: Subject) -> list[str]:
    return [n for n in callable_primitives() if issubclass(primitives[n], Elementwise)]


@check("F2", Level.FORWARD, elementwise)
def random_calls(subject: Subject, name: str) -> None:
    subject.op(name)
    dtypes = subject.typical

    def holds(call: PrimitiveCall) -> None:
        call = call._replace(args=tuple([np.asarray(a, a.dtype.newbyteorder("="))
                                         for a in call.args]))  # fmt: skip
        if {a.dtype.name for a in call.args} <= set(subject.claims.dtypes):
            if subject.refusal(call) is None:
                agree(call, subject.apply(call), subject.claims, repr(call))

    subject.forall(primitive_calls(names=[name], dtypes=dtypes), holds)
