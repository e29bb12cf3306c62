"""The derivative of a body graph, and what its forward pass must save for it.

In: a body `consts, carry, x -> carry, y` (a plain function has only xs and ys). Out: a backward
body and the forward variables that it reads. Used by scan (many steps) and by call (one).

Body variables are named by index (their order over the nodes' outputs), so that results can be
remembered by the structure of the body.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .autodiff import pull, tape
from .backend import Backend, ProgramCache
from .graph import Graph, Var
from .ops.creation import zeros_like
from .primitive import item
from .tensor import Tensor, Tracked, Value, leaf_value, wrap
from .trace import Tracer, unrecorded
from .types import Type
from .vectorize import apply_node, replay

_derived = ProgramCache()
#: Traces of closed graphs need no backend: nothing is computed.
NOWHERE = Backend()
#: Operations whose result is never worth saving when their operand is at hand.
MOVEMENT = (
    "reshape", "transpose", "broadcast_to", "slice", "flip", "pad", "concat", "cast", "alias",
)  # fmt: skip
COSTLY = ("contract", "scan", "call", "random_bits")
#: Operations that cost no more than reading their result from memory.
LIGHT = ("neg", "add", "sub", "mul")


class Backward(NamedTuple):
    """A derived backward body.

    `graph` takes the body's inputs, the forward variables `reads`, cotangents of the floating
    carries, running sums for `consts`, cotangents of the chosen ys; it returns the cotangents of
    the carries before the step, the new sums, and the cotangents of `xs`. `uses`: which inputs of
    the body it reads. `boundary`: forward variables that its reverse part reads, recomputed or not.
    """

    graph: Graph
    reads: tuple[int, ...]
    carry: tuple[int, ...]
    consts: tuple[int, ...]
    xs: tuple[int, ...]
    uses: frozenset[int]
    boundary: tuple[int, ...]


def inner(body: Graph) -> list[Var]:
    """The variables that the nodes of the body define, in order."""
    return [v for node in body.nodes for v in node.outputs]


def derive(
    body: Graph,
    n_const: int,
    n_carry: int,
    needs: tuple[bool, ...],
    g_ys: tuple[bool, ...],
    available: frozenset[int],
) -> Backward:
    """The backward body when the forward variables `available` can be read and ys `g_ys` have a
    cotangent; `needs` says which inputs need one."""
    key = ("derive", body.digest, n_const, n_carry, needs, g_ys, available)
    made: Backward = _derived.get(
        key, lambda: _derive(body, n_const, n_carry, needs, g_ys, tuple(sorted(available)))
    )
    return made


def _derive(
    body: Graph,
    n_const: int,
    n_carry: int,
    needs: tuple[bool, ...],
    g_ys: tuple[bool, ...],
    reads: tuple[int, ...],
) -> Backward:
    variables = inner(body)
    floats = [v.type.dtype.is_inexact for v in body.inputs]
    end = n_const + n_carry
    # every floating carry may depend on what needs a gradient; consts and xs as asked
    wrt = [f and (needs[i] or n_const <= i < end) for i, f in enumerate(floats)]
    carry = tuple(i for i in range(n_carry) if floats[n_const + i])
    consts = tuple(i for i in range(n_const) if wrt[i])
    xs = tuple(i - end for i in range(end, len(body.inputs)) if wrt[i])
    with Tracer("the derivative of scan", NOWHERE) as tracer:

        def fresh(t: Type, tracked: bool = False) -> Tensor:
            return wrap(leaf_value(t, tracer.input(t), NOWHERE, tracked, None))

        inputs = [fresh(v.type, w) for v, w in zip(body.inputs, wrt)]
        saved = {variables[i]: fresh(variables[i].type) for i in reads}
        seeds = {i: fresh(body.outputs[i].type) for i in carry}
        sums = {i: fresh(body.inputs[i].type) for i in consts}
        seeds |= {
            n_carry + j: fresh(body.outputs[n_carry + j].type) for j, has in enumerate(g_ys) if has
        }
        env = _replay_reading(body, inputs, saved)
        forward = set(tracer.nodes)
        back = {env[v]._value.data: i for i, v in enumerate(variables) if i not in reads}
        outputs = [env[v]._value for v in body.outputs]
        pairs = [(outputs[i], g) for i, g in seeds.items() if outputs[i].tracked]
        own = {id(t._value) for t, w in zip(inputs, wrt) if w}
        with unrecorded():
            left = pull(tape([v for v, _ in pairs], own), pairs, own, False)

            def cotangent(i: int) -> Tensor:
                t = inputs[i]
                return left[id(t._value)] if id(t._value) in left else zeros_like(t)

            results = [cotangent(n_const + i) for i in carry]
            for i in consts:
                here = left.get(id(inputs[i]._value))
                results.append(sums[i] if here is None else sums[i] + here)
            results += [cotangent(end + i) for i in xs]
        graph = tracer.finish([tracer.lift(t._value, t) for t in results])
    read = {v for node in graph.nodes if node not in forward for v in node.inputs} | set(
        graph.outputs
    )
    boundary = tuple(sorted({back[v] for v in read if v in back}))
    used = {v for node in graph.nodes for v in node.inputs} | set(graph.outputs)
    uses = frozenset(i for i, v in enumerate(graph.inputs[: len(body.inputs)]) if v in used)
    return Backward(graph, reads, carry, consts, xs, uses, boundary)


def _replay_reading(
    body: Graph, inputs: Sequence[Tensor], saved: dict[Var, Tensor]
) -> dict[Var, Tensor]:
    """Replay the body; a saved variable keeps its tape, but its data is what was saved."""
    env: dict[Var, Tensor] = dict(zip(body.inputs, inputs))
    for node in body.nodes:
        outs = apply_node(node, [env[v] for v in node.inputs])
        if not saved.keys().isdisjoint(node.outputs):
            outs = _with_data(
                outs, [saved[v]._value.data if v in saved else None for v in node.outputs]
            )
        env.update(zip(node.outputs, outs))
    return env


def _with_data(outs: tuple[Tensor, ...], data: Sequence[Var | None]) -> tuple[Tensor, ...]:
    """The results of one application with the data of some replaced, the tape unchanged."""
    first = outs[0]._value
    if len(outs) == 1:
        return (wrap(_replaced(first, data[0])),)
    record = next((t._value.inputs[0] for t in outs if t._value.tracked), None)
    if record is None:
        return tuple([t if d is None else wrap(_replaced(t._value, d)) for t, d in zip(outs, data)])
    known = (
        tuple(old if d is None else d for d, old in zip(data, record.data))
        + record.data[len(data) :]
    )
    fresh = Tracked(
        record.type, known, record.backend, record.op, record.inputs, record.attrs, record.seq
    )
    return tuple([wrap(item(fresh, i)) for i in range(len(outs))])


def _replaced(v: Value, data: object) -> Value:
    if isinstance(v, Tracked):
        return Tracked(v.type, data, v.backend, v.op, v.inputs, v.attrs, v.seq)
    return Value(v.type, data, v.backend)


# --- what to save --------------------------------------------------------------------------------


def with_residuals(
    body: Graph, n_const: int, n_carry: int, needs: tuple[bool, ...], shown: int, save: str
) -> Graph:
    """The body with further outputs: what the derivative of its first `shown` outputs reads.

    save "auto": whatever the reverse part reads, unless it is at hand or moved from what is;
    "carry": only the carry of every step, the rest is recomputed.
    """
    key = ("residuals", body.digest, n_const, n_carry, needs, shown, save)
    graph: Graph = _derived.get(
        key, lambda: _with_residuals(body, n_const, n_carry, needs, shown, save)
    )
    return graph


def _with_residuals(
    body: Graph, n_const: int, n_carry: int, needs: tuple[bool, ...], shown: int, save: str
) -> Graph:
    body = _prepared(body, n_const, n_carry, needs)
    variables = inner(body)
    g_ys = tuple(
        v.type.dtype.is_inexact and n_carry + j < shown
        for j, v in enumerate(body.outputs[n_carry:])
    )
    chosen: frozenset[int] = frozenset()
    if save == "auto":
        everything = derive(body, n_const, n_carry, needs, g_ys, chosen)
        cheap = _cheap(body, n_const, n_carry)
        chosen = frozenset(i for i in everything.boundary if variables[i] not in cheap)
        chosen = _thinned(body, chosen, everything.uses)
    backward = derive(body, n_const, n_carry, needs, g_ys, chosen)
    wanted = [variables[i] for i in sorted(chosen)]
    for i in range(n_carry):
        # the carry before a step is the carry after the step before it
        if n_const + i in backward.uses and body.outputs[i] is not body.inputs[n_const + i]:
            wanted.append(body.outputs[i])
    emitted = set(body.outputs[n_carry:])
    extra = [v for v in dict.fromkeys(wanted) if v not in emitted]
    return Graph(body.inputs, body.nodes, [*body.outputs, *extra])


def _thinned(body: Graph, chosen: frozenset[int], uses: frozenset[int]) -> frozenset[int]:
    """`chosen` without what one light operation makes of the rest and of inputs `uses`, which are
    read anyway: computing it again costs less than writing and reading it."""
    number = {v: i for i, v in enumerate(inner(body))}
    kept, needed = set(chosen), set[int]()
    given = {body.inputs[i] for i in uses}
    plain = {v for node in body.nodes if not node.inputs for v in node.outputs}
    for node in reversed(body.nodes):
        i = number[node.outputs[0]]
        if i not in kept or i in needed or node.op.name not in LIGHT:
            continue
        made = {number[v] for v in node.inputs if v not in given | plain and v in number}
        if made <= kept and all(v in number or v in given for v in node.inputs):
            kept.remove(i)
            needed |= made
    return frozenset(kept)


def _prepared(body: Graph, n_const: int, n_carry: int, needs: tuple[bool, ...]) -> Graph:
    """The body in which loops inside save what their own derivative reads."""
    if not any(node.op.name in ("scan", "call") for node in body.nodes):
        return body
    with Tracer("the derivative of scan", NOWHERE) as tracer:
        inputs = []
        for i, v in enumerate(body.inputs):
            w = v.type.dtype.is_inexact and (needs[i] or n_const <= i < n_const + n_carry)
            inputs.append(wrap(leaf_value(v.type, tracer.input(v.type), NOWHERE, w, None)))
        outputs = [t._value.data for t in replay(body, inputs)]
        return Graph(tracer.inputs, tracer.nodes, outputs)


def _cheap(body: Graph, n_const: int, n_carry: int) -> set[Var]:
    """Variables that are recomputed rather than saved: functions of consts alone, movements of
    inputs, and functions of consts and x without a costly operation."""
    inputs = set(body.inputs)
    moved = set(inputs)
    fixed = set(body.inputs[:n_const])
    per_step = fixed | set(body.inputs[n_const + n_carry :])
    for node in body.nodes:
        reads = set(node.inputs)
        if node.op.name in MOVEMENT and reads <= moved:
            moved.update(node.outputs)
        if reads <= fixed:
            fixed.update(node.outputs)
        if reads <= per_step and node.op.name not in COSTLY:
            per_step.update(node.outputs)
    return moved | fixed | per_step
