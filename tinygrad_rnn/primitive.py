"""Primitives: one class each holds all that is known of an operation; `bind` applies them.

In: tensors (positional) and attributes (keyword, hashable). Out: tensors. `bind` is the one place
where an operation happens: it types, then computes on the backend or records in the active trace,
and records for derivatives when an operand needs a gradient.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np

from . import backend as _backend
from .backend import Backend, get_backend, same_backend
from .errors import BackendError, DTypeError, GradientError, NaNError, ShapeError
from .graph import Graph, Node, Var, watching
from .tensor import Tensor, Tracked, Value, from_host, wrap
from .trace import leaked, state
from .types import DType, Type, broadcast_shapes, common_dtype, default_for, kind_of

Rule = Callable[..., Tensor | None]
Operands = tuple[Tensor, ...]
Flags = tuple[bool, ...]


class Arg(NamedTuple):
    """How a test draws one operand: shape, range and dtype (None: every floating dtype)."""

    shape: tuple[int, ...]
    low: float = -2.0
    high: float = 2.0
    dtype: str | None = None


class Sample(NamedTuple):
    """One valid application of a primitive: operands and attributes."""

    args: tuple[Arg, ...]
    attrs: Mapping[str, Any] = MappingProxyType({})


class Primitive:
    """Base class; a subclass is the operation (it is never instantiated).

    `reference`: its meaning on NumPy arrays. `type`: the type rule. `vjp`: one rule per operand,
    `(g, y, *operands, **attrs) -> cotangent`, written in tensor operations; None where no gradient
    flows. `batch`: how it gains a leading axis. `samples`: what the generated tests draw.
    `analytic`: whether `reference` is an analytic function of complex operands, so that a complex
    step measures its derivatives.
    """

    name: ClassVar[str]
    reference: ClassVar[Any]
    vjp: ClassVar[tuple[Rule | None, ...] | None] = None
    samples: ClassVar[tuple[Sample, ...]] = ()
    analytic: ClassVar[bool] = True
    _types: ClassVar[dict[Any, Any]]

    def __init_subclass__(cls, name: str | None = None) -> None:
        if name is not None:
            cls.name = name
            cls._types = {}
            if name in _backend.primitives:
                raise DTypeError(f"a primitive named '{name}' exists already.")
            _backend.primitives[name] = cls

    @staticmethod
    def type(*types: Any, **attrs: Any) -> Any:
        raise NotImplementedError

    @classmethod
    def infer(cls, types: tuple[Type, ...], attrs: Any) -> Any:
        """The output type (a tuple for several outputs); remembered per operand types."""
        key = (types, tuple(attrs.items())) if attrs else types
        found = cls._types.get(key)
        if found is None:
            found = cls.type(*types, **attrs)
            if len(cls._types) > 4096:
                cls._types.clear()
            cls._types[key] = found
        return found

    @classmethod
    def prepare(cls, values: tuple[Value, ...], attrs: dict[str, Any]) -> dict[str, Any]:
        """Attributes to use when the application is recorded for derivatives (scan saves more)."""
        return attrs

    @classmethod
    def visible(cls, attrs: dict[str, Any]) -> int | None:
        """How many outputs the caller sees (None: all)."""
        return None

    @classmethod
    def pullback(
        cls, needs: Sequence[bool], g: Any, y: Tensor, inputs: tuple[Tensor, ...], attrs: Any
    ) -> list[Tensor | None]:
        """Cotangents of the operands that need one, for primitives whose `vjp` is empty.

        Those have any number of operands, or several outputs: `g` maps their numbers to cotangents.
        """
        raise NotImplementedError

    @classmethod
    def batch(cls, size: int, /, *given: Any, **attrs: Any) -> Any:
        """batch(size, operands, batched, **attrs): apply to operands of which those marked in
        `batched` have a leading axis of `size`; so do the results."""
        raise NotImplementedError

    @classmethod
    def execute(cls, backend: Backend, types: Any, attrs: dict[str, Any], buffers: Any) -> Any:
        """Compute on buffers what the backend has no kernel for."""
        raise BackendError(f"backend '{backend.name}' has no kernel for '{cls.name}'.")


class ITEM:
    """Projection from a recorded application with several outputs; exists on the tape only."""

    name = "item"


class RELEASED:
    """What stands on the tape after its operands were given up by `backward`."""

    name = "released"
    vjp = ()

    @staticmethod
    def pullback(*args: Any) -> Any:
        raise GradientError(
            "backward through a graph that was released by an earlier backward(); pass "
            "retain_graph=True to the first, or, if a recurrent state carries over to the next "
            "batch, .detach() it there (truncated backpropagation)."
        )


_sequence = itertools.count(1)


def bind(op: type[Primitive], *inputs: Tensor, **attrs: Any) -> Tensor:
    """Apply `op`, which has one output, to tensors: compute, or record."""
    out: Tensor = apply(op, inputs, attrs)
    return out


def bind_all(op: type[Primitive], *inputs: Tensor, **attrs: Any) -> tuple[Tensor, ...]:
    """`bind` for operations with any number of outputs: those that the caller sees."""
    out = apply(op, inputs, attrs)
    return out[: op.visible(attrs)] if type(out) is tuple else (out,)


_value, _type, _data = map(operator.attrgetter, ("_value", "type", "data"))


def apply(op: type[Primitive], inputs: tuple[Tensor, ...], attrs: dict[str, Any]) -> Any:
    """The one road of every operation: one output, or a tuple of all, residuals too."""
    values: tuple[Value, ...] = tuple(map(_value, inputs))
    backend = values[0].backend if values else None
    tracked = mixed = False
    for v in values:
        if v.tracked:
            tracked = True
        if v.backend is not backend:
            mixed = True
    if tracked:
        tracked = state.grad and op.vjp is not None
        if tracked:
            attrs = op.prepare(values, attrs)
    given = tuple(map(_type, values))
    types = op._types.get(given) if not attrs else None
    if types is None:
        types = op.infer(given, attrs)
    tracer = state.tracer
    if tracer is None:
        if mixed:
            same_backend(op.name, [v.backend for v in values])
        if backend is None:
            backend = get_backend()
        kernel = backend.kernels.get(op.name)
        try:
            if kernel is None:
                data = op.execute(backend, types, attrs, list(map(_data, values)))
            else:
                data = state.run(kernel, *map(_data, values), **attrs)
        except (TypeError, AttributeError):
            _refuse_leaked(values)
            raise
        if state.check:
            find_nan(op, backend, values, data, attrs)
    else:
        backend = tracer.backend
        variables = tuple([tracer.lift(v, t) for v, t in zip(values, inputs)])
        data = tracer.record(op, variables, attrs, types if type(types) is tuple else (types,))
        if type(types) is not tuple:
            data = data[0]
    if type(types) is not tuple:
        if tracked and types.dtype.is_inexact:  # type: ignore[union-attr]
            return wrap(Tracked(types, data, backend, op, values, attrs, next(_sequence)))
        return wrap(Value(types, data, backend))
    if not tracked:
        return tuple([wrap(Value(t, d, backend)) for t, d in zip(types, data)])
    record = Tracked(types, tuple(data), backend, op, values, attrs, next(_sequence))
    return tuple([wrap(item(record, i)) for i in range(len(types))])


def apply_two(op: type[Primitive], a: Tensor, b: Tensor) -> Tensor:
    """`apply` for two operands and no attributes: the commonest case, without its generality."""
    x, y = a._value, b._value
    types = op._types.get((x.type, y.type))
    backend = x.backend
    if types is None or y.backend is not backend or state.tracer is not None or state.check:
        return bind(op, a, b)
    try:
        data = state.run(backend.kernels[op.name], x.data, y.data)
    except KeyError:
        if op.name in backend.kernels:
            raise
        return bind(op, a, b)  # says that there is none, unless the operation can do without
    except (TypeError, AttributeError):
        _refuse_leaked((x, y))
        raise
    t: Tensor = _new(Tensor)
    t._grad = None
    if (x.tracked or y.tracked) and op.vjp is not None and types.dtype.is_inexact and state.grad:
        t._value = Tracked(types, data, backend, op, (x, y), _NONE, next(_sequence))
    else:
        t._value = Value(types, data, backend)
    return t


def apply_one(op: type[Primitive], a: Tensor) -> Tensor:
    """`apply` for one operand and no attributes."""
    x = a._value
    types = op._types.get((x.type,))
    if types is None or state.tracer is not None or state.check:
        return bind(op, a)
    try:
        data = state.run(x.backend.kernels[op.name], x.data)
    except KeyError:
        if op.name in x.backend.kernels:
            raise
        return bind(op, a)
    except (TypeError, AttributeError):
        _refuse_leaked((x,))
        raise
    t: Tensor = _new(Tensor)
    t._grad = None
    if x.tracked and op.vjp is not None and types.dtype.is_inexact and state.grad:
        t._value = Tracked(types, data, x.backend, op, (x,), _NONE, next(_sequence))
    else:
        t._value = Value(types, data, x.backend)
    return t


_new = object.__new__
_NONE: dict[str, Any] = {}


def _refuse_leaked(values: tuple[Value, ...]) -> None:
    for v in values:
        if type(v.data) is Var:
            raise leaked(v) from None


def item(record: Tracked, index: int) -> Value:
    """Output `index` of a recorded application with several outputs."""
    t, d = record.type[index], record.data[index]
    if not t.dtype.is_inexact:
        return Value(t, d, record.backend)
    return Tracked(t, d, record.backend, ITEM, (record,), {"index": index}, next(_sequence))


def find_nan(
    op: type[Primitive], backend: Backend, values: Sequence[Value], data: Any, attrs: Any
) -> None:
    """TINYGRAD_RNN_CHECK: raise if `op` made NaN out of operands without NaN.

    An operation with a body is run again by its reference, to name the one inside.
    """
    buffers = data if isinstance(data, tuple | list) else (data,)
    if not any(_has_nan(backend.get(b)) for b in buffers):
        return
    given = [backend.get(v.data) for v in values]
    if any(map(_has_nan, given)):
        return
    if isinstance(attrs.get("body"), Graph):
        with watching(_refuse_nan), np.errstate(all="ignore"):
            op.reference(*given, **attrs)
    raise _nan_error(op.name, [v.type for v in values])


def _has_nan(host: Any) -> bool:
    return bool(kind_of(np.asarray(host).dtype) in "fc" and np.isnan(host).any())


def _refuse_nan(node: Node, operands: Sequence[Any], results: Sequence[Any]) -> None:
    if any(map(_has_nan, results)) and not any(map(_has_nan, operands)):
        raise _nan_error(node.op.name, [v.type for v in node.inputs])


def _nan_error(name: str, types: Sequence[Any]) -> NaNError:
    return NaNError(
        f"'{name}' produced NaN from operands without NaN ({', '.join(map(str, types))}); "
        "this is the first operation that did."
    )


# --- scalars and operands ------------------------------------------------------------------------

_scalars: dict[Any, Value] = {}


def literal(value: Any, dtype: DType, backend: Backend) -> Tensor:
    """A Python number as a 0-d tensor of `dtype`: a literal of the graph while recording."""
    if state.tracer is not None:
        t: Tensor = bind(
            _backend.primitives["full"], value=_exact(value, dtype), shape=(), dtype=dtype
        )
        return t
    # zeros of both signs are equal, so what may hold one is not looked up
    key = (value, type(value), dtype, backend)
    kept = value and not dtype.is_complex
    found = _scalars.get(key) if kept else None
    if found is None:
        found = Value(
            Type((), dtype), backend.put(np.asarray(_exact(value, dtype), dtype.np)), backend
        )
        if len(_scalars) > 1024:
            _scalars.clear()
        if kept:
            _scalars[key] = found
    return wrap(found)


def _exact(value: Any, dtype: DType) -> Any:
    """The Python number that `dtype` holds for `value`."""
    with np.errstate(over="ignore"):
        host = np.asarray(float(value) if dtype.is_float else value).astype(dtype.np)
    if dtype.is_integer and int(host) != value:
        raise DTypeError(f"the Python number {value!r} does not fit into {dtype}.")
    if dtype.is_float and np.isfinite(host):
        return float(value)
    return host.item()


def is_scalar(x: Any) -> bool:
    """Whether `x` is a Python number (weak: it takes the dtype of its partner)."""
    return type(x) in (int, float, bool, complex)


def apart(out: Tensor, given: Any) -> Tensor:
    """`out`, under a handle of its own if it is `given`: who assigns to a result never changes the
    operand that it was made of."""
    if out is not given:
        return out
    tracer = state.tracer
    if tracer is None or tracer.owns(out._value):
        return wrap(out._value)
    # a recording reads what the handle will hold at each call, so it must know this very handle
    return bind(_backend.primitives["alias"], out)


class Elementwise(Primitive):
    """Operands broadcast as in NumPy and share one dtype, which the result has too."""

    kinds: ClassVar[str] = "biuf"
    result: ClassVar[DType | None] = None
    arity: ClassVar[int] = 1

    @classmethod
    def type(cls, *types: Type) -> Type:
        if len(types) != cls.arity:
            raise DTypeError(f"{cls.name} takes {cls.arity} operands, got {len(types)}.")
        dtype = types[0].dtype
        for t in types[1:]:
            if t.dtype is not dtype:
                raise DTypeError(f"{cls.name}: operands have dtypes {', '.join(map(str, types))}.")
        if dtype.kind not in cls.kinds:
            raise DTypeError(f"{cls.name} is not defined for {types[0]}; cast with .astype(...).")
        return Type(broadcast(cls.name, types), cls.result or dtype)

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, **attrs: Any) -> Any:
        return bind(cls, *align(args, batched), **attrs)


def broadcast(name: str, types: Sequence[Type]) -> tuple[int, ...]:
    try:
        return broadcast_shapes(*[t.shape for t in types])
    except ShapeError:
        given = " and ".join(map(str, types))
        raise ShapeError(
            f"{name}: shapes of {given} do not broadcast; axes are matched from the last one, and "
            "must be equal or 1. Insert axes with reshape or x[:, None]."
        ) from None


def align(args: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
    """Operands of an elementwise application with the leading axis moved before all others."""
    reshape = _backend.primitives["reshape"]
    ndim = max(a.ndim - b for a, b in zip(args, batched))
    out = []
    for a, b in zip(args, batched):
        missing = ndim - (a.ndim - b)
        if b and missing:
            a = bind(reshape, a, shape=(a.shape[0], *(1,) * missing, *a.shape[1:]))
        out.append(a)
    return out


def operands(name: str, *xs: Any) -> list[Tensor]:
    """Tensors, arrays and Python numbers as tensors of one dtype on one backend."""
    first = next((x for x in xs if isinstance(x, Tensor)), None)
    backend = first.backend if first is not None else None
    strong = [
        x if isinstance(x, Tensor) else _array(name, x, backend) for x in xs if not is_scalar(x)
    ]
    dtype = common_dtype([t.dtype for t in strong], [type(x) for x in xs if is_scalar(x)])
    where = backend or (strong[0].backend if strong else get_backend())
    rest = iter(strong)
    cast = _backend.primitives["cast"]
    out = []
    for x in xs:
        if is_scalar(x):
            out.append(literal(x, dtype, where))
        else:
            t = next(rest)
            out.append(t if t.dtype is dtype else bind(cast, t, dtype=dtype))
    return out


def _array(name: str, x: Any, backend: Backend | None) -> Tensor:
    if not isinstance(x, np.ndarray | np.generic | list | tuple):
        raise DTypeError(
            f"{name}: an operand is a {type(x).__name__}; expected a tensor, an array or a number."
        )
    host = np.asarray(x)
    if not isinstance(x, np.ndarray | np.generic):
        host = host.astype(default_for(host.dtype), copy=False)
    return from_host(host, backend)
