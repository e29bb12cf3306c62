"""Libraries written for any Array API namespace work on tensors."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from oracles import same

import tinygrad_rnn as tg


def test_array_api_compat():
    compat = pytest.importorskip("array_api_compat")
    x = tg.tensor([[1.0, 2.0, 3.0]])
    assert compat.array_namespace(x, tg.ones(2)) is tg and compat.is_array_api_obj(x)
    assert compat.device(x) is x.backend and compat.size(x) == 3
    assert compat.to_device(x, "numpy").shape == (1, 3) and compat.is_lazy_array(x) is False
    same(compat.array_namespace(x).sum(x, axis=1), np.array([6.0], "float32"))


#: Distributions, and the first versions that take arrays of any namespace in what we call.
NEEDED = {"scipy": {"scipy": (1, 16)}, "sklearn": {"scipy": (1, 16), "scikit-learn": (1, 8)}}


@pytest.mark.parametrize("library", NEEDED)
def test_functions_of(library):
    for needed, least in NEEDED[library].items():
        try:
            found = importlib.metadata.version(needed)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{needed} is not installed")
        if tuple(map(int, found.split(".")[:2])) < least:
            pytest.skip(f"{needed} {found} is older than {least}")
    script = Path(__file__).with_name("consumers.py")
    done = subprocess.run(
        [sys.executable, str(script), library],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) >= 8 and all(line.endswith(" same") for line in lines)
