"""What all optimizers share: groups of parameters, state, `step`, saving.

In: parameters whose `.grad` is set. Out: the same handles, pointed to new values. A rule is one
pure function `update`; all that it reads and returns is a Tensor, so `jit` compiles a whole step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from .. import ops, types
from ..errors import ArgumentError, DTypeError
from ..tensor import Tensor
from ..trace import enable_grad, guard, no_grad
from .groups import Options, ParamGroup, checked_lr, several

State = dict[str, Tensor]
O = TypeVar("O", bound=Options)


class Optimizer(Generic[O]):
    """Base class: subclass it with an `Options`, `init_state` and `update`.

    Parameters without gradient and frozen ones (`requires_grad=False`) are left alone. All state is
    made at construction, and is only ever changed by `assign_`.

    Errors: ArgumentError (no parameters, one given twice, settings out of range), DTypeError.
    """

    decoupled_decay: ClassVar[bool] = False

    def __init__(self, params: Any, lr: float, options: O):
        self.defaults, self._default_lr = options, checked_lr(lr)
        self.param_groups: list[ParamGroup[O]] = []
        self.state: dict[Tensor, State] = {}
        given = several(params)
        if not given:
            raise ArgumentError("optim: no parameters were given; is model.parameters() empty?")
        for group in given if isinstance(given[0], Mapping) else [{"params": given}]:
            self.add_param_group(group)

    # --- the rule ------------------------------------------------------------------------------

    def init_state(self, p: Tensor, o: O) -> State:
        """The state of one parameter before the first step."""
        return {}

    def update(self, p: Tensor, g: Tensor, s: State, o: O, lr: Tensor) -> tuple[Tensor, State]:
        """New value and new state of parameter `p` with gradient `g`; pure, built from operations.

        `lr` and `s["step"]` are float64 scalars; cast what multiplies `p` with `.astype(p.dtype)`.
        """
        raise NotImplementedError

    # --- using it ------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter once; returns what `closure`, if given, returns (the loss)."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                o = guard(group, "options")
                for p in group.params:
                    if p.grad is not None and p.requires_grad:
                        self._step_one(p, p.grad, o, group.lr)
        return loss

    def _step_one(self, p: Tensor, g: Tensor, o: O, lr: Tensor) -> None:
        if o.maximize:
            g = -g
        if o.weight_decay and not self.decoupled_decay:
            g = g + o.weight_decay * p
        state = self.state[p]
        new, new_state = self.update(p, g, state, o, lr)
        p.assign_(new)
        for name, value in new_state.items():
            state[name].assign_(value)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zeros."""
        for group in self.param_groups:
            for p in group.params:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad = ops.zeros_like(p.grad)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add `{"params": [...], "lr": ..., other settings}`; what is missing gets the defaults."""
        settings = dict(group)
        params = settings.pop("params", None)
        params = [params] if isinstance(params, Tensor) else several(params or ())
        lr = settings.pop("lr", self._default_lr)
        known = {f.name for f in dataclasses.fields(self.defaults)}
        if unknown := sorted(set(settings) - known):
            raise ArgumentError(
                f"optim: a parameter group has the unknown settings {unknown}; "
                f"{type(self).__name__} knows lr, {', '.join(sorted(known))}."
            )
        if not params:
            raise ArgumentError("optim: a parameter group has no parameters.")
        self._check_params(params)
        options = dataclasses.replace(self.defaults, **settings)
        self.param_groups.append(ParamGroup(params, lr, options, self._prepare))

    def _prepare(self, p: Tensor, o: O) -> None:
        """Add what the state of `p` lacks (all of it at first, little when options change)."""
        state = self.state.setdefault(p, {})
        with no_grad():
            for name, fresh in self.init_state(p, o).items():
                state.setdefault(name, fresh)

    def _check_params(self, params: list[Any]) -> None:
        seen = {id(p) for p in self.state}
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                hint = "; pass model.parameters()" if isinstance(p, (tuple, str)) else ""
                raise DTypeError(
                    f"optim: parameter {i} is a {type(p).__name__}, not a Tensor{hint}."
                )
            if not p.is_leaf or not p.dtype.is_float:
                raise ArgumentError(
                    f"optim: parameter {i} ({p.type}) is not a floating leaf; "
                    "only tensors that were made by you, not computed, can be trained."
                )
            if id(p) in seen:
                raise ArgumentError(
                    f"optim: parameter {i} ({p.type}) is given twice and would be updated twice. "
                    "A tied weight is listed once."
                )
            seen.add(id(p))

    # --- saving --------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """State by number of parameter, and the settings of every group, in PyTorch's form."""
        groups: list[dict[str, Any]] = []
        states: dict[int, State] = {}
        for group in self.param_groups:
            first = len(states)
            for p in group.params:
                states[len(states)] = {name: t.detach() for name, t in self.state[p].items()}
            settings: dict[str, Any] = {key: group[key] for key in group.keys() if key != "params"}
            groups.append({**settings, "params": list(range(first, len(states)))})
        return {"state": states, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> None:
        """Continue exactly from `state_dict`; everything is checked before anything changes.

        Errors: ArgumentError, naming the first thing that does not fit.
        """
        plan = _plan_load(self, state_dict)
        for group, lr, options in plan.groups:
            group["lr"] = lr
            group.set_options(options)
        for p, new in plan.states:
            state = self.state[p]
            for name in set(state) - set(new):
                del state[name]
            for name, value in new.items():
                if name in state:
                    state[name].assign_(value)  # the handle stays: compiled steps know it
                else:
                    state[name] = value.detach()

    def __repr__(self) -> str:
        lines = (
            f"  {i}: {len(g.params)} parameters, lr={g['lr']:g}, {g.options}"
            for i, g in enumerate(self.param_groups)
        )
        return "\n".join([f"{type(self).__name__}(", *lines, ")"])


def scalar(value: float, like: Tensor) -> Tensor:
    """A float64 scalar where `like` lives: counts of steps are exact, under `jit` too."""
    return ops.tensor(float(value), dtype=types.float64, backend=like.backend)


@dataclasses.dataclass
class _Plan:
    groups: list[tuple[ParamGroup[Any], float, Any]]
    states: list[tuple[Tensor, State]]


def _plan_load(optimizer: Optimizer[Any], saved: Mapping[str, Any]) -> _Plan:
    def refuse(problem: str) -> ArgumentError:
        return ArgumentError(
            f"{type(optimizer).__name__}.load_state_dict: {problem}. Nothing was loaded: build the "
            "optimizer with the parameters and settings it had when it was saved."
        )

    if not isinstance(saved, Mapping) or not {"state", "param_groups"} <= set(saved):
        raise refuse("expected a dict with the keys 'state' and 'param_groups'")
    groups, states = saved["param_groups"], saved["state"]
    sizes = [len(g.params) for g in optimizer.param_groups]
    if [len(g["params"]) for g in groups] != sizes:
        got = [len(g["params"]) for g in groups]
        raise refuse(f"the saved groups have {got} parameters, this optimizer's have {sizes}")
    plan = _Plan([], [])
    for group, given in zip(optimizer.param_groups, groups, strict=True):
        if set(given) != set(group.keys()):
            raise refuse(f"a saved group has {sorted(given)}, expected {sorted(group.keys())}")
        settings = {k: v for k, v in given.items() if k not in ("params", "lr")}
        options = dataclasses.replace(group.options, **settings)
        plan.groups.append((group, checked_lr(given["lr"]), options))
        for p, number in zip(group.params, given["params"], strict=True):
            new, expected = states.get(number, {}), optimizer.init_state(p, options)
            if set(new) != set(expected):
                raise refuse(
                    f"parameter {number} has the state {sorted(new)}, expected {sorted(expected)}"
                )
            for name, like in expected.items():
                if not isinstance(new[name], Tensor) or new[name].type is not like.type:
                    what = getattr(new[name], "type", type(new[name]).__name__)
                    raise refuse(f"{name} of parameter {number} is {what}, expected {like.type}")
            plan.states.append((p, {k: t.to(p.backend) for k, t in new.items()}))
    return plan
