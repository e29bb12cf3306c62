"""The museum of published bugs: every exhibit went wrong in another framework and is shown here
working. `backend` shows an exhibit on every CPU backend."""

from __future__ import annotations

import importlib.util
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

import tinygrad_rnn as tg

sys.path.insert(0, str(Path(__file__).parent))

BACKENDS = ["numpy"] + ["numba"] * (importlib.util.find_spec("numba") is not None)


@pytest.fixture(params=BACKENDS)
def backend(request):
    with tg.use_backend(request.param) as chosen:
        yield chosen


@pytest.fixture
def rng(request) -> np.random.Generator:
    """A generator seeded by the test's name."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))
