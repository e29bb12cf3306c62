"""The Numba backend: NumPy's kernels for single operations, generated code for loops and graphs."""

from __future__ import annotations

from .backend import NumbaBackend

__all__ = ["NumbaBackend"]
