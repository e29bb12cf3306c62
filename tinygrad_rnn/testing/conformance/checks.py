"""All checks: importing this module fills the list, in the order in which to mend things."""

from __future__ import annotations

from . import (
    edges,
    gradients,
    graphs,
    loops,
    programs,
    random_programs,
    resources,
    smoke,
    values,
)
from .registry import CHECKS

ORDER = (smoke, values, edges, programs, graphs, gradients, loops, random_programs, resources)
_place = {module.__name__: i for i, module in enumerate(ORDER)}
CHECKS.sort(key=lambda check: (check.level, _place[check.run.__module__]))
