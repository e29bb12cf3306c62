"""Choices taken from one integer, so that every integer is a valid description of something.

0 always stands for the simplest choice: what shrinks integers shrinks what they describe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

X = TypeVar("X")


class Digits:
    """The digits of a number in bases chosen one after another; 0 when nothing is left.

    >>> d = Digits(7 + 10 * 2)
    >>> d.below(10), d.below(3), d.below(99)
    (7, 2, 0)
    """

    def __init__(self, number: int):
        self.left = number

    def below(self, n: int) -> int:
        """0 <= choice < n."""
        self.left, digit = divmod(self.left, n)
        return digit

    def chance(self, n: int) -> bool:
        """True once in n times, and False when nothing is left."""
        return self.below(n) == n - 1

    def pick(self, items: Sequence[X]) -> X:
        return items[self.below(len(items))]

    def recent(self, items: Sequence[X]) -> X:
        """One of `items`, the later the likelier; the last one when nothing is left."""
        n = len(items)
        return items[n - 1 - self.below(n) * self.below(n + 1) // (n + 1)]
