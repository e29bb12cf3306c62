"""Dead code, inside loops too: stacks nobody reads, carries that feed nothing, unread operands.

In: a Graph. Out: a Graph.
"""

from __future__ import annotations

from ..graph import Graph, Node, Var


def prune(graph: Graph) -> Graph:
    """The graph without what its outputs do not depend on."""
    live = set(graph.outputs)
    nodes = []
    for node in reversed(graph.nodes):
        if live.isdisjoint(node.outputs):
            continue
        if node.op.name in ("scan", "fused"):
            node = _prune_loop(node, live)
        nodes.append(node)
        live.update(node.inputs)
    return Graph(graph.inputs, nodes[::-1], graph.outputs)


def _prune_loop(node: Node, live: set[Var]) -> Node:
    attrs = node.attrs
    body: Graph = attrs["body"]
    n_const, n_carry, shown = attrs["n_const"], attrs["n_carry"], attrs["shown"]
    ys = [j for j in range(n_carry, len(body.outputs)) if node.outputs[j] in live]
    carries = {i for i in range(n_carry) if node.outputs[i] in live}
    while True:
        needed = {body.outputs[i] for i in carries} | {body.outputs[j] for j in ys}
        reads = set(needed)
        for inner in reversed(body.nodes):
            if not reads.isdisjoint(inner.outputs):
                reads.update(inner.inputs)
        more = {i for i in range(n_carry) if body.inputs[n_const + i] in reads} - carries
        if not more:
            break
        carries |= more
    kept = sorted(carries)
    end = n_const + n_carry
    consts = [i for i in range(n_const) if body.inputs[i] in reads]
    xs = [i for i in range(end, len(body.inputs)) if body.inputs[i] in reads]
    order = [*consts, *[n_const + i for i in kept], *xs]
    outputs = [*kept, *ys]
    new = prune(
        Graph([body.inputs[i] for i in order], body.nodes, [body.outputs[i] for i in outputs])
    )
    return Node(
        node.op,
        tuple([node.inputs[i] for i in order]),
        {**attrs, "body": new, "n_const": len(consts), "n_carry": len(kept),
         "shown": len(kept) + sum(j < shown for j in ys)},
        tuple([node.outputs[i] for i in outputs]),
        node.frozen,
    )  # fmt: skip
