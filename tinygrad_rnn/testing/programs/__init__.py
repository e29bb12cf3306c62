"""Random programs: graphs that are valid by construction, made from integers."""

from __future__ import annotations

from .generate import BITS, generate, random_numbers
from .pairs import possible
from .program import Leaf, Program

__all__ = ["BITS", "Leaf", "Program", "generate", "possible", "random_numbers"]
