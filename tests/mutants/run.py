"""Seed the catalogue's faults one at a time and see which test catches them.

    python tests/mutants/run.py --area optim          # one area (again: --area optim --area jit)
    python tests/mutants/run.py --ids adam-half       # these
    python tests/mutants/run.py --new                 # those that have not run as they are now
    python tests/mutants/run.py --survivors --full    # what nothing has caught, against everything

The tree is copied once; a mutant is written into the copy and the test that caught it last time
runs, then its own tests (`by` in the catalogue), then its area's suite, then (--full) everything.
What came of it is written into the results file. A fault is caught by a test that passes without
it, by a crash of the interpreter, and by running out of processor time (not of time on the clock:
other work on the machine must not count), of which sound tests need a small part.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from catalogue import HERE, ROOT, Mutant, Stale, areas, everything
from results import RESULTS, Outcome, read_results, write_results

COPIED = ("tinygrad_rnn", "backends", "tests", "examples")
FILES = ("pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE")
#: The suite of each area; everything is the last resort of all.
WIDER = {
    "data": ["tests/data", "tests/museum/test_files_and_data.py"],
    "storage": ["tests/storage", "tests/museum/test_files_and_data.py"],
    "optim": ["tests/optim", "tests/museum"],
    "nn": ["tests/nn", "tests/museum", "tests/decoding", "tinygrad_rnn/nn"],
    "numba": ["tests/numba", "tests/nn/test_compiled.py", "tests/museum", "tests/engine"],
    "lower": ["tests/numba", "tests/nn/test_compiled.py", "tests/engine"],
}
NUMPY = "tests/conformance/test_backends.py::TestNumpy"
ENGINE = ["tests/engine", "tests/museum", NUMPY, "tests/testing", "tinygrad_rnn"]
EVERYTHING = ["tests", "tinygrad_rnn"]
#: Seconds of processor time; code generators compile in each test, and get four times as many.
LIMITS = {"again": 90, "first": 90, "area": 600, "full": 3000}
#: The exit status of a child that did not get as far as to run pytest.
BROKEN = 70
#: Each mutant of the code generator compiles into a directory of its own.
COMPILING = ("numba", "lower")


class Copy:
    """A copy of the tree in which faults are seeded."""

    def __init__(self, folder: Path, tree: Path = ROOT, trusting: bool = False) -> None:
        self.folder, self.trusting = folder, trusting
        skip = shutil.ignore_patterns("__pycache__", "mutants", "*.egg-info")
        for name in COPIED:
            shutil.copytree(tree / name, folder / name, ignore=skip)
        for name in FILES:
            shutil.copy2(tree / name, folder)
        self.sound: dict[str, bool] = {}
        # every version of a file has a second of its own, so that no bytecode is taken for another
        self.clock = int(time.time()) - 10_000_000

    def write(self, file: str, text: str) -> None:
        path = self.folder / file
        path.write_text(text)
        self.clock += 1
        os.utime(path, (self.clock, self.clock))

    def outcome(self, mutant: Mutant, stages: dict[str, list[str]]) -> Outcome:
        """What became of the mutant."""
        original = (self.folder / mutant.file).read_text()
        compiling = mutant.area.startswith(COMPILING)
        caught = None
        self.write(mutant.file, mutant.seeded(original))
        try:
            with tempfile.TemporaryDirectory(dir=self.folder) as own:
                cache = Path(own) if compiling else self.folder / "cache"
                for stage, named in stages.items():
                    tests = [t for t in named if (self.folder / t.split("::")[0]).exists()]
                    limit = LIMITS[stage] * (4 if compiling else 1)
                    caught = self.pytest(tests, limit, cache) if tests else None
                    if caught:
                        break
        finally:
            self.write(mutant.file, original)
        if caught and not self.trusting and not self.passes(caught):
            caught = None  # it fails without any fault too
        return Outcome(mutant.area, mutant.fingerprint, caught)

    def passes(self, caught: str) -> bool:
        """Whether the file of the test that caught a mutant passes without it."""
        found = re.search(r"\S+\.py", caught)
        if found is None:
            return True
        if found[0] not in self.sound:
            failing = self.pytest([found[0]], LIMITS["area"], self.folder / "cache")
            self.sound[found[0]] = not failing
            if failing:
                print(f"without any fault: {failing}", flush=True)
        return self.sound[found[0]]

    def pytest(self, tests: list[str], limit: int, cache: Path) -> str | None:
        """The first test that fails, or why there was no result; None if all pass.

        A child of this process runs them: what takes long to import is there already.
        """
        with tempfile.TemporaryFile("w+") as output:
            child = os.fork()
            if child == 0:
                self._child(tests, limit, cache, output)
            status = _wait(child, 20 * limit)
            output.seek(0)
            text = output.read()
        if status is None:
            return "it hangs"
        if -status in (signal.SIGXCPU, signal.SIGKILL):
            return f"more than {limit} s of processor time"
        if status < 0:
            return f"crash: {signal.Signals(-status).name}"
        if status in (0, 4, 5):  # 4, 5: the test named has gone
            return None
        failed = re.search(r"^(FAILED|ERROR) (\S.*?)( - |$)", text, re.MULTILINE)
        if status in (1, 2) and failed:
            return ("" if failed[1] == "FAILED" else "error: ") + failed[2]
        if status in (1, 3):
            return "error: " + (text.strip().splitlines() or ["no output"])[-1]
        raise RuntimeError(f"pytest {' '.join(tests)}: {text[-2000:]}")

    def _child(self, tests: list[str], limit: int, cache: Path, output: Any) -> None:
        code = BROKEN
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
            for descriptor in (1, 2):
                os.dup2(output.fileno(), descriptor)
            os.chdir(self.folder)
            paths = [str(self.folder), str(self.folder / "backends")]
            sys.path[:] = paths + [p for p in sys.path if p != str(HERE)]
            os.environ["PYTHONPATH"] = os.pathsep.join(paths)
            os.environ["TINYGRAD_RNN_CACHE_DIR"] = str(cache)
            import pytest

            options = ["-x", "-q", "-p", "no:cacheprovider", "--tb=no", "-rfE", "--no-header"]
            options += ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
            code = int(pytest.main([*options, *tests]))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _wait(child: int, seconds: float) -> int | None:
    """The child's status (negative: a signal); None if it took too long."""
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)  # what it started may live on


def preload() -> None:
    """What tests import, beside what is tested."""
    for name in ("numpy", "hypothesis", "pytest", "numba", "llvmlite.ir", "torch", "safetensors"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def stages(mutant: Mutant, known: Outcome | None, quick: bool, full: bool) -> dict[str, list[str]]:
    """Which tests run one after another, as long as none fails."""
    plan = {"first": list(mutant.first)}
    if known and known.caught and "::" in known.caught:
        plan = {"again": [known.caught.removeprefix("error: ")]} | plan
    if not quick:
        wider = (w for name, w in WIDER.items() if mutant.area.startswith(name))
        plan["area"] = next(wider, ENGINE)
    return plan | {"full": EVERYTHING} if full else plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--area", choices=areas(), action="append")
    parser.add_argument("--ids", nargs="+")
    parser.add_argument("--new", action="store_true", help="only those without an outcome")
    parser.add_argument("--survivors", action="store_true", help="only those that survived")
    parser.add_argument("--full", action="store_true", help="then everything")
    parser.add_argument("--quick", action="store_true", help="only the mutants' own tests")
    parser.add_argument("--tree", type=Path, default=ROOT, help="what is copied (a `git archive`)")
    parser.add_argument("--trusting", action="store_true", help="tests are known to pass")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file of outcomes")
    given = parser.parse_args()
    catalogue = everything()
    known = read_results(given.results, catalogue)
    chosen = [
        m
        for m in catalogue
        if not m.equivalent
        and (not given.area or m.area in given.area)
        and (not given.ids or m.name in given.ids)
        and (not given.survivors or (m.name in known and not known[m.name].caught))
        and (not given.new or m.name not in known)
    ]
    preload()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Copy(Path(folder), given.tree, given.trusting)
        for i, mutant in enumerate(chosen):
            began = time.monotonic()
            try:
                found = copy.outcome(
                    mutant, stages(mutant, known.get(mutant.name), given.quick, given.full)
                )
            except Stale as why:
                print(why)
                continue
            seconds = time.monotonic() - began
            print(
                f"{i + 1}/{len(chosen)} {mutant.name} ({mutant.area}, {seconds:.1f} s): "
                f"{found.caught or 'SURVIVED'}",
                flush=True,
            )
            known = read_results(given.results, catalogue)  # another run may have written
            write_results(given.results, catalogue, known | {mutant.name: found})
    caught = sum(bool(k.caught) for k in known.values())
    print(f"{caught} of the {len(known)} mutants that ran are caught.")


if __name__ == "__main__":
    main()
