"""The stable names for authors of primitives and of backends."""

from .backend import API, GROUP, Backend, Program, primitives
from .capabilities import Capabilities, Refusal
from .errors import BackendError, IndexRangeError, LinearAlgebraError
from .graph import Graph, Node, Var, subgraphs
from .ops import factorizations as factorizations  # a backend's author sees every primitive
from .ops import fourier as fourier
from .ops.bits import philox
from .ops.gathering import index_error
from .primitive import Arg, Elementwise, Primitive, Sample, bind, bind_all
from .program import compile_python
from .types import DTYPES, DType, Type, wide

__all__ = [
    "API", "DTYPES", "GROUP", "Arg", "Backend", "BackendError", "Capabilities", "DType",
    "Elementwise", "Graph", "IndexRangeError", "LinearAlgebraError", "Node", "Primitive",
    "Program", "Refusal", "Sample", "Type", "Var", "bind", "bind_all", "compile_python",
    "index_error", "philox", "primitives", "subgraphs", "wide",
]  # fmt: skip
