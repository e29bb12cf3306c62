"""Batches of samples, in an order that can be resumed exactly.

In: anything with `len` and `[i]`. Out: NumPy batches, epoch by epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError
from .order import batches, batches_by_length
from .sequences import pad_sequences


class Loader:
    """A cursor over batches: iterating goes on where it stands, to the end of the epoch.

    The order is a function of (seed, epoch) alone, so `state_dict()` is a few integers, and a run
    resumed in the middle of an epoch sees exactly the batches that it would have seen. Samples go
    through `collate` (a function of the list of samples; default: `stack`). With `lengths` batches
    hold samples of similar length, and the default is to pad them: (padded [T, B, ...], lengths).

    Errors: ArgumentError (no samples, sizes that do not fit).

    >>> loader = Loader([[1, 2, 3], [4], [5, 6]], batch_size=2, lengths=[3, 1, 2])
    >>> for padded, lengths in loader:
    ...     print(padded.T.tolist(), lengths)
    [[4, 0], [5, 6]] [1 2]
    [[1, 2, 3]] [3]
    """

    def __init__(
        self,
        data: Sequence[Any],
        batch_size: int = 1,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        lengths: Sequence[int] | None = None,
        collate: Callable[[list[Any]], Any] | None = None,
    ):
        if batch_size < 1 or len(data) == 0:
            raise ArgumentError(
                f"Loader: {len(data)} samples in batches of {batch_size}; both must be at least 1."
            )
        if lengths is not None and len(lengths) != len(data):
            raise ArgumentError(f"Loader: {len(lengths)} lengths for {len(data)} samples.")
        if drop_last and len(data) < batch_size:
            raise ArgumentError(
                f"Loader: {len(data)} samples are less than one batch of {batch_size}, and "
                "drop_last=True drops them all."
            )
        self.data, self.batch_size, self.shuffle, self.seed = data, batch_size, shuffle, seed
        self.drop_last = drop_last
        self.lengths = None if lengths is None else np.asarray(lengths)
        self.collate = collate or (stack if lengths is None else pad_sequences)
        self.epoch = self.position = 0

    def __len__(self) -> int:
        """Batches in an epoch."""
        n = len(self.data)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def indices(self, epoch: int) -> list[np.ndarray[Any, Any]]:
        """Which samples are in which batch of an epoch."""
        how: dict[str, Any] = {
            "shuffle": self.shuffle,
            "seed": self.seed,
            "epoch": epoch,
            "drop_last": self.drop_last,
        }
        if self.lengths is None:
            return batches(len(self.data), self.batch_size, **how)
        return batches_by_length(self.lengths, self.batch_size, **how)

    def __iter__(self) -> Iterator[Any]:
        plan = self.indices(self.epoch)
        while self.position < len(plan):
            chosen = plan[self.position]
            # Counted before it is handed out: a state saved after working on a batch resumes
            # with the next one.
            self.position += 1
            yield self.collate([self.data[int(i)] for i in chosen])
        self.epoch, self.position = self.epoch + 1, 0

    def rewind(self, epoch: int = 0) -> None:
        """Go to the start of an epoch."""
        self.epoch, self.position = epoch, 0

    def _settings(self) -> dict[str, Any]:
        return {
            "samples": len(self.data),
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "seed": self.seed,
            "drop_last": self.drop_last,
            "by_length": self.lengths is not None,
        }

    def state_dict(self) -> dict[str, Any]:
        """Position, and the settings that determine the order."""
        return {"epoch": self.epoch, "position": self.position, **self._settings()}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Resume. Errors: ArgumentError if data or settings are not those of the saved run."""
        self.epoch, self.position = checked_position(self, self._settings(), state, len(self))


def checked_position(
    owner: Any, settings: Mapping[str, Any], state: Mapping[str, Any], count: int
) -> tuple[int, int]:
    """(epoch, position) of a saved state, once it is known to belong to the same data."""
    name = type(owner).__name__
    if not isinstance(state, Mapping) or set(state) != {"epoch", "position", *settings}:
        raise ArgumentError(
            f"{name}.load_state_dict: expected a dict with {sorted(settings)}, epoch and position."
        )
    if differing := {k: (state[k], v) for k, v in settings.items() if state[k] != v}:
        shown = ", ".join(f"{k}: saved {a!r}, here {b!r}" for k, (a, b) in differing.items())
        raise ArgumentError(
            f"{name}.load_state_dict: the order would be another one ({shown}). "
            f"Build the {name} with the same data and settings."
        )
    epoch, position = state["epoch"], state["position"]
    whole = isinstance(epoch, int) and isinstance(position, int)
    if not (whole and epoch >= 0 and 0 <= position <= count):
        raise ArgumentError(f"{name}.load_state_dict: no position {position} in epoch {epoch}.")
    return epoch, position


def stack(samples: list[Any]) -> Any:
    """Samples of equal shape as one array, batch axis first; tuples and dicts inside out."""
    first = samples[0]
    if isinstance(first, tuple):
        return tuple(stack(list(column)) for column in zip(*samples, strict=True))
    if isinstance(first, Mapping):
        return {key: stack([s[key] for s in samples]) for key in first}
    arrays = [np.asarray(s) for s in samples]
    if any(a.shape != arrays[0].shape for a in arrays):
        raise ArgumentError(
            f"Loader: samples of shapes {sorted({a.shape for a in arrays})[:4]} cannot be stacked; "
            "give lengths=... to pad them, or your own collate."
        )
    return np.stack(arrays)
