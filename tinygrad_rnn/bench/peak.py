"""Rates in GFLOP/s: of the product in a compiled loop, and of products that stay in the cache.

The peak of a core is not asked of a data sheet but of whoever multiplies fastest here: NumPy's
BLAS, PyTorch's, and a loop of our own that does nothing but multiply.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor

from .clock import best_seconds, median_ms
from .workloads import Config

#: Square products whose operands fit into the private caches of common cores.
SIZES = (192, 256, 384, 512)


def loop_rate(config: Config, seconds: float) -> float:
    """The LSTM's forward loop alone (input projected beforehand): flops of h @ U per second."""
    T, B, _, H = config
    rng = np.random.default_rng(0)
    z, U = _normal(rng, T, B, 4 * H), _normal(rng, 4 * H, H) / np.float32(np.sqrt(H))
    inputs, weight, start = tg.tensor(z), tg.tensor(U), tg.zeros((B, H))

    def cell(state: tuple[Tensor, Tensor], z: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        h, c = state
        i, f, g, o = tg.chunk(z + h @ weight.T, 4, -1)
        c = tg.sigmoid(f) * c + tg.sigmoid(i) * tg.tanh(g)
        h = tg.sigmoid(o) * tg.tanh(c)
        return (h, c), h

    step = tg.jit(lambda: tg.scan(cell, (start, start), inputs)[1])
    return 2 * T * B * 4 * H * H / median_ms(step, seconds) / 1e6


def own_peak(seconds: float) -> float:
    """h @ W again and again in a compiled loop; W is orthogonal, so that h keeps its size."""
    T, B, H = 64, 64, 256
    rng = np.random.default_rng(0)
    W = tg.tensor(np.linalg.qr(rng.standard_normal((H, H)))[0].astype(np.float32))
    h = tg.tensor(_normal(rng, B, H))
    step = tg.jit(lambda: tg.scan(lambda h, _: (h @ W, None), h, None, length=T)[0])
    return 2 * T * B * H * H / best_seconds(step, seconds) / 1e9


def numpy_peak(seconds: float) -> float:
    """The fastest in-cache product of NumPy's BLAS."""
    return _fastest(lambda a, b, c: lambda: np.matmul(a, b, out=c), lambda a: a, seconds)


def torch_peak(seconds: float) -> float:
    """The fastest in-cache product of PyTorch."""
    torch: Any = importlib.import_module("torch")
    return _fastest(lambda a, b, c: lambda: torch.mm(a, b, out=c), torch.from_numpy, seconds)


def _fastest(
    product: Callable[[Any, Any, Any], Callable[[], Any]],
    convert: Callable[[np.ndarray], Any],
    seconds: float,
) -> float:
    rng, rates = np.random.default_rng(0), []
    for n in SIZES:
        a, b, c = (convert(_normal(rng, n, n)) for _ in range(3))
        shortest = best_seconds(product(a, b, c), seconds / len(SIZES))
        rates.append(2 * n**3 / shortest / 1e9)
    return max(rates)


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)
