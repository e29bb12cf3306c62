"""Peak memory of a piece of work: how far the process grows beyond what it already holds.

Linux counts the peak of a process and can start counting anew; elsewhere the peak of the whole
process is used, which is as large or larger.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_growth(work: Callable[[], Any]) -> float:
    """MiB between what the process holds before `work` and the most that it holds during it."""
    gc.collect()
    if not STATUS.exists():
        before = _peak_of_process()
        work()
        return _peak_of_process() - before
    _give_back()
    RESET.write_text("5")  # the peak is what is resident now
    before = _resident("VmRSS")
    work()
    return _resident("VmHWM") - before


def _resident(key: str) -> float:
    for line in STATUS.read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    raise KeyError(key)


def _peak_of_process() -> float:
    """MiB; `ru_maxrss` is in bytes on macOS and in KiB elsewhere."""
    import resource  # not everywhere

    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def _give_back() -> None:
    """Free memory that the C library keeps for later would hide what the work needs."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
