"""The fuzzer finds faults, makes them small, and writes them down (its runs: engine, numba)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tinygrad_rnn_numpy import NumpyBackend

import tinygrad_rnn as tg
from tinygrad_rnn import backend, pullbacks, residuals
from tinygrad_rnn.extend import Graph, Node, bind, primitives
from tinygrad_rnn.testing import __main__ as command_line
from tinygrad_rnn.testing import recorded
from tinygrad_rnn.testing.fuzz.cases import case
from tinygrad_rnn.testing.fuzz.check import Variant, examine
from tinygrad_rnn.testing.fuzz.command import look
from tinygrad_rnn.testing.fuzz.levels import Level
from tinygrad_rnn.testing.fuzz.precision import agrees_in_precision
from tinygrad_rnn.testing.fuzz.reduce import reduced
from tinygrad_rnn.testing.fuzz.script import write_script
from tinygrad_rnn.testing.singular import points_met

scan = sys.modules[tg.scan.__module__]


# --- faults --------------------------------------------------------------------------------------


@pytest.fixture
def own_caches(monkeypatch: Any) -> None:
    """What is remembered of faulty rules and programs is forgotten after the test."""
    monkeypatch.setattr(pullbacks, "_programs", {})
    for module, name in ((backend, "_programs"), (backend, "_optimized"), (residuals, "_derived"),
                         (scan, "_singles")):  # fmt: skip
        monkeypatch.setattr(module, name, backend.ProgramCache())


def wrong_factor(monkeypatch: Any) -> None:
    rule = (lambda g, y, x: g * (1 - y * y) * 1.000001,)
    monkeypatch.setattr(primitives["tanh"], "vjp", rule)


def branches_swapped(monkeypatch: Any) -> None:
    _, a, b = primitives["where"].vjp
    monkeypatch.setattr(primitives["where"], "vjp", (None, b, a))


def direction_ignored(monkeypatch: Any) -> None:
    cumsum = primitives["cumsum"]
    monkeypatch.setattr(
        cumsum, "vjp", (lambda g, y, x, axis, reverse: bind(cumsum, g, axis=axis, reverse=reverse),)
    )


def half_a_flip(monkeypatch: Any) -> None:
    old = NumpyBackend.specialize

    def specialize(self: Any, node: Node) -> Any:
        if node.op.name == "flip":
            return lambda x: np.flip(x, node.attrs["axes"][:1])
        return old(self, node)

    monkeypatch.setattr(NumpyBackend, "specialize", specialize)


def operands_swapped(monkeypatch: Any) -> None:
    def rewrite(graph: Graph) -> Graph:
        nodes = [
            Node(n.op, n.inputs[::-1], n.attrs, n.outputs, n.frozen)
            if n.op.name == "sub" and n.inputs[0].type is n.inputs[1].type
            else n
            for n in graph.nodes
        ]
        return Graph(graph.inputs, nodes, graph.outputs)

    monkeypatch.setitem(recorded.PASSES, "simplify", (rewrite,))


def state_after_the_step(monkeypatch: Any) -> None:
    """The backward loop reads the carry after a step where it should read that before it."""
    monkeypatch.setattr(scan, "before", lambda first, after, reverse: after)


FAULTS = [
    wrong_factor, branches_swapped, direction_ignored, half_a_flip, operands_swapped,
    state_after_the_step,
]  # fmt: skip


def found(count: int = 400) -> Iterator[Any]:
    for index in range(count):
        drawn = case(7, index, ["numpy"])
        outcome = look(drawn)
        if outcome.failure is not None:
            yield drawn, outcome


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_a_fault_is_found_made_small_and_written_down(
    fault: Any, monkeypatch: Any, tmp_path: Any, own_caches: None
) -> None:
    with monkeypatch.context() as planted:
        fault(planted)
        drawn, outcome = next(found())
        small = reduced(drawn, outcome, 20.0)
        assert len(small.graph.nodes) <= 4, small.graph
        path = tmp_path / "failure.py"
        write_script(path, small, "--seed 7")
        with pytest.raises(AssertionError, match="derivative of order"):
            exec(compile(path.read_text(), str(path), "exec"), {})
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "no failure" in done.stdout, done.stderr


def test_what_a_variant_raises_is_its_failure(monkeypatch: Any, own_caches: None) -> None:
    def refuse(self: Any, node: Node) -> Any:
        raise tg.BackendError("not today")

    graph = tg.trace(lambda x: tg.exp(x))(tg.ones((2,)))
    monkeypatch.setattr(NumpyBackend, "specialize", refuse)
    outcome = examine(graph, [np.ones(2, "f4")], 0, [Variant("none", "numpy")], 0)
    assert outcome.failure and "BackendError: not today" in outcome.failure.message


def test_float32_is_judged_by_a_float64_truth() -> None:
    """A chaotic loop in float32 is no failure; a result of half the precision is one."""

    def chaotic(x: Any) -> Any:
        return tg.scan(lambda c, _: (c * 3.9 * (1.0 - c), None), x, None, length=12)[0]

    x = np.array([0.3, 0.7], "f4")
    graph = tg.trace(chaotic)(tg.tensor(x))
    ways = [Variant(w, "numpy") for w in ("eager", *recorded.PASSES)]
    assert examine(graph, [x], 1, ways, 0).failure is None
    coarse = tg.trace(lambda x: (x * 1.2345).astype("float16").astype("float32"))(tg.tensor(x))
    exact = tg.trace(lambda x: x * 1.2345)(tg.tensor(x))
    got = [np.asarray(y) for y in coarse.interpret(x)]
    assert "errs by" in str(agrees_in_precision(Level(exact, [x]), got))


# --- command line --------------------------------------------------------------------------------


def test_the_command_prints_number_seed_outcome_and_rate(capsys: Any, tmp_path: Any) -> None:
    file = tmp_path / "summary.json"
    assert command_line.main(["fuzz", "--graphs", "6", "--seed", "3", "--json", str(file)]) == 0
    summary = json.loads(file.read_text())
    assert (summary["programs"], summary["seed"], summary["failures"]) == (6, 3, 0)
    assert summary["pairs"]["seen"] > 50 and summary["backends"] == ["numpy"]
    said = capsys.readouterr().out
    assert said.startswith("6 programs (seed 3, from 0) on numpy: 0 failures, ")
    assert "ms per program" in said and "probability below 0.5" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--graphs", "0"], "argument --graphs: '0' is not a positive number"),
        (["--seed", "-1"], "argument --seed"),
        (["--backends", "numpy,"], "'numpy,' is not a list such as numpy,numba"),
        (["--backends", "nunpy"], "fuzz: there is no backend 'nunpy'"),
        (["--json", "no/such/folder.json"], "'no/such/folder.json' cannot be written"),
    ],
)
def test_wrong_options(options: list[str], words: str, capsys: Any) -> None:
    """Nothing is run whose results would have nowhere to go."""
    try:
        status = command_line.main(["fuzz", *options])
    except SystemExit as ended:
        status = ended.code
    assert status == 2 and words in capsys.readouterr().err


def test_the_command_writes_a_failure_and_says_where(
    monkeypatch: Any, capsys: Any, tmp_path: Any, own_caches: None
) -> None:
    branches_swapped(monkeypatch)
    status = command_line.main(["fuzz", "--graphs", "400", "--seed", "7", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    (script,) = tmp_path.glob("fuzz_failure_7_*.py")
    assert status == 1 and f"run {script}" in said and "1 failures" in said


def test_a_tie_is_looked_for_in_empty_arrays_too() -> None:
    graph = tg.trace(lambda x: tg.max(x, 2))(tg.zeros((0, 3, 4)))
    assert points_met(graph, [np.zeros((0, 3, 4), "f4")]) == []
    tied = tg.trace(lambda x: tg.max(x, 2))(tg.zeros((1, 3, 4)))
    assert points_met(tied, [np.zeros((1, 3, 4), "f4")]) == ["max"]
