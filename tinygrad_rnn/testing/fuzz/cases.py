"""Which programs are drawn, and what is done with each: it follows from a seed and a number."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from typing import NamedTuple

from ...extend import primitives
from ..programs import BEYOND, Program, generate, possible, random_numbers
from ..programs.generate import names
from ..recorded import PASSES
from .check import Variant

#: Pairs of primitives that every program is asked to contain.
PAIRS = 4
ORDERS = (0, 0, 1, 1, 1, 2)


class Case(NamedTuple):
    """A program, the order of derivatives, the variants to compare, a seed for cotangents."""

    program: Program
    order: int
    variants: tuple[Variant, ...]
    seed: int


def case(seed: int, index: int, backends: Sequence[str]) -> Case:
    """Program number `index` of the fuzzer with that seed."""
    rng = random.Random(f"{seed}/{index}")
    compiled = [b for b in backends if b != "numpy"]
    rows = bool(compiled) and rng.random() < 0.9
    lines = rng.randrange(5, 13) if rows else rng.randrange(5, 26)
    kinds = ("float64", "float64", "float32") if rows else ("float64",) * 8 + ("float32", "mixed")
    program = generate(
        random_numbers(rng, lines),
        floats=rng.choice(kinds),
        rows=rows,
        loops=True if rng.random() < 0.15 else None,
        pairs=_pairs(seed, index, rows),
    )
    order = rng.choice(ORDERS)
    ways = ("eager", *PASSES)
    if compiled:
        where = rng.choice(compiled)
        way = rng.choice(("all", "all", *ways))
        chosen: tuple[Variant, ...] = (Variant(way, where),)
    else:
        chosen = tuple(Variant(w, "numpy") for w in rng.sample(ways, 2))
    return Case(program, order, chosen, rng.randrange(2**31))


@functools.cache
def all_pairs(rows: bool = False) -> list[tuple[str, str]]:
    """Every ordered pair of primitives whose dtypes allow it."""
    known = sorted(names(True) if rows else set(primitives) - BEYOND)
    return [(a, b) for a in known for b in known if possible(a, b)]


@functools.cache
def _shuffled(seed: int, rows: bool) -> list[tuple[str, str]]:
    pairs = list(all_pairs(rows))
    random.Random(seed).shuffle(pairs)
    return pairs


def _pairs(seed: int, index: int, rows: bool) -> list[tuple[str, str]]:
    """The next few pairs: every one comes up again after a while."""
    pairs = _shuffled(seed, rows)
    return [pairs[(index * PAIRS + k) % len(pairs)] for k in range(PAIRS)]
