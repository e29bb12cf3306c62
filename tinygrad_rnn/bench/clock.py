"""How long a function takes: a warm-up, then the median or the best of many runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any


def durations(run: Callable[[], Any], seconds: float, least: int = 5) -> list[float]:
    """Seconds of each run of `run`, after two runs that do not count, for about `seconds`.

    At least `least` runs, of a slow one (ten times `seconds` are over) at least three.
    """
    for _ in range(2):
        run()
    times: list[float] = []
    begin = time.perf_counter()
    while True:
        start = time.perf_counter()
        run()
        end = time.perf_counter()
        times.append(end - start)
        wanted = 3 if end - begin > 10 * seconds else least
        if len(times) >= wanted and end - begin > seconds:
            return times


def median_ms(run: Callable[[], Any], seconds: float, least: int = 5) -> float:
    """The median time of a run in milliseconds."""
    return statistics.median(durations(run, seconds, least)) * 1e3


def best_seconds(run: Callable[[], Any], seconds: float, least: int = 5) -> float:
    """The shortest time of a run: what the machine can do when nothing disturbs it."""
    return min(durations(run, seconds, least))
