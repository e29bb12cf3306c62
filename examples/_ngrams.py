"""Counted probabilities of what comes next, the baseline of music.py."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np


class NGram:
    """p(x | the last n - 1 events) as counted, by Witten and Bell.

    p = (count of x + d p_shorter(x)) / (count of all + d), where d is how many different events
    followed this context, and p_shorter knows one event less of it.
    """

    def __init__(self, tunes: Sequence[np.ndarray], n: int, events: int) -> None:
        self.n, self.events = n, events
        self.counts: dict[tuple, Counter] = defaultdict(Counter)
        for tune in (tune.tolist() for tune in tunes):
            for t in range(1, len(tune)):
                for size in range(min(n, t + 1)):
                    self.counts[tuple(tune[t - size : t])][tune[t]] += 1

    def probability(self, context: tuple, x: int) -> float:
        shorter = self.probability(context[1:], x) if context else 1 / self.events
        if (seen := self.counts.get(context)) is None:
            return shorter
        return (seen[x] + len(seen) * shorter) / (seen.total() + len(seen))

    def bits(self, tunes: Sequence[np.ndarray]) -> list[np.ndarray]:
        """-log2 p of every event but the first of each tune."""

        def p(tune: list[int], t: int) -> float:
            return self.probability(tuple(tune[max(0, t - self.n + 1) : t]), tune[t])

        return [-np.log2([p(tune.tolist(), t) for t in range(1, len(tune))]) for tune in tunes]
