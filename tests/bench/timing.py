"""Honest small timings: medians in one process, alternating pairs of processes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

#: Variables that slow NumPy's BLAS down; cleared for every side.
HARMFUL = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def median_ms(run: Callable[[], Any], seconds: float = 1.0, least: int = 7) -> float:
    """The median time of `run` in milliseconds, after a warm-up, over at least `least` runs."""
    for _ in range(2):
        run()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def process(script: str, *args: Any, threads: int = 2, env: dict[str, str] | None = None) -> float:
    """The number that a script of this folder prints, run with pinned threads."""
    here = Path(__file__).parent
    clean = {k: v for k, v in os.environ.items() if k not in HARMFUL}
    clean |= dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads)
    )
    command = [sys.executable, str(here / script), *map(str, args)]
    done = subprocess.run(
        command, env=clean | (env or {}), capture_output=True, text=True, cwd=here
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return float(done.stdout.split()[-1])


def ratio(
    ours: Callable[[], float], theirs: Callable[[], float], rounds: int = 5
) -> tuple[float, float, float]:
    """(our median, their median, theirs / ours) of processes that take turns."""
    pairs: list[Sequence[float]] = [(ours(), theirs()) for _ in range(rounds)]
    a, b = (statistics.median(p[i] for p in pairs) for i in (0, 1))
    return a, b, b / a
