"""`python -m tinygrad_rnn.testing fuzz`: random programs, every way to run them compared."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from pathlib import Path

from ...arguments import natural, new_file, new_folder, positive
from ...backend import get_backend
from ...errors import BackendError
from .cases import Case, case
from .check import Outcome, examine
from .coverage import Coverage
from .reduce import reduced
from .script import write_script

#: Seconds between two lines of progress.
EVERY = 30.0
#: Exit status when a backend cannot be used here.
UNUSABLE = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--graphs", type=positive, default=1000, help="how many programs (1000)")
    parser.add_argument("--seed", type=natural, default=0, help="what they follow from (0)")
    parser.add_argument("--start", type=natural, default=0, help="number of the first (0)")
    parser.add_argument(
        "--backends", type=names, default=["numpy"],
        help="numpy: eager, and compiled after every choice of passes; further ones, separated by "
        "commas, are compared with NumPy's references, in loops that they compile",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=new_folder, default=Path(), help="where scripts of failures go (here)"
    )
    parser.add_argument("--json", type=new_file, help="where a summary goes, if anywhere")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at a failure")


def names(text: str) -> list[str]:
    """'numpy, numba' as a list."""
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as numpy,numba")
    return found


def run(arguments: argparse.Namespace) -> int:
    """Examine the programs; print what was seen; 1 if there was a failure, 2 without a backend."""
    backends: list[str] = arguments.backends
    try:
        for name in backends:
            get_backend(name)
    except BackendError as error:
        print(f"fuzz: {error}", file=sys.stderr)
        return UNUSABLE
    coverage, failures = Coverage(), 0
    began, said = time.perf_counter(), time.perf_counter()
    for index in range(arguments.start, arguments.start + arguments.graphs):
        drawn = case(arguments.seed, index, backends)
        outcome = look(drawn)
        twins = any(leaf.same_as is not None for leaf in drawn.program.leaves)
        coverage.add(drawn.program.graph, twins, drawn.variants, outcome)
        if outcome.failure is not None:
            failures += 1
            _report(arguments, drawn, index, outcome)
            if not arguments.keep_going:
                break
        if time.perf_counter() - said > EVERY:
            said = time.perf_counter()
            print(f"{coverage.graphs} programs, {failures} failures", flush=True)
    seconds = time.perf_counter() - began
    print(
        f"{coverage.graphs} programs (seed {arguments.seed}, from {arguments.start}) on "
        f"{', '.join(backends)}: {failures} failures, {seconds:.1f} s, "
        f"{1000 * seconds / max(1, coverage.graphs):.1f} ms per program"
    )
    for line in coverage.lines():
        print(line)
    if not failures and coverage.graphs:
        chance = min(1.0, 3 / coverage.graphs)
        print(f"a program fails with a probability below {chance:.1g} (at 95 %)")
    if arguments.json is not None:
        summary = {
            "date": datetime.date.today().isoformat(), "seed": arguments.seed,
            "start": arguments.start, "backends": backends, "failures": failures,
            "seconds": round(seconds, 1), **coverage.summary(),
        }  # fmt: skip
        arguments.json.write_text(json.dumps(summary, indent=1) + "\n")
    return 1 if failures else 0


def look(drawn: Case) -> Outcome:
    """Examine one case."""
    program = drawn.program
    return examine(program.graph, program.arrays(), drawn.order, drawn.variants, drawn.seed)


def _report(arguments: argparse.Namespace, drawn: Case, index: int, outcome: Outcome) -> None:
    print(f"program {index} of seed {arguments.seed}: {outcome.failure}", flush=True)
    small = reduced(drawn, outcome)
    path = arguments.out / f"fuzz_failure_{arguments.seed}_{index}.py"
    write_script(path, small, f"--seed {arguments.seed} --start {index} --graphs 1")
    print(f"reduced to {len(small.graph.nodes)} operations: {small.failure}; run {path}",
          file=sys.stdout, flush=True)  # fmt: skip
