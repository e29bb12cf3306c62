"""What the README shows works as shown."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_the_custom_cell_learns() -> None:
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 24
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    losses = [float(number) for number in re.findall(r"\d+\.\d+", done.stdout)]
    assert len(losses) == 5 and losses[-1] < losses[0] / 10


def test_there_is_one_command_to_run_and_one_to_test() -> None:
    run, test = blocks("bash")
    for command in (run, test):
        assert command.count("\n") == 1, "one command is one line"
    assert run.rstrip().endswith("python examples/char_lm.py")
    assert "-m pytest" in test


def test_the_commands_name_extras_and_files_that_exist() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extras in re.findall(r"\.\[([\w,]+)\]", README):
        assert set(extras.split(",")) <= set(project["optional-dependencies"])
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    for command in blocks("bash"):
        for word in shlex.split(command):
            if word.endswith(".py"):
                assert (ROOT / word).exists(), word


def test_the_continuous_integration_finds_the_test_command() -> None:
    awk = re.search(r"awk '(.*?)' README.md", (ROOT / ".ci" / "run").read_text())
    assert awk is not None
    found = subprocess.run(
        ["awk", awk[1], "README.md"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout == blocks("bash")[1]
