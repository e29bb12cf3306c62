"""Examples import what they share from their own folder; compiled loops are shared by all tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import tinygrad_rnn as tg

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "examples")]


@pytest.fixture(autouse=True)
def keep_the_backend() -> object:
    with tg.use_backend(tg.get_backend()) as backend:
        yield backend


@pytest.fixture(scope="session", autouse=True)
def one_cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    """One folder of compiled loops for the session, also where several processes share it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYGRAD_RNN_CACHE_DIR", str(shared / "examples_cache"))
        yield
