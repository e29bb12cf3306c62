"""Processes of the bench: a clean environment, pinned threads, one answer each."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tinygrad_rnn.errors import TinygradRnnError

from .child import PEERS, Order

#: Variables that slow NumPy's BLAS down where they are set; cleared for every side.
HARMFUL = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
#: Variables by which libraries choose their number of threads (the last two are XLA's).
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NPROC",
    "PJRT_NPROC",
)
TIMEOUT = 1200.0


class BenchError(TinygradRnnError, RuntimeError):
    """A side of the bench failed; the message is the end of what it said."""


def cleared() -> dict[str, str]:
    """The harmful variables that are set here, with their values."""
    return {name: os.environ[name] for name in HARMFUL if name in os.environ}


def environment(order: Order, more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a side."""
    found = {k: v for k, v in os.environ.items() if k not in HARMFUL}
    found |= dict.fromkeys(THREADS, str(order.threads))
    found["JAX_PLATFORMS"] = "cpu"
    own = order.side.removeprefix("peak-")
    if own not in PEERS:
        found["TINYGRAD_RNN_BACKEND"] = own
    return found | dict(more)


def ask(order: Order, more: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What the process that carries out `order` answers; `BenchError` if it fails."""
    command = [sys.executable, "-m", "tinygrad_rnn.bench.child", order.to_json()]
    try:
        done = subprocess.run(
            command,
            env=environment(order, more or {}),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"no answer after {TIMEOUT:.0f} s") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise BenchError(said[-1] if said else f"ended with status {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[list[int]]:
    """Run here and in all processes started meanwhile on as many cores as there are threads.

    Libraries that count cores instead of reading variables are held to it as well. Cores come
    before their hyper-threads. Where the system cannot pin, or all cores are wanted, nothing
    happens.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield []
        return
    before = os.sched_getaffinity(0)
    chosen = sorted(before, key=lambda cpu: (_place_in_core(cpu), cpu))[:threads]
    os.sched_setaffinity(0, chosen)
    try:
        yield sorted(chosen)
    finally:
        os.sched_setaffinity(0, before)


def _place_in_core(cpu: int) -> int:
    """0 for the first hyper-thread of a core, 1 for the second."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    if not path.exists():
        return 0
    ends = [part.split("-") for part in path.read_text().strip().split(",")]
    siblings = [n for end in ends for n in range(int(end[0]), int(end[-1]) + 1)]
    return siblings.index(cpu) if cpu in siblings else 0
