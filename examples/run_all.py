"""Run the examples really, and write the table of what they reached into README.md.

    python examples/run_all.py                              all examples, on numba and numpy
    python examples/run_all.py clipping shapes --backends numba     single rows
    python examples/run_all.py --only-table                 the table from the results so far

Results are kept in results.json, one entry for each example and backend.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS, README = HERE / "results.json", HERE / "README.md"
BEGIN, END = "<!-- table: made by run_all.py -->\n", "<!-- end of table -->\n"
BACKENDS = ["numba", "numpy"]


def names() -> list[str]:
    """All examples, in alphabetical order, those in folders last (but not the parts of one)."""
    files = [*sorted(HERE.glob("*.py")), *sorted(HERE.glob("*/*.py"))]
    paths = [file.relative_to(HERE).with_suffix("").as_posix() for file in files]
    own = [p for p in paths if p.rpartition("/")[0] not in paths]
    return [p for p in own if p != "run_all" and not p.rpartition("/")[2].startswith("_")]


def run(name: str, backend: str) -> dict[str, Any]:
    """One run in a process of its own: scores, seconds on the clock and of the processor."""
    out = Path("runs") / name
    command = [sys.executable, str(HERE / f"{name}.py"), "--backend", backend, "--out", str(out)]
    started, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True)
    after = os.times()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    return {
        "scores": result["scores"],
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(cpu, 1),
        "date": time.strftime("%Y-%m-%d"),
    }


def duration(run: dict[str, Any]) -> str:
    """Seconds on the clock; those of the processor, in brackets, if it was busy with other work."""
    busy = run["seconds"] > 1.5 * run["cpu_seconds"]
    return f"({run['cpu_seconds']:.0f})" if busy else f"{run['seconds']:.0f}"


def table(results: dict[str, Any]) -> str:
    """Markdown: one row for each score of each example that has been run."""
    heads = ["example", *(f"s, {b}" for b in BACKENDS), "reached", "wanted", "baseline", "picture"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name in [name for name in names() if name in results]:
        found = results[name]
        seconds = [duration(found[b]) if b in found else "" for b in BACKENDS]
        first = [f"`{name}.py`", *seconds]
        picture = f"`runs/{name}/{Path(name).name}.png`"
        for score in next(found[b] for b in BACKENDS if b in found)["scores"]:
            wanted = score["wanted"] + ("" if score["reached"] else ": **missed**")
            cells = [*first, score["text"], wanted, score["baseline"], picture]
            lines.append("| " + " | ".join(cells) + " |")
            first, picture = [""] * len(first), ""
    return "\n".join(lines) + "\n"


def write_table(results: dict[str, Any]) -> None:
    before, rest = README.read_text(encoding="utf-8").split(BEGIN)
    text = before + BEGIN + "\n" + table(results) + "\n" + END + rest.split(END)[1]
    README.write_text(text, encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("examples", nargs="*", help="names; default: all")
    parser.add_argument("--backends", nargs="+", default=BACKENDS, choices=BACKENDS)
    parser.add_argument("--only-table", action="store_true", help="run nothing")
    options = parser.parse_args(argv)
    if unknown := sorted(set(options.examples) - set(names())):
        parser.error(f"no example is called {', '.join(unknown)}; there are {', '.join(names())}")
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    failed = []
    for name in [] if options.only_table else options.examples or names():
        for backend in options.backends:
            try:
                results.setdefault(name, {})[backend] = run(name, backend)
            except subprocess.CalledProcessError as error:
                failed.append(f"{name} on {backend} (exit status {error.returncode})")
            else:
                text = json.dumps(results, indent=1, sort_keys=True, ensure_ascii=False)
                RESULTS.write_text(text + "\n", encoding="utf-8")
    write_table(results)
    for line in failed:
        print(f"failed: {line}", file=sys.stderr)
    return len(failed) > 0


if __name__ == "__main__":
    sys.exit(main())
