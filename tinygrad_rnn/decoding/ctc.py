"""Decoders of CTC: the labels behind a sequence of log probabilities of labels and blank.

In: log probabilities [T, N, C] (or [T, C]), perhaps lengths [N]. Out: labels for each sample.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..tensor import Tensor
from .beam import Hypothesis
from .steps import Array


def ctc_greedy(log_probs: Any, lengths: Any = None, blank: int = 0) -> list[list[int]]:
    """The likeliest path, with repeats and then blanks removed; a list of labels for each sample.

    >>> import numpy as np
    >>> ctc_greedy(np.eye(3)[[1, 1, 0, 1, 2, 2]])
    [[1, 1, 2]]
    """
    return [
        [k for k, _ in itertools.groupby(path.argmax(axis=-1).tolist()) if k != blank]
        for path in samples("ctc_greedy", log_probs, lengths, blank)
    ]


def ctc_beam_search(
    log_probs: Any, lengths: Any = None, blank: int = 0, beam_width: int = 10
) -> list[list[Hypothesis]]:
    """The likeliest labels, summed over all their paths; for each sample the best ones first.

    A prefix is kept with two numbers, log P of its paths that end with a blank and of those that
    end with its last label, because only after a blank can that label be repeated. The
    `beam_width` likeliest prefixes go on to the next step. A score is log P(labels), a lower bound
    if prefixes were dropped. Hannun et al., 2014, First-pass large vocabulary continuous speech
    recognition using bi-directional recurrent DNNs.

    >>> import numpy as np
    >>> p = np.array([[0.6, 0.4], [0.6, 0.4]])      # the likeliest path is blank, blank
    >>> best = ctc_beam_search(np.log(p))[0][0]     # but "1" has three paths
    >>> best.tokens, round(math.exp(best.score), 2)
    ([1], 0.64)
    """
    if not isinstance(beam_width, int) or beam_width < 1:
        raise ArgumentError(f"ctc_beam_search: beam_width is {beam_width!r}, expected at least 1.")
    found = samples("ctc_beam_search", log_probs, lengths, blank)
    return [search(logp, blank, beam_width) for logp in found]


def search(logp: Array, blank: int, width: int) -> list[Hypothesis]:
    """Prefix beam search over log probabilities [T, C]."""
    prefixes: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}
    for row in logp.tolist():
        ends: dict[tuple[int, ...], list[list[float]]] = defaultdict(lambda: [[], []])
        for prefix, (by_blank, by_label) in prefixes.items():
            both = add([by_blank, by_label])
            ends[prefix][0].append(both + row[blank])
            if prefix:
                ends[prefix][1].append(by_label + row[prefix[-1]])
            for label, p in enumerate(row):
                if label != blank and p > -math.inf:
                    repeated = bool(prefix) and prefix[-1] == label
                    ends[(*prefix, label)][1].append((by_blank if repeated else both) + p)
        sums = {prefix: (add(a), add(b)) for prefix, (a, b) in ends.items()}
        ranked = sorted(sums, key=lambda prefix: -add(sums[prefix]))
        prefixes = {prefix: sums[prefix] for prefix in ranked[:width]}
    return [Hypothesis(list(prefix), add(ends)) for prefix, ends in prefixes.items()]


def add(logs: Any) -> float:
    """log Σ exp."""
    top = max(logs, default=-math.inf)
    if top == -math.inf:
        return top
    return top + math.log(sum(math.exp(x - top) for x in logs))


def samples(where: str, log_probs: Any, lengths: Any, blank: int) -> list[Array]:
    """One array [length, C] for each sample, checked."""
    host = np.asarray(log_probs.detach().numpy() if isinstance(log_probs, Tensor) else log_probs)
    host = host[:, None] if host.ndim == 2 else host
    if host.ndim != 3 or not 0 <= blank < host.shape[2]:
        raise ShapeError(
            f"{where}: log_probs have shape {list(host.shape)} and blank={blank}, expected "
            f"[T, N, C] and blank below C."
        )
    T, N, _ = host.shape
    counts = np.full(N, T) if lengths is None else np.asarray(lengths).reshape(-1)
    if counts.shape != (N,) or ((counts < 0) | (counts > T)).any():
        raise ArgumentError(f"{where}: lengths are {counts.tolist()}, expected {N} from 0 to {T}.")
    return [host[:n, i] for i, n in enumerate(counts)]
