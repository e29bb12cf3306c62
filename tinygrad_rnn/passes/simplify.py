"""Local rewrites: constants folded, movements composed, sums of pads joined, loops deduplicated.

In: a Graph. Out: a Graph with the same meaning (up to the sign of zeros). Common subexpressions and
dead nodes go on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..graph import Graph, Node, Var
from ..ops.contraction import contract
from ..ops.creation import Full
from ..ops.movement import Concat, Slice, reshape, transpose
from ..primitive import bind
from ..tensor import Tensor
from .rewriting import perform, producer, rebuild, tensor_of, uses, var

Rule = Callable[[Node, list[Tensor]], Sequence[Tensor] | None]


def simplify(graph: Graph) -> Graph:
    """The graph after all local rules; bodies of loops first."""
    once = {v for v, n in uses(graph).items() if n == 1}
    return rebuild(graph, lambda node, args: _rewrite(node, args, once))


def _rewrite(node: Node, args: list[Tensor], once: set[Var]) -> Sequence[Tensor] | None:
    if isinstance(node.attrs.get("body"), Graph):
        attrs = {**node.attrs, "body": simplify(node.attrs["body"])}
        return (
            _loop(attrs, node.op, args) if node.op.name == "scan" else perform(node.op, args, attrs)
        )
    folded = _fold(node, args)
    if folded is not None:
        return folded
    if node.op.name == "transpose" and node.inputs[0] in once:
        turned = _turned(node, args)
        if turned is not None:
            return turned
    rule = RULES.get(node.op.name)
    return rule(node, args) if rule is not None else None


# --- constants -----------------------------------------------------------------------------------


def _constant(t: Tensor) -> Node | None:
    return producer(t, "full")


def _fold(node: Node, args: list[Tensor]) -> Sequence[Tensor] | None:
    """An elementwise operation on literals is a literal; moved constants stay constants."""
    if not args or len(node.outputs) != 1 or node.output.type.size == 0:
        return None
    literals = [_constant(a) for a in args]
    known = [c for c in literals if c is not None]
    if len(known) != len(args):
        return None
    out = node.output.type
    if node.op.name in ("reshape", "transpose", "broadcast_to", "slice", "flip"):
        return [_full(known[0].attrs["value"], out.shape, out.dtype)]
    if any(c.attrs["shape"] != () for c in known) or out.shape != ():
        return None
    with np.errstate(all="ignore"):
        values = [np.asarray(c.attrs["value"], c.attrs["dtype"].np) for c in known]
        result = np.asarray(node.op.reference(*values, **node.attrs)).astype(out.dtype.np)
    if out.dtype.is_inexact and not np.isfinite(result):
        return None
    return [_full(result.item(), (), out.dtype)]


def _full(value: Any, shape: tuple[int, ...], dtype: Any) -> Tensor:
    t: Tensor = bind(Full, value=value, shape=shape, dtype=dtype)
    return t


# --- movement ------------------------------------------------------------------------------------


def _alias(node: Node, args: list[Tensor]) -> Sequence[Tensor]:
    return args


def _cast(node: Node, args: list[Tensor]) -> Sequence[Tensor] | None:
    return args if args[0].dtype is node.attrs["dtype"] else None


def _reshape(node: Node, args: list[Tensor]) -> Sequence[Tensor] | None:
    (x,) = args
    inside = producer(x, "reshape")
    source = tensor_of(inside.inputs[0]) if inside else x
    if source.shape == node.attrs["shape"] or inside:
        return [reshape(source, node.attrs["shape"])]
    return None


def _transpose(node: Node, args: list[Tensor]) -> Sequence[Tensor] | None:
    (x,) = args
    perm = node.attrs["perm"]
    inside = producer(x, "transpose")
    if inside is None:
        return [x] if perm == tuple(range(x.ndim)) else None
    return [transpose(tensor_of(inside.inputs[0]), tuple(inside.attrs["perm"][i] for i in perm))]


def _broadcast(node: Node, args: list[Tensor]) -> Sequence[Tensor] | None:
    return args if args[0].shape == node.attrs["shape"] else None


def _slice(node: Node, args: list[Tensor]) -> Sequence[Tensor] | None:
    (x,) = args
    start, stop, step = (node.attrs[k] for k in ("start", "stop", "step"))
    if node.output.type.shape == x.shape:
        return [x]
    inside = producer(x, "slice")
    if inside is not None and node.output.type.size:
        first, by = inside.attrs["start"], inside.attrs["step"]
        begin = tuple(f + a * s for f, a, s in zip(first, start, by))
        stride = tuple(a * b for a, b in zip(step, by))
        end = tuple(b + (n - 1) * s + 1 for b, n, s in zip(begin, node.output.type.shape, stride))
        return [bind(Slice, tensor_of(inside.inputs[0]), start=begin, stop=end, step=stride)]
    joined = producer(x, "concat")
    if joined is not None:
        return _slice_of_concat(joined, start, stop, step)
    return None


def _slice_of_concat(joined: Node, start: Any, stop: Any, step: Any) -> Sequence[Tensor] | None:
    """A slice that lies within one operand of a concat reads that operand."""
    axis, at = joined.attrs["axis"], 0
    for v in joined.inputs:
        n = v.type.shape[axis]
        if at <= start[axis] and stop[axis] <= at + n:
            lo = tuple(a - at if i == axis else a for i, a in enumerate(start))
            hi = tuple(b - at if i == axis else b for i, b in enumerate(stop))
            if lo == (0,) * len(lo) and hi == v.type.shape and set(step) <= {1}:
                return [tensor_of(v)]
            return [bind(Slice, tensor_of(v), start=lo, stop=hi, step=step)]
        at += n
    return None


def _concat(node: Node, args: list[Tensor]) -> Sequence[Tensor] | None:
    """Neighbouring slices of one tensor, put side by side again, are one slice."""
    if len(args) == 1:
        return args
    axis = node.attrs["axis"]
    merged: list[Tensor] = [args[0]]
    for t in args[1:]:
        pair = _neighbours(merged[-1], t, axis)
        if pair is not None:
            merged[-1] = pair
        else:
            merged.append(t)
    if len(merged) == len(args):
        return None
    return [merged[0] if len(merged) == 1 else bind(Concat, *merged, axis=axis)]


def _neighbours(a: Tensor, b: Tensor, axis: int) -> Tensor | None:
    p, q = producer(a, "slice"), producer(b, "slice")
    if p is None or q is None or p.inputs != q.inputs:
        return None
    if p.attrs["step"] != q.attrs["step"] or p.attrs["step"][axis] != 1:
        return None
    for key in ("start", "stop"):
        if any(x != y for i, (x, y) in enumerate(zip(p.attrs[key], q.attrs[key])) if i != axis):
            return None
    if p.attrs["stop"][axis] != q.attrs["start"][axis]:
        return None
    whole = tensor_of(p.inputs[0])
    stop = q.attrs["stop"]
    if (
        p.attrs["start"] == (0,) * whole.ndim
        and stop == whole.shape
        and set(p.attrs["step"]) == {1}
    ):
        return whole
    out: Tensor = bind(Slice, whole, start=p.attrs["start"], stop=stop, step=p.attrs["step"])
    return out


# --- sums of pads: the cotangent of a tensor that was cut into pieces -----------------------------

Piece = tuple[int, int, Tensor]  # from, to, what lies there


def _pieces(t: Tensor) -> tuple[int, list[Piece]] | None:
    """t as (axis, pieces) when it is zero but for pieces along one axis."""
    node = producer(t, "pad")
    if node is not None:
        low, high, x = node.attrs["low"], node.attrs["high"], tensor_of(node.inputs[0])
        axes = [i for i, (a, b) in enumerate(zip(low, high)) if a or b]
        if node.attrs["value"] != 0 or any(node.attrs["interior"]) or len(axes) != 1:
            return None
        axis = axes[0]
        return axis, [(low[axis], low[axis] + x.shape[axis], x)]
    node = producer(t, "concat")
    if node is None:
        return None
    axis, at, found = node.attrs["axis"], 0, []
    zeros = False
    for v in node.inputs:
        x, n = tensor_of(v), v.type.shape[node.attrs["axis"]]
        constant = _constant(x)
        if constant is not None and constant.attrs["value"] == 0:
            zeros = True
        else:
            found.append((at, at + n, x))
        at += n
    return (axis, found) if zeros else None


def _add(node: Node, args: list[Tensor]) -> Sequence[Tensor] | None:
    a, b = args
    if a.shape != b.shape:
        return None
    left, right = _pieces(a), _pieces(b)
    if left is None or right is None or left[0] != right[0]:
        return None
    axis = left[0]
    pieces = sorted(left[1] + right[1], key=lambda p: p[:2])
    if any(p[1] > q[0] for p, q in pairwise(pieces)):
        return None
    parts, at, n = [], 0, a.shape[axis]
    for lo, hi, x in [*pieces, (n, n, None)]:
        if lo > at:
            gap = tuple(lo - at if i == axis else s for i, s in enumerate(a.shape))
            parts.append(_full(0.0 if a.dtype.is_float else 0, gap, a.dtype))
        if x is not None:
            parts.append(x)
        at = hi
    return [bind(Concat, *parts, axis=axis)]


# --- contraction ---------------------------------------------------------------------------------


def _contract(node: Node, args: list[Tensor]) -> Sequence[Tensor] | None:
    """Transposed operands are read with other labels."""
    labels = [node.attrs["a"], node.attrs["b"]]
    found = False
    for k, x in enumerate(args):
        inside = producer(x, "transpose")
        if inside is not None:
            perm = inside.attrs["perm"]
            labels[k] = tuple(labels[k][perm.index(i)] for i in range(x.ndim))
            args[k] = tensor_of(inside.inputs[0])
            found = True
    return [contract(args[0], args[1], labels[0], labels[1], node.attrs["out"])] if found else None


def _turned(node: Node, args: list[Tensor]) -> Sequence[Tensor] | None:
    """A product that is only read transposed is made so: its rows then lie one after another."""
    made = producer(args[0], "contract")
    if made is None:
        return None
    out = tuple(made.attrs["out"][i] for i in node.attrs["perm"])
    x, y = (tensor_of(v) for v in made.inputs)
    return [contract(x, y, made.attrs["a"], made.attrs["b"], out)]


# --- loops ---------------------------------------------------------------------------------------


def _loop(attrs: dict[str, Any], op: Any, args: list[Tensor]) -> Sequence[Tensor]:
    """One operand per distinct tensor, one stack per distinct body variable; carries that never
    change become consts; a stack of an x is that x."""
    body, n_const, n_carry = attrs["body"], attrs["n_const"], attrs["n_carry"]
    end = n_const + n_carry
    still = [i for i in range(n_carry) if body.outputs[i] is body.inputs[n_const + i]]
    consts = [*range(n_const), *[n_const + i for i in still]]
    moving = [i for i in range(n_carry) if i not in still]
    rename: dict[Var, Var] = {}
    keep_consts = _distinct(consts, body, args, rename)
    keep_xs = _distinct(list(range(end, len(args))), body, args, rename)
    order = [*keep_consts, *[n_const + i for i in moving], *keep_xs]
    nodes = [
        Node(n.op, tuple([rename.get(v, v) for v in n.inputs]), n.attrs, n.outputs)
        for n in body.nodes
    ]
    renamed = [rename.get(v, v) for v in body.outputs]
    x_of = {body.inputs[i]: args[i] for i in keep_xs}
    stacks: dict[Var, int] = {}
    shown = 0
    for j, v in enumerate(renamed[n_carry:], n_carry):
        if v not in x_of and v not in stacks:
            stacks[v] = len(moving) + len(stacks)
            shown += j < attrs["shown"]
    outputs = [*[renamed[i] for i in moving], *stacks]
    if not outputs:
        results: tuple[Tensor, ...] = ()
    else:
        new = Graph([body.inputs[i] for i in order], nodes, outputs)
        results = perform(
            op,
            [args[i] for i in order],
            {**attrs, "body": new, "n_const": len(keep_consts), "n_carry": len(moving),
             "shown": len(moving) + shown},
        )  # fmt: skip
    final = [args[n_const + i] if i in still else results[moving.index(i)] for i in range(n_carry)]
    return [*final, *[x_of[v] if v in x_of else results[stacks[v]] for v in renamed[n_carry:]]]


def _distinct(
    places: list[int], body: Graph, args: list[Tensor], rename: dict[Var, Var]
) -> list[int]:
    """The first place of every distinct operand; the body's other inputs are renamed to it."""
    first: dict[Var, int] = {}
    for i in places:
        known = first.setdefault(var(args[i]), i)
        if known != i:
            rename[body.inputs[i]] = body.inputs[known]
    return list(first.values())


RULES: dict[str, Rule] = {
    "alias": _alias, "cast": _cast, "reshape": _reshape, "transpose": _transpose,
    "broadcast_to": _broadcast, "slice": _slice, "concat": _concat, "add": _add,
    "contract": _contract,
}  # fmt: skip
