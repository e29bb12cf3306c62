"""From integers to programs: every sequence of integers is a valid program.

In: numbers, one per line. Out: a Program. 0 is the simplest line; deleting lines leaves a program.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from ...backend import use_backend
from ...extend import Graph, primitives
from ...residuals import NOWHERE
from ...trace import Tracer
from . import structures as s
from .builder import RANGES, Builder, Known
from .digits import Digits
from .families import apply
from .pairs import apply_pair
from .program import Program

#: Bits of the number that describes a line.
BITS = 60
#: Sizes of the axes of one program: few, so that shapes meet; two classes of size at a time.
PALETTES = ((2, 3), (3, 1), (2, 5), (3, 7), (1, 2), (0, 3), (2, 17))
#: Rows and width of the values in loops over rows.
ROWS = ((2, 3), (3, 7), (5, 17), (9, 16), (4, 33), (5, 4))
FLOATS = {"float64": ("float64",), "float32": ("float32",), "mixed": ("float64", "float32")}


def random_numbers(rng: random.Random, lines: int) -> list[int]:
    return [rng.getrandbits(BITS) for _ in range(lines + 2)]


def generate(
    numbers: Sequence[int],
    *,
    floats: str = "float64",
    rows: bool = False,
    loops: bool | None = None,
    pairs: Sequence[tuple[str, str]] = (),
) -> Program:
    """The program that `numbers` describe: two for its inputs and outputs, then one per line.

    floats: "float64", "float32" or "mixed". rows: loops over batches of rows, which backends
    compile. loops: whether there must be one (True), must be none (False). pairs: primitives of
    which the second is applied to the result of the first, each somewhere in the program.
    """
    head = Digits(numbers[0] if numbers else 0)
    tail = Digits(numbers[1] if len(numbers) > 1 else 0)
    with use_backend(NOWHERE), Tracer("a random program", NOWHERE) as tracer:
        b = Builder(tracer, FLOATS[floats], head.pick(ROWS if rows else PALETTES), rows)
        for _ in range(1 + head.below(3)):
            shape = head.pick(_row_shapes(b.sizes)) if rows else b.shape(head, 0, 3)
            b.keep(*b.leaf(head.pick(b.floats), shape, *head.pick(RANGES)))
        todo = list(pairs)
        lines = iter(numbers[2:])
        if loops or (rows and loops is None):
            s.loop(b, Digits(next(lines, 0)), lines, body_of(todo, loops))
        body_of(todo, loops)(b, lines, len(numbers))
        for pair in todo:
            apply_pair(b, pair, tail, body_of([], loops))
        outputs = [tracer.lift(v.x._value, v.x) for v in _chosen(b, tail)]
        assert not tracer.captures, "a value came from outside of the program"
        graph = Graph(tracer.inputs, tracer.nodes, list(dict.fromkeys(outputs)))
    return Program(graph, tuple(b.leaves), tail.below(2**31))


def _row_shapes(sizes: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """What a loop over rows may read beside its inputs: a matrix, vectors, columns, numbers."""
    B, H = sizes
    return (B, H), (H,), (1, H), (B, 1), (), (B, H)


def _chosen(b: Builder, d: Digits) -> list[Known]:
    """The outputs: most of the values that nothing reads, up to ten; what is left is dead code."""
    inputs = set(b.tracer.inputs)
    read = {v for node in b.tracer.nodes for v in node.inputs}
    made = [v for v in b.pool if v.x._value.data not in inputs] or b.pool
    ends = [v for v in made if v.x._value.data not in read and v.kind == "f"] or made
    return [ends[-1], *[v for v in ends[-11:-1] if not d.chance(4)], *[d.recent(made)] * d.below(2)]


def body_of(todo: list[tuple[str, str]], loops: bool | None) -> s.Body:
    """What writes the lines of a body: what a line says, now and then a pair still to do."""

    def run(b: Builder, lines: Iterator[int], count: int) -> None:
        for _ in range(count):
            number = next(lines, None)
            if number is None:
                return
            d = Digits(number)
            if todo and (b.depth or not b.rows) and d.chance(2):
                apply_pair(b, todo.pop(), d, run)
            else:
                _line(b, d, lines, run, loops is not False)

    return run


def _line(b: Builder, d: Digits, lines: Iterator[int], body: s.Body, loops: bool) -> None:
    """One line: mostly a primitive, else one of the structures."""
    kind = d.below(32)
    if kind < 18:
        apply(b, d.pick(names(b.rows)), d)
    elif kind in (18, 19):
        s.product(b, d)
    elif kind == 20 and loops and b.depth < s.DEEPEST and not (b.rows and b.depth):
        s.loop(b, d, lines, body)
    elif kind == 21 and b.depth < s.DEEPEST and not (b.rows and b.depth):
        s.called(b, d, lines, body)
    elif kind == 22 and b.depth < s.DEEPEST:
        s.batched(b, d, lines, body)
    else:
        feature = FEATURES[kind % len(FEATURES)]
        in_rows = b.rows and b.depth  # a rule of its own keeps a loop from being compiled
        (s.literal_arithmetic if in_rows and feature is s.with_rule else feature)(b, d)


FEATURES = (
    s.literal_arithmetic, s.composite, s.masked, s.again, s.twin, s.dropped, s.with_rule,
    s.detached, s.composite,
)  # fmt: skip
#: Primitives that keep a loop over rows from being compiled, most of them by mixing rows.
ACROSS_ROWS = frozenset({
    "reshape", "transpose", "flip", "pad", "take", "scatter_add", "cumsum", "argmax", "argsort",
    "contract", "random_bits", "iota", "broadcast_to", "full", "mod", "floordiv", "bitcast",
    "solve", "cholesky",
})  # fmt: skip


#: Not in random programs, whose values are real numbers of any shape: what takes or gives complex
#: numbers, and factorizations, whose operands must be square and far from singular. They have tests
#: of their own (tests/array_api, tests/engine/test_complex.py), and the conformance suite's.
BEYOND = frozenset("fft slogdet eigh svd qr solve cholesky bitcast".split())
#: Primitives with a body have lines of their own.
NO_LINES = frozenset({"scan", "call", "custom"}) | BEYOND


def names(rows: bool = False) -> list[str]:
    """The primitives that a line may apply."""
    known = [n for n in primitives if n not in NO_LINES]
    return [n for n in known if n not in ACROSS_ROWS] if rows else known
