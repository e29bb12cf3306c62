"""What a user may choose for all computations of the backend, by attribute or environment variable.

`get_backend("cupy").settings.tf32 = True` holds from the next computation on, in programs that are
compiled already too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from tinygrad_rnn.errors import ArgumentError

TF32, ROAD = "TINYGRAD_RNN_TF32", "TINYGRAD_RNN_CUDA_LOOPS"
#: How loops with products may run. "launches": kernel by kernel, for tools that look into them.
ROADS = ("auto", "persistent", "graph", "launches")


class Settings:
    """`tf32`: multiply float32 in TF32 wherever products are computed. `loops`: one of ROADS."""

    def __init__(self) -> None:
        self.tf32 = _chosen(TF32, os.environ.get(TF32) or "0", ("0", "1")) == "1"
        self._loops: str = _chosen(ROAD, os.environ.get(ROAD) or "auto", ROADS)

    @property
    def loops(self) -> str:
        return self._loops

    @loops.setter
    def loops(self, road: str) -> None:
        self._loops = _chosen("settings.loops", road, ROADS)

    @property
    def key(self) -> tuple[Any, ...]:
        """What compiled loops depend on."""
        return self.tf32, self._loops


def _chosen(name: str, given: str, known: Sequence[str]) -> str:
    if given not in known:
        raise ArgumentError(f"{name} is {given!r}, expected one of {', '.join(known)}.")
    return given
