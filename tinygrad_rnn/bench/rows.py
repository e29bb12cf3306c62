"""A row of the report: one workload, one configuration, all sides in turn.

In: sides and how often. Out: medians, ratios, and whether everybody computed the same.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .child import PEERS, Order
from .processes import BenchError, ask
from .workloads import Config, Workload

#: Float32 results are the same up to this relative difference (norm of the difference / norm).
TOLERANCE = 1e-3


@dataclass
class Row:
    """Values of every round and side, in the workload's unit."""

    work: Workload
    config: Config
    values: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    differences: dict[str, float] = field(default_factory=dict)

    def value(self, side: str) -> float | None:
        """The median of a side's rounds; `peak` is the fastest of the products."""
        if side == "peak":
            peaks = [self.value(s) for s in self.values if s.startswith("peak-")]
            return max((p for p in peaks if p is not None), default=None)
        found = self.values.get(side)
        return statistics.median(found) if found and side not in self.errors else None

    def ratio(self, own: str, peer: str) -> float | None:
        """How many times better our side is; for rates, which part of the peak it reaches."""
        ours, theirs = self.value(own), self.value(peer)
        if ours is None or theirs is None:
            return None
        return ours / theirs if self.work.measure == "rate" else theirs / ours


@dataclass(frozen=True)
class Plan:
    """How a row is measured."""

    threads: int
    rounds: int
    seconds: float


def measure(work: Workload, config: Config, sides: Sequence[str], plan: Plan) -> Row:
    """All rounds of a row. Every second round goes backwards, so that nobody is always first."""
    row = Row(work, config)
    checked = work.measure != "rate"
    with tempfile.TemporaryDirectory(prefix="tinygrad-rnn-bench-") as folder, ExitStack() as stack:
        caches = {side: stack.enter_context(_cache(work, side, plan, config)) for side in sides}
        for number in range(plan.rounds):
            for side in sides if number % 2 == 0 else reversed(sides):
                if side in row.errors:
                    continue
                save = str(Path(folder, side + ".npz")) if checked and number == 0 else ""
                order = Order(side, plan.threads, work.name, config, plan.seconds, save)
                try:
                    with _fresh(work) as fresh:
                        answer = ask(order, caches[side] | fresh)
                except BenchError as error:
                    row.errors[side] = str(error)
                else:
                    row.values.setdefault(side, []).append(answer["value"])
            if number == 0 and checked:
                _compare(row, Path(folder))
    return row


def _variables(folder: str) -> dict[str, str]:
    return {"TINYGRAD_RNN_CACHE_DIR": folder, "NUMBA_CACHE_DIR": folder}


@contextmanager
def _fresh(work: Workload) -> Iterator[dict[str, str]]:
    """An empty cache directory for a process that shall find nothing."""
    if work.name != "first-cold":
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="tinygrad-rnn-cold-") as folder:
        yield _variables(folder)


@contextmanager
def _cache(work: Workload, side: str, plan: Plan, config: Config) -> Iterator[dict[str, str]]:
    """A cache directory that one process has filled, for those that shall find everything."""
    if work.name != "first-cached" or side in PEERS:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="tinygrad-rnn-cached-") as folder:
        variables = _variables(folder)
        try:
            ask(Order(side, plan.threads, work.name, config, plan.seconds), variables)
        except BenchError:
            pass  # the rounds will fail in the same way, and say so
        yield variables


def _compare(row: Row, folder: Path) -> None:
    """Everybody against the first of PyTorch, JAX, NumPy that has results."""
    saved = {p.stem: p for p in folder.glob("*.npz") if p.stem not in row.errors}
    order = [s for s in (*PEERS, "numpy", *sorted(saved)) if s in saved]
    if not order:
        return
    with np.load(saved[order[0]]) as reference:
        for side in dict.fromkeys(order[1:]):
            with np.load(saved[side]) as found:
                worst, name = difference(dict(found), dict(reference))
            row.differences[side] = worst
            if not worst <= TOLERANCE:
                row.errors[side] = (
                    f"computes something else than {order[0]}: '{name}' differs by {worst:.1e} "
                    f"(relative), allowed is {TOLERANCE:.0e}"
                )


def difference(found: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> tuple[float, str]:
    """The largest relative difference and whose it is; infinite where names or shapes differ."""
    worst, where = 0.0, ""
    for name in sorted(found.keys() ^ reference.keys()):
        return float("inf"), name
    for name, b in reference.items():
        a = found[name].astype(np.float64)
        if a.shape != b.shape:
            return float("inf"), name
        gap = float(np.linalg.norm(a - b) / (np.linalg.norm(b) + 1e-30))
        if not gap <= worst:
            worst, where = gap, name
        if np.isnan(gap):
            return gap, name
    return worst, where
