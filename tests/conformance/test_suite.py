"""The suite itself: it follows declarations, says what it skips, and runs in three ways."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest

from tinygrad_rnn.extend import BackendError, Capabilities, Elementwise, Refusal, Sample, primitives
from tinygrad_rnn.ops.elementwise import unary
from tinygrad_rnn.testing import BackendConformance, Loopback
from tinygrad_rnn.testing.__main__ import main
from tinygrad_rnn.testing.conformance import PROPERTIES, SABOTAGED, Level, Subject, score
from tinygrad_rnn.testing.conformance.registry import CHECKS, selected

CLAIMED = ("bool", "int64", "uint32", "float32")


def _refusing(x):
    raise BackendError("'modest': no tangent of float32; use sin(x) / cos(x).")


class Modest(Loopback):
    """Holds few dtypes, lacks a primitive and two promises, refuses another: honestly."""

    name = "modest"
    capabilities = Capabilities(
        dtypes=CLAIMED,
        lacks={"erf": "not in its library", "index errors": "unchecked", "subnormals": "flushed"},
        refuses=(Refusal("tan", ("float32",), "no tangent"),),
    )

    def __init__(self):
        self.kernels = {k: v for k, v in Loopback.kernels.items() if k != "erf"}
        self.kernels["tan"] = _refusing

    def put(self, host):
        if host.dtype.name not in CLAIMED:
            raise BackendError(f"'modest' holds no {host.dtype.name}; cast it to float32.")
        return super().put(host)


# --- what is tested ------------------------------------------------------------------------------


def test_every_check_has_a_property_a_level_and_a_name_of_its_own():
    assert len({c.name for c in CHECKS}) == len(CHECKS) > 60
    assert {c.property for c in CHECKS} | {"A8", "D6"} == set(PROPERTIES)
    assert [c.level for c in selected()] == sorted(c.level for c in CHECKS)
    assert {c.level for c in selected(1)} == {Level.SMOKE, Level.FORWARD}
    for c in CHECKS:
        method = getattr(BackendConformance, f"test_{c.name}")
        assert method.check is c and method.__name__ == f"test_{c.name}"


def test_a_level_leaves_out_those_above_it():
    class Shallow(BackendConformance):
        backend = Loopback
        level = 1

    assert callable(Shallow.test_forward_F2_values)
    assert Shallow.test_gradients_A3_first_order is None
    assert callable(BackendConformance.test_gradients_A3_first_order)


def test_a_primitive_of_somebody_else_is_tested_too():
    class Cube(Elementwise, name="cube"):
        kinds = "f"
        reference = staticmethod(lambda x: x * x * x)
        samples: ClassVar[tuple[Sample, ...]] = unary()
        vjp = (lambda g, y, x: g * (x * x) * 3.0,)

    class Squares(Loopback):
        name = "squares"

        def __init__(self):
            self.kernels = {**Loopback.kernels, "cube": Loopback.kernels["abs"]}

    try:
        right = score(Subject(Loopback), properties=["F2", "A3", "F4"])
        assert right.passed
        assert {"forward_F2_values[cube]", "gradients_A3_first_order[cube]"} <= {
            o.title for o in right.outcomes
        }
        wrong = score(Subject(Squares), properties=["F2"])
        assert {o.case for o in wrong.failures} == {"cube"}
        (lost,) = score(Subject("numpy"), properties=["F4"]).failures
        assert "no kernel for ['cube']" in lost.why
    finally:
        del primitives["cube"]


def test_what_is_denied_honestly_is_skipped_with_the_reason():
    card = score(Subject(Modest), level=Level.FORWARD)
    assert card.passed, str(card)
    skipped = {o.title: o.why for o in card.outcomes if o.result == "skipped"}
    assert skipped["forward_F2_values[erf]"] == "lacks erf: not in its library"
    assert skipped["forward_F15_index_errors"] == "lacks index errors: unchecked"
    assert skipped["forward_C7_half_precision[float16]"] == "float16 is not claimed"
    elsewhere = [t for t in skipped if t.startswith(("forward_F1_", "forward_F2_"))]
    # the loop that is tested there is in float64, the results of fft are complex
    assert {t.partition("[")[2] for t in elsewhere} == {"erf]", "tan]", "scan]", "fft]"}


def test_another_seed_draws_other_examples():
    def drawn(seed):
        found = []
        subject = Subject(Loopback, examples=3, seed=seed)
        from hypothesis import strategies as st

        subject.forall(st.integers(0, 10**9), lambda n: found.append(n))
        return found

    assert drawn(None) == drawn(None) and len(drawn(None)) == 3
    assert drawn(1) == drawn(1) != drawn(2)


# --- the scorecard -------------------------------------------------------------------------------


def test_scorecard_of_a_broken_backend():
    card = score(Subject(SABOTAGED["argmax_takes_the_last"].make()), properties=["B11", "C8"])
    assert not card.passed and [o.title for o in card.failures] == ["forward_B11_ties[argmax]"]
    text, data = str(card), json.loads(json.dumps(card.as_json()))
    assert "FAILED forward_B11_ties" in text and PROPERTIES["B11"] in text
    assert "[argmax] argmax(" in text and "expected" in text
    entry = data["levels"]["forward"]["B11"]
    assert data["passed"] is False and entry["failed"][0]["check"] == "forward_B11_ties[argmax]"
    assert data["counts"]["failed"] == 1 and entry["passed"] > 20
    assert data["levels"]["forward"]["C8"] == {
        "title": PROPERTIES["C8"], "passed": 1, "failed": [], "skipped": []
    }  # fmt: skip
    assert {"tinygrad_rnn", "numpy", "python"} <= set(data["versions"])


def test_stop_at_the_first_failure():
    card = score(Subject(SABOTAGED["float64_in_float32"].make()), properties=["F2"], stop=True)
    assert [o.result for o in card.outcomes].count("failed") == 1
    assert card.outcomes[-1].result == "failed"


def test_the_command(tmp_path, capsys):
    file = tmp_path / "card.json"
    assert main(["backend", "numpy", "--level", "0", "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].startswith("backend 'numpy' (tinygrad_rnn_numpy")
    assert "0 smoke" in out and "PASSED" in out and "1 forward" not in out
    data = json.loads(file.read_text())
    assert data["passed"] and data["backend"] == "numpy" and set(data["levels"]) == {"smoke"}
    assert main(["backend", "numpy", "--property", "F6", "--property", "C7"]) == 0
    assert "PASSED: 4 passed" in capsys.readouterr().out


def test_the_command_says_why_a_backend_cannot_be_tested(capsys):
    assert main(["backend", "nunpy"]) == 2
    assert "there is no backend 'nunpy'" in capsys.readouterr().err
    if importlib.util.find_spec("cupy") is None:
        assert main(["backend", "cupy"]) == 2
        assert "pip install" in capsys.readouterr().err


def test_the_command_fails_with_the_backend(monkeypatch, capsys):
    from tinygrad_rnn.testing.conformance import command

    broken = SABOTAGED["neg_in_place"].make()
    monkeypatch.setattr(command, "missing", lambda name: None)
    monkeypatch.setattr(command, "Subject", lambda name, *rest: Subject(broken, *rest))
    assert main(["backend", "broken", "--property", "B4", "--stop"]) == 1
    assert "FAILED forward_B4_operands_stay" in capsys.readouterr().out


# --- pytest --------------------------------------------------------------------------------------


def python(*args: str, folder: object) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, *args], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


def test_the_option_of_pytest(tmp_path):
    """Alone it runs the suite and nothing else; beside a file, both."""
    (tmp_path / "test_other.py").write_text("def test_other(): pass\n")
    options = ("-m", "pytest", "-p", "no:cacheprovider", "--tgr-backend=numpy", "--tgr-level=0")
    done = python(*options, "-v", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tinygrad_rnn: backend 'numpy', levels 0 to 0" in done.stdout
    assert "test_smoke_F7_put_copies" in done.stdout and "test_other" not in done.stdout
    assert "gradients" not in done.stdout
    done = python(*options, "-q", "test_other.py", folder=tmp_path)
    passed = len([c for c in CHECKS if c.level == Level.SMOKE]) + 1
    assert f"{passed} passed" in done.stdout, done.stdout


WITHOUT_HYPOTHESIS = """
import importlib.util, sys
class NotThere:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "hypothesis":
            raise ModuleNotFoundError(name)
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "hypothesis" else real(name, *a)
sys.meta_path.insert(0, NotThere())
import pytest
status = pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *sys.argv[1:]])
print("NumPy" if "numpy" in sys.modules else "no NumPy")
sys.exit(status)
"""


def test_pytest_runs_without_hypothesis_and_loads_nothing(tmp_path):
    (tmp_path / "test_other.py").write_text("def test_other(): pass\n")
    done = python("-c", WITHOUT_HYPOTHESIS, folder=tmp_path)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
    assert "no NumPy" in done.stdout
    done = python("-c", WITHOUT_HYPOTHESIS, "--tgr-backend=numpy", folder=tmp_path)
    assert done.returncode == 4 and "pip install" in done.stderr, done.stdout + done.stderr


# --- the loopback --------------------------------------------------------------------------------


def test_buffers_of_the_loopback_are_no_arrays():
    buffer = Loopback().put(np.ones((2, 3)))
    for misuse in (
        lambda: np.asarray(buffer), lambda: buffer + 1, lambda: buffer == buffer,
        lambda: list(buffer), lambda: bool(buffer), lambda: np.add(buffer, 1),
        lambda: buffer.shape, lambda: len(buffer), lambda: hash(buffer), lambda: buffer[0:1],
    ):  # fmt: skip
        with pytest.raises((TypeError, AttributeError, AssertionError)):
            misuse()
    assert not Loopback().get(buffer).flags.writeable
