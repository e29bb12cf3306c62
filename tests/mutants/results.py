"""The results file: which test caught which mutant, and what nothing caught.

It is written for people, and read back by the next run. An outcome stands beside the fingerprint of
the fault that it is of; when the fault is changed, the outcome no longer counts.
"""

from __future__ import annotations

import datetime
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from catalogue import HERE, Mutant

RESULTS = HERE / "results_2026-11-20.md"
PAIR = re.compile(r"([\w.-]+)@([0-9a-f]{6})")


@dataclass(frozen=True)
class Outcome:
    area: str
    fingerprint: str
    caught: str | None  #: by this


def read_results(path: Path, catalogue: list[Mutant]) -> dict[str, Outcome]:
    """What the file says of mutants that are still the same."""
    if not path.exists():
        return {}
    mutants = {m.name: m for m in catalogue if not m.equivalent}
    known, by = {}, None
    for line in path.read_text().splitlines():
        if line.startswith("- by "):
            by = line.removeprefix("- by ").removesuffix(":")
            continue
        if line.startswith("#"):
            by = None
        for name, fingerprint in PAIR.findall(line):
            if name in mutants and mutants[name].fingerprint == fingerprint:
                known[name] = Outcome(mutants[name].area, fingerprint, by)
    return known


def write_results(path: Path, catalogue: list[Mutant], known: dict[str, Outcome]) -> None:
    alive = [m for m in catalogue if m.name in known and not known[m.name].caught]
    by = defaultdict(list)
    for name, found in known.items():
        by[found.caught].append(f"{name}@{found.fingerprint}")
    lines = [
        f"# Seeded faults: outcomes of {datetime.date.today()}",
        "",
        "Written by `python tests/mutants/run.py`, which says what counts as caught. A survivor",
        "is what its own tests, and where they ran its area's, did not catch. Every test that",
        "is named here runs in the continuous integration: its score is that of the whole suite.",
        "",
        "| area | mutants | equivalent | not run | survived | caught | of those that ran |",
        "| --- | --: | --: | --: | --: | --: | --: |",
        *_table(catalogue, known),
        "",
        "## Survivors",
        "",
        *[f"- {_pair(m)} ({m.area}): {m.breaks}; {m.survives or 'no reason yet'}." for m in alive],
        "",
        "## Equivalent: nothing that is promised changes",
        "",
        *[f"- {m.name} ({m.area}): {m.breaks}; {m.equivalent}." for m in catalogue if m.equivalent],
        "",
        "## Caught, with the test that failed first",
        "",
    ]
    for test in sorted(filter(None, by)):
        lines += [f"- by {test}:", f"  {' '.join(sorted(by[test]))}"]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("\n".join(lines) + "\n")
    os.replace(temporary, path)


def _pair(m: Mutant) -> str:
    return f"{m.name}@{m.fingerprint}"


def _table(catalogue: list[Mutant], known: dict[str, Outcome]) -> Iterable[str]:
    areas = sorted({m.area for m in catalogue})
    for area in [*areas, "all"]:
        mutants = [m for m in catalogue if area in (m.area, "all")]
        equal = sum(bool(m.equivalent) for m in mutants)
        ran = [known[m.name] for m in mutants if m.name in known]
        caught = sum(bool(k.caught) for k in ran)
        share = f"{100 * caught / len(ran):.1f} %" if ran else ""
        rest = len(mutants) - equal - len(ran)
        row = area, len(mutants), equal, rest, len(ran) - caught, caught, share
        yield f"| {' | '.join(map(str, row))} |"
