"""Valid calls of primitives, made from their declarations.

In: a primitive's `samples` (shapes, ranges, attributes) and `kinds`. Out: operands and attributes.
Elementwise primitives get other shapes than their samples have; every call draws new values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..extend import Arg, Elementwise, Primitive, Sample, primitives
from ..types import DTYPES, Type, as_dtype
from .layouts import lay_out

Shape = tuple[int, ...]
#: What integers may be where the range that a sample gives is meant for floats.
INTEGERS: dict[str, tuple[tuple[int, int], ...]] = {
    "pow": ((-3, 3), (0, 3)), "mod": ((-9, 9), (1, 4)), "floordiv": ((-9, 9), (1, 4)),
}  # fmt: skip


class PrimitiveCall(NamedTuple):
    """A primitive, operands that it accepts, and attributes."""

    name: str
    args: tuple[np.ndarray, ...]
    attrs: dict[str, Any]

    @property
    def op(self) -> type[Primitive]:
        """The primitive's class."""
        found: type[Primitive] = primitives[self.name]
        return found

    def types(self) -> tuple[Type, ...]:
        """The types of the results, by the primitive's rule."""
        given = tuple(Type(a.shape, as_dtype(a.dtype)) for a in self.args)
        found = self.op.infer(given, self.attrs)
        return found if isinstance(found, tuple) else (found,)

    def reference(self) -> tuple[np.ndarray, ...]:
        """The results by the primitive's NumPy reference."""
        given = [np.asarray(a, a.dtype.newbyteorder("=")) for a in self.args]
        with np.errstate(all="ignore"):
            found = self.op.reference(*given, **self.attrs)
        return tuple(map(np.asarray, found if isinstance(found, tuple) else (found,)))

    def __repr__(self) -> str:
        args = [f"{a.dtype.name}{list(a.shape)}" for a in self.args]
        attrs = [f"{k}={v}" for k, v in self.attrs.items() if not hasattr(v, "nodes")]
        return f"{self.name}({', '.join(args + attrs)})"


def callable_primitives() -> list[str]:
    """Names of all primitives that have samples, in order."""
    return sorted(name for name, op in primitives.items() if op.samples)


def kinds_of(op: type[Primitive]) -> str:
    """The kinds of dtypes ("b", "i", "u", "f", "c") that an elementwise primitive takes."""
    return op.kinds if issubclass(op, Elementwise) else "f"


def dtypes_of(name: str, sample: Sample) -> list[str]:
    """The dtypes with which the free operands of a sample may be drawn, the plainest first."""
    op = primitives[name]
    if all(a.dtype is not None for a in sample.args):
        return ["float64"]
    floats = [d.name for d in reversed(DTYPES) if d.is_float and d.missing is None]
    found = floats if "f" in kinds_of(op) else []
    whole = kinds_of(op) if issubclass(op, Elementwise) else ""
    found += ["int64", "int32", "int8"] if "i" in whole else []
    found += ["uint8", "uint32"] if "u" in whole else []
    return found + (["bool"] if "b" in whole and name != "where" else [])


def values(
    name: str, slot: int, arg: Arg, dtype: str, shape: Shape, rng: np.random.Generator
) -> np.ndarray:
    """Random values that operand `slot` of a primitive accepts."""
    found = as_dtype(arg.dtype or dtype)
    kind = found.np
    if found.kind == "b":
        return rng.random(shape) < 0.5
    if found.kind == "f":
        return np.asarray(rng.uniform(arg.low, arg.high, shape), kind)
    if found.kind == "c":
        parts = rng.uniform(arg.low, arg.high, (2, *shape))
        return np.asarray(parts[0] + 1j * parts[1], kind)
    if name in INTEGERS:
        low, high = INTEGERS[name][slot]
    else:
        low, high = math.ceil(arg.low), max(math.ceil(arg.low), math.floor(arg.high))
    limits = np.iinfo(kind)
    low = max(low, int(limits.min))
    high = max(low, min(high, int(limits.max)))
    return rng.integers(low, high, shape, kind, endpoint=True)


def make_call(
    name: str,
    sample: Sample,
    dtype: str,
    seed: int,
    shapes: Sequence[Shape] | None = None,
    layouts: Sequence[str] = (),
) -> PrimitiveCall:
    """One call after a sample: values from `seed`, free operands of `dtype`.

    `shapes` replace those of the sample (elementwise primitives take any that broadcast); operand
    number k is laid out as `layouts[k]`, where there is one.
    """
    rng = np.random.default_rng(seed)
    out = []
    for k, arg in enumerate(sample.args):
        shape = arg.shape if shapes is None else shapes[k]
        a = values(name, k, arg, dtype, shape, rng)
        out.append(lay_out(a, layouts[k]) if k < len(layouts) else a)
    return PrimitiveCall(name, tuple(out), dict(sample.attrs))
