"""Faults in moving and keeping arrays, and in what a backend says of itself."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ....extend import Capabilities, Refusal, Type
from ....types import as_dtype
from ..loopback import Loopback, Opaque, wrapped
from .registry import reference, sabotage

# --- declarations --------------------------------------------------------------------------------


@sabotage("F4")
class SaysThatItIsMissing(Loopback):
    """It is usable, and missing() gives a reason once it is in use."""

    used = False

    def __init__(self) -> None:
        type(self).used = True

    @classmethod
    def missing(cls) -> str | None:
        return "no device was found" if cls.used else None


@sabotage("F4")
class HasNoErf(Loopback):
    """A kernel is not there, and nothing says so."""

    def __init__(self) -> None:
        self.kernels = {k: v for k, v in Loopback.kernels.items() if k != "erf"}


@sabotage("F15")
class RefusesNothing(Loopback):
    """It says that it refuses tan in float16, and computes it."""

    capabilities = Capabilities(refuses=(Refusal("tan", ("float16",), "tan"),))


@sabotage("F7")
class TakesWhatItDoesNotClaim(Loopback):
    """It claims no uint16, and takes them as int32."""

    capabilities = Capabilities(dtypes=tuple(d for d in Capabilities().dtypes if d != "uint16"))

    def put(self, host: np.ndarray) -> Opaque:
        return super().put(host.astype(np.int32) if host.dtype == np.uint16 else host)


# --- putting and getting -------------------------------------------------------------------------


@sabotage("F7")
class PutKeepsTheArray(Loopback):
    """The buffer is the user's array: it changes when the array does."""

    def put(self, host: np.ndarray) -> Opaque:
        return Opaque(np.asarray(host, order="C"))


@sabotage("F7")
class HoldsSinglePrecision(Loopback):
    """float64 comes back as float64, with the digits of float32."""

    def put(self, host: np.ndarray) -> Opaque:
        return super().put(host.astype("f4").astype("f8") if host.dtype == np.float64 else host)


@sabotage("F7")
class GetAddsZero(Loopback):
    """-0.0 comes back as 0.0."""

    def get(self, buffer: Opaque) -> np.ndarray:
        found = super().get(buffer)
        return found + found.dtype.type(0) if found.dtype.kind == "f" else found


@sabotage("F7")
class EmptyIsDouble(Loopback):
    """Fresh buffers hold float64 where float32 was asked for."""

    def empty(self, type: Type) -> Opaque:
        wide = type.with_dtype(as_dtype("float64")) if type.dtype.name == "float32" else type
        return super().empty(wide)


# --- memory --------------------------------------------------------------------------------------


@sabotage("O6")
class SumsIntoUsedMemory(Loopback):
    """Sums by index begin with what was last in memory of that size, not with zeros."""

    def __init__(self) -> None:
        self.used: dict[Any, np.ndarray] = {}
        self.kernels = {**Loopback.kernels, "scatter_add": wrapped(self.scatter_add)}

    def put(self, host: np.ndarray) -> Opaque:
        self.used[host.shape, host.dtype] = host.copy()
        return super().put(host)

    def scatter_add(self, updates: Any, indices: Any, axis: int, size: int) -> Any:
        out = reference("scatter_add")(updates, indices, axis, size)
        return out + self.used.get((out.shape, out.dtype), np.zeros_like(out))


@sabotage("F9")
class OneScratchForAll(Loopback):
    """Products go through one buffer that all threads share."""

    def __init__(self) -> None:
        self.scratch: np.ndarray = np.zeros(0)
        self.kernels = {**Loopback.kernels, "contract": wrapped(self.contract)}

    def contract(self, x: Any, y: Any, **labels: Any) -> Any:
        result = reference("contract")(x, y, **labels)
        if self.scratch.shape != result.shape or self.scratch.dtype != result.dtype:
            self.scratch = np.empty_like(result)
        scratch = self.scratch
        scratch[...] = result
        time.sleep(1e-5)
        return scratch.copy()


class _Cyclic(Opaque):
    """A buffer that refers to itself."""

    __slots__ = ("itself",)
    itself: Opaque


@sabotage("F10")
class BuffersInCycles(Loopback):
    """Only the garbage collector finds buffers that are no longer used."""

    def __init__(self) -> None:
        self.kernels = {**Loopback.kernels, "tanh": self.tanh}

    def takes_out(self, kernel: Any, node: Any) -> bool:
        return False

    def tanh(self, x: Opaque) -> Opaque:
        out = _Cyclic(np.asarray(np.tanh(x._host)))
        out.itself = out
        return out


@sabotage("F11")
class KeepsEveryResult(Loopback):
    """A copy of every product is kept for ever."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.kernels = {**Loopback.kernels, "contract": wrapped(self.contract)}

    def contract(self, x: Any, y: Any, **labels: Any) -> Any:
        out = reference("contract")(x, y, **labels)
        self.kept.append(out.copy())
        return out


@sabotage("F11")
class KeepsAList(Loopback):
    """A little object is kept for every product."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.kernels = {**Loopback.kernels, "contract": wrapped(self.contract)}

    def contract(self, x: Any, y: Any, **labels: Any) -> Any:
        self.kept.append([labels])
        return reference("contract")(x, y, **labels)
