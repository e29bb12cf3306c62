"""Batching: a graph evaluated for many inputs at once, by one rule per primitive.

In: a Graph, tensors, and which of them carry a leading axis. Out: tensors. Gives `vmap`, and is
what fission uses to move work out of a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .errors import ArgumentError, DTypeError, ShapeError
from .graph import Graph, Node, Var
from .ops.creation import tensor
from .ops.movement import broadcast_to, moveaxis
from .primitive import apply
from .tensor import Tensor, Value, wrap
from .trace import Tracer, no_grad, state
from .tree import flatten, tree_map, unflatten

Env = dict[Var, Tensor]


def apply_node(node: Node, args: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """One node of a graph on tensors: computed, or recorded, like any other operation."""
    if node.frozen and state.grad:
        with no_grad():
            out = apply(node.op, tuple(args), dict(node.attrs))
    else:
        out = apply(node.op, tuple(args), dict(node.attrs))
    return out if isinstance(out, tuple) else (out,)


def replay(graph: Graph, args: Sequence[Tensor]) -> list[Tensor]:
    """The graph evaluated on tensors, operation by operation."""
    env: Env = dict(zip(graph.inputs, args, strict=True))
    for node in graph.nodes:
        env.update(zip(node.outputs, apply_node(node, [env[v] for v in node.inputs])))
    return [env[v] for v in graph.outputs]


def batch_nodes(nodes: Sequence[Node], env: Env, batched: set[Var], size: int) -> None:
    """Evaluate `nodes` into `env`; variables in `batched` have a leading axis of `size`."""
    for node in nodes:
        flags = tuple([v in batched for v in node.inputs])
        args = [env[v] for v in node.inputs]
        if not any(flags):
            env.update(zip(node.outputs, apply_node(node, args)))
            continue
        if node.frozen and state.grad:
            with no_grad():
                out = node.op.batch(size, tuple(args), flags, **node.attrs)
        else:
            out = node.op.batch(size, tuple(args), flags, **node.attrs)
        outs = out if isinstance(out, tuple) else (out,)
        for v, t in zip(node.outputs, outs):
            if t.shape != (size, *v.type.shape):
                raise ShapeError(
                    f"batch rule of '{node.op.name}' gave {t.type} for {v.type} with {size} rows."
                )
            env[v] = t
            batched.add(v)


def batch_graph(
    graph: Graph, size: int, args: Sequence[Tensor], flags: Sequence[bool]
) -> list[Tensor]:
    """All outputs with a leading axis of `size`."""
    env: Env = dict(zip(graph.inputs, args, strict=True))
    batched = {v for v, flag in zip(graph.inputs, flags) if flag}
    batch_nodes(graph.nodes, env, batched, size)
    return [lead(env[v], size) if v not in batched else env[v] for v in graph.outputs]


def lead(x: Tensor, size: int) -> Tensor:
    """`x` repeated along a new leading axis."""
    return broadcast_to(x, (size, *x.shape))


def vmap(f: Callable[..., Any], in_axes: Any = 0) -> Callable[..., Any]:
    """`f` for one example, applied to a batch of them: arguments and results gain a leading axis.

    in_axes: 0 (or another axis) for every argument, or a sequence with None for arguments that all
    examples share.

    >>> dots = vmap(lambda a, b: (a * b).sum(), in_axes=(0, None))
    >>> dots(tensor([[1.0, 2], [3, 4]]), tensor([1.0, 10])).tolist()
    [21.0, 43.0]
    """

    def wrapped(*args: Any) -> Any:
        axes = tuple(in_axes) if isinstance(in_axes, tuple | list) else (in_axes,) * len(args)
        if len(axes) != len(args):
            raise ArgumentError(f"vmap: in_axes has {len(axes)} entries for {len(args)} arguments.")
        leaves, flags, sizes = [], [], set()
        for arg, axis in zip(args, axes):
            if not isinstance(axis, int | None):
                raise DTypeError(f"vmap: in_axes holds {axis!r}, expected axes or None.")
            for leaf in flatten(arg)[0]:
                t = leaf if isinstance(leaf, Tensor) else tensor(leaf)
                if axis is not None:
                    if not -t.ndim <= axis < t.ndim:
                        raise ShapeError(f"vmap: axis {axis} is out of range for {t.type}.")
                    t = moveaxis(t, axis % t.ndim, 0)
                    sizes.add(t.shape[0])
                leaves.append(t)
                flags.append(axis is not None)
        if len(sizes) != 1:
            raise ShapeError(
                f"vmap: mapped arguments have {sorted(sizes) or 'no'} rows; expected one common "
                "number."
            )
        size = sizes.pop()
        row_types = [t.type.with_shape(t.shape[1:]) if b else t.type for t, b in zip(leaves, flags)]
        with Tracer("vmap", leaves[0].backend) as tracer:
            rows = [wrap(Value(t, tracer.input(t), tracer.backend)) for t in row_types]
            it = iter(rows)
            out = f(*[tree_map(lambda _: next(it), arg) for arg in args])
            outputs, treedef = flatten(out)
            for y in outputs:
                if not isinstance(y, Tensor):
                    raise DTypeError(
                        f"vmap: the function returned a {type(y).__name__}, expected tensors."
                    )
            graph = tracer.finish([tracer.lift(y._value, y) for y in outputs])
        captured = [c.handle for c in tracer.captures.values()]
        results = batch_graph(
            graph, size, [*leaves, *captured], [*flags, *(False,) * len(captured)]
        )
        return unflatten(treedef, results)

    return wrapped
