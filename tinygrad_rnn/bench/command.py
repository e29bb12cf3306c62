"""The command: options, who is here, all rows, and the report."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import tinygrad_rnn as tg
from tinygrad_rnn.arguments import duration, new_file, positive
from tinygrad_rnn.errors import ArgumentError

from . import machine, plot, processes, rows, table
from .child import PEERS, Order
from .rows import Plan, Row
from .workloads import NAMES, WORKLOADS, Config, Workload

HINTS = {"torch": "pip install torch", "jax": "pip install jax"}


def parser() -> argparse.ArgumentParser:
    """The options of `tinygrad-rnn bench`."""
    p = argparse.ArgumentParser(
        prog="tinygrad-rnn bench",
        description="Measure this machine's backends beside PyTorch and JAX, where installed.",
    )
    p.add_argument(
        "--only", action="append", choices=NAMES, metavar="NAME", help="one workload (see --list)"
    )
    p.add_argument(
        "--config",
        action="append",
        type=config,
        metavar="T,B,I,H",
        help="instead of the published ones",
    )
    p.add_argument(
        "--side", action="append", metavar="NAME", help="a backend, torch or jax (default: all)"
    )
    p.add_argument("--threads", type=positive, default=2, help="of every side (default 2)")
    p.add_argument("--rounds", type=positive, help="processes of each side and row (default 3)")
    p.add_argument("--seconds", type=duration, help="of timing in each process (default 1)")
    p.add_argument("--quick", action="store_true", help="one configuration each, one round, 0.2 s")
    p.add_argument("--json", type=new_file, metavar="FILE", help="everything that was measured")
    p.add_argument("--png", type=new_file, metavar="FILE", help="the ratios drawn (by matplotlib)")
    p.add_argument("--list", action="store_true", help="list the workloads and end")
    return p


def config(text: str) -> Config:
    """'100,16,64,64' as a configuration."""
    parts = text.split(",")
    if len(parts) != 4 or not all(p.strip().isdecimal() and int(p) > 0 for p in parts):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a configuration; expected four positive numbers "
            "T,B,I,H such as 100,16,64,64"
        )
    return Config(*map(int, parts))


def sides_here(wanted: Sequence[str] | None, threads: int) -> tuple[dict[str, str], list[str]]:
    """(version by side, what is missing), found out by a process of each."""
    backends = [info.name for info in tg.list_backends()]
    known = [*sorted(backends, key=lambda name: name != "numba"), *PEERS]
    for name in wanted or ():
        if name not in known:
            expected = ", ".join(known)
            raise ArgumentError(f"bench: there is no side '{name}'; expected one of {expected}.")
    missing, found = [], {}
    lacks = {info.name: info.missing for info in tg.list_backends()}
    for name in known:
        if wanted and name not in wanted:
            continue
        try:
            if lacks.get(name):
                raise processes.BenchError(str(lacks[name]))
            found[name] = processes.ask(Order(name, threads))["version"]
        except processes.BenchError as error:
            hint = f" (to install it: {HINTS[name]})" if name in HINTS else ""
            missing.append(f"{name} is left out: {error}{hint}")
    return found, missing


def sides_of(work: Workload, here: Sequence[str]) -> list[str]:
    """Who takes part in a workload: all backends, and the peers that it is measured against."""
    own = [s for s in here if s not in PEERS]
    if work.measure == "rate":
        return own + [f"peak-{s}" for s in here if s != "jax"]
    return own + [s for s in here if s in work.peers]


def to_json(row: Row, sides: Sequence[str]) -> dict[str, Any]:
    own = [s for s in sides if s not in PEERS and not s.startswith("peak-")]
    return {
        "workload": row.work.name,
        "config": list(row.config),
        "unit": row.work.unit,
        "rounds": row.values,
        "medians": {s: row.value(s) for s in sides},
        "ratios": {f"{p}:{o}": row.ratio(o, p) for o in own for p in row.work.peers},
        "differences": row.differences,
        "errors": row.errors,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and report; 1 if a side failed or computed something else than the others."""
    p = parser()
    options = p.parse_args(argv)
    if options.list:
        print("\n".join(table.aligned([[w.name, w.title] for w in WORKLOADS], left=2)))
        return 0
    plan = Plan(
        options.threads,
        options.rounds or (1 if options.quick else 3),
        options.seconds or (0.2 if options.quick else 1.0),
    )
    try:
        if options.png is not None:
            plot.require_matplotlib()
        with processes.pinned(plan.threads) as cpus:
            return run(options, plan, cpus)
    except ArgumentError as error:
        p.error(str(error))


def run(options: argparse.Namespace, plan: Plan, cpus: Sequence[int]) -> int:
    """All rows in the order of the list."""
    here, missing = sides_here(options.side, plan.threads)
    facts = machine.describe(here) | {"threads": plan.threads, "cpus": list(cpus)}
    facts |= {"rounds": plan.rounds, "seconds": plan.seconds, "cleared": processes.cleared()}
    print_facts(facts, missing)
    if not here:
        raise ArgumentError("bench: none of the sides can be used here.")
    own = next((s for s in here if s not in PEERS), None)
    measured: list[Row] = []
    found: list[table.Verdict] = []
    lines: list[dict[str, Any]] = []
    for work in WORKLOADS:
        if options.only and work.name not in options.only:
            continue
        sides = sides_of(work, list(here))
        if not sides:
            continue
        group = []
        for c in options.config or (work.configs[:1] if options.quick else work.configs):
            print(f"measuring {work.name} {c}", file=sys.stderr, flush=True)
            group.append(rows.measure(work, c, sides, plan))
        print("\n" + table.workload_text(work, group, sides, own), flush=True)
        measured += group
        lines += [to_json(row, sides) for row in group]
        if own is not None:
            found += table.verdicts(work, group, own)
        if options.json is not None:
            report = {"machine": facts, "rows": lines, "summary": [v.__dict__ for v in found]}
            options.json.write_text(json.dumps(report, indent=1) + "\n")
    if found:
        print("\n" + table.summary_text(found))
    if options.png is not None and any(v.peer for v in found):
        title = f"{facts['cpu']}, {plan.threads} threads, {facts['date'][:10]}"
        plot.save(options.png, measured, found, title)
    return 1 if any(row.errors for row in measured) else 0


def print_facts(facts: dict[str, Any], missing: Sequence[str]) -> None:
    print(f"{facts['cpu']}, {facts['cores']} cores, {facts['system']}, {facts['date']}")
    versions = ", ".join(f"{name} {v}" for name, v in facts["sides"].items())
    print(f"python {facts['python']}, numpy {facts['numpy']}; sides: {versions or 'none'}")
    pins = f" on cores {', '.join(map(str, facts['cpus']))}" if facts["cpus"] else ""
    print(f"{facts['threads']} threads{pins}, {facts['rounds']} rounds of {facts['seconds']} s")
    gone = ", ".join(f"{k}={v}" for k, v in facts["cleared"].items())
    nothing = f"nothing ({' and '.join(processes.HARMFUL)} are not set)"
    print(f"cleared for every side: {gone or nothing}")
    for line in missing:
        print(line)
