"""Products of a recurrent operand with a constant vector, in terms that a loop is made of.

In: the body of a loop. Out: a body in which `h @ v` is a product with a matrix of one column, which
other products of h can be joined with, and a product that sums nothing is a multiplication.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Graph, Node
from ..ops.contraction import Labels, contract
from ..ops.movement import reshape, transpose
from ..tensor import Tensor
from .classes import CARRY, masks
from .rewriting import rebuild


def with_matrices(body: Graph, n_const: int, n_carry: int) -> Graph:
    """The body without products of recurrent operands with constant vectors."""
    mask = masks(body, n_const, n_carry)

    def rewrite(node: Node, args: list[Tensor]) -> Sequence[Tensor] | None:
        if node.op.name != "contract":
            return None
        labels = [node.attrs["a"], node.attrs["b"]]
        for fixed in (0, 1):
            if mask[node.inputs[fixed]] == 0 and mask[node.inputs[1 - fixed]] & CARRY:
                found = _plain(args[1 - fixed], args[fixed], labels[1 - fixed], labels[fixed], node)
                return None if found is None else [found]
        return None

    return rebuild(body, rewrite)


def _plain(moving: Tensor, fixed: Tensor, a: Labels, b: Labels, node: Node) -> Tensor | None:
    out = node.attrs["out"]
    if any(i in b and i in out for i in a):
        return None  # a product for every row
    if all(i in out for i in a):
        product: Tensor = _spread(moving, a, out) * _spread(fixed, b, out)
        return product
    if all(i in a for i in b):
        new = max(*a, *b) + 1
        column = reshape(fixed, (*fixed.shape, 1))
        return reshape(contract(moving, column, a, (*b, new), (*out, new)), node.output.type.shape)
    return None


def _spread(x: Tensor, labels: Labels, out: Labels) -> Tensor:
    """`x` with its axes in the order of `out`, and axes of one element for those it lacks."""
    order = [i for i in out if i in labels]
    turned = transpose(x, tuple(labels.index(i) for i in order))
    sizes = dict(zip(order, turned.shape))
    return reshape(turned, tuple(sizes.get(i, 1) for i in out))
