"""The example of a backend in a package of its own: built, installed, found, and run through the
suite, as a stranger's would be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "examples" / "plugin_backend"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A copy of the package, and the environment in which it is installed (without network)."""
    folder = tmp_path_factory.mktemp("plugin")
    source, target = folder / "source", folder / "target"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__py*"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
         "--no-build-isolation", "--disable-pip-version-check", "--target", target, source],
        check=True, capture_output=True,
    )  # fmt: skip
    path = os.pathsep.join([str(target), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return source, {**env, "PYTHONPATH": path}


def test_it_is_small():
    files = [f for f in PACKAGE.rglob("*") if f.suffix in (".py", ".toml", ".md")]
    assert sum(len(f.read_text().splitlines()) for f in files) < 150


def test_it_passes_its_own_tests(installed):
    """Which are the suite, all levels, and one of its own."""
    source, env = installed
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=source, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 1000


def test_it_is_found_by_name(installed):
    source, env = installed
    code = (
        "import tinygrad_rnn as tg; x = tg.ones((2, 2)); (x @ x).tolist();"
        "print(tg.get_backend().table()); print([i.name for i in tg.list_backends()])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, env={**env, "TINYGRAD_RNN_BACKEND": "profiler"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "contract              1" in done.stdout and "'profiler'" in done.stdout
