"""The list of sabotaged backends, and how a fault gets into one.

In: functions of arrays that are wrong, or classes that do something wrong. Out: `SABOTAGED`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ....extend import Backend, primitives
from ..loopback import Loopback, wrapped
from ..registry import PROPERTIES


class Sabotage(NamedTuple):
    """A backend with one fault, and the property that finds it."""

    name: str
    property: str
    about: str
    make: Callable[[], Backend]


#: name -> sabotage, in the order of the levels.
SABOTAGED: dict[str, Sabotage] = {}


def enter(name: str, property: str, about: str, make: Callable[[], Backend]) -> None:
    """Put a backend on the list."""
    assert property in PROPERTIES and name not in SABOTAGED, name
    SABOTAGED[name] = Sabotage(name, property, about, make)


def sabotage(property: str) -> Callable[[type[Backend]], type[Backend]]:
    """Enter a class; its docstring says what is wrong with it."""

    def register(cls: type[Backend]) -> type[Backend]:
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in cls.__name__)
        cls.name = name.strip("_")
        enter(cls.name, property, (cls.__doc__ or "").strip(), cls)
        return cls

    return register


def kernel(op: str, property: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter the loopback backend with another function of arrays for one primitive."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        def make() -> Backend:
            kernels = {**Loopback.kernels, op: wrapped(function)}
            about = {"name": function.__name__, "kernels": kernels, "__doc__": function.__doc__}
            made: Backend = type("Sabotaged", (Loopback,), about)()
            return made

        enter(function.__name__, property, (function.__doc__ or "").strip(), make)
        return function

    return register


def reference(op: str) -> Callable[..., Any]:
    """What the primitive should do."""
    found: Callable[..., Any] = primitives[op].reference
    return found
