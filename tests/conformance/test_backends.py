"""The suite that third parties run is the suite we run: on our backends, and on the loopback."""

from __future__ import annotations

import pytest

from tinygrad_rnn.testing import BackendConformance, Loopback


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """What Numba compiles here was compiled here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYGRAD_RNN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


class TestNumpy(BackendConformance):
    backend = "numpy"


class TestNumba(BackendConformance):
    backend = "numba"


class TestCupy(BackendConformance):
    backend = "cupy"


class TestLoopback(BackendConformance):
    """Whatever takes a buffer for an array fails here."""

    backend = Loopback
