"""Derivatives by central differences of the eighth order, for functions without a complex step.

B. Fornberg, "Generation of finite difference formulas on arbitrarily spaced grids", Mathematics of
Computation 51, 1988. The error is about 1e-12 where the function is smooth on the scale of a step;
two steps that disagree say where it is not.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

#: Weights of f(x + k h) - f(x - k h), k = 1, 2, 3, 4.
WEIGHTS = (4 / 5, -1 / 5, 4 / 105, -1 / 280)
STEPS = (3e-2, 1e-2, 3e-3, 1e-3)


def central(f: Callable[[float], float], scale: float = 1.0) -> tuple[float, float]:
    """The derivative of f at 0 and an estimate of its error: steps of assorted sizes are tried.

    >>> import math
    >>> slope, error = central(math.exp)
    >>> abs(slope - 1) < 1e-12, error < 1e-11
    (True, True)
    """
    slopes = []
    for step in STEPS:
        h = step * scale
        slopes.append(sum(w * (f(k * h) - f(-k * h)) for k, w in enumerate(WEIGHTS, start=1)) / h)
    pairs = [(abs(a - b), b) for a, b in itertools.pairwise(slopes)]
    error, slope = min(pairs, key=lambda pair: pair[0] if pair[0] == pair[0] else float("inf"))
    return slope, error
