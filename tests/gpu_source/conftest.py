"""The CuPy backend without a GPU: generated CUDA, compiled for the host and run by an emulator.

Where there is no C++ compiler, nothing here is collected.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn import artifacts

from . import fake

if fake.modules.COMPILER is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def backend() -> Any:
    """The CuPy backend on the fake device; loops are graphs unless a test wants something else."""
    backend = fake.backend_class()()
    backend.settings.loops = "graph"
    return backend


@pytest.fixture(scope="session", autouse=True)
def nothing_on_disk() -> Iterator[None]:
    """What is compiled for the host does not go into the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(artifacts.VARIABLE, "off")
        yield


@pytest.fixture(autouse=True)
def nobody_writes_beyond() -> Iterator[None]:
    yield
    assert not fake.memory.written_beyond


@pytest.fixture
def rng(request: Any) -> np.random.Generator:
    """A generator seeded by the test's name."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture
def small_graphs(backend: Any, monkeypatch: Any) -> Iterator[None]:
    """Graphs of two steps, so that short loops are made of several."""
    captured = fake.submodule(backend, "captured")
    monkeypatch.setattr(captured, "CHUNK", 2)
    monkeypatch.setattr(captured, "WHOLE", 2)
    yield
