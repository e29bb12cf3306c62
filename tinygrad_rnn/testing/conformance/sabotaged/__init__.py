"""Backends with one fault each, which the suite must reject: a test of the suite itself.

>>> SABOTAGED["neg_in_place"].property, SABOTAGED["neg_in_place"].about
('B4', 'The result is written over the operand, and then copied.')
"""

from __future__ import annotations

from . import buffers, kernels, loops, programs
from .registry import SABOTAGED, Sabotage

__all__ = ["SABOTAGED", "Sabotage", "buffers", "kernels", "loops", "programs"]
