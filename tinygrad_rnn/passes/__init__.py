"""Passes: graph -> graph, the same meaning, less work. What is compiled runs through them."""

from ..backend import pipeline
from .clocks import clocks
from .fission import fission
from .prune import prune
from .simplify import simplify

__all__ = ["clocks", "fission", "prune", "simplify"]

pipeline[:] = [simplify, prune, clocks, fission, simplify, prune]
