"""Applications of primitives, drawn from their declarations.

In: a primitive's samples, and the dtypes that a backend claims. Out: operands as NumPy arrays, what
the reference makes of them, and what it makes of them in double precision. A sample's dtypes are
examples: every other assignment that the type rule accepts is drawn too.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...errors import TinygradRnnError
from ...extend import Arg, DType, Graph, Node, Primitive, Sample, Type, Var
from ...types import as_dtype, kind_of
from ..calls import PrimitiveCall

Host = np.ndarray[Any, Any]
Fill = Callable[[np.random.Generator, Arg, DType, int], Host]


def seeded(name: str) -> np.random.Generator:
    """A generator that is the same in every run, and another one for every name."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def exact(call: PrimitiveCall) -> tuple[Host, ...] | None:
    """What the reference makes of the operands in double precision, if they are in less."""
    small = [kind_of(a.dtype) == "f" and a.dtype.itemsize < 8 for a in call.args]
    if not any(small) or any(isinstance(v, DType | Graph) for v in call.attrs.values()):
        return None
    wide = [a.astype(np.float64) if s else a for a, s in zip(call.args, small)]
    return call._replace(args=tuple(wide)).reference()


def graph_of(call: PrimitiveCall) -> Graph:
    """A graph of this one application."""
    inputs = [Var(Type(a.shape, as_dtype(a.dtype))) for a in call.args]
    outputs = tuple([Var(t) for t in call.types()])
    return Graph(inputs, [Node(call.op, tuple(inputs), call.attrs, outputs)], outputs)


def uniform(rng: np.random.Generator, arg: Arg, dtype: DType, k: int) -> Host:
    """Values from the range that the declaration gives."""
    if dtype.is_bool:
        return np.asarray(rng.random(arg.shape) < 0.5)
    if dtype.is_float:
        return np.asarray(rng.uniform(arg.low, arg.high, arg.shape), dtype.np)
    if dtype.kind == "c":
        parts = rng.uniform(arg.low, arg.high, (2, *arg.shape))
        return np.asarray(parts[0] + 1j * parts[1], dtype.np)
    info = np.iinfo(dtype.np)
    low, high = max(int(np.floor(arg.low)), info.min), min(int(np.ceil(arg.high)), info.max)
    return np.asarray(rng.integers(low, high, arg.shape, dtype.np, endpoint=True))


def poison(dtype: Any) -> Any:
    """A value that shows wherever it gets to."""
    kind = kind_of(np.dtype(dtype))
    return np.nan if kind in "fc" else True if kind == "b" else np.iinfo(dtype).max


def draw(
    op: type[Primitive], sample: Sample, assigned: Assigned, seed: str, fill: Fill = uniform
) -> PrimitiveCall | None:
    """The application that a sample describes, with other dtypes; None where it has no meaning."""
    rng = seeded(f"{op.name} {seed}")
    args = [fill(rng, a, d, k) for k, (a, d) in enumerate(zip(sample.args, assigned.dtypes))]
    call = PrimitiveCall(op.name, tuple(args), dict(assigned.attrs))
    return meant(call)


def meant(call: PrimitiveCall) -> PrimitiveCall | None:
    """The call with operands that the reference takes: 2 ** -1 means nothing for integers."""
    for tried in (call, call._replace(args=tuple([np.maximum(a, 0) for a in call.args]))):
        try:
            tried.reference()
        except (TinygradRnnError, ValueError, TypeError, IndexError):
            continue
        return tried
    return None


class Assigned(NamedTuple):
    """Dtypes for the operands of a sample, and attributes with dtypes to match."""

    dtypes: tuple[DType, ...]
    attrs: Mapping[str, Any]

    def __str__(self) -> str:
        more = [v.name for v in self.attrs.values() if isinstance(v, DType)]
        return " ".join([*[d.name for d in self.dtypes], *more])


def assignments(
    op: type[Primitive],
    sample: Sample,
    claimed: Sequence[DType],
    free: Sequence[DType] | None = None,
) -> list[Assigned]:
    """Every choice of claimed dtypes that the type rule accepts for a sample.

    Operands that share a dtype in the declaration share one in every choice. `free`: those that
    are chosen from, beside what the declaration says (default: all that are claimed).
    """
    free = claimed if free is None else free
    groups = list(dict.fromkeys(a.dtype for a in sample.args))
    places = [k for k, v in sample.attrs.items() if isinstance(v, DType)]
    found = []
    lists = [_candidates(g, claimed, free) for g in groups] + [free] * len(places)
    for chosen in itertools.product(*lists):
        of = dict(zip(groups, chosen))
        dtypes = tuple([of[a.dtype] for a in sample.args])
        attrs = {**sample.attrs, **dict(zip(places, chosen[len(groups) :]))}
        if valid(op, [a.shape for a in sample.args], dtypes, attrs):
            found.append(Assigned(dtypes, attrs))
    return found


def _candidates(
    declared: str | None, claimed: Sequence[DType], free: Sequence[DType]
) -> Sequence[DType]:
    """What an operand may be; booleans, as conditions, stay what they are."""
    if declared == "bool":
        return [d for d in claimed if d.is_bool]
    return [*free, *[d for d in claimed if d.name == declared and d not in free]]


def valid(op: type[Primitive], shapes: Any, dtypes: Any, attrs: Mapping[str, Any]) -> bool:
    """Whether the type rule accepts these operands."""
    try:
        op.infer(tuple([Type(tuple(s), d) for s, d in zip(shapes, dtypes)]), attrs)
    except (TinygradRnnError, IndexError, ValueError, TypeError):
        return False  # the functions that people call check attributes before the rule sees them
    return True


def resized(op: type[Primitive], sample: Sample, dtypes: Any, sizes: Any) -> Iterator[Sample]:
    """The sample with one of its extents replaced by each of `sizes`, where the rule accepts it."""
    for n in sorted({n for a in sample.args for n in a.shape if n > 1}):
        for m in sizes:
            args = [a._replace(shape=tuple([m if k == n else k for k in a.shape]))
                    for a in sample.args]  # fmt: skip
            if valid(op, [a.shape for a in args], dtypes, sample.attrs):
                yield Sample(tuple(args), sample.attrs)
