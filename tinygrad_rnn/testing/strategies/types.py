"""Strategies of dtypes and shapes."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from ...errors import ArgumentError
from ...extend import DTYPES, DType

Shape = tuple[int, ...]
#: Sizes of axes: one of every class (plain, empty, one, odd, a vector and one), the plainest first.
SIZES = (2, 1, 3, 5, 0, 7, 17)


def dtypes(*, kinds: str = "fiub") -> st.SearchStrategy[DType]:
    """dtypes of some kinds ("f" floating, "i" signed, "u" unsigned, "b" bool; "c" complex, if asked
    for) that there are here, float64 first.

    >>> sorted(d.name for d in dtypes(kinds="f").elements)
    ['bfloat16', 'float16', 'float32', 'float64']
    """
    found = [d for kind in kinds for d in reversed(DTYPES) if d.kind == kind and d.missing is None]
    if not found:
        raise ArgumentError(f"dtypes: no dtype has a kind of {kinds!r}, expected some of 'fiubc'.")
    return st.sampled_from(found)


@st.composite
def shapes(
    draw: st.DrawFn,
    *,
    min_rank: int = 0,
    max_rank: int = 4,
    sizes: Sequence[int] = SIZES,
    max_size: int = 256,
) -> Shape:
    """Shapes with axes from `sizes` and at most `max_size` elements (further axes are 1)."""
    rank = draw(st.integers(min_rank, max_rank))
    return _capped([draw(st.sampled_from(sizes)) for _ in range(rank)], max_size)


def _capped(shape: Sequence[int], max_size: int) -> Shape:
    out: list[int] = []
    count = 1
    for n in shape:
        n = n if count * n <= max_size else 1
        count *= n
        out.append(n)
    return tuple(out)


@st.composite
def broadcastable_shapes(
    draw: st.DrawFn,
    *,
    count: int = 2,
    max_rank: int = 4,
    sizes: Sequence[int] = SIZES,
    max_size: int = 256,
) -> tuple[Shape, ...]:
    """`count` shapes that broadcast together, to at most `max_size` elements."""
    full = draw(shapes(max_rank=max_rank, sizes=sizes, max_size=max_size))
    out = []
    for _ in range(count):
        # one number says how many leading axes are missing, and which of the others are 1
        choices = 2 ** len(full)
        missing, ones = divmod(draw(st.integers(0, (len(full) + 1) * choices - 1)), choices)
        out.append(tuple(1 if ones >> k & 1 else n for k, n in enumerate(full[missing:])))
    return tuple(out)
