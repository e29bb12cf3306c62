"""One long sequence as parallel streams, for truncated backpropagation through time.

In: an array, time first. Out: chunks of inputs, and of targets: the inputs one step on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..types import kind_of
from .loader import checked_position

Array = np.ndarray[Any, np.dtype[Any]]


class ContiguousStreams:
    """Cut a sequence into B streams that run in parallel, and these into chunks of T steps.

    Chunk k of row b continues chunk k - 1 of row b, so the recurrent state is carried from chunk to
    chunk; start from a fresh state when `position` is 0. Each chunk is (inputs, targets), both
    [T, B, ...] ([B, T, ...] with `batch_first`), targets one step ahead. Every step of every stream
    is a target exactly once; the last chunk may be shorter, or is left out with `drop_last`.
    Iterating goes on at the cursor, to the end of the epoch.

    Errors: ArgumentError (empty or too short a sequence).

    >>> streams = ContiguousStreams(np.arange(9), batch_size=2, steps=3)
    >>> for inputs, targets in streams:
    ...     print(inputs.T.tolist(), targets.T.tolist())
    [[0, 1, 2], [4, 5, 6]] [[1, 2, 3], [5, 6, 7]]
    [[3], [7]] [[4], [8]]
    """

    def __init__(
        self,
        sequence: Any,
        batch_size: int,
        steps: int,
        *,
        batch_first: bool = False,
        drop_last: bool = False,
    ):
        data = np.asarray(sequence)
        if kind_of(data.dtype) not in "biuf":
            raise ArgumentError(
                f"ContiguousStreams: the sequence has dtype {data.dtype}, expected numbers; "
                "turn text into numbers with Vocabulary.encode."
            )
        if data.ndim == 0 or data.size == 0:
            raise ArgumentError("ContiguousStreams: the sequence is empty; is the text?")
        if batch_size < 1 or steps < 1:
            raise ArgumentError(
                f"ContiguousStreams: batch_size={batch_size}, steps={steps}; expected at least 1."
            )
        # One element more than inputs, because the last input needs a target.
        self.stream_length = (len(data) - 1) // batch_size
        needed = batch_size * (steps if drop_last else 1) + 1
        if len(data) < needed:
            raise ArgumentError(
                f"ContiguousStreams: a sequence of {len(data)} is too short for {batch_size} "
                f"streams of {steps} steps, at least {needed} are needed. "
                "Use a longer text, or smaller batch_size or steps."
            )
        self._data = data
        used = self.stream_length * batch_size
        rows = (batch_size, self.stream_length, *data.shape[1:])
        self._inputs = data[:used].reshape(rows)
        self._targets = data[1 : used + 1].reshape(rows)
        self.batch_size, self.steps = batch_size, steps
        self.batch_first, self.drop_last = batch_first, drop_last
        self.epoch = self.position = 0

    def __len__(self) -> int:
        """Chunks in an epoch."""
        n, t = self.stream_length, self.steps
        return n // t if self.drop_last else -(-n // t)

    def chunk(self, k: int) -> tuple[Array, Array]:
        """Inputs and targets of chunk number `k`."""
        where = slice(k * self.steps, min((k + 1) * self.steps, self.stream_length))
        rows = self._inputs[:, where], self._targets[:, where]
        if self.batch_first:
            return np.ascontiguousarray(rows[0]), np.ascontiguousarray(rows[1])
        return (
            np.ascontiguousarray(rows[0].swapaxes(0, 1)),
            np.ascontiguousarray(rows[1].swapaxes(0, 1)),
        )

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        while self.position < len(self):
            k = self.position
            self.position += 1  # before the chunk is handed out, as in Loader
            yield self.chunk(k)
        self.epoch, self.position = self.epoch + 1, 0

    def rewind(self, epoch: int = 0) -> None:
        """Go to the start of an epoch (they are all alike)."""
        self.epoch, self.position = epoch, 0

    @cached_property
    def _digest(self) -> str:
        """Tells whether a saved position belongs to this sequence."""
        described = f"{self._data.dtype} {self._data.shape}".encode()
        values = np.ascontiguousarray(self._data).data
        return hashlib.blake2b(values, digest_size=8, key=described[:64]).hexdigest()

    def _settings(self) -> dict[str, Any]:
        return {
            "sequence": self._digest,
            "stream_length": self.stream_length,
            "batch_size": self.batch_size,
            "steps": self.steps,
            "drop_last": self.drop_last,
        }

    def state_dict(self) -> dict[str, Any]:
        """Position, and the settings that determine the chunks."""
        return {"epoch": self.epoch, "position": self.position, **self._settings()}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Resume. Errors: ArgumentError if data or settings are not those of the saved run."""
        self.epoch, self.position = checked_position(self, self._settings(), state, len(self))
