"""The part of the conformance suite that compiles little, on the fake device.

`conformance.py` runs all of it.
"""

from __future__ import annotations

from typing import Any

import pytest

from tinygrad_rnn.testing.conformance import Subject
from tinygrad_rnn.testing.conformance.registry import CHECKS
from tinygrad_rnn.testing.conformance.scorecard import _outcome as outcome

from . import fake

#: What takes longer than all others together: many programs, each compiled for the host.
LONG = (
    "B5_memory_is_not_shared", "F1_optimised", "B2_sizes", "B5_memory", "F3_alike", "B14_types",
    "A2_zero", "A3_first_order", "A26_roads", "B4_cotangents", "A10_second_order", "D1_",
    "A10_loop_second_order", "F11_steady_memory", "F5_the_same_bits", "F13_long_chains",
    "F14_import",
)  # fmt: skip
SHORT = [c for c in CHECKS if not any(name in c.name for name in LONG)]


@pytest.mark.parametrize("check", SHORT, ids=lambda c: c.name)
def test_conformance(backend: Any, check: Any) -> None:
    subject = Subject(backend, examples=1)
    failed = []
    with fake.allowed_to_wait():
        for case in check.names(subject):
            found = outcome(check, case, subject)
            if found.result == "failed":
                failed.append(f"{found.title}: {found.why}")
    assert not failed, "\n".join(failed)
