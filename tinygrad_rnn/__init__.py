"""tinygrad_rnn: recurrent networks whose backpropagation through time is derived, never written."""

from __future__ import annotations

import importlib
from math import e, inf, nan, pi
from typing import TYPE_CHECKING, Any

from . import random
from .array_api import VERSION as __array_api_version__
from .array_api import (
    __array_namespace_info__,
    can_cast,
    finfo,
    from_dlpack,
    iinfo,
    isdtype,
    result_type,
)
from .backend import Backend, get_backend, list_backends, use_backend
from .backend import before_first as _before_first
from .call import checkpoint, custom_vjp
from .derivatives import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .errors import (
    ArgumentError,
    AxisError,
    BackendError,
    CheckpointError,
    DTypeError,
    GradientError,
    GraphError,
    IndexRangeError,
    LinearAlgebraError,
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
from .synonyms import FUNCTIONS as _FUNCTIONS
from .synonyms import missing as _missing
from .tensor import Tensor
from .trace import enable_grad, is_grad_enabled, no_grad
from .types import (
    DType,
    Type,
    bfloat16,
    complex64,
    complex128,
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
    from . import data, decoding, fft, linalg, metrics, nn, optim
    from .storage import load_checkpoint, load_tensors, save_checkpoint, save_tensors

__version__ = "0.1.0"
newaxis = None

# Loaded when first used, so that importing the engine stays quick.
_before_first.append(lambda: importlib.import_module(".passes", __name__))
_LAZY = {
    "data": "data", "decoding": "decoding", "fft": "fft", "linalg": "linalg", "metrics": "metrics",
    "nn": "nn", "optim": "optim",
    "load_checkpoint": "storage", "load_tensors": "storage", "save_checkpoint": "storage",
    "save_tensors": "storage",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(_missing("module 'tinygrad_rnn'", name, _FUNCTIONS))
    module = importlib.import_module(f".{_LAZY[name]}", __name__)
    return module if _LAZY[name] == name else getattr(module, name)


def __dir__() -> list[str]:
    return __all__


__all__ = [
    "ArgumentError", "AxisError", "Backend", "BackendError", "CheckpointError", "DType",
    "DTypeError", "Generator", "GradientError", "Graph", "GraphError", "IndexRangeError",
    "LinearAlgebraError", "NaNError", "ShapeError", "Tensor", "TinygradRnnError", "TraceError",
    "Type", "__array_api_version__", "__array_namespace_info__", "bfloat16", "bool", "can_cast",
    "checkpoint", "complex64", "complex128", "custom_vjp", "data", "decoding", "default_dtype",
    "e", "enable_grad", "explain", "fft", "finfo", "float16", "float32", "float64",
    "from_dlpack", "get_backend", "grad", "hessian", "hvp", "iinfo", "inf", "int8", "int16",
    "int32", "int64", "is_grad_enabled", "isdtype", "jacobian", "jit", "jvp", "linalg",
    "list_backends", "load_checkpoint", "load_tensors", "manual_seed", "metrics", "nan",
    "newaxis", "nn", "no_grad", "optim", "pi", "random", "result_type", "save_checkpoint",
    "save_tensors", "scan", "set_default_dtype", "trace", "uint8", "uint16", "uint32", "uint64",
    "use_backend", "value_and_grad", "vjp", "vmap", *_functions,
]  # fmt: skip
