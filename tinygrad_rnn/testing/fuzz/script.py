"""A failure as a stand-alone script: the function, its inputs, the comparison that failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...ops.creation import tensor
from ..programs.printing import script_source
from ..recorded import Recorded
from .check import Variant, examine
from .reduce import Small


def write_script(path: Path, small: Small, options: str) -> None:
    """Write the script that fails as `small` does; `options` lead back to the whole program."""
    text = script_source(small.graph, small.arrays)
    lines = [
        f'"""Found by: python -m tinygrad_rnn.testing fuzz {options}',
        "",
        str(small.failure).replace("\\", "/").replace('"""', "'''"),
        '"""',
        "",
        text,
        "from tinygrad_rnn.testing.fuzz.script import recheck",
        "",
        f"ways = {[tuple(v) for v in small.variants]}",
        f"recheck(program, inputs, order={small.order}, ways=ways, seed={small.seed})",
        "",
    ]
    path.write_text("\n".join(lines))


def recheck(
    program: Callable[..., Any],
    inputs: Sequence[np.ndarray],
    order: int,
    ways: Sequence[tuple[str, str]],
    seed: int,
) -> None:
    """Compare a function as the fuzzer does; AssertionError with what differs."""
    recorded = Recorded(program, [tensor(a) for a in inputs])
    outcome = examine(
        recorded.graph, [*inputs, *recorded.captured], order, [Variant(*w) for w in ways], seed
    )
    assert outcome.failure is None, str(outcome.failure)
    print("no failure")
