"""NumbaBackend: loops become compiled code; single operations use NumPy's kernels."""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from tinygrad_rnn_numpy import NumpyBackend, kernels, pool

from tinygrad_rnn.column_sums import column_sums
from tinygrad_rnn.extend import Graph, Node, Program
from tinygrad_rnn.fuse import fuse
from tinygrad_rnn.group_body import Fused
from tinygrad_rnn.lower import Unsupported, lower

from .bias import Biased, fuse_bias


class _Products:
    """NumPy with our own matrix product where that is faster."""

    multiply = np.multiply

    @staticmethod
    @kernels.widened
    def matmul(left: Any, right: Any, out: Any = None) -> Any:
        from . import gemm

        if left.ndim != 2 or left.dtype.itemsize not in (4, 8):
            return np.matmul(left, right, out)
        if out is None or not out.flags.c_contiguous:
            out = pool.empty((left.shape[0], right.shape[1]), left.dtype)
        return out if gemm.matmul(left, right, out) else np.matmul(left, right, out)


class _Biased:
    """The same for float32 and float64, and a vector added to every row."""

    def __init__(self, bias: Any):
        self.bias = np.ascontiguousarray(bias)

    def matmul(self, left: Any, right: Any) -> Any:
        from . import gemm

        out = pool.empty((left.shape[0], right.shape[1]), left.dtype)
        if not gemm.matmul(left, right, out, self.bias):
            np.matmul(left, right, out)
            out += self.bias
        return out


class NumbaBackend(NumpyBackend):
    """Arrays are NumPy's; a scan is one function generated for this CPU."""

    name = "numba"

    @classmethod
    def missing(cls) -> str | None:
        if importlib.util.find_spec("numba") is None:
            return "the package 'numba' is not installed: pip install \"tinygrad-rnn[numba]\""
        return None

    def takes_out(self, kernel: Callable[..., Any], node: Node) -> bool:
        return kernel is not _dots and super().takes_out(kernel, node)

    def specialize(self, node: Node) -> Callable[..., Any] | None:
        if node.op.name == "contract":
            a, b, out = (node.attrs[k] for k in ("a", "b", "out"))
            if _column_dots(node):
                return _dots
            return functools.partial(kernels.plan(a, b, out), _Products)
        if node.op.name == Biased.name:
            run = kernels.plan(*(node.attrs[k] for k in ("a", "b", "out")))
            return lambda x, y, b: run(_Biased(b), x, y)
        if node.op.name == Fused.name:
            from .groups import Group

            return Group(node)
        if node.op.name != "scan":
            return super().specialize(node)
        from .loops import Loop

        try:
            return Loop(node)
        except Unsupported:
            return None

    def compile(self, graph: Graph) -> Program:
        return super().compile(_grouped(graph))

    def report(self, graph: Graph) -> list[tuple[str, str]]:
        return _rows(_grouped(graph))


def _rows(graph: Graph) -> list[tuple[str, str]]:
    """How every operation of a grouped graph runs, those in loops over kernels first."""
    rows = []
    for node in graph.nodes:
        if node.op.name == Fused.name:
            rows += [(n.op.name, "compiled") for n in node.attrs["body"].nodes]
            continue
        how = "NumPy kernel"
        if node.op.name in ("contract", Biased.name):
            how = _product(node)
        elif node.op.name == "scan":
            how = "compiled"
            if "refused" in node.attrs:
                how = f"loop over NumPy kernels: {node.attrs['refused']}"
                rows += _rows(node.attrs["body"])
        rows.append((node.op.name, how))
    return rows


def _grouped(graph: Graph) -> Graph:
    """The graph with what is compiled as single nodes."""
    from tinygrad_rnn.passes.shift import share_stacks
    from tinygrad_rnn.rows import with_rows

    graph = with_rows(graph)
    nodes = [_with_groups(n) if n.op.name == "scan" else n for n in graph.nodes]
    graph = column_sums(share_stacks(Graph(graph.inputs, nodes, graph.outputs)))
    return column_sums(fuse(fuse_bias(graph)))


def _with_groups(scan: Node) -> Node:
    """A loop that runs over kernels has groups, and compiled loops, in its body."""
    try:
        lower(scan)
    except Unsupported as reason:
        attrs = {**scan.attrs, "body": _grouped(scan.attrs["body"]), "refused": str(reason)}
        return Node(scan.op, scan.inputs, attrs, scan.outputs)
    return scan


def _column_dots(node: Node) -> bool:
    """Whether a product is sum over the leading axes of x * y, column by column."""
    a, b, out = (node.attrs[k] for k in ("a", "b", "out"))
    dtype = node.output.type.dtype
    return (
        a == b
        and len(out) == 1
        and out == a[-1:]
        and len(a) > 1
        and dtype.is_float
        and dtype.itemsize > 2
    )


def _dots(x: Any, y: Any) -> Any:
    from . import gemm

    n = x.shape[-1]
    return gemm.column_dots(*(np.ascontiguousarray(v).reshape(-1, n) for v in (x, y)))


def _product(node: Node) -> str:
    """How a product outside of loops runs."""
    from . import gemm

    if _column_dots(node):
        return "compiled"
    a, b, out = (node.attrs[k] for k in ("a", "b", "out"))
    if all(i in out for i in a):
        return "NumPy kernel"  # nothing is summed: a multiplication
    if any(i in b and i in out for i in a):
        return "library call: NumPy's BLAS, one product per batch entry"
    sizes = dict(zip((*a, *b), (*node.inputs[0].type.shape, *node.inputs[1].type.shape)))
    M, K, N = (
        math.prod(sizes[i] for i in labels)
        for labels in (
            [i for i in a if i in out],
            [i for i in a if i not in out],
            [i for i in b if i in out],
        )
    )
    if gemm.suits(M, K, N, node.output.type.dtype.np):
        return "compiled"
    return "library call: NumPy's BLAS, the product is small"
