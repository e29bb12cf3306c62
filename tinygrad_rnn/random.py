"""Random numbers from counters: functions of (seed, stream, step), the same bits on every backend.

A state is a uint32[4] tensor: key low, key high, stream, step. Drawing is a function
`state -> (numbers, state with the next step)`; a Generator holds a state and moves it on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from .backend import Backend, get_backend
from .errors import ArgumentError, DTypeError
from .ops.bits import RandomBits
from .ops.creation import tensor
from .ops.elementwise import Cast
from .ops.functions import astype, cos, log, sqrt
from .ops.movement import narrow, reshape
from .primitive import bind
from .tensor import Tensor, Value, wrap
from .trace import no_grad, untraced
from .trace import state as trace_state
from .types import Shape, as_dtype, as_shape, default_dtype, float64

_NEXT = np.array([0, 0, 0, 1], np.uint32)


def state_from(seed: int, stream: int = 0, backend: str | Backend | None = None) -> Tensor:
    """The state of step 0 for a seed (any non-negative integer below 2**64) and a stream."""
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or not 0 <= seed < 2**64:
        raise ArgumentError(f"seed must be an integer from 0 to 2**64 - 1, got {seed!r}.")
    words = [seed & 0xFFFFFFFF, seed >> 32, stream & 0xFFFFFFFF, 0]
    return tensor(np.array(words, np.uint32), backend=backend)


def bits_from_state(state: Tensor, shape: Any) -> tuple[Tensor, Tensor]:
    """Random uint32 numbers and the next state."""
    bits = bind(RandomBits, state, shape=as_shape(shape, "random bits"))
    return bits, state + tensor(_NEXT, backend=state.backend)


def uniform_from_state(state: Tensor, shape: Any, dtype: Any = None) -> tuple[Tensor, Tensor]:
    """Numbers from [0, 1) with as many random bits as the dtype has, and the next state."""
    kind = _floating(dtype)
    size = as_shape(shape, "uniform")
    if kind is float64:
        bits, new = bits_from_state(state, (*size, 2))
        high = reshape(narrow(bits, len(size), 0, 1), size)
        low = reshape(narrow(bits, len(size), 1, 2), size)
        # 27 + 26 bits make the 53 of a double
        return (astype(high >> 5, kind) * 2.0**26 + astype(low >> 6, kind)) * 2.0**-53, new
    bits, new = bits_from_state(state, size)
    return bind(Cast, bits >> (32 - kind.digits), dtype=kind) * 2.0**-kind.digits, new


def normal_from_state(state: Tensor, shape: Any, dtype: Any = None) -> tuple[Tensor, Tensor]:
    """Normally distributed numbers (Box and Muller 1958) and the next state."""
    size = as_shape(shape, "normal")
    kind = _floating(dtype)
    wide = kind if kind.itemsize > 2 else default_dtype()
    u, new = uniform_from_state(state, (2, *size), wide)
    radius = sqrt(-2.0 * log(1.0 - reshape(narrow(u, 0, 0, 1), size)))
    return astype(radius * cos(reshape(narrow(u, 0, 1, 2), size) * (2 * math.pi)), kind), new


def _floating(dtype: Any) -> Any:
    kind = as_dtype(dtype if dtype is not None else default_dtype())
    if not kind.is_float:
        raise DTypeError(f"random numbers of dtype {kind}: expected a floating dtype.")
    return kind


class Generator:
    """A seeded source of random tensors; every draw moves `state` one step on.

    What the step of a `scan` draws is drawn before the loop, for all steps in one draw.

    >>> g = Generator(0)
    >>> a, b = g.uniform((2,)), g.uniform((2,))
    >>> (a == b).any().item(), (a == Generator(0).uniform((2,))).all().item()
    (False, True)
    """

    def __init__(self, seed: int = 0, stream: int = 0, backend: str | Backend | None = None):
        self.state = state_from(seed, stream, backend)
        self.children = 0

    def _draw(self, what: str, shape: Any, draw: Callable[[Shape], Any]) -> Tensor:
        """What `draw` gives for a shape: numbers, or also the next state. In the step of a loop it
        draws for all steps, outside, and the step reads its own numbers."""
        size, tracer = as_shape(shape, what), trace_state.tracer
        if tracer is not None and tracer.length is not None and not tracer.owns(self.state._value):
            with untraced(tracer.parent):
                every = self._draw(what, (tracer.length, *size), draw).to(tracer.backend)
            tracer.drawn.append(every)
            kind = every.type.with_shape(size)
            return wrap(Value(kind, tracer.input(kind), tracer.backend))
        drawn = draw(size)
        if isinstance(drawn, tuple):
            drawn, state = drawn
            self.state.assign_(state)
        numbers: Tensor = drawn
        return numbers

    @no_grad()
    def bits(self, shape: Any) -> Tensor:
        """Random uint32 numbers."""
        return self._draw("random bits", shape, lambda n: bits_from_state(self.state, n))

    @no_grad()
    def uniform(self, shape: Any, low: float = 0.0, high: float = 1.0, dtype: Any = None) -> Tensor:
        """Numbers from [low, high)."""
        u = self._draw("uniform", shape, lambda n: uniform_from_state(self.state, n, dtype))
        return u if (low, high) == (0.0, 1.0) else u * (high - low) + low

    @no_grad()
    def normal(self, shape: Any, mean: float = 0.0, std: float = 1.0, dtype: Any = None) -> Tensor:
        """Normally distributed numbers."""
        z = self._draw("normal", shape, lambda n: normal_from_state(self.state, n, dtype))
        return z if (mean, std) == (0.0, 1.0) else z * std + mean

    @no_grad()
    def bernoulli(self, p: float, shape: Any) -> Tensor:
        """Booleans that are True with probability p."""
        if not 0 <= p <= 1:
            raise ArgumentError(f"bernoulli: the probability must be in [0, 1], got {p}.")
        return self._draw(
            "bernoulli", shape, lambda n: self.uniform(n, dtype="float32") < float(p)
        )

    @no_grad()
    def randint(self, low: int, high: int, shape: Any) -> Tensor:
        """Integers (int64) from low to high - 1, uniform to one part in 2**32 / (high - low)."""
        if not 0 < high - low <= 2**32:
            raise ArgumentError(
                f"randint: the range [{low}, {high}) must hold 1 to 2**32 integers."
            )
        wide = astype(self.bits(shape), "uint64") * (high - low)
        return astype(wide >> 32, "int64") + low

    def permutation(self, n: int) -> np.ndarray:
        """A random order of 0 … n - 1, as a NumPy array."""
        keys = self.bits((n, 2)).numpy().astype(np.uint64)
        return np.argsort(keys[:, 0] << np.uint64(32) | keys[:, 1], kind="stable")

    def spawn(self) -> Generator:
        """A new, independent generator; the same sequence of spawns gives the same generators."""
        self.children += 1
        child = Generator.__new__(Generator)
        words = self.state.numpy().copy()
        mixed = np.random.SeedSequence(
            [int(w) for w in words[:3]] + [self.children]
        ).generate_state(3)
        child.state = tensor(np.array([*mixed, 0], np.uint32), backend=self.state.backend)
        child.children = 0
        return child

    def seed(self, seed: int) -> None:
        """Start again from a seed."""
        self.state.assign_(state_from(seed, 0, self.state.backend))
        self.children = 0

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to continue exactly here."""
        return {"state": [int(w) for w in self.state.numpy()], "children": self.children}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        words = saved.get("state") if isinstance(saved, dict) else None
        if not (
            isinstance(words, list | tuple)
            and len(words) == 4
            and all(0 <= w < 2**32 for w in words)
        ):
            raise ArgumentError("a generator's state is four integers below 2**32 under 'state'.")
        self.state.assign_(np.array(words, np.uint32))
        self.children = int(saved.get("children", 0))


class _Default:
    """The default generators, one per backend, and the seed from which they start."""

    seed = 0
    of: ClassVar[dict[Backend, Generator]] = {}


def default_generator(backend: str | Backend | None = None) -> Generator:
    """The generator that functions use when no `rng` is given; every backend has its own.

    Without an argument it is that of the current backend; inside a recorded function, of the
    backend on which that runs.

    >>> default_generator() is default_generator()
    True
    """
    tracer = trace_state.tracer
    where = get_backend(backend) if backend or tracer is None else tracer.backend
    found = _Default.of.get(where)
    if found is None:
        with untraced():  # its state is nobody's constant
            found = _Default.of[where] = Generator(_Default.seed, backend=where)
    return found


def manual_seed(seed: int) -> Generator:
    """Start the default generators of all backends again from a seed; returns the current one.

    >>> a = manual_seed(7).uniform((2,))
    >>> (a == manual_seed(7).uniform((2,))).all().item()
    True
    """
    for generator in _Default.of.values():
        generator.seed(seed)
    _Default.seed = seed
    return default_generator()


def as_generator(rng: Generator | int | None, backend: str | Backend | None = None) -> Generator:
    """`rng` arguments: None (the default generator), a seed, or a Generator.

    `backend` is where the numbers are needed, if not on the current one.
    """
    if rng is None:
        return default_generator(backend)
    if isinstance(rng, Generator):
        return rng
    if isinstance(rng, int | np.integer):
        return Generator(int(rng), backend=backend)
    raise ArgumentError(f"rng must be None, a seed or a Generator, got {type(rng).__name__}.")
