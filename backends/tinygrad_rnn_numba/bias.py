"""A product and the vector that is added to its rows, as one operation.

In: a graph. Out: a graph in which `x @ w + b` reads and writes the product once less.
"""

from __future__ import annotations

import math

from tinygrad_rnn_numpy import kernels

from tinygrad_rnn.graph import Graph, Node, Var


class Biased:
    """contract(x, y) + b along the last axis of the result."""

    name = "biased_contract"


def fuse_bias(graph: Graph) -> Graph:
    """Sums of a product that nobody else reads and a vector become one node."""
    producer = {v: n for n in graph.nodes for v in n.outputs}
    count: dict[Var, int] = {}
    for v in (*[v for n in graph.nodes for v in n.inputs], *graph.outputs):
        count[v] = count.get(v, 0) + 1
    gone: set[Node] = set()
    nodes = []
    for node in graph.nodes:
        fused = _fused(node, producer, count)
        if fused is not None:
            node, product = fused
            gone.add(product)
        nodes.append(node)
    return Graph(graph.inputs, [n for n in nodes if n not in gone], graph.outputs)


def _fused(
    node: Node, producer: dict[Var, Node], count: dict[Var, int]
) -> tuple[Node, Node] | None:
    if node.op.name != "add":
        return None
    for whole, vector in (node.inputs, node.inputs[::-1]):
        product = producer.get(whole)
        if product is None or product.op.name != "contract" or count[whole] != 1:
            continue
        if whole.type is node.output.type and vector.type.shape == whole.type.shape[-1:]:
            if _columns_last(product):
                inputs = (*product.inputs, vector)
                return Node(Biased, inputs, product.attrs, node.outputs), product
    return None


def _columns_last(product: Node) -> bool:
    """Whether the last axis of the result is all that one operand gives to it."""
    from . import gemm  # with the backend's first program, not with its import

    a, b, out = (product.attrs[k] for k in ("a", "b", "out"))
    if any(i in a and i in b for i in out) or not kernels.plan(a, b, out).in_order:  # type: ignore[attr-defined]
        return False
    shape = product.output.type.shape
    inner = [n for i, n in zip(a, product.inputs[0].type.shape) if i not in out]
    alone = [i for i in out if (i in a) == (out[-1] in a)]
    dtype = product.output.type.dtype.np
    if len(alone) != 1 or not inner:  # without a sum it is a multiplication
        return False
    return gemm.suits(math.prod(shape[:-1]), math.prod(inner), shape[-1], dtype)
