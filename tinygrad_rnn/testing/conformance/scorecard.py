"""Running the checks without pytest, and what came of it.

In: a subject. Out: a Scorecard, as text and as JSON: for every level and property what passed, what
failed or was skipped, and why.
"""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import checks as checks
from .registry import PROPERTIES, Check, Level, Skip, selected
from .subject import Subject

#: Failures of one check of which the text tells everything.
SHOWN = 3


class Outcome(NamedTuple):
    """What became of one case of one check; `why` is the reason of a skip or a failure."""

    check: Check
    case: str
    result: str
    why: str

    @property
    def title(self) -> str:
        return f"{self.check.name}{f'[{self.case}]' if self.case else ''}"


class Scorecard(NamedTuple):
    """All outcomes of one run."""

    backend: str
    origin: str
    level: int
    outcomes: list[Outcome]
    seconds: float

    @property
    def failures(self) -> list[Outcome]:
        return [o for o in self.outcomes if o.result == "failed"]

    @property
    def passed(self) -> bool:
        return not self.failures

    def counts(self, level: Level) -> Counter[str]:
        return Counter(o.result for o in self.outcomes if o.check.level == level)

    def as_json(self) -> dict[str, Any]:
        """Plain data: versions, and for every level and property the counts and the reasons."""
        levels: dict[str, Any] = {}
        for o in self.outcomes:
            level = levels.setdefault(o.check.level.name.lower(), {})
            entry = level.setdefault(
                o.check.property,
                {"title": PROPERTIES[o.check.property], "passed": 0, "failed": [], "skipped": []},
            )
            if o.result == "passed":
                entry["passed"] += 1
            else:
                entry[o.result].append({"check": o.title, "why": o.why})
        return {
            "backend": self.backend, "origin": self.origin, "level": self.level,
            "passed": self.passed, "seconds": round(self.seconds, 1),
            "counts": dict(Counter(o.result for o in self.outcomes)),
            "versions": versions(), "levels": levels,
        }  # fmt: skip

    def __str__(self) -> str:
        """A table of the levels, the failures of every check, and the reasons of the skips."""
        lines = [f"backend '{self.backend}' ({self.origin})", ""]
        lines.append(f"{'level':<12}{'passed':>8}{'failed':>8}{'skipped':>9}")
        for level in [level for level in Level if level <= self.level]:
            n = self.counts(level)
            name = f"{int(level)} {level.name.lower()}"
            lines.append(f"{name:<12}{n['passed']:>8}{n['failed']:>8}{n['skipped']:>9}")
        for check, found in _by_check(self.failures).items():
            lines += [
                "",
                f"FAILED {check.name}",
                f"  {check.property}: {PROPERTIES[check.property]}",
            ]
            for o in found[:SHOWN]:
                where = f"[{o.case}] " if o.case else ""
                lines += [f"  {line}" for line in (where + o.why).splitlines()]
            if len(found) > SHOWN:
                lines.append(f"  and {', '.join(o.case for o in found[SHOWN:])}")
        reasons = Counter(o.why for o in self.outcomes if o.result == "skipped")
        if reasons:
            lines += ["", "skipped:", *[f"{n:>6}  {why}" for why, n in reasons.most_common()]]
        n = Counter(o.result for o in self.outcomes)
        verdict = "PASSED" if self.passed else "FAILED"
        lines += ["", f"{verdict}: {n['passed']} passed, {n['failed']} failed, "
                      f"{n['skipped']} skipped in {self.seconds:.1f} s"]  # fmt: skip
        return "\n".join(lines)


def _by_check(outcomes: list[Outcome]) -> dict[Check, list[Outcome]]:
    found: dict[Check, list[Outcome]] = {}
    for o in outcomes:
        found.setdefault(o.check, []).append(o)
    return found


def versions() -> dict[str, str]:
    from ... import __version__

    found = {"tinygrad_rnn": __version__, "python": platform.python_version(),
             "numpy": np.__version__, "machine": platform.platform()}  # fmt: skip
    return found | {"hypothesis": importlib.metadata.version("hypothesis")}


def score(
    subject: Subject,
    level: int = Level.RESOURCES,
    properties: Any = None,
    stop: bool = False,
    seen: Callable[[Outcome], None] = lambda outcome: None,
) -> Scorecard:
    """Run the checks up to a level (those of some properties only); `stop` at the first failure."""
    outcomes: list[Outcome] = []
    begun = time.perf_counter()
    for check in selected(level, properties):
        for case in check.names(subject):
            outcomes.append(_outcome(check, case, subject))
            seen(outcomes[-1])
            if stop and outcomes[-1].result == "failed":
                break
        if stop and outcomes and outcomes[-1].result == "failed":
            break
    cls = type(subject.backend)
    return Scorecard(
        subject.backend.name,
        f"{cls.__module__}.{cls.__qualname__}",
        level,
        outcomes,
        time.perf_counter() - begun,
    )


def _outcome(check: Check, case: str, subject: Subject) -> Outcome:
    try:
        check(subject, case)
    except Skip as reason:
        return Outcome(check, case, "skipped", str(reason))
    except AssertionError as error:
        return Outcome(check, case, "failed", str(error))
    except Exception as error:  # whatever else a backend raises is a failure of the check
        return Outcome(check, case, "failed", f"{type(error).__name__}: {error}")
    return Outcome(check, case, "passed", "")
