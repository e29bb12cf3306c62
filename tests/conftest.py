"""Settings of the whole suite.

Before NumPy is imported: parallel workers use one thread each for matrix products, because threads
of several workers that wait for each other on two cores take ten times as long as one does.
"""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

from hypothesis import settings

# The time that one example takes says more about the machine than about the code.
settings.register_profile("suite", deadline=None, print_blob=True)
settings.load_profile("suite")
