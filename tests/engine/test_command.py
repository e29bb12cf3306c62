"""`python -m tinygrad_rnn`: what it prints."""

from __future__ import annotations

import importlib.util

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.__main__ import example_lines, main


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    assert main(argv) == 0
    return capsys.readouterr().out.splitlines()


def test_backends_are_listed(capsys):
    lines = printed(capsys, "backends")
    assert [line.split()[0] for line in lines] == [r.name for r in tg.list_backends()]
    (numpy_line,) = (line for line in lines if line.startswith("numpy"))
    assert numpy_line.endswith(" installed") and "tinygrad_rnn_numpy:NumpyBackend" in numpy_line
    assert printed(capsys) == [f"tinygrad_rnn {tg.__version__}", *lines]


@pytest.mark.parametrize("there", [True, False])
def test_cupy_without_looking_for_a_gpu(capsys, monkeypatch, there):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: find("numpy") if there else None)
    (line,) = (line for line in printed(capsys, "backends") if line.startswith("cupy"))
    if there:
        assert line.endswith("installed (a GPU is looked for when it is used)")
    else:
        assert "'cupy' is not installed: pip install" in line


def test_version_and_unknown_commands(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and tg.__version__ in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["nonsense"])
    assert stop.value.code == 2 and "nonsense" in capsys.readouterr().err


def test_examples_are_listed_with_what_they_show(capsys, tmp_path):
    lines = printed(capsys, "examples")
    (line,) = (line for line in lines if line.startswith("examples/dinner.py "))
    assert "Tomorrow's dinner" in line and not any("/_" in line for line in lines)
    assert "source tree" in " ".join(example_lines(tmp_path / "examples"))
