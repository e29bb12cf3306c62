"""Every example learns something in a few seconds, draws its picture, and says what it found.

One line of EXAMPLES for each: the greatest loss that `--quick --seed 0` may end with, on NumPy and
on Numba. Examples that train nothing report nan as loss, and what their scores must be.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from examples_folder import EXAMPLES as FOLDER
from examples_folder import load

# name: the greatest loss, or a condition on the Report
EXAMPLES: dict[str, float | Callable[[Any], bool]] = {
    "bptt_by_hand": lambda report: all(score.reached for score in report.scores),
    "caption": 1.0,
    "char_lm": 3.5,
    "clipping": 0.01,
    "dialog": 2.2,
    "dinner": 1e-9,
    "dna": lambda report: report.loss < 1.7 and report["junctions right"] > 0.9,
    "gradient_flow": lambda report: report.scores[0].reached and report.scores[0].baseline[1] > 1e6,
    "long_memory": lambda report: report.scores[0].value < 0.03,
    "music": lambda report: report.loss < 5 and report.scores[0].reached,
    "names_in_text": 0.02,  # guessing by frequency: 0.04
    "own_cell": 4.0,
    "part_of_speech": 2.5,
    "question": 1.8,
    "recurrences": lambda report: report["echo, hidden"] > 0.95,
    "rows_of_digits": 0.9,
    "sentiment": 0.68,
    "shapes": 1.5,
    "speech": lambda report: report.loss < 3 and report["speakers named"] > 0.8,
    "time_series": 0.3,
    "translate": 2.3,
    "video": 3.6,
}


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_it_learns_and_draws(
    name: str, backend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if backend == "numba":
        pytest.importorskip("numba")
    module = load(name)
    report = module.main(["--quick", "--seed", "0", "--backend", backend, "--out", str(tmp_path)])
    bound = EXAMPLES[name]
    if callable(bound):
        assert bound(report), [str(score) for score in report.scores]
    else:
        assert report.loss < bound
    stem = Path(name).name
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{stem}: {report.scores[0]}")
    assert (tmp_path / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["backend"] == backend
    assert [score["name"] for score in result["scores"]] == [s.name for s in report.scores]
    assert all(math.isfinite(score.value) for score in report.scores)


def test_no_example_is_forgotten() -> None:
    examples = {path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_")}
    assert examples == {*EXAMPLES, "run_all", "zoo"}  # test_zoo.py tests the networks one by one
