"""What all examples share: options and their messages, the last line, interrupts, the table."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import _common
import _training
import numpy as np
import pytest
from examples_folder import EXAMPLES, load

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim

run_all = load("run_all")


@_common.example(
    quick={"steps": 2},
    steps=(5, "how many"),
    lr=(0.5, "how fast"),
    loud=(False, "whether"),
    kind=("a", "which", "a", "b"),
    sizes=((3, 4), "several"),
)
def main(
    run: _common.Run, steps: int, lr: float, loud: bool, kind: str, sizes: Any
) -> _common.Report:
    layer = nn.Linear(2, 3)
    for step in run.steps(steps, model=layer):
        run.show(tg.tensor(1.0 / (step + 1)))
        if kind == "b":
            raise KeyboardInterrupt
    if loud:
        run.axes("A title").plot([1, 2])
    scores = [
        _common.Score("weights", layer.weight.sum().item(), form=".6f"),
        _common.Score("steps", steps, at_least=5, baseline=("none", 0), form=".0f"),
        _common.Score("drawn", run.rng.random(), at_most=1.0, form=".6f"),
    ]
    return _common.Report(lr, *scores)


def call(out: Path, *arguments: str) -> _common.Report:
    return main(["--backend", "numpy", "--out", str(out), *arguments])


def test_the_last_line_has_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = call(tmp_path, "--loud")
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith(f"test_common: weights {report['weights']:.6f}; steps 5 (none 0), at")
    assert "at least 5: reached; drawn" in line and "at most 1.000000: reached" in line
    assert line.endswith(f"s on numpy; {tmp_path / 'test_common.png'}")
    call(tmp_path, "--steps", "4")
    assert "steps 4 (none 0), at least 5: NOT reached" in capsys.readouterr().out
    found = json.loads((tmp_path / "result.json").read_text())
    assert [score["reached"] for score in found["scores"]] == [True, False, True]
    assert found["loss"] == 0.5 and found["backend"] == "numpy"


def test_quick_changes_defaults_but_not_what_is_given(tmp_path: Path) -> None:
    assert call(tmp_path, "--quick")["steps"] == 2
    assert call(tmp_path, "--quick", "--steps", "3")["steps"] == 3


def test_the_seed_decides_weights_and_data(tmp_path: Path) -> None:
    first, again, other = (call(tmp_path, "--seed", seed) for seed in ("1", "1", "2"))
    for name in ("weights", "drawn"):
        assert first[name] == again[name] != other[name]


def test_checkpoints_are_written_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        call(tmp_path, "--kind", "b")
    assert stop.value.code == 130
    assert "stopped; nothing is saved yet" in capsys.readouterr().out
    call(tmp_path)
    layer = nn.Linear(2, 3, rng=9)
    before = layer.weight.detach().numpy().copy()
    tg.load_checkpoint(tmp_path / "checkpoint.safetensors", model=layer)
    assert not np.array_equal(layer.weight.detach().numpy(), before)


def test_descent_is_adamw_with_clipped_gradients_along_a_cosine(tmp_path: Path) -> None:
    tg.use_backend("numpy")  # where a compiled step is the eager one, bit for bit
    rng = np.random.default_rng(0)
    x, y = (rng.normal(scale=30, size=(5, 3)).astype("f4") for _ in range(2))
    models = [nn.Sequential(nn.Linear(3, 3, rng=1), nn.Dropout(0.3, rng=2)) for _ in range(2)]
    descent = _training.Descent(models[0], lr=0.1, decay=0.5)
    optimizer = optim.AdamW(models[1].parameters(), lr=0.1, weight_decay=0.5)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, 30)

    def loss(model: nn.Module) -> tg.Tensor:
        return ((model(tg.tensor(x)) - y) ** 2).mean()

    @tg.jit
    def step() -> tg.Tensor:
        value = loss(models[0])
        value.backward()
        descent.step()
        return value

    run, losses = _common.Run("x", tmp_path, 0, quick=False), []
    for _ in descent.steps(run, 30):
        assert models[0].training and models[0][0].weight.grad is None
        run.show(step())
    for _ in range(30):
        value = loss(models[1])
        optimizer.zero_grad()
        value.backward()
        optim.clip_grad_norm_(models[1].parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(value.item())
    assert not models[0].training and run.shown == losses and losses[-1] < losses[0]
    assert run.loss == np.mean(losses[-3:])
    for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert np.array_equal(p.detach().numpy(), q.detach().numpy())
    assert (tmp_path / "checkpoint.safetensors").exists()


def test_batches_go_on_forever() -> None:
    batches = _training.forever([1, 2])
    assert [next(batches) for _ in range(5)] == [1, 2, 1, 2, 1]


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["--stepz", "3"], "unrecognized arguments: --stepz"),
        (["--steps", "x"], "argument --steps: invalid int value"),
        (["--steps", "0"], "--steps 0: must be at least 1"),
        (["--lr", "-1"], "--lr -1.0: must be at least 0"),
        (["--lr", "nan"], "--lr nan: must be at least 0"),
        (["--seed", "-1"], "--seed -1: must be at least 0"),
        (["--sizes", "3", "0"], "--sizes 0: must be at least 1"),
        (["--sizes"], "argument --sizes: expected at least one argument"),
        (["--kind", "c"], "argument --kind: invalid choice"),
    ],
)
def test_wrong_options(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        call(tmp_path, *arguments)
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_other_messages(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(SystemExit, match=r"--out .*file: "):
        call(file)
    with pytest.raises(SystemExit, match="no backend 'abacus'; registered are"):
        main(["--backend", "abacus", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="the loss is nan: training diverged; lower --lr"):
        _common.Run("x", tmp_path, 0, False).show(float("nan"))
    with pytest.raises(SystemExit, match=r"--prompt: \['q'\] do not occur in book.txt"):
        _common.check_known("aqa", "abc", "--prompt", "book.txt")
    with pytest.raises(SystemExit, match=r"needs the package 'some-data': pip install some-data"):
        _common.need("some_data.inside", "some-data")


def test_the_backend_of_the_environment_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYGRAD_RNN_BACKEND", "numpy")
    main(["--out", str(tmp_path)])
    assert json.loads((tmp_path / "result.json").read_text())["backend"] == "numpy"


def test_run_all_keeps_results_and_writes_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{run_all.BEGIN}old\n{run_all.END}after\n")
    monkeypatch.setattr(run_all, "README", readme)
    monkeypatch.setattr(run_all, "RESULTS", tmp_path / "results.json")
    monkeypatch.chdir(tmp_path)
    assert run_all.main(["bptt_by_hand", "--backends", "numpy"]) == 0
    entry = json.loads((tmp_path / "results.json").read_text())["bptt_by_hand"]["numpy"]
    assert entry["cpu_seconds"] > 0 and all(score["reached"] for score in entry["scores"])
    table = readme.read_text()
    assert table.startswith("before\n") and table.endswith("after\n") and "old" not in table
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert rows[2].startswith("| `bptt_by_hand.py` |") and "at most 1e-12" in rows[2]
    assert len(rows) == 2 + len(entry["scores"])
    with pytest.raises(SystemExit):
        run_all.main(["no_such_example"])


def test_seconds_beside_other_work_are_the_processor_s() -> None:
    assert run_all.duration({"seconds": 61.2, "cpu_seconds": 90.0}) == "61"
    assert run_all.duration({"seconds": 301.0, "cpu_seconds": 92.9}) == "(93)"


def test_the_table_in_the_readme_is_that_of_the_results() -> None:
    results = json.loads((EXAMPLES / "results.json").read_text())
    assert run_all.table(results) in (EXAMPLES / "README.md").read_text()


def test_an_example_without_matplotlib_names_it(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None; sys.path.insert(0, sys.argv[1])\n"
        "import clipping; clipping.main(['--quick', '--backend', 'numpy', '--out', sys.argv[2]])"
    )
    command = [sys.executable, "-c", code, str(EXAMPLES), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "needs the package 'matplotlib': pip install matplotlib" in done.stderr
