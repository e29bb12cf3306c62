"""functional_call: a module as a function of its parameters.

In: a module, tensors by the names of its parameters and buffers, arguments. Out: what the module
returns when it reads those tensors. The module is as before when the call returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ArgumentError, DTypeError, ShapeError
from ..tensor import Tensor
from .module import Member, Module
from .parameter import Parameter


def functional_call(
    module: Module,
    parameters: Mapping[str, Any],
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """`module(*args, **kwargs)`, computed with `parameters` in place of its own.

    `parameters` maps names, as in `named_parameters()` and `named_buffers()`, to tensors of the
    shapes found there; those not named stay the module's own, a shared one is replaced under all
    of its names. `args` is a tuple, or a single argument. So `grad`, `jvp`, `hvp` and `vmap` act on
    functions of parameters: the inner steps of meta-learning, Hessian-vector products, gradients
    of every sample, ensembles. The module must not run in two threads at the time.

    >>> import tinygrad_rnn as tg
    >>> layer = tg.nn.Linear(3, 1, rng=0)
    >>> weights = {name: p.detach() for name, p in layer.named_parameters()}
    >>> def loss(weights, x):
    ...     return (functional_call(layer, weights, x) ** 2).sum()
    >>> per_sample = tg.vmap(tg.grad(loss), in_axes=(None, 0))(weights, tg.ones((5, 3)))
    >>> per_sample["weight"].shape
    (5, 1, 3)
    """
    if not isinstance(module, Module):
        raise DTypeError(f"functional_call: got {type(module).__name__}, expected an nn.Module.")
    if not isinstance(parameters, Mapping):
        raise DTypeError(
            f"functional_call: parameters are a {type(parameters).__name__}, expected a dict of "
            f"names to tensors; dict(module.named_parameters()) is one."
        )
    replaced = _places(module, parameters)
    try:
        for m, value in replaced:
            # as a buffer, so that what walks over the names of the module still finds it
            vars(m.owner)["_buffers"] = {m.attribute: True, **m.owner._buffers}
            vars(m.owner)[m.attribute] = value
        return module(*(args if isinstance(args, tuple) else (args,)), **(kwargs or {}))
    finally:
        for m, _ in replaced:
            vars(m.owner)[m.attribute] = m.value
            if isinstance(m.value, Parameter):
                rest = {k: v for k, v in m.owner._buffers.items() if k != m.attribute}
                vars(m.owner)["_buffers"] = rest


def _places(module: Module, parameters: Mapping[str, Any]) -> list[tuple[Member, Tensor]]:
    """The members to be replaced and by what; checked before anything is touched."""
    members = list(module.members())
    known = {m.name: m for m in members}
    values: dict[int, tuple[str, Tensor]] = {}
    for name, value in parameters.items():
        if name not in known:
            raise ArgumentError(
                f"functional_call: {module.where()} has no parameter or buffer {name!r}; it has "
                f"{', '.join(known) or 'none'}."
            )
        own = known[name].value
        if not isinstance(value, Tensor):
            raise DTypeError(
                f"functional_call: {name!r} is a {type(value).__name__}, expected a tensor."
            )
        if value.shape != own.shape:
            raise ShapeError(
                f"functional_call: {name!r} is {value.type}, expected the shape of {own.type}."
            )
        first = values.setdefault(id(own), (name, value))
        if first[1] is not value:
            raise ArgumentError(
                f"functional_call: {first[0]!r} and {name!r} are one parameter of "
                f"{module.where()}; give it once."
            )
    return [(m, values[id(m.value)][1]) for m in members if id(m.value) in values]
