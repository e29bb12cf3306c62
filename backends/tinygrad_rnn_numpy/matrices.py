"""Kernels of linear algebra, for NumPy and for modules with its interface.

CuPy does not look at what a factorization reports, because that would mean waiting for the device:
of a singular matrix it gives infinities and NaN where NumPy raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_rnn.extend import LinearAlgebraError

Kernel = Callable[..., Any]


def table(xp: Any) -> dict[str, Kernel]:
    la = xp.linalg
    kernels: dict[str, Kernel] = {
        "solve": la.solve,
        "slogdet": lambda x: tuple(la.slogdet(x)),
        "cholesky": la.cholesky,
        "eigh": lambda x: tuple(la.eigh(x)),
        "svd": lambda x, full: tuple(la.svd(x, full_matrices=full)),
        "qr": lambda x, full: tuple(la.qr(x, "complete" if full else "reduced")),
    }
    return {name: _explained(name, kernel) for name, kernel in kernels.items()}


def _explained(name: str, kernel: Kernel) -> Kernel:
    def run(*args: Any, **attrs: Any) -> Any:
        try:
            return kernel(*args, **attrs)
        except np.linalg.LinAlgError as error:
            shapes = ", ".join(f"{a.dtype}{list(a.shape)}" for a in args)
            raise LinearAlgebraError(f"{name} of {shapes}: {error}.") from None

    return run
