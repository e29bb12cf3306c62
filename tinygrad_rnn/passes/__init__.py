"""Passes: graph -> graph, the same meaning, less work. What is compiled runs through them."""

from ..backend import pipeline
from .fission import fission
from .prune import prune
from .simplify import simplify

__all__ = ["fission", "prune", "simplify"]

pipeline[:] = [simplify, prune, fission, simplify, prune]
