"""The Array API test-suite of the consortium, where ARRAY_API_TESTS names a checkout of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

#: What array_api_strict 2.6.1, the consortium's reference, passes of the suite's 1,380 tests.
REFERENCE = 1338


@pytest.mark.slow
@pytest.mark.skipif("ARRAY_API_TESTS" not in os.environ, reason="ARRAY_API_TESTS is not set")
def test_the_suite_passes_but_for_what_is_listed():
    here, suite = Path(__file__).parent, Path(os.environ["ARRAY_API_TESTS"])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--disable-deadline",
         "--max-examples", os.environ.get("ARRAY_API_EXAMPLES", "20"),
         "--xfails-file", str(here / "xfails.txt"), "array_api_tests"],
        cwd=suite,
        env={**os.environ, "ARRAY_API_TESTS_MODULE": "tinygrad_rnn",
             "ARRAY_API_TESTS_VERSION": "2024.12"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    last = done.stdout.splitlines()[-1]
    print(last)
    assert done.returncode == 0, done.stdout[-5000:]
    # an expected failure that passes (it depends on the examples) is a pass, too
    passed = sum(int(n) for n in re.findall(r"(\d+) (?:passed|xpassed)", last))
    assert passed >= REFERENCE
