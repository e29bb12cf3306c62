"""Settings of the whole suite.

Before NumPy is imported: parallel workers use one thread each for matrix products, because threads
of several workers that wait for each other on two cores take ten times as long as one does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

if "PYTEST_XDIST_WORKER" in os.environ:
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

import numpy as np
import pytest
from hypothesis import settings

import tinygrad_rnn as tg

# The time that one example takes says more about the machine than about the code. The suite draws
# the same examples every time, so that a failure is of the change that it is seen on; new ones are
# drawn by `--hypothesis-profile=explore`.
settings.register_profile("explore", deadline=None, print_blob=True)
settings.register_profile("suite", settings.get_profile("explore"), derandomize=True, database=None)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Every test begins with the same global generators, whichever tests ran before it."""
    tg.manual_seed(0)
    np.random.seed(20261)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
    yield
