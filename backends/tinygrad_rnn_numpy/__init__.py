"""The NumPy backend: the meaning of the graphs, and always there."""

from __future__ import annotations

from .backend import NumpyBackend

__all__ = ["NumpyBackend"]
