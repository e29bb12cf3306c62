"""`tinygrad-rnn bench`: it runs, what it compares is equal, and mistakes are answered clearly.

No test asserts a speed.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn.__main__ import main
from tinygrad_rnn.bench import memory, ours, plot, processes, rows, table
from tinygrad_rnn.bench.arrays import draw
from tinygrad_rnn.bench.rows import Plan, Row, difference
from tinygrad_rnn.bench.workloads import NAMES, WORKLOADS, Config, Target, Workload, workload

TINY = Config(5, 3, 4, 6)
PLAN = Plan(threads=1, rounds=3, seconds=0.01)
COMPARED = [(w.name, peer) for w in WORKLOADS if w.measure == "time" for peer in w.peers]


def bench(*options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tinygrad_rnn", "bench", *options]
    env = os.environ | variables
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


def test_quick_run_on_numpy(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ["--quick", "--only", "lstm", "--config", "5,3,4,6", "--side", "numpy"]
    options += ["--threads", "1", "--seconds", "0.01", "--json", str(report)]
    done = bench(*options, OPENBLAS_CORETYPE="Haswell", OPENBLAS_L2_SIZE="512")
    assert done.returncode == 0, done.stderr
    assert "cleared for every side: OPENBLAS_CORETYPE=Haswell, OPENBLAS_L2_SIZE=512" in done.stdout
    assert "numpy ms" in done.stdout and "FAILED" not in done.stdout
    found = json.loads(report.read_text())
    (row,) = found["rows"]
    assert (row["workload"], row["config"], row["errors"]) == ("lstm", list(TINY), {})
    assert row["medians"]["numpy"] > 0 and len(row["rounds"]["numpy"]) == 1
    facts = found["machine"]
    assert facts["threads"] == 1 and facts["cpu"] and set(facts["sides"]) == {"numpy"}
    assert facts["cleared"] == {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_L2_SIZE": "512"}


@pytest.mark.parametrize("name", ["first-cold", "first-cached", "memory"])
def test_other_measures_run(name: str) -> None:
    row = rows.measure(workload(name), TINY, ["numpy"], Plan(1, 1, 0.01))
    assert row.errors == {}
    assert len(row.values["numpy"]) == 1


def test_rates_of_loops_and_products() -> None:
    row = rows.measure(workload("rate"), TINY, ["numpy", "peak-numpy"], Plan(1, 1, 0.01))
    assert row.errors == {}
    part = row.ratio("numpy", "peak")
    assert part is not None and part > 0


# --- what is answered to mistakes -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--only", "lstmm"], "invalid choice: 'lstmm'"),
        (["--config", "5,3,4"], "'5,3,4' is not a configuration; expected four positive numbers"),
        (["--config", "5,3,0,4"], "'5,3,0,4' is not a configuration"),
        (["--rounds", "0"], "'0' is not a positive number"),
        (["--seconds", "fast"], "argument --seconds: 'fast' is not a number of seconds above 0"),
        (["--json", "no/such/folder.json"], "'no/such/folder.json' cannot be written"),
        (["--fast"], "unrecognized arguments: --fast"),
        (["--side", "nunpy"], "there is no side 'nunpy'; expected one of"),
    ],
)
def test_wrong_options(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", *options])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_picture_without_matplotlib_is_refused_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plot.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        main(["bench", "--png", "x.png"])
    assert "needs matplotlib" in capsys.readouterr().err


def test_list_of_workloads(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(NAMES)


def test_a_side_that_fails_is_named_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(order: Any, more: Any = None) -> dict[str, Any]:
        if order.side == "numba":
            raise processes.BenchError("ValueError: no such thing")
        return {"value": 2.0}

    monkeypatch.setattr(rows, "ask", ask)
    row = rows.measure(workload("lstm"), TINY, ["numba", "numpy"], PLAN)
    assert row.errors == {"numba": "ValueError: no such thing"}
    assert row.value("numba") is None and row.values["numpy"] == [2.0] * 3
    text = table.workload_text(row.work, [row], ["numba", "numpy"], "numba")
    assert "T5 B3 I4 H6 numba: FAILED, ValueError: no such thing" in text


def test_a_process_that_fails_says_why() -> None:
    order = rows.Order("numpy", 1, "lstm", TINY, 0.01, save="/nowhere/at/all")
    with pytest.raises(processes.BenchError, match="FileNotFoundError"):
        processes.ask(order)


# --- equal results --------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "peer"), COMPARED)
def test_all_sides_compute_the_same(name: str, peer: str) -> None:
    pytest.importorskip(peer)
    work = workload(name)
    theirs = importlib.import_module(f"tinygrad_rnn.bench.theirs_{peer}")
    arrays = draw(work, TINY)
    found = ours.build(work, TINY, arrays).results()
    expected = theirs.build(work, TINY, arrays).results()
    worst, where = difference(found, expected)
    assert worst < 1e-4, where
    if work.mode != "forward":
        held = {n for n in arrays if n not in ("dy", "lengths")}
        assert found.keys() == {"y", *(f"d {n}" for n in held)}


def test_training_steps_are_the_same() -> None:
    pytest.importorskip("torch")
    theirs = importlib.import_module("tinygrad_rnn.bench.theirs_torch")
    work = workload("memory")
    arrays = draw(work, TINY)
    found, expected = (side.build(work, TINY, arrays).results() for side in (ours, theirs))
    np.testing.assert_allclose(found["losses"], expected["losses"], rtol=1e-4)
    assert found["losses"][2] < found["losses"][0]


def test_a_wrong_gradient_is_noticed(tmp_path: Path) -> None:
    right = {"y": np.ones((2, 3), np.float32), "d x": np.arange(3.0)}
    for name, wrong in {
        "numpy": right | {"d x": np.arange(3.0)[::-1]},
        "numba": right | {"d x": np.full(3, np.nan)},
        "other": {"y": right["y"]},
    }.items():
        row = Row(workload("lstm"), TINY, {name: [1.0], "torch": [1.0]})
        np.savez(tmp_path / "torch.npz", **right)
        np.savez(tmp_path / f"{name}.npz", **wrong)
        rows._compare(row, tmp_path)
        assert "computes something else than torch: 'd x' differs" in row.errors[name]
        assert row.ratio(name, "torch") is None
        (tmp_path / f"{name}.npz").unlink()
    assert difference(right, right) == (0.0, "")
    assert difference(right, {**right, "y": np.ones((3, 2))}) == (math.inf, "y")


# --- the report -----------------------------------------------------------------------------------


def report() -> tuple[Workload, list[Row]]:
    targets = {"torch": Target(2.0, 1.0), "jax": Target(3.0)}
    work = Workload("lstm", "a test", "lstm", "train", (TINY, TINY), targets)
    first = Row(work, TINY, {"numba": [1.0, 9.0, 2.0], "torch": [2.0], "jax": [6.0]})
    second = Row(work, Config(1, 1, 1, 1), {"numba": [1.0], "torch": [0.95], "jax": [3.0]})
    return work, [first, second]


def test_medians_geometric_means_and_targets() -> None:
    work, both = report()
    assert [row.ratio("numba", "torch") for row in both] == [1.0, 0.95]
    torch, jax = table.verdicts(work, both, "numba")
    assert torch.mean == pytest.approx(math.sqrt(0.95)) and torch.least == 0.95
    assert (torch.reached, torch.target) == (False, ">= 2, each >= 1")
    assert jax.mean == pytest.approx(3.0) and jax.reached
    assert work.each("torch", both[1].config) == 0.9  # a batch of one
    text = table.summary_text([torch, jax])
    assert [line.split()[-1] for line in text.splitlines()[1:]] == ["MISSED", "reached"]


def test_a_limit_without_a_peer() -> None:
    work = workload("first-cold")
    row = Row(work, TINY, {"numba": [7.0]})
    (verdict,) = table.verdicts(work, [row], "numba")
    assert (verdict.reached, verdict.target) == (False, "at most 6 s")


def test_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    work, both = report()
    file = tmp_path / "bench.png"
    plot.save(file, both, list(table.verdicts(work, both, "numba")), "a test")
    assert file.read_bytes().startswith(b"\x89PNG")


def test_numbers_are_short() -> None:
    values = [None, 0.01234, 1.23456, 12.3456, 12345.6]
    assert [table.number(v) for v in values] == ["-", "0.0123", "1.235", "12.35", "12346"]


def test_peak_growth_sees_what_is_allocated_and_freed() -> None:
    def work() -> None:
        np.ones(32 * 2**20, np.uint8)

    growth = memory.peak_growth(work)
    assert growth > 24 if memory.STATUS.exists() else growth >= 0
