"""The command line: `python -m tinygrad_rnn` says the version and which backends can be used here.

In: arguments. Out: lines on standard output. Knows nothing but the public names.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Sequence
from pathlib import Path

import tinygrad_rnn as tg


def backend_lines() -> list[str]:
    """One line per registered backend: name, version, origin, and whether it is there."""
    return [
        f"{info.name:<8}{info.version:<10}{info.origin:<50}{info.state}"
        for info in tg.list_backends()
    ]


def example_lines(folder: Path | None = None) -> list[str]:
    """One line per example of the source tree: its path, and what it shows."""
    folder = Path(__file__).resolve().parents[1] / "examples" if folder is None else folder
    lines = []
    for path in [*sorted(folder.glob("*.py")), *sorted(folder.glob("*/*.py"))]:
        if not path.name.startswith("_"):
            text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            name = path.relative_to(folder.parent).as_posix()
            lines.append(f"{name:<32} {text.partition(chr(10))[0]}")
    if not lines:
        lines = [
            "The examples are not installed with the package; they are in the folder 'examples' of "
            "the source tree,\nwhich 'pip install -e .' in a checkout leaves in its place."
        ]
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Version and backends; `backends`, `examples` list these alone, `bench` measures."""
    parser = argparse.ArgumentParser(
        prog="tinygrad-rnn", description="Recurrent networks whose backpropagation is derived."
    )
    parser.add_argument("--version", action="version", version=f"tinygrad_rnn {tg.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("backends", help="list the backends and what they lack")
    commands.add_parser("examples", help="list the examples and what they show")
    commands.add_parser("bench", help="measure them beside PyTorch and JAX (bench --help)")
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ["bench"]:
        from .bench.command import main as bench  # loads more than the other commands need

        return bench(argv[1:])
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        print(f"tinygrad_rnn {tg.__version__}")
    for line in example_lines() if arguments.command == "examples" else backend_lines():
        print(line)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
