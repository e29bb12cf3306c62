"""Random programs over all primitives: every way to run them and their derivatives agrees.

A bounded run of the fuzzer, the same every time; longer: `python -m tinygrad_rnn.testing fuzz`.
"""

from __future__ import annotations

import pytest

from tinygrad_rnn.testing.fuzz.cases import case
from tinygrad_rnn.testing.fuzz.command import look
from tinygrad_rnn.testing.fuzz.coverage import Coverage
from tinygrad_rnn.testing.recorded import PASSES

SEED = 20261120


@pytest.mark.parametrize("part", range(6))
def test_random_programs(part: int) -> None:
    coverage = Coverage()
    for index in range(part * 120, (part + 1) * 120):
        drawn = case(SEED, index, ["numpy"])
        outcome = look(drawn)
        assert outcome.failure is None, (index, outcome.failure, drawn.program)
        coverage.add(drawn.program.graph, False, drawn.variants, outcome)
    assert set(coverage.orders) == {0, 1, 2}
    assert set(coverage.variants) == {f"{way} on numpy" for way in ("eager", *PASSES)}
    assert coverage.features["loop"] >= 0.3 * coverage.graphs
    assert sum(coverage.skipped.values()) <= 2
