"""A backend whose buffers are no arrays: it finds the places where something assumes NumPy's.

Its kernels are the primitives' references, so it tests everything around them and nothing in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import numpy as np

from ...extend import Backend, Node, Primitive, Type, primitives
from .calls import poison


class Opaque:
    """A buffer. Reading and writing rows is all it can do; NumPy is refused.

    >>> np.asarray(Opaque(np.zeros(2)))
    Traceback (most recent call last):
        ...
    TypeError: a buffer of a backend is not an array; use backend.get(buffer).
    """

    __slots__ = ("__weakref__", "_host")
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, host: np.ndarray):
        self._host = host

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("a buffer of a backend is not an array; use backend.get(buffer).")

    def __iter__(self) -> NoReturn:
        self.__array__()

    def __bool__(self) -> NoReturn:
        self.__array__()

    def __eq__(self, other: object) -> NoReturn:
        self.__array__()

    def __getitem__(self, step: Any) -> Opaque:
        """A row, not a copy of it: `out=buffer[t]` writes into the buffer."""
        return Opaque(self._host[_row(step)])

    def __setitem__(self, step: Any, row: Opaque) -> None:
        inside = self._host[_row(step)]
        assert (row._host.shape, row._host.dtype) == (inside.shape, inside.dtype), "not a row of it"
        inside[...] = row._host


def _row(step: Any) -> tuple[Any, ...]:
    """`t` or `(t, ...)`, the two ways in which programs speak of rows."""
    at, *rest = step if isinstance(step, tuple) else (step,)
    assert rest in ([], [Ellipsis]), f"a program reads whole rows, not {step!r}"
    return (int(at), ...)


def wrapped(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays as a kernel on buffers; NumPy's own functions can write into `out`."""

    def run(*buffers: Opaque, **attrs: Any) -> Any:
        found = kernel(*[b._host for b in buffers], **attrs)
        if isinstance(found, tuple):  # operations with several results
            return tuple([Opaque(np.asarray(y)) for y in found])
        return Opaque(np.asarray(found))

    def write(*buffers: Opaque, out: Opaque | None = None) -> Any:
        if out is None:
            return run(*buffers)
        kernel(*[b._host for b in buffers], out=out._host)
        return out

    write.takes_out = True  # type: ignore[attr-defined]
    return write if isinstance(kernel, np.ufunc) else run


class References(Mapping[str, Callable[..., Any]]):
    """The references of all primitives that have no body, those registered later included."""

    def __init__(self) -> None:
        self.made: dict[str, Callable[..., Any]] = {}

    def __getitem__(self, name: str) -> Callable[..., Any]:
        if name not in self.made:
            op = primitives[name]
            if has_body(op):
                raise KeyError(name)
            self.made[name] = wrapped(op.reference)
        return self.made[name]

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, op in primitives.items() if not has_body(op)])

    def __len__(self) -> int:
        return len(list(iter(self)))


def has_body(op: type[Primitive]) -> bool:
    """Whether applications carry a graph, so that the core runs them."""
    return op.execute.__func__ is not Primitive.execute.__func__  # type: ignore[attr-defined]


class Loopback(Backend):
    """NumPy arrays in opaque buffers."""

    name = "loopback"
    kernels: Mapping[str, Callable[..., Any]] = References()

    def put(self, host: np.ndarray) -> Opaque:
        return Opaque(np.array(host, order="C"))

    def get(self, buffer: Opaque) -> np.ndarray:
        view = buffer._host.view()
        view.flags.writeable = False
        return view

    def empty(self, type: Type) -> Opaque:
        """Filled with poison, so that nobody can rely on what is in it."""
        return Opaque(np.full(type.shape, poison(type.dtype.np), type.dtype.np))

    def takes_out(self, kernel: Callable[..., Any], node: Node) -> bool:
        return getattr(kernel, "takes_out", False)
