"""Oracles: what a derivative or a program should be, worked out another way.

Those of general use ship in `tinygrad_rnn.testing`; here are their short forms, and plain loops.
"""

from __future__ import annotations

import importlib.util
import itertools
import zlib
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.backend import GROUP
from tinygrad_rnn.testing import check_grads
from tinygrad_rnn.testing.assertions import assert_close as close
from tinygrad_rnn.testing.assertions import assert_same as same
from tinygrad_rnn.testing.assertions import host
from tinygrad_rnn.testing.complex_step import complex_step
from tinygrad_rnn.testing.recorded import PASSES, Recorded, tensors
from tinygrad_rnn.tree import flatten, tree_map, unflatten

__all__ = [
    "BACKENDS", "PASSES", "check_gradients", "check_programs", "close", "complex_step", "host",
    "loop", "results", "same", "seeded", "subsets", "tensors",
]  # fmt: skip


def _usable(entry: EntryPoint) -> bool:
    """Whether a backend is importable and finds its device (CuPy comes without a GPU)."""
    spec = importlib.util.find_spec(entry.module)
    return spec is not None and spec.origin is not None and entry.load().missing() is None


#: Every registered backend that can be used here.
BACKENDS = [
    info.name
    for info in tg.list_backends()
    if info.missing is None
    and all(_usable(entry) for entry in entry_points(group=GROUP, name=info.name))
]


def seeded(name: str) -> np.random.Generator:
    """A generator that is the same in every run, and another one for every name."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def results(out: Any) -> list[tg.Tensor]:
    return [y for y in flatten(out)[0] if isinstance(y, tg.Tensor)]


def check_gradients(
    f: Any, *arrays: Any, order: int = 2, tol: float = 1e-9, what: str = "f"
) -> None:
    """`check_grads` that skips nothing: no point is singular."""
    seed = zlib.crc32(what.encode())
    report = check_grads(f, arrays, order, tolerance=tol, oracle="complex", seed=seed)
    assert not (report.skipped or report.singular), f"{what}: {report}"


def check_programs(f: Any, *arrays: Any, tol: float = 1e-10, which: Any = PASSES) -> None:
    """Eager = interpreter = compiled, with each pass alone and with all."""
    program = Recorded(f, arrays)
    want = program.interpret(*map(host, program.args))
    for y, z in zip(results(f(*program.args)), want, strict=True):
        close(y, z, tol, "eager")
    for name in which:
        for y, z in zip(program.run(name), want, strict=True):
            close(y, z, tol, f"passes: {name}")


def loop(step: Any, carry: Any, xs: Any, length: int, reverse: bool = False) -> Any:
    """scan, unrolled in Python."""
    order = range(length - 1, -1, -1) if reverse else range(length)
    rows: dict[int, Any] = {}
    for t in order:
        carry, rows[t] = step(carry, tree_map(lambda x, t=t: x[t], xs))
    if not rows:
        return carry, None
    first, treedef = flatten(rows[0])
    columns = [[flatten(rows[t])[0][k] for t in range(length)] for k in range(len(first))]
    return carry, unflatten(treedef, [tg.stack(c) for c in columns])


def subsets(n: int) -> list[tuple[bool, ...]]:
    """Every choice of some of n things, but none at all."""
    return [flags for flags in itertools.product((False, True), repeat=n) if any(flags)]
