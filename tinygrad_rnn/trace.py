"""Recording: what a function computes, as a Graph.

In: applications of primitives to values. Out: a Graph and the values it captured. While a Tracer is
active, `primitive.bind` records here instead of computing.
"""

from __future__ import annotations

import contextvars
import functools
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

from .backend import Backend, checking
from .errors import BackendError, TraceError
from .graph import Graph, Node, Var, encode
from .types import Type

P = ParamSpec("P")
R = TypeVar("R")


class State(threading.local):
    """Per thread: the active tracer, whether derivatives are recorded, whether NaNs are hunted,
    what derivatives are being taken."""

    tracer: Tracer | None = None
    grad: bool = True
    quiet: bool = False

    def __init__(self) -> None:
        self.check = checking()
        #: ids of the values that derivatives in progress were asked for
        self.arguments: set[int] = set()
        # infinities and NaN are values: kernels run where NumPy does not warn of them. Entering a
        # context costs a third of what np.errstate does.
        silent = contextvars.Context()
        silent.run(np.seterr, all="ignore")
        self.run: Callable[..., Any] = silent.run


state = State()


class Capture(NamedTuple):
    """A value from outside that a trace reads: its variable, itself, and the tensor it came in."""

    var: Var
    value: Any
    handle: Any


class Tracer:
    """Records one graph; use as a context manager.

    `what` names the function in messages. `assigns` says whether tensors from outside may be
    assigned to (they become outputs of the graph), `gradients` whether their `.grad` may change.
    `share=True` records equal nodes once, and keeps in `producers` the node that made each variable
    (passes look at it). The step of a loop has its `length`; `drawn` are random numbers for all of
    its steps, of which a step reads its own.
    """

    def __init__(
        self,
        what: str,
        backend: Backend,
        *,
        assigns: bool = False,
        gradients: bool = False,
        share: bool = False,
    ):
        self.what, self.backend, self.assigns, self.gradients = what, backend, assigns, gradients
        self.token = object()
        self.nodes: list[Node] = []
        self.inputs: list[Var] = []
        self.captures: dict[int, Capture] = {}
        self.assigned: dict[int, tuple[Any, Any]] = {}
        self.rebound: set[int] = set()
        self.grads: dict[int, tuple[Any, Any]] = {}
        self.grad_reads: dict[int, tuple[Any, bool]] = {}
        self.guards: list[tuple[Any, str, Any]] = []
        self.share: dict[Any, tuple[Var, ...]] | None = {} if share else None
        self.producers: dict[Var, Node] = {}
        self.parent: Tracer | None = None
        self.length: int | None = None
        self.drawn: list[Any] = []

    def __enter__(self) -> Tracer:
        self.parent, self.outer = state.tracer, (state.grad, state.quiet)
        state.tracer, state.grad, state.quiet = self, True, False
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        state.tracer, (state.grad, state.quiet) = self.parent, self.outer
        self.parent = None

    def input(self, type: Type) -> Var:
        """A new input variable."""
        var = Var(type, self.token)
        self.inputs.append(var)
        return var

    def lift(self, value: Any, handle: Any) -> Var:
        """The variable of a value here; a value from outside is captured."""
        data = value.data
        if type(data) is Var:
            if data.owner is self.token:
                return data
            outer = self.parent
            while outer is not None and outer.token is not data.owner:
                outer = outer.parent
            if outer is None:
                raise leaked(value)
        known = self.captures.get(id(value))
        if known is None:
            if value.backend is not self.backend:
                raise BackendError(
                    f"{self.what}: a captured tensor {value.type} lives on '{value.backend.name}', "
                    f"the function runs on '{self.backend.name}'; move it with "
                    f".to('{self.backend.name}')."
                )
            known = Capture(Var(value.type, self.token), value, handle)
            self.captures[id(value)] = known
        return known.var

    def record(
        self, op: Any, inputs: tuple[Var, ...], attrs: dict[str, Any], types: Sequence[Type]
    ) -> tuple[Var, ...]:
        """Append one node; its output variables."""
        frozen = not state.grad and not state.quiet
        if self.share is not None:
            key = (op, inputs, encode(tuple(sorted(attrs.items()))), frozen)
            found = self.share.get(key)
            if found is not None:
                return found
        outputs = tuple([Var(t, self.token) for t in types])
        node = Node(op, inputs, attrs, outputs, frozen)
        self.nodes.append(node)
        if self.share is not None:
            self.share[key] = outputs
            self.producers.update(dict.fromkeys(outputs, node))
        return outputs

    def owns(self, value: Any) -> bool:
        return type(value.data) is Var and value.data.owner is self.token

    def note_assignment(self, handle: Any, recorded: bool = False) -> None:
        """Called before `handle` is rebound: remember what it held when the trace began.

        `recorded` says that gradients flow through the new value.
        """
        (self.rebound.add if recorded else self.rebound.discard)(id(handle))
        if self.owns(handle._value) and id(handle) not in self.assigned:
            return  # made inside this trace
        if not self.assigns:
            raise TraceError(
                f"{self.what}: a tensor from outside ({handle._value.type}) is assigned to inside "
                "the function. Return the new value instead: as part of the carry, or as a result."
            )
        self.assigned.setdefault(id(handle), (handle, handle._value))

    def note_grad(self, handle: Any) -> None:
        """Called before `handle.grad` changes."""
        if not self.gradients:
            raise TraceError(
                f"{self.what}: `.grad` of a tensor {handle._value.type} changes inside the "
                "function; use grad(...) there, which returns the gradient."
            )
        self.grads.setdefault(id(handle), (handle, handle._grad))

    def note_grad_read(self, handle: Any) -> None:
        """Called when `handle.grad` is read: whether there is one is taken for granted."""
        if id(handle) not in self.grads:
            self.grad_reads.setdefault(id(handle), (handle, handle._grad is not None))

    def finish(self, outputs: Sequence[Var], captured: bool = True) -> Graph:
        """The graph so far, without dead nodes; captured variables follow the inputs."""
        live = set(outputs)
        nodes = []
        for node in reversed(self.nodes):
            if not live.isdisjoint(node.outputs):
                nodes.append(node)
                live.update(node.inputs)
        nodes.reverse()
        extra = [c.var for c in self.captures.values()] if captured else []
        return Graph([*self.inputs, *extra], nodes, outputs)


def leaked(value: Any) -> TraceError:
    return TraceError(
        f"a tensor {value.type} that was recorded inside scan, jit, vmap or checkpoint is used "
        "after the recording ended. Return it from the function instead of storing it elsewhere."
    )


def guard(obj: Any, attribute: str) -> Any:
    """`getattr(obj, attribute)`; a `jit` that reads it is traced again when it has changed."""
    value = getattr(obj, attribute)
    tracer = state.tracer
    while tracer is not None:
        tracer.guards.append((obj, attribute, value))
        tracer = tracer.parent
    return value


class no_grad:
    """Inside, nothing is recorded for derivatives. Context manager and decorator.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> with tg.no_grad():
    ...     (x * x).requires_grad
    False
    """

    mode = False
    silent = False

    def __enter__(self) -> None:
        # a stack, because one instance may be entered again while it is active
        self.stack: list[tuple[bool, bool]] = [
            *getattr(self, "stack", []),
            (state.grad, state.quiet),
        ]
        state.grad, state.quiet = self.mode, self.silent

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        state.grad, state.quiet = self.stack.pop()

    def __call__(self, f: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(f)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            with type(self)():
                return f(*args, **kwargs)

        return wrapped


class enable_grad(no_grad):
    """Inside, derivatives are recorded again, even within `no_grad`."""

    mode = True


class untraced:
    """Inside, operations are computed at once, even while a function is recorded, or recorded by
    the tracer that is given."""

    def __init__(self, outside: Tracer | None = None):
        self.outside = outside

    def __enter__(self) -> None:
        self.tracer, state.tracer = state.tracer, self.outside

    def __exit__(self, *_: object) -> None:
        state.tracer = self.tracer


class unrecorded(no_grad):
    """As `no_grad`, but what a trace records stays differentiable for whoever replays it."""

    silent = True


def is_grad_enabled() -> bool:
    """Whether operations are recorded for derivatives now."""
    return state.grad
