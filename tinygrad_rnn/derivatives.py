"""Derivatives of functions: grad, vjp, jvp, hvp, jacobian, hessian, all by the one reverse pass.

In: Python functions of tensors. Out: functions that return derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .autodiff import pull, pull_unrecorded, tape
from .errors import ArgumentError, DTypeError, GradientError, ShapeError
from .ops.complexes import conj, real
from .ops.creation import eye, ones_like, tensor, zeros_like
from .ops.elementwise import Alias
from .ops.movement import reshape
from .ops.reduction import Sum
from .primitive import bind
from .tensor import Tensor, Tracked, Value, leaf_value, wrap
from .trace import enable_grad, state, unrecorded
from .tree import flatten, paths, tree_map, unflatten


def _leaf(x: Tensor) -> Tensor:
    """A fresh name for `x` on the tape, at which the reverse pass stops."""
    out: Tensor = bind(Alias, x)
    v = out._value
    return out if v.tracked else wrap(leaf_value(v.type, v.data, v.backend, True, None))


def _independent(found: Sequence[Tracked], own: set[int]) -> bool:
    """Whether all of the tape starts at `own` values, so that nobody outside can ask more."""
    return all(
        (not any(w.tracked for w in v.inputs)) if id(v) in own else not _asked_for(v) for v in found
    )


def _asked_for(v: Tracked) -> bool:
    """Whether `v` is a leaf whose gradient somebody could want: a tensor that still exists, or an
    argument of a derivative that is being taken around this one."""
    return v.op is None and (v.leaf() is not None or id(v) in state.arguments)


def _check_float(name: str, leaves: Sequence[Any], where: Sequence[str]) -> list[Tensor]:
    out = []
    for leaf, path in zip(leaves, where):
        try:
            t = leaf if isinstance(leaf, Tensor) else tensor(leaf)
        except DTypeError:
            raise DTypeError(
                f"{name}: {path} is a {type(leaf).__name__}, expected a tensor or a tree of "
                "tensors. A module is a function of its parameters by nn.functional_call."
            ) from None
        if not t.dtype.is_inexact:
            raise GradientError(
                f"{name}: {path} is {t.type}; only floating tensors have derivatives. Cast it with "
                ".astype('float32'), or leave it out of argnums."
            )
        if t.dtype.is_complex and name == "jacobian":
            raise GradientError(
                f"{name}: {path} is {t.type}; its matrix would be real, twice as large each way. "
                "Use vjp or jvp, or give the real and imaginary parts."
            )
        out.append(t)
    return out


class _Record:
    """f recorded once at some arguments: what every derivative below starts from."""

    def __init__(
        self, name: str, f: Callable[..., Any], args: tuple[Any, ...], argnums: Any, aux: bool
    ):
        self.name = name
        self.single = not isinstance(argnums, tuple | list)
        nums = (argnums,) if self.single else tuple(argnums)
        for i in nums:
            if not (isinstance(i, int) and -len(args) <= i < len(args)):
                raise ArgumentError(f"{name}: argnums {argnums} with {len(args)} arguments.")
        chosen = tuple(args[i] for i in nums)
        leaves, self.treedef = flatten(chosen)
        names = paths(chosen, "argument")
        with enable_grad():
            self.leaves = [_leaf(t) for t in _check_float(name, leaves, names)]
            given = list(args)
            for i, new in zip(nums, unflatten(self.treedef, self.leaves)):
                given[i] = new
            mine = {id(t._value) for t in self.leaves}
            state.arguments |= mine
            try:
                out = f(*given)
            finally:
                state.arguments -= mine
        self.aux = None
        if aux:
            if not (isinstance(out, tuple) and len(out) == 2):
                raise ArgumentError(f"{name}: with has_aux=True the function must return (y, aux).")
            out, self.aux = out
        self.out = out
        self.own = mine
        self.closed: bool | None = None

    def scalar(self) -> Tensor:
        y = self.out
        if not isinstance(y, Tensor):
            raise DTypeError(
                f"{self.name}: the function must return a tensor, got {type(y).__name__}."
            )
        if y.size != 1 or not y.dtype.is_float:
            raise GradientError(
                f"{self.name}: the function must return a floating scalar, got {y.type}; "
                "reduce it (.sum(), .mean()), or use jacobian/vjp."
            )
        return y

    def pull(self, outputs: Sequence[Tensor], cotangents: Sequence[Tensor]) -> Any:
        values = [t._value for t in outputs]
        found = tape(values, self.own)
        closed = _independent(found, self.own) and not any(c._value.tracked for c in cotangents)
        self.closed = closed
        with unrecorded() if closed else enable_grad():
            seeds = [(v, conj(c)) for v, c in zip(values, cotangents) if v.tracked]
            left = (pull_unrecorded if closed else pull)(found, seeds, self.own, False)
            grads = [
                conj(left[id(t._value)]) if id(t._value) in left else zeros_like(t)
                for t in self.leaves
            ]
        result = unflatten(self.treedef, grads)
        return result[0] if self.single else result

    def settle(self, tree: Any) -> Any:
        """Results without the tape, unless somebody outside could differentiate them."""

        def cut(t: Any) -> Any:
            if isinstance(t, Tensor) and t._value.tracked:
                if (t is self.out and self.closed) or _independent(
                    tape([t._value], self.own), self.own
                ):
                    return wrap(Value(t.type, t._value.data, t.backend))
            return t

        return tree_map(cut, tree)


def value_and_grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns (f(*args), gradient of f with respect to the chosen arguments).

    Arguments may be trees of tensors; the gradient has the same structure.

    >>> value_and_grad(lambda x: x ** 3)(tensor(2.0))[1].item()
    12.0
    """

    def wrapped(*args: Any) -> Any:
        record = _Record("grad", f, args, argnums, has_aux)
        y = record.scalar()
        gradient = record.pull([y], [ones_like(y)])
        value = record.settle((y, record.aux)) if has_aux else record.settle(y)
        return value, gradient

    return wrapped


def grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns the gradient of the scalar function `f`; nests to any order.

    >>> grad(grad(lambda x: x ** 3))(tensor(2.0)).item()
    12.0
    """
    both = value_and_grad(f, argnums, has_aux)

    def wrapped(*args: Any) -> Any:
        value, gradient = both(*args)
        return (gradient, value[1]) if has_aux else gradient

    return wrapped


def vjp(f: Callable[..., Any], *args: Any) -> tuple[Any, Callable[[Any], Any]]:
    """(f(*args), pullback): the pullback maps a cotangent of the result to those of all arguments.

    >>> y, pullback = vjp(lambda a, b: a * b, tensor(3.0), tensor(4.0))
    >>> [ct.item() for ct in pullback(tensor(1.0))]
    [4.0, 3.0]
    """
    record = _Record("vjp", f, args, tuple(range(len(args))), False)
    outputs, treedef = flatten(record.out)
    outputs = [y if isinstance(y, Tensor) else tensor(y) for y in outputs]

    def pullback(cotangent: Any) -> Any:
        cts, given = flatten(cotangent)
        if given != treedef:
            raise ArgumentError(f"vjp: the cotangent has structure {given}, the result {treedef}.")
        cts = [c if isinstance(c, Tensor) else tensor(c, y.dtype) for c, y in zip(cts, outputs)]
        for c, y in zip(cts, outputs):
            if c.type is not y.type:
                raise ShapeError(f"vjp: a cotangent is {c.type}, its output is {y.type}.")
        return record.pull(outputs, cts)

    return record.settle(unflatten(treedef, outputs)), pullback


def _as_tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def jvp(f: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]:
    """(f(*primals), its directional derivative along `tangents`).

    The pullback is linear in its cotangent; differentiating it with respect to that gives J v.

    >>> jvp(lambda x: x ** 2, (tensor(3.0),), (tensor(1.0),))[1].item()
    6.0
    """
    primals, tangents = _as_tuple(primals), _as_tuple(tangents)
    directions = _directions("jvp", primals, tangents)
    record = _Record("jvp", f, primals, tuple(range(len(primals))), False)
    outputs, out_def = flatten(record.out)
    outputs = [y if isinstance(y, Tensor) else tensor(y) for y in outputs]
    with enable_grad():
        # any value will do: the pullback is linear in its cotangent
        dummies = [_leaf(ones_like(y).detach()) for y in outputs]
        values = [y._value for y in outputs]
        left = pull(tape(values, record.own), list(zip(values, dummies)), record.own, False)
        pulled = [left.get(id(t._value)) for t in record.leaves]
        own = {id(d._value) for d in dummies}
        seeds = [
            (p._value, v) for p, v in zip(pulled, directions) if p is not None and p._value.tracked
        ]
        found = tape([v for v, _ in seeds], own)
        back = pull(found, seeds, own, False)
        moved = [back[id(d._value)] if id(d._value) in back else zeros_like(d) for d in dummies]
    record.own |= own
    return record.settle((unflatten(out_def, outputs), unflatten(out_def, moved)))  # type: ignore[no-any-return]


def _directions(name: str, primals: Any, tangents: Any) -> list[Tensor]:
    """The leaves of `tangents`, each of the type of its primal."""
    leaves, treedef = flatten(primals)
    found, given = flatten(tangents)
    if given != treedef:
        raise ArgumentError(f"{name}: tangents have structure {given}, primals {treedef}.")
    out = []
    for p, v, path in zip(leaves, found, paths(tangents, "tangents")):
        p = p if isinstance(p, Tensor) else tensor(p)
        t = v if isinstance(v, Tensor) else tensor(v, p.dtype)
        if t.type is not p.type:
            raise ShapeError(f"{name}: {path} is {t.type}, its primal is {p.type}.")
        out.append(t)
    return out


def hvp(f: Callable[..., Any], primals: Any, tangents: Any) -> Any:
    """The product of the Hessian of the scalar function `f` at `primals` with `tangents`.

    >>> hvp(lambda x: (x ** 3).sum(), tensor([1.0, 2.0]), tensor([1.0, 1.0])).tolist()
    [6.0, 12.0]
    """
    single = not isinstance(primals, tuple)
    primals, tangents = _as_tuple(primals), _as_tuple(tangents)
    nums = tuple(range(len(primals)))
    directions = _directions("hvp", primals, tangents)

    def directional(*args: Any) -> Tensor:
        gradients, _ = flatten(grad(f, nums)(*args))
        total = None
        for g, v in zip(gradients, directions):
            term = real(bind(Sum, conj(g) * v, axes=tuple(range(g.ndim))))
            total = term if total is None else total + term
        assert total is not None
        return total

    out = grad(directional, nums)(*primals)
    return out[0] if single else out


def jacobian(f: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """A function that returns d f(x)[i...] / d x[j...] with shape [*f(x).shape, *x.shape].

    >>> jacobian(lambda x: x ** 2)(tensor([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """
    from .vectorize import vmap

    def wrapped(*args: Any) -> Any:
        record = _Record("jacobian", f, args, argnums, False)
        y = record.out
        if not isinstance(y, Tensor):
            raise DTypeError(
                f"jacobian: the function must return one tensor, got {type(y).__name__}."
            )
        basis = reshape(eye(y.size, dtype=y.dtype, backend=y.backend), (y.size, *y.shape))
        rows = vmap(lambda ct: record.pull([y], [ct]))(basis)
        return record.settle(tree_map(lambda r: reshape(r, (*y.shape, *r.shape[1:])), rows))

    return wrapped


def hessian(f: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """The matrix (tensor) of second derivatives of the scalar function `f`.

    >>> hessian(lambda x: (x ** 3).sum())(tensor([1.0, 2.0])).tolist()
    [[6.0, 0.0], [0.0, 12.0]]
    """
    return jacobian(grad(f, argnums), argnums)
