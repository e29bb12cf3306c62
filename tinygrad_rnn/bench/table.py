"""The report as text: one table for each workload, then what was reached."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .rows import Row
from .workloads import Workload


@dataclass(frozen=True)
class Verdict:
    """One line of the summary: a workload against a peer, or against a limit (peer '')."""

    workload: str
    own: str
    peer: str
    mean: float
    least: float
    target: str
    reached: bool | None  # None: nothing is promised


def verdicts(work: Workload, rows: Sequence[Row], own: str) -> Iterator[Verdict]:
    """What the rows of a workload show, for every peer that was measured."""
    for peer in work.peers:
        pairs = [(row.ratio(own, peer), work.each(peer, row.config)) for row in rows]
        found = [(r, least) for r, least in pairs if r is not None]
        if not found:
            continue
        ratios = [r for r, _ in found]
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        wanted = work.targets[peer]
        text = f">= {wanted.mean:g}" + (f", each >= {wanted.each:g}" if wanted.each else "")
        reached = mean >= wanted.mean and all(r >= least for r, least in found)
        promised = wanted.mean > 0
        yield Verdict(
            work.name, own, peer, mean, min(ratios), text if promised else "-",
            reached if promised else None,
        )  # fmt: skip
    values = [v for row in rows if (v := row.value(own)) is not None]
    if work.limit is not None and values:
        text = f"at most {work.limit:g} {work.unit}"
        worst = max(values)
        yield Verdict(work.name, own, "", worst, worst, text, worst <= work.limit)


def number(value: float | None) -> str:
    """Four significant digits, or a dash."""
    if value is None:
        return "-"
    digits = max(0, 3 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:.{min(digits, 4)}f}"


def columns(
    rows: Sequence[Row], sides: Sequence[str], own: str | None, peers: Sequence[str]
) -> list[list[str]]:
    """Cells of a workload's table, the heading first."""
    unit = rows[0].work.unit
    vs = [p for p in peers if own is not None and (p == "peak" or p in sides)]
    head = ["T", "B", "I", "H", *(f"{s} {unit}" for s in sides)]
    head += [f"{own}/{p}" if rows[0].work.measure == "rate" else f"{p}/{own}" for p in vs]
    lines = [head]
    for row in rows:
        cells = [str(n) for n in row.config] + [number(row.value(s)) for s in sides]
        lines.append(cells + [number(row.ratio(own or "", p)) for p in vs])
    return lines


def aligned(lines: Sequence[Sequence[str]], left: int = 0) -> list[str]:
    """Lines of cells as text: the first `left` columns to the left, the others to the right."""
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(w) if i < left else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def workload_text(
    work: Workload, rows: Sequence[Row], sides: Sequence[str], own: str | None
) -> str:
    """A workload's table, and below it what went wrong."""
    lines = [f"{work.name}: {work.title}"]
    lines += ["  " + line for line in aligned(columns(rows, sides, own, work.peers))]
    for row in rows:
        lines += [f"  {row.config} {side}: FAILED, {text}" for side, text in row.errors.items()]
    return "\n".join(lines)


def summary_text(found: Sequence[Verdict]) -> str:
    """The summary: geometric means, smallest ratios, targets."""
    words = {True: "reached", False: "MISSED", None: ""}
    lines = [["workload", "against", "mean", "smallest", "must reach", ""]]
    for v in found:
        against = f"{v.own} : {v.peer}" if v.peer else f"{v.own} alone"
        cells = [number(v.mean), number(v.least)]
        lines.append([v.workload, against, *cells, v.target, words[v.reached]])
    return "\n".join(aligned(lines, left=2))
