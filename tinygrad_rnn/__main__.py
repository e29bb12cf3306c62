"""The command line: `python -m tinygrad_rnn` says the version and which backends can be used here.

In: arguments. Out: lines on standard output. Knows nothing but the public names.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import tinygrad_rnn as tg


def backend_lines() -> list[str]:
    """One line per registered backend: name, version, origin, and whether it is there."""
    return [
        f"{info.name:<8}{info.version:<10}{info.origin:<50}{info.state}"
        for info in tg.list_backends()
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Version and backends; `backends` lists the backends alone, `bench` measures them."""
    parser = argparse.ArgumentParser(
        prog="tinygrad-rnn", description="Recurrent networks whose backpropagation is derived."
    )
    parser.add_argument("--version", action="version", version=f"tinygrad_rnn {tg.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("backends", help="list the backends and what they lack")
    commands.add_parser("bench", help="measure them beside PyTorch and JAX (bench --help)")
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ["bench"]:
        from .bench.command import main as bench  # loads more than the other commands need

        return bench(argv[1:])
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        print(f"tinygrad_rnn {tg.__version__}")
    for line in backend_lines():
        print(line)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
