"""The backend under test, and how the checks speak to it.

In: a backend, by name, class or instance. Out: its results as NumPy arrays.
"""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import entry_points
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

from ... import jit
from ...backend import GROUP, Backend, get_backend, list_backends, use_backend, validate
from ...backend import run as _run
from ...errors import BackendError
from ...extend import Capabilities, Graph, Primitive, Type, bind_all, primitives
from ...tensor import Tensor, Value, wrap
from ...tree import flatten
from ...types import DType, as_dtype
from ..calls import PrimitiveCall
from .calls import Fill, Host, assignments, draw, poison, uniform
from .registry import Skip

#: How operands can lie in memory, other than one after another.
LAYOUTS = ("transposed", "strided", "reversed", "inner", "broadcast")


def missing(which: str | Backend | type[Backend]) -> str | None:
    """Why a backend cannot be used here, by its own account; None if it can."""
    if isinstance(which, Backend):
        return None
    if isinstance(which, type):
        return which.missing()
    for info in list_backends():
        if info.name == which and info.missing is not None:
            return info.missing
    for entry in entry_points(group=GROUP, name=which):
        cls = validate(entry.load(), which)
        return cls.missing()
    get_backend(which)  # there is no such backend: this says which ones there are
    return None


class Subject:
    """A backend, what it claims, and how many random examples every property gets."""

    def __init__(
        self, backend: str | Backend | type[Backend], examples: int = 10, seed: int | None = None
    ):
        reason = missing(backend)
        if reason is not None:
            raise BackendError(f"backend {backend} cannot be used here: {reason}")
        self.backend = get_backend(backend() if isinstance(backend, type) else backend)
        self.examples, self.seed = examples, seed

    @property
    def claims(self) -> Capabilities:
        return self.backend.capabilities

    @functools.cached_property
    def dtypes(self) -> list[DType]:
        """Those that the backend claims, where there can be arrays of them."""
        return [d for d in map(as_dtype, self.claims.dtypes) if d.missing is None]

    @property
    def floats(self) -> list[DType]:
        return [d for d in self.dtypes if d.is_float]

    @property
    def plain(self) -> list[str]:
        """The widest floating dtype and the widest integers: for what no dtype makes difficult."""
        widest = {d.kind: d.name for d in sorted(self.dtypes, key=lambda d: d.itemsize)}
        return [widest[kind] for kind in "fi" if kind in widest]

    @property
    def typical(self) -> list[str]:
        """The plain dtypes and those of half their width."""
        half = [d.name for d in self.dtypes if d.itemsize == 4 and d.kind in "fi"]
        return list(dict.fromkeys([*self.plain, *half]))

    def need(self, *dtypes: str) -> None:
        """Skip where a dtype is not claimed, or cannot be had."""
        for name in dtypes:
            if name not in self.claims.dtypes:
                raise Skip(f"{name} is not claimed")
            reason = as_dtype(name).missing
            if reason is not None:
                raise Skip(f"{name}: {reason}")

    def promise(self, feature: str) -> None:
        """Skip where the backend says that it lacks a feature."""
        if feature in self.claims.lacks:
            raise Skip(f"lacks {feature}: {self.claims.lacks[feature]}")

    # --- buffers -----------------------------------------------------------------------------

    def tensor(self, host: Any, layout: str = "", requires_grad: bool = False) -> Tensor:
        """A leaf on the backend; its buffer lies in memory as `layout` says."""
        host = np.asarray(host)
        t = wrap(Value(Type(host.shape, as_dtype(host.dtype)), self.buffer(host, layout),
                       self.backend))  # fmt: skip
        if requires_grad:
            t.requires_grad = True
        return t

    def buffer(self, host: Host, layout: str = "") -> Any:
        """A buffer with these values, made by the backend's own movement kernels."""
        put, kernels, n = self.backend.put, self.backend.kernels, host.ndim
        if not layout or not n:
            return put(host)
        if layout == "transposed":
            perm = tuple(range(n))[::-1]
            return kernels["transpose"](put(host.transpose(perm).copy()), perm=perm)
        if layout == "reversed":
            return kernels["flip"](put(np.flip(host).copy()), axes=tuple(range(n)))
        if layout == "broadcast":
            return kernels["broadcast_to"](put(host[:1].copy()), shape=host.shape)
        step = 2 if layout == "strided" else 1
        wide = np.full([step * m + 2 for m in host.shape], poison(host.dtype), host.dtype)
        start, stop = (1,) * n, tuple([1 + step * m for m in host.shape])
        wide[tuple(slice(a, b, step) for a, b in zip(start, stop))] = host
        return kernels["slice"](put(wide), start=start, stop=stop, step=(step,) * n)

    def host(self, x: Any) -> Host:
        """The values of a tensor or a buffer of the backend."""
        found = self.backend.get(x._value.data if isinstance(x, Tensor) else x)
        return np.asarray(found)

    # --- running -----------------------------------------------------------------------------

    def apply(self, call: PrimitiveCall, layouts: Sequence[str] = ()) -> list[Host]:
        """An application, computed at once."""
        given = [*layouts, *[""] * len(call.args)]
        with use_backend(self.backend):
            ts = [self.tensor(a, layout) for a, layout in zip(call.args, given)]
            return [self.host(y) for y in bind_all(call.op, *ts, **call.attrs)]

    def kernel(self, call: PrimitiveCall) -> Callable[..., Any]:
        """What computes an application, on buffers."""
        kernel = self.backend.kernels.get(call.name)
        if kernel is None:
            types = call.types()
            return lambda *buffers: call.op.execute(self.backend, types, call.attrs, buffers)
        quiet = contextvars.Context()
        quiet.run(np.seterr, all="ignore")
        return lambda *buffers: quiet.run(kernel, *buffers, **call.attrs)

    def run(self, graph: Graph, buffers: Sequence[Any]) -> Sequence[Any]:
        """A graph as it is, compiled, on buffers."""
        return _run(self.backend.compile(graph), buffers)

    def compile(self, graph: Graph) -> Callable[..., list[Host]]:
        """A graph as it is, compiled, as a function of arrays."""
        program = self.backend.compile(graph)
        return lambda *hosts: [self.host(y) for y in _run(program, list(map(self.buffer, hosts)))]

    def eager(self, f: Callable[..., Any], *hosts: Any) -> list[Host]:
        """f on tensors of the backend."""
        with use_backend(self.backend):
            return self.hosts(f(*map(self.tensor, hosts)))

    def compiled(self, f: Callable[..., Any], *hosts: Any) -> list[Host]:
        """f as one compiled program."""
        return self.eager(jit(f), *hosts)

    def hosts(self, tree: Any) -> list[Host]:
        """All tensors of a tree as arrays that stay what they are."""
        return [self.host(y).copy() for y in flatten(tree)[0] if isinstance(y, Tensor)]

    # --- examples ----------------------------------------------------------------------------

    def calls(
        self, name: str, dtypes: Sequence[str] | None = None, fill: Fill = uniform
    ) -> list[PrimitiveCall]:
        """Applications of a primitive: every sample in every dtype that is claimed and valid."""
        op = self.op(name)
        free = [d for d in self.dtypes if dtypes is None or d.name in dtypes]
        found, seen = [], set()
        for k, sample in enumerate(op.samples):
            for assigned in assignments(op, sample, self.dtypes, free):
                what = f"{[a.shape for a in sample.args]} {assigned}"
                if what not in seen or not sample.attrs:
                    found.append(draw(op, sample, assigned, f"{k} {assigned}", fill))
                seen.add(what)
        return self.accepted(found)

    def accepted(self, calls: Iterable[PrimitiveCall | None]) -> list[PrimitiveCall]:
        """Those that mean something, and that the backend does not refuse."""
        return [call for call in calls if call is not None and self.refusal(call) is None]

    def refusal(self, call: PrimitiveCall) -> Any:
        """The declaration by which this application is refused, if there is one."""
        names = {a.dtype.name for a in call.args} | {t.dtype.name for t in call.types()}
        for refusal in self.claims.refuses:
            if refusal.op == call.name and names & set(refusal.dtypes):
                return refusal
        return None

    def op(self, name: str) -> type[Primitive]:
        """A primitive by its name; a skip where the backend has none."""
        if name in self.claims.lacks:
            raise Skip(f"lacks {name}: {self.claims.lacks[name]}")
        found: type[Primitive] = primitives[name]
        return found

    def forall(self, strategy: SearchStrategy[Any], property: Callable[[Any], None]) -> None:
        """`property` holds for examples of a strategy, the same ones in every run unless seeded."""
        import hypothesis

        test = given(strategy)(property)
        test = settings(
            max_examples=self.examples,
            deadline=None,
            database=None,
            derandomize=self.seed is None,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        )(test)
        if self.seed is not None:
            test = hypothesis.seed(self.seed)(test)
        test()
