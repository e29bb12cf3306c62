"""What a loop's body computes from captured values alone is computed once, before the loop.

In: a body `consts, carry, x -> carry, y` and the tensors that it captures. Out: a body without such
nodes, which captures their results. It is done when a scan is recorded, not only when it is
compiled, because the derivative gains most: the gradient of a result is summed over the steps, and
goes through what made it once, after the loop.
"""

from __future__ import annotations

from collections.abc import Sequence

from .backend import use_backend
from .graph import Graph, Node, Var
from .tensor import Tensor
from .vectorize import apply_node


def hoist(body: Graph, consts: Sequence[Tensor]) -> tuple[Graph, list[Tensor]]:
    """The body without its invariant nodes, and the tensors for its first inputs."""
    fixed = invariant(body, len(consts))
    if not fixed:
        return body, list(consts)
    outside = ancestors(fixed, body)
    env = dict(zip(body.inputs, consts))
    with use_backend(consts[0].backend):  # numbers have no operand that says where they belong
        for node in body.nodes:
            if node in outside:
                env.update(zip(node.outputs, apply_node(node, [env[v] for v in node.inputs])))
    kept = [node for node in body.nodes if node not in fixed]
    made = {v for node in kept for v in node.outputs}
    read = {v for node in kept for v in node.inputs}.union(body.outputs) - made
    inputs = [v for v in env if v in read]
    rest = body.inputs[len(consts) :]
    return Graph([*inputs, *rest], kept, body.outputs), [env[v] for v in inputs]


def invariant(body: Graph, n_const: int) -> set[Node]:
    """The nodes that depend on consts and on nothing else.

    Those that depend on nothing at all are not among them: a number is better where it is read.
    """
    fixed, plain, known = set[Node](), set[Var](), set(body.inputs[:n_const])
    for node in body.nodes:
        if all(v in plain for v in node.inputs):
            plain.update(node.outputs)
        elif all(v in known or v in plain for v in node.inputs):
            known.update(node.outputs)
            fixed.add(node)
    return fixed


def ancestors(nodes: set[Node], body: Graph) -> set[Node]:
    """The nodes, and all that they depend on."""
    found, read = set(nodes), {v for node in nodes for v in node.inputs}
    for node in reversed(body.nodes):
        if not read.isdisjoint(node.outputs):
            found.add(node)
            read.update(node.inputs)
    return found
