"""THE reverse pass, on which every derivative is built, and `Tensor.backward`.

In: recorded values and cotangents. Out: cotangents of leaves or of chosen values. The rules of the
primitives are tensor operations, so what the pass computes can be recorded, compiled and
differentiated again. Complex cotangents inside are the conjugates of those outside: `ops.complexes`
says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .errors import GradientError, ShapeError
from .ops.complexes import conj
from .ops.creation import ones_like
from .ops.elementwise import Add, Alias
from .ops.movement import sum_to
from .primitive import ITEM, RELEASED, apply, bind
from .pullbacks import pullback_program
from .tensor import Tensor, Tracked, Value, wrap
from .trace import enable_grad, no_grad, state

Cotangents = dict[int, Any]


def tape(outputs: Sequence[Value], stop: set[int]) -> list[Tracked]:
    """All tracked values that `outputs` were made from, latest first; not beyond `stop`."""
    seen: set[int] = set()
    found: list[Tracked] = []
    stack = [v for v in outputs if isinstance(v, Tracked)]
    while stack:
        v = stack.pop()
        if id(v) in seen:
            continue
        seen.add(id(v))
        found.append(v)
        if id(v) not in stop:
            stack.extend([w for w in v.inputs if isinstance(w, Tracked)])
    found.sort(key=lambda v: v.seq, reverse=True)
    return found


def pull(
    found: Sequence[Tracked], seeds: Sequence[tuple[Value, Tensor]], stop: set[int], release: bool
) -> Cotangents:
    """Walk the tape `found` from its end; the cotangents left over belong to leaves and `stop`."""
    cotangents: Cotangents = {}
    for value, g in seeds:
        _accumulate(cotangents, value, g)
    for v in found:
        op = v.op
        if op is None or id(v) in stop:
            continue
        g = cotangents.pop(id(v), None)
        if g is None:
            continue
        if op is ITEM:
            parts = cotangents.setdefault(id(v.inputs[0]), {})
            index = v.attrs["index"]
            parts[index] = parts[index] + g if index in parts else g
            continue
        inputs = tuple(map(wrap, v.inputs))
        if op.vjp:
            y, attrs = wrap(v), v.attrs
            for w, rule in zip(v.inputs, op.vjp):
                if w.tracked and rule is not None:
                    _accumulate(cotangents, w, rule(g, y, *inputs, **attrs))
        else:
            needs = [w.tracked for w in v.inputs]
            for w, ct in zip(v.inputs, op.pullback(needs, g, wrap(v), inputs, v.attrs)):
                if ct is not None and w.tracked:
                    _accumulate(cotangents, w, ct)
        if release:
            v.op, v.inputs, v.attrs = RELEASED, (), None
    return cotangents


def _accumulate(cotangents: Cotangents, value: Value, g: Tensor) -> None:
    """Add a cotangent, summed over what was broadcast."""
    shape = value.type.shape
    if g._value.type.shape != shape:
        g = sum_to(g, shape)
    key = id(value)
    old = cotangents.get(key)
    cotangents[key] = g if old is None else apply(Add, (old, g), {})


def pull_unrecorded(
    found: Sequence[Tracked], seeds: Sequence[tuple[Value, Tensor]], stop: set[int], release: bool
) -> Cotangents:
    """`pull` on buffers, when nobody records: every rule runs as a compiled program."""
    backend = seeds[0][0].backend if seeds else None
    if backend is None or state.tracer is not None or state.check:
        return pull(found, seeds, stop, release)
    add = backend.kernels["add"]
    buffers: Cotangents = {}
    with np.errstate(all="ignore"):
        for value, g in seeds:
            _add(buffers, value, g._value.data, add)
        for v in found:
            op = v.op
            if op is None or id(v) in stop:
                continue
            g = buffers.pop(id(v), None)
            if g is None:
                continue
            if op is ITEM:
                parts = buffers.setdefault(id(v.inputs[0]), {})
                index = v.attrs["index"]
                parts[index] = add(parts[index], g) if index in parts else g
                continue
            if op.vjp:
                needs = tuple([w.tracked for w in v.inputs])
                program = pullback_program(v, needs)
                it = iter(program(g, v.data, *[w.data for w in v.inputs]))
                for w, need, rule in zip(v.inputs, needs, op.vjp):
                    if need and rule is not None:
                        _add(buffers, w, next(it), add)
            else:
                _pull_several(v, g, buffers, add)
            if release:
                v.op, v.inputs, v.attrs = RELEASED, (), None
    types = {id(v): v.type for v in found}
    return {k: wrap(Value(types[k], b, backend)) for k, b in buffers.items() if k in types}


def _add(buffers: Cotangents, value: Value, g: Any, add: Callable[[Any, Any], Any]) -> None:
    key = id(value)
    old = buffers.get(key)
    buffers[key] = g if old is None else add(old, g)


def _pull_several(v: Tracked, g: Any, buffers: Cotangents, add: Callable[[Any, Any], Any]) -> None:
    """Operations with a pullback of their own take and give tensors."""
    if type(v.type) is tuple:
        g = {i: wrap(Value(v.type[i], b, v.backend)) for i, b in g.items()}
    elif v.op is not RELEASED:
        g = wrap(Value(v.type, g, v.backend))
    needs = [w.tracked for w in v.inputs]
    inputs = tuple(map(wrap, v.inputs))
    for w, ct in zip(v.inputs, v.op.pullback(needs, g, wrap(v), inputs, v.attrs)):
        if ct is not None and w.tracked:
            _add(buffers, w, sum_to(ct, w.type.shape)._value.data, add)


def backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add d(self)/d(leaf) to `.grad` of every leaf that requires a gradient.

    `gradient` is the cotangent of this tensor (1 for a scalar). The recorded graph is released
    unless `retain_graph` (default: `create_graph`); with `create_graph` the gradients are recorded
    themselves. The gradient of a complex leaf x + iy is d/dx + i d/dy, as in PyTorch.

    >>> from tinygrad_rnn import tensor
    >>> x = tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad.tolist()
    [2.0, 4.0]
    """
    value = self._value
    if not value.tracked:
        raise GradientError(
            f"backward: this tensor {self.type} does not depend on anything that requires a "
            "gradient (set requires_grad=True on the leaves, and check no_grad/detach)."
        )
    if gradient is None:
        if self.size != 1:
            raise GradientError(
                f"backward of a tensor {self.type}, which is not a scalar, needs its cotangent: "
                "y.backward(gradient), or reduce it first (y.sum().backward())."
            )
        if self.dtype.is_complex:
            raise GradientError(
                f"backward of a complex scalar {self.type} needs its cotangent: "
                "y.backward(gradient), or make it real first (abs, real, imag)."
            )
        gradient = ones_like(self)
    elif gradient.type is not self.type:
        raise ShapeError(f"backward: the cotangent is {gradient.type}, this tensor is {self.type}.")
    release = not (create_graph if retain_graph is None else retain_graph)
    found = tape([value], set())
    with enable_grad() if create_graph else no_grad():
        left = (pull if create_graph else pull_unrecorded)(
            found, [(value, conj(gradient))], set(), release
        )
        for v in found:
            if v.op is None and id(v) in left:
                handle = v.leaf()
                if handle is not None:
                    old, new = handle.grad, conj(left[id(v)])
                    handle.grad = new if old is None else old + new


def detach(self: Tensor) -> Tensor:
    """The same value, through which no gradient flows."""
    if state.tracer is not None:
        with no_grad():  # remembered in the graph, for whoever differentiates it later
            out: Tensor = bind(Alias, self)
        return out
    value = self._value
    return wrap(Value(value.type, value.data, value.backend))


for _method in (backward, detach):
    setattr(Tensor, _method.__name__, _method)
