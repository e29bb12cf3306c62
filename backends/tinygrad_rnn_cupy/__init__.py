"""The CuPy backend: the same graphs on a GPU. CuPy is imported with `CupyBackend`, not before: the
code generator needs none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backend import CupyBackend

__all__ = ["CupyBackend"]


def __getattr__(name: str) -> Any:
    if name == "CupyBackend":
        from .backend import CupyBackend

        return CupyBackend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
