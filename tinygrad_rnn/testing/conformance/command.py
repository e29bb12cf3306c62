"""`python -m tinygrad_rnn.testing backend NAME`: the conformance suite with a scorecard."""

from __future__ import annotations

import argparse
import json
import sys

from ...arguments import natural, new_file, positive
from ...errors import BackendError
from .registry import PROPERTIES, Level
from .scorecard import Outcome, score
from .subject import Subject, missing

#: Exit status of a backend that cannot be used here.
UNUSABLE = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("name", metavar="NAME", help="a registered backend")
    parser.add_argument("--json", type=new_file, metavar="FILE", help="write the scorecard here")
    parser.add_argument(
        "--level", type=int, default=int(Level.RESOURCES), choices=[int(level) for level in Level],
        help="how deep to go: " + ", ".join(f"{int(v)} {v.name.lower()}" for v in Level),
    )  # fmt: skip
    parser.add_argument(
        "--property", action="append", choices=sorted(PROPERTIES), metavar="ID", dest="properties",
        help="check this property only (may be repeated), for example B3",
    )  # fmt: skip
    parser.add_argument("--examples", type=positive, default=10, help="random examples per test")
    parser.add_argument("--seed", type=natural, help="draw other examples than in every run")
    parser.add_argument("--stop", action="store_true", help="stop at the first failure")


def run(arguments: argparse.Namespace) -> int:
    """Exit status: 0 if all passed, 1 if something failed, 2 if the backend is not usable here."""
    try:
        reason = missing(arguments.name)
    except BackendError as error:
        reason = str(error)
    if reason is not None:
        print(f"backend '{arguments.name}' cannot be tested here: {reason}", file=sys.stderr)
        return UNUSABLE
    subject = Subject(arguments.name, arguments.examples, arguments.seed)
    show = sys.stderr.isatty()

    def seen(outcome: Outcome) -> None:
        if show:
            print(f"\r\033[K{outcome.title[:78]}", end="", file=sys.stderr, flush=True)

    card = score(subject, arguments.level, arguments.properties, arguments.stop, seen)
    if show:
        print("\r\033[K", end="", file=sys.stderr)
    print(card)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(card.as_json(), indent=1) + "\n")
    return 0 if card.passed else 1
