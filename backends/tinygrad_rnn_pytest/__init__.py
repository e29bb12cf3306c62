"""`pytest --tgr-backend=NAME` runs the conformance suite on a backend.

Every run of pytest in an environment with tinygrad_rnn loads this module, so it lies outside of the
package and imports nothing of it, nor NumPy, until the option is given.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

#: What the options say: backend, level, examples, seed. Read by `suite`.
chosen: dict[str, Any] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tinygrad_rnn", "conformance of backends of tinygrad_rnn")
    group.addoption("--tgr-backend", metavar="NAME", help="test this backend of tinygrad_rnn")
    group.addoption(
        "--tgr-level", type=int, default=4, choices=range(5), metavar="N",
        help="how deep: 0 smoke, 1 forward, 2 gradients, 3 loops, 4 resources (default: 4)",
    )  # fmt: skip
    group.addoption("--tgr-examples", type=int, default=10, metavar="N", help="per random test")
    group.addoption("--tgr-seed", type=int, metavar="SEED", help="draw other examples")


def pytest_configure(config: pytest.Config) -> None:
    name = config.getoption("tgr_backend")
    if name is None:
        return
    if importlib.util.find_spec("hypothesis") is None:
        raise pytest.UsageError(
            "--tgr-backend needs Hypothesis, which is not installed: "
            'pip install "tinygrad_rnn[testing]".'
        )
    chosen.update(
        backend=name,
        level=config.getoption("tgr_level"),
        examples=config.getoption("tgr_examples"),
        seed=config.getoption("tgr_seed"),
    )
    suite = str(Path(__file__).with_name("suite.py"))
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        config.args.append(suite)
    else:
        config.args[:] = [suite]


def pytest_report_header() -> str | None:
    if not chosen:
        return None
    return f"tinygrad_rnn: backend '{chosen['backend']}', levels 0 to {chosen['level']}"
