"""Tensor: a handle on an immutable value. No mathematics here: `ops` attaches it.

A `Value` is a buffer on a backend (or a variable of a graph under construction) together with how
it was made; it never changes. A `Tensor` points to one. Assignment (`t[i] = v`, `t.assign_(v)`)
points it to another, so a recorded value never changes under the tape.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from .attached import Attached
from .backend import Backend, get_backend
from .errors import ArgumentError, DTypeError, GradientError, ShapeError
from .graph import Var
from .synonyms import METHODS, missing
from .trace import leaked, state
from .types import DType, Shape, Type, as_dtype


class Value:
    """One immutable value: a buffer on a backend, or a variable of a graph under construction."""

    __slots__ = ("__weakref__", "backend", "data", "type")

    tracked = False  # whether it needs a gradient
    op: Any = None
    inputs: tuple[Any, ...] = ()

    def __init__(self, type: Any, data: Any, backend: Backend):
        self.type, self.data, self.backend = type, data, backend


class Tracked(Value):
    """A value that needs a gradient, and how it was made.

    `op, inputs, attrs`: the recorded application; op None: a leaf, then `leaf` is a weak reference
    to the Tensor that collects the gradient. `seq` orders the tape. An application with several
    outputs is one Tracked with a tuple of types; `ITEM` values project from it.
    """

    __slots__ = ("attrs", "inputs", "leaf", "op", "seq")

    leaf: Callable[[], Tensor | None]
    inputs: tuple[Value, ...]

    tracked = True

    def __init__(
        self,
        type: Any,
        data: Any,
        backend: Backend,
        op: Any,
        inputs: tuple[Value, ...],
        attrs: Any,
        seq: int,
    ):
        self.type, self.data, self.backend = type, data, backend
        self.op, self.inputs, self.attrs, self.seq = op, inputs, attrs, seq


class Tensor(Attached):
    """An n-dimensional array on a backend; make one with `tensor(...)`.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> x
    Tensor(f32[2,2] numpy
    [[1. 2.]
     [3. 4.]])
    """

    __slots__ = ("__weakref__", "_grad", "_value")
    _value: Value
    _grad: Tensor | None

    def __init__(self, *args: Any, **kwargs: Any):
        raise DTypeError("Tensor(...) is not called directly; use tinygrad_rnn.tensor(data).")

    # NumPy leaves `ndarray * tensor` to us, and refuses `np.sin(tensor)`.
    __array_ufunc__ = None
    __hash__ = object.__hash__

    if not TYPE_CHECKING:  # called for what is not there; type checkers know that themselves

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(missing(f"'{type(self).__name__}' object", name, METHODS))

    # --- facts -------------------------------------------------------------------------------

    @property
    def type(self) -> Type:
        """Shape and dtype together, printed `f32[7,3]`."""
        result: Type = self._value.type
        return result

    @property
    def shape(self) -> Shape:
        result: Shape = self._value.type.shape
        return result

    @property
    def dtype(self) -> DType:
        result: DType = self._value.type.dtype
        return result

    @property
    def ndim(self) -> int:
        return len(self._value.type.shape)

    @property
    def size(self) -> int:
        return self.type.size

    @property
    def backend(self) -> Backend:
        return self._value.backend

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this tensor."""
        return self._value.op is None

    def __len__(self) -> int:
        if not self.shape:
            raise ShapeError("len() of a 0-d tensor.")
        return self.shape[0]

    # --- values ------------------------------------------------------------------------------

    def _host(self) -> np.ndarray:
        data = self._value.data
        if type(data) is Var:
            if state.tracer is None:
                raise leaked(self._value)
            raise GradientError(
                f"the value of a tensor {self.type} is not known while {state.tracer.what} is "
                "being recorded; use where(...) instead of `if`, and return what you want to look "
                "at."
            )
        return np.asarray(self._value.backend.get(data))

    def numpy(self) -> np.ndarray:
        """The values as a read-only NumPy array; one that needs a gradient must be detached."""
        if self._value.tracked:
            raise GradientError(
                f"a tensor {self.type} that requires a gradient would lose it as a NumPy array; "
                "call .detach() first: x.detach().numpy()."
            )
        out = self._host().view()
        out.flags.writeable = False
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def item(self) -> Any:
        """The single element as a Python number."""
        if self.size != 1:
            raise ShapeError(f"item() needs exactly one element, this tensor is {self.type}.")
        return self._host().item()

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self._host().tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(
                f"the truth value of a tensor {self.type} is ambiguous; use .any() or .all()."
            )
        return bool(self.item())

    def __index__(self) -> int:
        if not self.dtype.is_integer:
            raise DTypeError(f"only an integer tensor can be an index, this one is {self.type}.")
        return int(self.item())

    def __repr__(self) -> str:
        flag = " requires_grad" if self._value.tracked else ""
        if type(self._value.data) is Var:
            return f"Tensor({self.type} recorded{flag})"
        body = np.array2string(self._host(), precision=4, threshold=100, edgeitems=3)
        return f"Tensor({self.type} {self.backend.name}{flag}\n{body})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        """A single element takes a number's format: f"{loss:.3f}"."""
        return format(self.item(), spec) if spec else str(self)

    # --- gradients ---------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded; settable on leaves."""
        return self._value.tracked

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        if not self.is_leaf:
            raise GradientError(
                f"requires_grad can be set on leaves only, this tensor {self.type} is the result "
                f"of '{self._value.op.name}'; use .detach()."
            )
        old = self._value
        if flag and not self.dtype.is_inexact:
            raise GradientError(
                f"a tensor {self.type} has no gradient: only floating dtypes do. "
                "Cast it with .astype('float32')."
            )
        if state.tracer is not None:
            state.tracer.note_assignment(self)
        self._value = leaf_value(old.type, old.data, old.backend, bool(flag), self)

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` collected here, or None."""
        if state.tracer is not None:
            state.tracer.note_grad_read(self)
        return self._grad

    @grad.setter
    def grad(self, new: Tensor | None) -> None:
        if new is not None and not isinstance(new, Tensor):
            raise DTypeError(f"grad must be a Tensor or None, got {type(new).__name__}.")
        if new is not None and new.type is not self.type:
            raise ShapeError(f"grad of a tensor {self.type} cannot be {new.type}.")
        if state.tracer is not None:
            state.tracer.note_grad(self)
        self._grad = new

    # --- assignment --------------------------------------------------------------------------

    def assign_(self, new: Any) -> Tensor:
        """Point this tensor to the value of `new` (same shape and dtype); returns self.

        Nothing is recorded for derivatives; a leaf that requires a gradient stays one. Inside `jit`
        the assignment happens at every call.
        """
        if not isinstance(new, Tensor):
            host = np.asarray(new)
            backend = self.backend
            if state.tracer is None:
                new = wrap(
                    Value(Type(host.shape, as_dtype(host.dtype)), backend.put(host), backend)
                )
            else:
                raise DTypeError("assign_ inside a recorded function needs a Tensor.")
        if new.type is not self.type:
            raise ShapeError(f"assign_: cannot put {new.type} into a tensor {self.type}.")
        if new.backend is not self.backend:
            raise ArgumentError(
                f"assign_: the new value lives on '{new.backend.name}', this tensor on "
                f"'{self.backend.name}'; use .to('{self.backend.name}')."
            )
        if state.tracer is not None:
            state.tracer.note_assignment(self)
            if state.grad and new.dtype.is_inexact:
                new = new.detach()  # in the graph too, whoever differentiates it
        tracked = self._value.tracked and self.is_leaf
        self._value = leaf_value(new.type, new._value.data, new.backend, tracked, self)
        return self

    def _rebind(self, new: Tensor) -> None:
        """Point to a recorded result (`t[i] = v`, `t += v`); the tape of `new` is kept."""
        if self._value.tracked and self.is_leaf and state.grad:
            raise GradientError(
                f"a leaf {self.type} that requires a gradient is changed in place; do it inside "
                "`with no_grad():`, or work on a copy."
            )
        if not state.grad and self.is_leaf:
            self.assign_(new)
            return
        if state.tracer is not None:
            state.tracer.note_assignment(self, recorded=True)
        self._value = new._value

    # --- moving ------------------------------------------------------------------------------

    def _to_backend(self, which: str | Backend) -> Tensor:
        backend = get_backend(which)
        if backend is self.backend:
            return self
        if self._value.tracked and not self.is_leaf:
            raise GradientError(
                "a recorded result cannot move to another backend, its gradient could not follow; "
                "move the leaves, or .detach() first."
            )
        value = self._value
        new = wrap(Value(value.type, backend.put(self._host()), backend))
        if value.tracked:
            new.requires_grad = True
        return new

    def __getstate__(self) -> NoReturn:
        raise DTypeError("tensors are not pickled; use save_checkpoint, or .numpy().")

    def __copy__(self) -> Tensor:
        out = wrap(self._value)
        if self.is_leaf:  # two leaves, even of one value, are two
            old = self._value
            out._value = leaf_value(old.type, old.data, old.backend, old.tracked, out)
        return out

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise GradientError("only leaves can be copied deeply; use .detach().")
        new: Tensor = object.__new__(type(self))
        memo[id(self)] = new
        old = self._value
        new._value = leaf_value(old.type, old.data, old.backend, old.tracked, new)
        new._grad = None if self._grad is None else wrap(self._grad._value)
        return new


_new = object.__new__


def wrap(value: Value) -> Tensor:
    """A Tensor that points to `value`."""
    t: Tensor = _new(Tensor)
    t._value = value
    t._grad = None
    return t


def leaf_value(
    type: Type, data: Any, backend: Backend, tracked: bool, handle: Tensor | None
) -> Value:
    """A value that no recorded operation made; `handle` collects its gradient."""
    if not tracked:
        return Value(type, data, backend)
    value = Tracked(type, data, backend, None, (), None, 0)
    value.leaf = _nobody if handle is None else weakref.ref(handle)
    return value


def _nobody() -> None:
    return None


def from_buffer(type: Type, data: Any, backend: Backend) -> Tensor:
    """A new leaf that is a buffer of the backend."""
    value = Value(type, data, backend)
    if state.tracer is not None:
        # a constant of the graph: what is later assigned to it must not outlive this recording
        value = Value(type, state.tracer.lift(value, wrap(value)), backend)
    return wrap(value)


def from_host(
    host: np.ndarray, backend: Backend | None = None, requires_grad: bool = False
) -> Tensor:
    """A new leaf with a copy of `host` (whose dtype is kept)."""
    tracer = state.tracer
    where = backend or (tracer.backend if tracer is not None else get_backend())
    t = from_buffer(Type(host.shape, as_dtype(host.dtype)), where.put(host), where)
    if requires_grad:
        t.requires_grad = True
    return t
