"""Tests of, and with, tinygrad_rnn: strategies, gradient checks, comparison of backends, a fuzzer.

    check_grads(f, args)          gradients, to second order, against the complex step
    compare_backends(graph, ...)  which node of a graph differs first between two backends
    BackendConformance            the tests of a backend, for its author: three lines
    strategies                    Hypothesis strategies; `pip install "tinygrad_rnn[testing]"`
    python -m tinygrad_rnn.testing   the fuzzer, and the scorecard of a backend

In: the public names of the engine and of `extend`. Only `strategies` and the conformance suite need
Hypothesis.
"""

from __future__ import annotations

import importlib
from typing import Any

#: public name -> module that defines it (loaded when first used); a module's own name is itself
_PLACES = {
    "BackendConformance": "conformance",
    "LAYOUTS": "layouts",
    "Loopback": "conformance",
    "GradientMismatch": "gradients",
    "GradientReport": "gradients",
    "PrimitiveCall": "calls",
    "assert_close": "assertions",
    "assert_same": "assertions",
    "OptimizerConfig": "configurations",
    "Program": "programs",
    "RNNConfig": "configurations",
    "RaggedBatch": "ragged",
    "ScanBody": "programs",
    "check_grads": "gradients",
    "Comparison": "comparison",
    "compare_backends": "comparison",
    "lay_out": "layouts",
    "ragged_batch": "ragged",
    "strategies": "strategies",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'tinygrad_rnn.testing' has no attribute '{name}'")
    place = _PLACES[name]
    module = importlib.import_module(f".{place}", __name__)
    return module if place == name else getattr(module, name)


def __dir__() -> list[str]:
    return __all__


__all__ = sorted(_PLACES)
