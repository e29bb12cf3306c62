"""Tests of generated code; where Numba is not installed, nothing here is collected."""

from __future__ import annotations

import importlib.util
import zlib

import numpy as np
import pytest

if importlib.util.find_spec("numba") is None:
    collect_ignore_glob = ["*.py"]


@pytest.fixture
def rng(request) -> np.random.Generator:
    """A generator seeded by the test's name."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Compiled loops are shared by these tests and by nobody else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYGRAD_RNN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield
