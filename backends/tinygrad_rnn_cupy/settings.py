"""What a user may choose for all computations of the backend."""

from __future__ import annotations

import os

from tinygrad_rnn.extend import BackendError

TF32 = "TINYGRAD_RNN_TF32"


class Settings:
    """`tf32`: multiply float32 in TF32, wherever products are computed."""

    def __init__(self) -> None:
        given = os.environ.get(TF32) or "0"
        if given not in ("0", "1"):
            raise BackendError(f"{TF32}={given!r}; expected 0 (exact float32) or 1 (TF32).")
        self.tf32 = given == "1"
