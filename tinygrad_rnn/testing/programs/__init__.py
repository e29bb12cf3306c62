"""Random programs: graphs that are valid by construction, made from integers."""

from __future__ import annotations

from .generate import BEYOND, BITS, generate, random_numbers
from .pairs import possible
from .program import Leaf, Program
from .scans import ScanBody, scan_body

__all__ = [
    "BEYOND", "BITS", "Leaf", "Program", "ScanBody", "generate", "possible",
    "random_numbers", "scan_body",
]  # fmt: skip
