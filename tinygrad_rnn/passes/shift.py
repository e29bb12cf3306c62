"""The carry before every step, without a copy.

In: a graph in which the stack of a carry after every step is shifted by one, `concat(first,
stack)`, for the backward loop. Out: a graph in which the loop itself gives both stacks; they are
two views of one buffer with room for one step more.
"""

from __future__ import annotations

from ..graph import Graph, Node, Var


def share_stacks(graph: Graph) -> Graph:
    """Shifted stacks become further outputs of the loop that makes the stack."""
    producer = {v: n for n in graph.nodes for v in n.outputs}
    extra: dict[Node, list[tuple[Var, Var]]] = {}
    gone: set[Node] = set()
    for node in graph.nodes:
        found = _shifted(node, producer)
        if found is not None:
            scan, before = found
            extra.setdefault(scan, []).append((before, node.output))
            gone.add(node)
    if not gone:
        return graph
    nodes = [_with(n, extra[n]) if n in extra else n for n in graph.nodes if n not in gone]
    return Graph(graph.inputs, nodes, graph.outputs)


def _with(scan: Node, more: list[tuple[Var, Var]]) -> Node:
    body: Graph = scan.attrs["body"]
    new = Graph(body.inputs, body.nodes, [*body.outputs, *[before for before, _ in more]])
    return Node(
        scan.op, scan.inputs, {**scan.attrs, "body": new}, (*scan.outputs, *[v for _, v in more])
    )


def _shifted(node: Node, producer: dict[Var, Node]) -> tuple[Node, Var] | None:
    """If `node` shifts the stack of a carry: the loop, and the carry before a step."""
    if node.op.name != "concat" or node.attrs["axis"] != 0 or len(node.inputs) != 2:
        return None
    made = [producer.get(v) for v in node.inputs]
    names = [n.op.name if n is not None else "" for n in made]
    if names.count("slice") != 1:
        return None
    k = names.index("slice")
    cut, row = made[k], node.inputs[1 - k]
    assert cut is not None
    stack = cut.inputs[0]
    scan = producer.get(stack)
    if scan is None or scan.op.name != "scan":
        return None
    T, backwards = scan.attrs["length"], scan.attrs["reverse"]
    start, stop = cut.attrs["start"][0], cut.attrs["stop"][0]
    if backwards != (k == 0) or (start, stop) != ((1, T) if backwards else (0, T - 1)):
        return None
    if cut.output.type.shape[1:] != stack.type.shape[1:] or set(cut.attrs["step"]) != {1}:
        return None
    body: Graph = scan.attrs["body"]
    after = body.outputs[scan.outputs.index(stack)]
    n_const = scan.attrs["n_const"]
    for i in range(scan.attrs["n_carry"]):
        first = scan.inputs[n_const + i]
        if body.outputs[i] is after and _is_row(row, first, producer):
            return scan, body.inputs[n_const + i]
    return None


def _is_row(row: Var, first: Var, producer: dict[Var, Node]) -> bool:
    """Whether `row` is the carry before the first step with a leading axis."""
    if row.type.shape != (1, *first.type.shape):
        return False
    a, b = producer.get(row), producer.get(first)
    if a is not None and a.op.name == "reshape" and a.inputs[0] is first:
        return True
    if b is not None and b.op.name == "reshape" and b.inputs[0] is row:
        return True
    # a constant carry was folded
    if a is None or b is None or not a.op.name == b.op.name == "full":
        return False
    same: bool = a.attrs["value"] == b.attrs["value"]
    return same
