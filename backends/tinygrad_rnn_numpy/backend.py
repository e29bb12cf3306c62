"""NumpyBackend: eager kernels and the default program of loops over kernels."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad_rnn.extend import Backend, Node, Type

from . import host, kernels, pool

_products = kernels.Products(np)
_KERNELS: dict[str, Callable[..., Any]] = kernels.table(np) | {
    "take": host.take,
    "scatter_add": host.scatter_add,
    "random_bits": host.random_bits,
    "erf": host.erf,
}


class NumpyBackend(Backend):
    """Arrays are NumPy's; products go to its BLAS."""

    name = "numpy"
    kernels: Mapping[str, Callable[..., Any]] = _KERNELS

    def put(self, host: np.ndarray) -> np.ndarray:
        out = pool.empty(host.shape, host.dtype)
        out[...] = host
        return out

    def get(self, buffer: Any) -> np.ndarray:
        return np.asarray(buffer)

    def empty(self, type: Type) -> np.ndarray:
        return pool.empty(type.shape, type.dtype.np)

    def specialize(self, node: Node) -> Callable[..., Any] | None:
        name, attrs = node.op.name, node.attrs
        kernel = self.kernels.get(name)
        if kernel is None:
            return super().specialize(node)
        if name == "contract" and self._is_ours(name):
            return functools.partial(kernels.plan(attrs["a"], attrs["b"], attrs["out"]), _products)
        if name == "slice" and self._is_ours(name):
            index = tuple(map(slice, attrs["start"], attrs["stop"], attrs["step"]))
            return lambda x: x[index]
        return functools.partial(kernel, **attrs) if attrs else kernel

    def _is_ours(self, name: str) -> bool:
        """Whether the kernel is not that of a subclass."""
        return self.kernels[name] is _KERNELS[name]

    def takes_out(self, kernel: Callable[..., Any], node: Node) -> bool:
        if node.op.name == "contract":
            a, b, out = (node.attrs[k] for k in ("a", "b", "out"))
            in_order = self._is_ours("contract") and kernels.plan(a, b, out).in_order
            return bool(in_order) and node.output.type.dtype.itemsize > 2
        return isinstance(kernel, np.ufunc) and bool(node.output.type.shape)
