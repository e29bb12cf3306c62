"""The conformance suite on the fake device; of the checks that compile most, every n-th case.

`conformance.py` runs all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tinygrad_rnn.testing.conformance import Subject
from tinygrad_rnn.testing.conformance.registry import CHECKS
from tinygrad_rnn.testing.conformance.scorecard import _outcome as outcome

from . import fake

#: Checks whose cases are programs of their own, each compiled for the host: one case of so many.
EVERY = {
    "A26_roads": 15, "B5_memory_is_not_shared": 6, "F1_optimised": 4, "A2_zero": 4,
    "A3_first_order": 3, "B4_cotangents": 3, "D1_compiled": 2,
}  # fmt: skip
#: Hundreds of launches: one by one, in an emulator, as long as several of the others.
LEFT_OUT = "F11_steady_memory"
CHOSEN = [c for c in CHECKS if LEFT_OUT not in c.name]


def chosen_cases(check: Any, subject: Subject) -> Sequence[str]:
    every = next((n for name, n in EVERY.items() if name in check.name), 1)
    return check.names(subject)[every // 2 :: every]


@pytest.mark.parametrize("check", CHOSEN, ids=lambda c: c.name)
def test_conformance(backend: Any, check: Any) -> None:
    subject = Subject(backend, examples=1)
    failed = []
    with fake.allowed_to_wait():
        for case in chosen_cases(check, subject):
            found = outcome(check, case, subject)
            if found.result == "failed":
                failed.append(f"{found.title}: {found.why}")
    assert not failed, "\n".join(failed)
