"""NumbaBackend."""

from __future__ import annotations

import importlib.util

from tinygrad_rnn_numpy import NumpyBackend


class NumbaBackend(NumpyBackend):
    """Arrays are NumPy's; single operations use NumPy's kernels."""

    name = "numba"

    @classmethod
    def missing(cls) -> str | None:
        if importlib.util.find_spec("numba") is None:
            return 'the package \'numba\' is not installed: pip install "tinygrad-rnn[numba]"'
        return None
