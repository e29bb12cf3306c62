"""The Array API test-suite of the consortium, where ARRAY_API_TESTS names a checkout of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from consortium import listed, run


@pytest.mark.slow
@pytest.mark.skipif("ARRAY_API_TESTS" not in os.environ, reason="ARRAY_API_TESTS is not set")
def test_as_many_tests_pass_as_of_the_reference_and_what_fails_is_listed():
    pytest.importorskip("array_api_strict")
    checkout = Path(os.environ["ARRAY_API_TESTS"])
    examples = int(os.environ.get("ARRAY_API_EXAMPLES", "20"))
    ours, strict = (run(m, checkout, examples) for m in ("tinygrad_rnn", "array_api_strict"))
    assert ours.failed <= set(listed()), ours.failed - set(listed())
    assert ours.count("passed") >= strict.count("passed") > 1000


def test_what_is_listed_has_a_reason():
    reasons = listed()
    assert reasons and all(len(why) > 40 for why in reasons.values())
