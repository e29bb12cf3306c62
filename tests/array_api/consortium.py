"""The consortium's test-suite on tinygrad_rnn and on array_api_strict, its reference, side by side.

    python tests/array_api/consortium.py ../array-api-tests --examples 50

Both are asked the same questions: the same suite, the same number of examples, drawn from the same
seed, nothing skipped by us. Prints the counts and every test that fails here, with the reason that
xfails.txt gives; `--write` keeps that in results.md. Exits with 1 if something fails that is not
listed there, or if fewer tests pass than of array_api_strict.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

HERE = Path(__file__).parent
VERSION = "2024.12"
MODULES = {"tinygrad_rnn": "tinygrad_rnn", "array_api_strict": "array-api-strict"}


class Outcome(NamedTuple):
    """What became of each test: "passed", "failed" or "skipped", by its name."""

    module: str
    tests: dict[str, str]

    def count(self, what: str) -> int:
        return Counter(self.tests.values())[what]

    @property
    def failed(self) -> set[str]:
        return {name for name, what in self.tests.items() if what == "failed"}


def run(module: str, suite: Path, examples: int, chosen: tuple[str, ...] = ()) -> Outcome:
    """The suite (or some of its tests) on one module, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--derandomize",
             "--disable-deadline", "--max-examples", str(examples), f"--junitxml={report}",
             *(chosen or ("array_api_tests",))],
            cwd=suite,
            env={
                **os.environ,
                "ARRAY_API_TESTS_MODULE": module,
                "ARRAY_API_TESTS_VERSION": VERSION,
                "ARRAY_API_STRICT_API_VERSION": VERSION,
                "HYPOTHESIS_STORAGE_DIRECTORY": folder,  # no examples of earlier runs
            },
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        if not report.exists():
            raise RuntimeError(f"the suite did not run:\n{done.stdout}{done.stderr}")
        return Outcome(module, _outcomes(report))


def _outcomes(report: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        what = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else ""
        file = case.attrib["classname"].replace(".", "/")
        found[f"{file}.py::{case.attrib['name']}"] = what or "passed"
    return found


def listed() -> dict[str, str]:
    """Tests that are known to fail, and why: the remark above them in xfails.txt."""
    reasons: dict[str, str] = {}
    remark, begun = "", False
    for line in (HERE / "xfails.txt").read_text().splitlines():
        if line.startswith("#"):
            remark = f"{remark} {line[1:].strip()}".strip() if begun else line[1:].strip()
        elif line:
            reasons[line] = remark
        begun = line.startswith("#")
    return reasons


def summary(ours: Outcome, strict: Outcome, suite: Path, examples: int) -> str:
    """Counts of both, and what fails here, by reason."""
    reasons = listed()
    commit = subprocess.run(
        ["git", "-C", str(suite), "log", "-1", "--format=%h of %as"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    packages = ("numpy", "hypothesis", "pytest")
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in packages)
    lines = [
        f"# The Array API test-suite, standard {VERSION}",
        "",
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, array-api-tests {commit}, {examples} "
        f"examples per test, {versions}, Python {platform.python_version()}.",
        "Written by `python tests/array_api/consortium.py CHECKOUT --examples N --write`.",
        "",
        "| | version | passed | failed | skipped | all |",
        "| --- | --- | --: | --: | --: | --: |",
    ]
    for outcome in (ours, strict):
        version = importlib.metadata.version(MODULES[outcome.module])
        numbers = [outcome.count(what) for what in ("passed", "failed", "skipped")]
        cells = " | ".join(map(str, [*numbers, len(outcome.tests)]))
        lines.append(f"| `{outcome.module}` | {version} | {cells} |")
    by_reason: dict[str, list[str]] = {}
    for name in sorted(ours.failed):
        by_reason.setdefault(reasons.get(name, "NOT LISTED"), []).append(name)
    lines += ["", f"What fails here ({len(ours.failed)}), and why:"]
    for reason, names in by_reason.items():
        lines += ["", reason, ""]
        lines += [f"- `{name.removeprefix('array_api_tests/')}`" for name in names]
    lines += ["", f"What fails with array_api_strict and passes here: "
              f"{sum(ours.tests.get(n) == 'passed' for n in strict.failed)} tests."]  # fmt: skip
    skipped = sorted(n for n, what in ours.tests.items() if what == "skipped")
    names = ", ".join(re.sub(r".*::", "", n) for n in skipped)
    lines += ["", f"What the suite itself skips here: {names}."]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suite", type=Path, help="a checkout of data-apis/array-api-tests")
    parser.add_argument("--examples", type=int, default=50)
    parser.add_argument("--write", action="store_true", help="keep the outcome in results.md")
    options = parser.parse_args()
    ours, strict = (run(module, options.suite, options.examples) for module in MODULES)
    text = summary(ours, strict, options.suite, options.examples)
    print(text)
    if options.write:
        (HERE / "results.md").write_text(text)
    unexplained = ours.failed - set(listed())
    return 1 if unexplained or ours.count("passed") < strict.count("passed") else 0


if __name__ == "__main__":
    raise SystemExit(main())
