"""The test file that `pytest --tgr-backend=NAME` collects."""

from __future__ import annotations

from tinygrad_rnn.testing import BackendConformance

from . import chosen

if chosen:

    class TestBackend(BackendConformance):
        backend = chosen["backend"]
        level = chosen["level"]
        examples = chosen["examples"]
        seed = chosen["seed"]
