"""The command line: `python -m tinygrad_rnn.testing COMMAND`.

A command is a module with `add_arguments(parser)` and `run(arguments) -> exit status`; only the one
that is asked for is imported.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

#: command -> (module, what it does)
COMMANDS: dict[str, tuple[str, str]] = {
    "backend": ("conformance.command", "run the conformance suite on a backend; a scorecard"),
    "fuzz": ("fuzz.command", "compare every way to run random programs, to second derivatives"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(
        prog="python -m tinygrad_rnn.testing", description="Tests that ship with tinygrad_rnn."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = None
    for name, (module, about) in COMMANDS.items():
        command = commands.add_parser(name, help=about, description=about)
        if argv[:1] == [name]:
            chosen = importlib.import_module(f".{module}", __package__)
            chosen.add_arguments(command)
    arguments = parser.parse_args(argv)
    assert chosen is not None  # argparse has refused every other name
    status: int = chosen.run(arguments)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
