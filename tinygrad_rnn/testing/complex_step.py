"""Derivatives by the complex step: f'(x) = Im f(x + i h) / h, exact to rounding for h = 1e-30.

W. Squire, G. Trapp, "Using complex variables to estimate derivatives of real functions", SIAM
Review 40, 1998. The function is evaluated by the primitives' NumPy references alone, so nothing of
what is tested takes part. References of piecewise functions choose their piece by the real part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..extend import Graph, Node, subgraphs
from ..graph import watching
from .recorded import Recorded

STEP = 1e-30
Cotangents = Sequence[np.ndarray | None]


class NotAnalytic(Exception):
    """A reference lost the imaginary part, or does not take complex numbers."""


class _Constant:
    """An operation through which no gradient flows: it sees real parts only."""

    def __init__(self, op: Any):
        self.op, self.name, self.infer = op, op.name, op.infer

    def reference(self, *xs: Any, **attrs: Any) -> Any:
        return self.op.reference(*[np.real(x) for x in xs], **attrs)


def without_stopped(graph: Graph) -> Graph:
    """The graph in which what passes no gradient (`no_grad`, no rule, whole numbers) passes no
    perturbation; `NotAnalytic` if a reference is no analytic function of complex numbers."""
    nodes = []
    for node in graph.nodes:
        attrs = {k: without_stopped(v) if isinstance(v, Graph) else v
                 for k, v in node.attrs.items()}  # fmt: skip
        whole = not any(v.type.dtype.is_inexact for v in node.outputs)
        stops = node.frozen or node.op.vjp is None or whole
        if not (stops or node.op.analytic):
            raise NotAnalytic(f"'{node.op.name}' is no analytic function of complex numbers")
        nodes.append(
            Node(_Constant(node.op) if stops else node.op, node.inputs, attrs, node.outputs)
        )
    return Graph(graph.inputs, nodes, graph.outputs)


def _refuse_loss(node: Node, operands: Sequence[Any], results: Sequence[Any]) -> None:
    """Raise if a floating result is real although an operand was perturbed (bodies are looked into
    on their own)."""
    if isinstance(node.op, _Constant) or subgraphs(node):
        return
    if not any(_perturbed(x) for x in operands):
        return
    for v, y in zip(node.outputs, results):
        if v.type.dtype.is_float and not np.iscomplexobj(y):
            raise NotAnalytic(f"the reference of '{node.op.name}' drops the imaginary part")


def _perturbed(x: Any) -> bool:
    return np.iscomplexobj(x) and bool(np.any(np.imag(x)))


class ComplexStep:
    """Derivatives of a graph; `NotAnalytic` if its references do not allow them."""

    def __init__(self, graph: Graph, captured: Sequence[np.ndarray] = ()):
        self.graph, self.captured = without_stopped(graph), captured
        self.watched = False

    def outputs(self, arrays: Sequence[Any]) -> list[Any]:
        """The results at complex arguments."""
        if self.watched:
            return self.graph.interpret(*arrays, *self.captured)
        try:
            with watching(_refuse_loss):
                ys = self.graph.interpret(*arrays, *self.captured)
        except TypeError as error:  # what NumPy says of a function without a complex loop
            raise NotAnalytic(str(error)) from error
        self.watched = True
        return ys

    def along(self, arrays: Sequence[np.ndarray], directions: Cotangents) -> list[np.ndarray]:
        """d outputs along one direction of all arguments at once."""
        moved = [
            a if d is None else a + 1j * STEP * np.asarray(d) for a, d in zip(arrays, directions)
        ]
        with np.errstate(all="ignore"):
            return [np.imag(y) / STEP for y in self.outputs(moved)]

    def entry(
        self, arrays: Sequence[np.ndarray], number: int, at: tuple[int, ...], cotangents: Cotangents
    ) -> float:
        """sum of cotangent * d outputs / d arrays[number][at]."""
        moved = np.asarray(arrays[number]).astype(complex)
        moved[at] += STEP * 1j
        with np.errstate(all="ignore"):
            ys = self.outputs([*arrays[:number], moved, *arrays[number + 1 :]])
            return weigh([np.imag(y) / STEP for y in ys], cotangents)


def weigh(ys: Sequence[Any], cotangents: Cotangents) -> float:
    """sum of cotangent * y over all outputs that have a cotangent."""
    return sum(float((y * ct).sum()) for y, ct in zip(ys, cotangents) if ct is not None)


def complex_step(
    f: Callable[..., Any], arrays: Sequence[Any], cotangents: Cotangents
) -> list[np.ndarray | None]:
    """sum of cotangent * d result, for every element of every floating argument of f.

    >>> import tinygrad_rnn as tg
    >>> complex_step(lambda x: x * x, [np.array([1.0, 3.0])], [np.ones(2)])[0].tolist()
    [2.0, 6.0]
    """
    program = Recorded(f, arrays)
    given = [np.asarray(a.numpy()) for a in program.args]
    oracle = ComplexStep(program.graph, program.captured)
    out: list[np.ndarray | None] = []
    for k, a in enumerate(given):
        if a.dtype.kind != "f":
            out.append(None)
            continue
        g = np.zeros(a.shape)
        for at in np.ndindex(a.shape):
            g[at] = oracle.entry(given, k, at, cotangents)
        out.append(g)
    return out
