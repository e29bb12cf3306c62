"""The CuPy backend: the same graphs on a GPU."""

from __future__ import annotations

from .backend import CupyBackend

__all__ = ["CupyBackend"]
