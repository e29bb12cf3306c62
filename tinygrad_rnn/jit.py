"""jit: a function recorded once as a graph, optimised, compiled for the backend, and run so.

In: a Python function; a whole training step (forward, backward, optimizer) is one. Out: a function
with the same effects. Tensors that the function reads from outside are read anew at every call;
tensors that it assigns to (parameters, optimizer state, generators, `.grad`) are assigned at every
call. `trace` and `explain` show what was recorded.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .backend import Backend, compiled, get_backend, run
from .call import Call
from .errors import DTypeError
from .explanation import Explanation
from .graph import Graph, Var
from .ops.creation import tensor
from .primitive import RELEASED, apply, find_nan
from .tensor import Tensor, Value, leaf_value, wrap
from .trace import Tracer, state
from .tree import flatten, unflatten
from .types import default_dtype

#: Recordings that differ in a Python float alone before a warning.
MANY = 8


class Recording:
    """A recorded call of a function: the graph, where operands come from, where results go."""

    def __init__(
        self, fn: Callable[..., Any], leaves: Sequence[Any], treedef: Any, backend: Backend
    ):
        self.backend = backend
        name = getattr(fn, "__name__", type(fn).__name__)
        with Tracer(f"jit({name})", backend, assigns=True, gradients=True) as tracer:
            given = [_placeholder(t, tracer) if isinstance(t, Tensor) else t for t in leaves]
            args, kwargs = unflatten(treedef, given)
            inputs = [t for t in given if isinstance(t, Tensor)]
            before = [t._value for t in inputs]
            try:
                result = fn(*args, **kwargs)
                self._read_effects(tracer, result, inputs, before)
            finally:
                for handle, original in tracer.assigned.values():
                    handle._value = original
                for handle, original in tracer.grads.values():
                    handle._grad = original
        self.guards = [(obj, attribute, value) for obj, attribute, value in tracer.guards]
        place = {id(t): i for i, t in enumerate(inputs)}
        self.sources = [_source(c.handle, tracer, place) for c in tracer.captures.values()]
        self.types = [(c.value.type, c.value.tracked) for c in tracer.captures.values()]
        # (whose gradient: a tensor, or the number of an argument; whether one is taken for granted)
        self.grad_reads = [
            (place.get(id(t), t), present) for t, present in tracer.grad_reads.values()
        ]
        self.graph: Graph = tracer.finish(self.outputs)

    def _read_effects(
        self, tracer: Tracer, result: Any, inputs: Sequence[Tensor], before: Sequence[Value]
    ) -> None:
        """Collect outputs: results, then values of assigned tensors, then gradients."""
        results, self.out_def = flatten(result)
        self.static = [None if isinstance(r, Tensor) else (r,) for r in results]
        tensors = [r for r in results if isinstance(r, Tensor)]
        place = {id(t): i for i, t in enumerate(inputs)}
        # what is assigned to: tensors from outside, or the numbers of arguments
        moved = [t for t, old in zip(inputs, before) if t._value is not old]
        changed = [handle for handle, _ in tracer.assigned.values()] + moved
        self.assigned = [place.get(id(handle), handle) for handle in changed]
        self.outputs: list[Var] = [tracer.lift(t._value, t) for t in (*tensors, *changed)]
        # what was already differentiated inside, and a leaf that is assigned to, need no gradient
        self.tracked = [t._value.tracked and t._value.op is not RELEASED for t in tensors]
        self.tracked += [h._value.tracked and h._value.op not in (None, RELEASED) for h in changed]
        # (where the gradient goes: a tensor, or the number of an argument; whether there is one)
        self.grads: list[tuple[Any, bool]] = []
        for handle, _ in tracer.grads.values():
            new = handle._grad
            self.grads.append((place.get(id(handle), handle), new is not None))
            if new is not None:
                self.outputs.append(tracer.lift(new._value, new))

    def valid(self, leaves: Sequence[Any]) -> bool:
        """Whether what the recording took for granted still holds."""
        for obj, attribute, value in self.guards:
            if getattr(obj, attribute) != value:
                return False
        args = [t for t in leaves if isinstance(t, Tensor)] if self.grad_reads else []
        for whose, present in self.grad_reads:
            if (_owner(whose, args)._grad is not None) != present:
                return False
        return [_fact(s(args)) for s in self.sources] == self.types

    def run(self, leaves: Sequence[Any]) -> Any:
        args = [t for t in leaves if isinstance(t, Tensor)]
        operands = args + [source(args) for source in self.sources]
        if any(self.tracked) and state.grad:
            outs = apply(
                Call,
                tuple(operands),
                {"body": self.graph, "shown": len(self.outputs), "save": "auto"},
            )[: len(self.outputs)]
            flags = self.tracked + [False] * (len(outs) - len(self.tracked))
            tensors = [
                t if f else wrap(Value(t.type, t._value.data, self.backend))
                for t, f in zip(outs, flags)
            ]
        else:
            values = [t._value for t in operands]
            buffers = run(compiled(self.backend, self.graph), [v.data for v in values])
            if state.check:
                find_nan(Call, self.backend, values, buffers, {"body": self.graph})
            tensors = [
                wrap(Value(v.type, b, self.backend)) for v, b in zip(self.graph.outputs, buffers)
            ]
        return self._write_effects(tensors, args)

    def _write_effects(self, tensors: list[Tensor], args: Sequence[Tensor]) -> Any:
        it = iter(tensors)
        results = [s[0] if s is not None else next(it) for s in self.static]
        for whose in self.assigned:
            handle, new = _owner(whose, args), next(it)
            if new._value.tracked:
                handle._value = new._value
                continue
            leaf = handle._value.tracked and handle.is_leaf
            handle._value = leaf_value(new.type, new._value.data, self.backend, leaf, handle)
        for whose, present in self.grads:
            _owner(whose, args)._grad = next(it) if present else None
        return unflatten(self.out_def, results)


def _placeholder(t: Tensor, tracer: Tracer) -> Tensor:
    fresh = wrap(Value(t.type, tracer.input(t.type), tracer.backend))
    if t.requires_grad:
        fresh._value = leaf_value(t.type, fresh._value.data, tracer.backend, True, fresh)
    fresh._grad = t._grad
    return fresh


def _owner(whose: Any, args: Sequence[Tensor]) -> Tensor:
    """A tensor from outside itself, or an argument of this call by its number."""
    found: Tensor = args[whose] if isinstance(whose, int) else whose
    return found


def _source(
    handle: Tensor, tracer: Tracer, place: dict[int, int]
) -> Callable[[Sequence[Tensor]], Any]:
    """How to find a captured tensor at the next call: by its handle, or as the gradient of one."""
    for owner, _ in tracer.grad_reads.values():
        if owner._grad is handle:
            whose: Any = place.get(id(owner), owner)
            return lambda args: _owner(whose, args)._grad
    return lambda args: handle


def _fact(t: Tensor) -> tuple[Any, bool]:
    return t._value.type, t._value.tracked


class Jit:
    """What `jit` returns; `.recordings` are the graphs made so far."""

    def __init__(self, fn: Callable[..., Any]):
        if not callable(fn):
            raise DTypeError(f"jit takes a function, got {type(fn).__name__}.")
        self.fn = fn
        self.cache: dict[Any, list[Recording]] = {}
        self.floats: dict[Any, int] = {}
        functools.update_wrapper(self, fn, updated=())

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        """A decorated method gets its object, of which every one has recordings of its own."""
        return self if obj is None else functools.partial(self, obj)

    @property
    def recordings(self) -> list[Recording]:
        return [r for found in self.cache.values() for r in found]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if state.tracer is not None:
            return self.fn(*args, **kwargs)  # recorded into the graph around us
        leaves, treedef = _operands(args, kwargs)
        backend = next((t.backend for t in leaves if isinstance(t, Tensor)), None) or get_backend()
        key = (treedef, backend.name, state.grad, default_dtype(), tuple([_key(x) for x in leaves]))
        found = self.cache.setdefault(key, [])
        for recording in found:
            if recording.valid(leaves):
                return recording.run(leaves)
        self._look_at_floats(leaves, treedef)
        recording = Recording(self.fn, leaves, treedef, backend)
        found.insert(0, recording)
        del found[8:]  # what a guard made stale should not pile up
        return recording.run(leaves)

    def _look_at_floats(self, leaves: Sequence[Any], treedef: Any) -> None:
        """Warn when calls that differ in a Python float alone are recorded again and again."""
        floats = [x for x in leaves if type(x) is float]
        if not floats:
            return
        key = (treedef, tuple([float if type(x) is float else _key(x) for x in leaves]))
        self.floats[key] = self.floats.get(key, 0) + 1
        if self.floats[key] == MANY:
            name = getattr(self.fn, "__name__", type(self.fn).__name__)
            warnings.warn(
                f"jit({name}) has been recorded and compiled {MANY} times for different floats "
                f"among its arguments (now {', '.join(map(repr, floats))}): a Python number is a "
                "constant of the recording. Pass tensor(number), which is an input.",
                stacklevel=3,
            )


def _operands(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], Any]:
    leaves, treedef = flatten((args, kwargs))
    return [tensor(x) if isinstance(x, np.ndarray | np.generic) else x for x in leaves], treedef


def _key(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.type, x.requires_grad
    if isinstance(x, bool | int | float | str | bytes):
        return type(x), repr(x)
    try:
        hash(x)
    except TypeError:
        raise DTypeError(
            f"jit: an argument of type {type(x).__name__} is neither a tensor nor hashable; "
            "pass tensors, or trees of them."
        ) from None
    return x


def jit(fn: Callable[..., Any]) -> Jit:
    """`fn`, recorded at its first call and run as one compiled graph afterwards.

    Tensors and arrays among the arguments are inputs; other arguments are constants of the
    recording (a new value is recorded anew). Python code inside runs once, while recording: use
    `where`, not `if`, on values.

    >>> counter = tensor(0)
    >>> @jit
    ... def step(x):
    ...     counter.assign_(counter + 1)
    ...     return x * counter
    >>> step(tensor(10)).item(), step(tensor(10)).item()
    (10, 20)
    """
    return Jit(fn)


def record(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Recording:
    """One call of `fn`, recorded but not computed."""
    leaves, treedef = _operands(args, kwargs)
    backend = next((t.backend for t in leaves if isinstance(t, Tensor)), None) or get_backend()
    return Recording(fn.fn if isinstance(fn, Jit) else fn, leaves, treedef, backend)


def trace(fn: Callable[..., Any]) -> Callable[..., Graph]:
    """A function that returns what `fn(*args)` computes as a Graph, without computing it.

    Inputs are the tensors among the arguments, then those captured; outputs are the results, then
    the new values of assigned tensors and gradients.

    >>> print(trace(lambda x: x * 2)(tensor([1.0])))
    graph(a: f32[1]) {
      v0: f32[] = full(value=2.0, shape=(), dtype=float32)
      v1: f32[1] = mul(a, v0)
      return v1
    }
    """
    return lambda *args, **kwargs: record(fn, args, kwargs).graph


def explain(fn: Callable[..., Any]) -> Callable[..., Explanation]:
    """A function that says what `fn(*args)` becomes: its loops, their products, what they save.

    >>> from tinygrad_rnn import scan, zeros
    >>> def run(h, w, xs):
    ...     return scan(lambda h, x: (((h + x) @ w).tanh(), None), h, xs)[0]
    >>> report = explain(run)(zeros((3, 2)), tensor([[1.0, 0.0], [0.5, 1.0]]), zeros((5, 3, 2)))
    >>> len(report.loops), report.loops[0].length, report.loops[0].products
    (1, 5, 1)
    """

    def wrapped(*args: Any, **kwargs: Any) -> Explanation:
        recording = record(fn, args, kwargs)
        return Explanation(recording.graph, recording.backend)

    return wrapped
