"""The conformance suite for backends: see `BackendConformance`.

BackendConformance   the suite as a class of tests
score, Scorecard     the suite without pytest
Loopback             a backend that is right, and whose buffers are no arrays
SABOTAGED            backends with one fault each, and the property that finds it
PROPERTIES, Level    what the numbers of properties and levels mean
"""

from __future__ import annotations

from ..strategies import primitive_calls as primitive_calls  # first: says what to install
from .loopback import Loopback
from .registry import PROPERTIES, Level
from .sabotaged import SABOTAGED
from .scorecard import Scorecard, score
from .subject import Subject
from .suite import BackendConformance

__all__ = [
    "PROPERTIES", "SABOTAGED", "BackendConformance", "Level", "Loopback", "Scorecard", "Subject",
    "score",
]  # fmt: skip
