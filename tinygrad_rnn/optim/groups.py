"""Groups of parameters and the settings they share.

In: parameters, numbers. Out: a group that reads and writes like PyTorch's dict. Knows no rule.
"""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from .. import ops, types
from ..errors import ArgumentError, DTypeError, TraceError
from ..tensor import Tensor
from ..trace import state as trace_state


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of a rule that are fixed while a compiled step runs; a change traces it again."""

    weight_decay: float = 0.0
    maximize: bool = False

    def __post_init__(self) -> None:
        require("weight_decay", self.weight_decay, self.weight_decay >= 0, ">= 0")


def require(name: str, value: Any, valid: bool, expected: str) -> None:
    """Raise ArgumentError unless `valid` (write it so that NaN is invalid)."""
    if not valid:
        raise ArgumentError(f"optim: {name} is {value!r}, expected {expected}.")


def several(params: Any, who: str = "optim") -> list[Any]:
    """`params` as a list; a tensor, or what has parameters itself, is not several."""
    if isinstance(params, Tensor):
        raise DTypeError(f"{who}: params is one Tensor, expected several: pass [tensor].")
    if not isinstance(params, Iterable):
        hint = "; pass its .parameters()" if hasattr(params, "parameters") else ""
        kind = type(params).__name__
        raise DTypeError(f"{who}: params is a {kind}, expected several parameters{hint}.")
    return list(params)


O = TypeVar("O", bound=Options)


class ParamGroup(Generic[O]):
    """Parameters that share a learning rate and options; reads and writes like PyTorch's dict.

    `group["lr"] = x` writes the handle that steps read (`group.lr`, a float64 Tensor), so compiled
    steps see it without being traced again. Any other key replaces `group.options`.
    """

    def __init__(
        self,
        params: list[Tensor],
        lr: float,
        options: O,
        prepare: Callable[[Tensor, O], None],
    ):
        self.params = params
        self._prepare = prepare  # makes the state that the options ask for
        self.set_options(options)
        self.lr = ops.tensor(checked_lr(lr), types.float64, backend=params[0].backend)
        self.initial_lr: float | None = None  # set by the first schedule

    def __getitem__(self, key: str) -> Any:
        if key == "params":
            return self.params
        if key == "lr":
            return float(self.lr.item())
        if key not in self.keys():
            raise KeyError(f"{key!r} is not one of {', '.join(self.keys())}")
        return getattr(self.options, key)

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "lr":
            self._set_lr(value)
        elif key != "params" and key in self.keys():
            self.set_options(dataclasses.replace(self.options, **{key: value}))
        else:
            raise ArgumentError(f"optim: a group has no setting {key!r}; use add_param_group.")

    def set_options(self, options: O) -> None:
        """Use other options from the next step on."""
        self.options = options
        for p in self.params:
            self._prepare(p, options)

    def keys(self) -> list[str]:
        return ["params", "lr", *(f.name for f in dataclasses.fields(self.options))]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def _set_lr(self, value: Any) -> None:
        if isinstance(value, Tensor):
            self.lr.assign_(value.detach().astype(types.float64))
        elif trace_state.tracer is not None:
            raise TraceError(
                "optim: a number set as learning rate inside a compiled function would be frozen "
                "into it. Call scheduler.step() (or set group['lr']) outside the function."
            )
        else:
            self.lr.assign_(ops.tensor(checked_lr(value), types.float64, backend=self.lr.backend))


def checked_lr(lr: Any) -> float:
    if isinstance(lr, bool) or not isinstance(lr, numbers.Real):
        raise DTypeError(f"optim: lr is a {type(lr).__name__}, expected a number.")
    require("lr", lr, 0 <= float(lr) < float("inf"), "a finite number >= 0")
    return float(lr)
