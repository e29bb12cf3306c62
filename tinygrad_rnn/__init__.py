"""tinygrad_rnn: recurrent networks whose backpropagation through time is derived, never written."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import random
from .backend import Backend, get_backend, list_backends, use_backend
from .backend import before_first as _before_first
from .call import checkpoint, custom_vjp
from .derivatives import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .errors import (
    ArgumentError,
    BackendError,
    CheckpointError,
    DTypeError,
    GradientError,
    GraphError,
    IndexRangeError,
    NaNError,
    ShapeError,
    TinygradRnnError,
    TraceError,
)
from .graph import Graph
from .jit import explain, jit, trace
from .ops import *  # noqa: F403
from .ops import __all__ as _functions
from .random import Generator, manual_seed
from .scan import scan
from .tensor import Tensor
from .trace import enable_grad, is_grad_enabled, no_grad
from .types import (
    DType,
    Type,
    default_dtype,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    set_default_dtype,
    uint8,
    uint16,
    uint32,
    uint64,
)
from .types import bool_ as bool
from .vectorize import vmap

if TYPE_CHECKING:
    from . import data, decoding, metrics, nn, optim
    from .storage import load_checkpoint, load_tensors, save_checkpoint, save_tensors

__version__ = "0.1.0"

# Loaded when first used, so that importing the engine stays quick.
_before_first.append(lambda: importlib.import_module(".passes", __name__))
_LAZY = {
    "data": "data", "decoding": "decoding", "metrics": "metrics", "nn": "nn", "optim": "optim",
    "load_checkpoint": "storage", "load_tensors": "storage", "save_checkpoint": "storage",
    "save_tensors": "storage",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'tinygrad_rnn' has no attribute '{name}'")
    module = importlib.import_module(f".{_LAZY[name]}", __name__)
    return module if _LAZY[name] == name else getattr(module, name)


def __dir__() -> list[str]:
    return __all__


__all__ = [
    "ArgumentError", "Backend", "BackendError", "CheckpointError", "DType", "DTypeError",
    "Generator", "GradientError", "Graph", "GraphError", "IndexRangeError", "NaNError",
    "ShapeError", "Tensor", "TinygradRnnError", "TraceError", "Type", "bool", "checkpoint",
    "custom_vjp", "data", "decoding", "default_dtype", "enable_grad", "explain", "float16",
    "float32", "float64", "get_backend", "grad", "hessian", "hvp", "int8", "int16", "int32",
    "int64", "is_grad_enabled", "jacobian", "jit", "jvp", "list_backends", "load_checkpoint",
    "load_tensors", "manual_seed", "metrics", "nn", "no_grad", "optim", "random", "save_checkpoint",
    "save_tensors", "scan", "set_default_dtype", "trace", "uint8", "uint16", "uint32", "uint64",
    "use_backend", "value_and_grad", "vjp", "vmap", *_functions,
]  # fmt: skip
