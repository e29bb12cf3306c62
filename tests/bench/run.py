"""The engine's own measurements, side by side: `python tests/bench/run.py`.

    lstm     training step on the NumPy backend beside backpropagation written by hand: >= 1.0
    eager    overhead of eager operations beside HIPS autograd and MyGrad: at most half, so >= 2.0
    import   `import tinygrad_rnn` beyond NumPy's own import, from byte code: at most 40 ms

Every side is a process of its own, sides take turns, values are medians. A table is printed, and a
line of JSON with date, machine, versions and command is appended to results/speed.jsonl. Needs the
extra `bench`. What PyTorch and JAX do beside the backends is measured by `tinygrad-rnn bench`.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy_lstm
from timing import HARMFUL, process, ratio

from tinygrad_rnn.bench.machine import cpu_name

RESULTS = Path(__file__).parent / "results" / "speed.jsonl"
PACKAGES = ("numpy", "tinygrad_rnn", "autograd", "mygrad")


@dataclass(frozen=True)
class Line:
    """One comparison; what is `found` must reach `least`, or may be at most `most`."""

    what: str
    ours: float
    theirs: float | None
    unit: str
    found: float
    least: float | None = None
    most: float | None = None

    @property
    def reached(self) -> bool:
        low = self.least is None or self.found >= self.least
        return low and (self.most is None or self.found <= self.most)

    @property
    def target(self) -> str:
        return f">= {self.least:g}" if self.least is not None else f"<= {self.most:g} {self.unit}"


def lstm(rounds: int, threads: int) -> Iterator[Line]:
    numpy_backend = {"TINYGRAD_RNN_BACKEND": "numpy"}
    for config in numpy_lstm.CONFIGS:
        side = functools.partial(process, "numpy_lstm.py", threads=threads, env=numpy_backend)
        pair = (functools.partial(side, name, *config) for name in ("derived", "hand"))
        ours, theirs, times = ratio(*pair, rounds=rounds)
        name = "T{} B{} I{} H{}".format(*config)
        yield Line(f"LSTM training, by hand, {name}", ours, theirs, "ms", times, least=1.0)


def eager(rounds: int, threads: int) -> Iterator[Line]:
    for own in ("ours", "ours-backward"):
        for peer in ("autograd", "mygrad"):
            side = functools.partial(process, "eager_overhead.py", threads=threads)
            pair = (functools.partial(side, name) for name in (own, peer))
            ours, theirs, times = ratio(*pair, rounds=rounds)
            yield Line(f"eager chain, {own} : {peer}", ours, theirs, "us", times, least=2.0)


def imports(rounds: int, threads: int) -> Iterator[Line]:
    # The first process writes byte code, as an installer does: compiling takes five times as long.
    with tempfile.TemporaryDirectory() as folder:
        env = {"PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        side = functools.partial(process, "import_time.py", threads=threads, env=env)
        middle = statistics.median([side() for _ in range(2 * rounds + 1)][1:])
    yield Line("import beyond NumPy", middle, None, "ms", middle, most=40.0)


SUBJECTS = {"lstm": lstm, "eager": eager, "import": imports}


def facts(threads: int, rounds: int) -> dict[str, object]:
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {p: importlib.metadata.version(p) for p in PACKAGES},
        "threads": threads,
        "rounds": rounds,
        "cleared": {k: os.environ[k] for k in HARMFUL if k in os.environ},
        "command": shlex.join(["python", *sys.argv]),
    }


def show(line: Line) -> str:
    theirs = "-" if line.theirs is None else f"{line.theirs:.3f}"
    word = "reached" if line.reached else "MISSED"
    cells = f"{line.ours:10.3f} {theirs:>10} {line.unit:<3} {line.found:8.2f}  {line.target:<9}"
    return f"{line.what:<45}{cells} {word}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=SUBJECTS, action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-record", action="store_true", help="append nothing to the results")
    options = parser.parse_args()
    about = facts(options.threads, options.rounds)
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items())
    print(f"{about['cpu']}, {about['cores']} cores, {options.threads} threads; {versions}")
    print(f"cleared for every side: {about['cleared'] or 'nothing'}")
    print(f"{'':<45}{'ours':>10} {'theirs':>10}     {'found':>8}  must be")
    lines = []
    for name in options.only or SUBJECTS:
        for line in SUBJECTS[name](options.rounds, options.threads):
            print(show(line), flush=True)
            lines.append(line)
    if not options.no_record:
        RESULTS.parent.mkdir(exist_ok=True)
        record = about | {"lines": [asdict(line) | {"reached": line.reached} for line in lines]}
        with RESULTS.open("a") as file:
            file.write(json.dumps(record) + "\n")
    return 0 if all(line.reached for line in lines) else 1


if __name__ == "__main__":
    raise SystemExit(main())
