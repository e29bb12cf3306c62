"""Module: a Python object whose attributes are parameters, buffers and other modules.

In: attributes. Out: names, parameters, state dictionaries, modes. Knows nothing of layers.
A parameter is an attribute that is a `Parameter`, a child is an attribute that is a `Module`:
nothing has to be registered, and `super().__init__()` may be forgotten. Only buffers, which are
plain tensors, are declared with `register_buffer`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

from ..errors import DTypeError
from ..random import Generator
from ..tensor import Tensor
from ..trace import guard
from ..types import as_dtype
from .parameter import Parameter, convert_
from .state import LoadResult, load_into

Self = TypeVar("Self", bound="Module")

# The modules whose forward is running, outermost first: an error tells the path 'encoder.0'.
_active: ContextVar[tuple[Module, ...]] = ContextVar("active_modules", default=())


class Member(NamedTuple):
    """A parameter or buffer, and the attribute that holds it."""

    name: str
    owner: Module
    attribute: str
    value: Tensor


class Module:
    """Base class of everything with parameters.

    >>> import tinygrad_rnn as tg
    >>> class Net(tg.nn.Module):
    ...     def __init__(self):
    ...         self.linear = tg.nn.Linear(3, 2)
    ...     def forward(self, x):
    ...         return self.linear(x).tanh()
    >>> [name for name, _ in Net().named_parameters()]
    ['linear.weight', 'linear.bias']
    """

    _training: bool = True
    _name: str = ""
    # name -> persistent; a class attribute until the first buffer, so that no __init__ is needed
    _buffers: dict[str, bool] = {}  # noqa: RUF012

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no forward(...).")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        token = _active.set((*_active.get(), self))
        try:
            return self.forward(*args, **kwargs)
        finally:
            _active.reset(token)

    # --- attributes --------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        old = self.__dict__.get(name)
        if isinstance(old, Parameter) and not (value is None or isinstance(value, Parameter)):
            raise DTypeError(
                f"{self.where()}: attribute {name!r} is a Parameter, got {type(value).__name__}; "
                f"wrap the value in nn.Parameter(...), or change it in place with "
                f".{name}.assign_(value)."
            )
        if name in self._buffers and not (value is None or isinstance(value, Tensor)):
            raise DTypeError(
                f"{self.where()}: buffer {name!r} must be a Tensor or None, "
                f"got {type(value).__name__}."
            )
        if isinstance(value, Module):
            object.__setattr__(value, "_name", name)
        elif isinstance(value, list | tuple | dict) and value:
            first = next(iter(value.values() if isinstance(value, dict) else value))
            if isinstance(first, Module | Parameter):
                warnings.warn(
                    f"{self.where()}: attribute {name!r} is a {type(value).__name__} of "
                    f"{type(first).__name__}, in which no parameters are found. Use nn.ModuleList, "
                    "or give each an attribute of its own: setattr(self, name, value).",
                    stacklevel=2,
                )
        object.__setattr__(self, name, value)

    def register_buffer(self, name: str, value: Tensor | None, persistent: bool = True) -> None:
        """Declare a tensor that belongs to the module's state but is not trained."""
        self._buffers = {**self._buffers, name: persistent}
        setattr(self, name, value)

    def register_parameter(self, name: str, value: Parameter | None) -> None:
        """The same as assigning the attribute."""
        setattr(self, name, value)

    def where(self) -> str:
        """How errors name this module: `nn.LSTM 'encoder.0'`."""
        stack = _active.get()
        path = stack[: stack.index(self)] if self in stack else ()
        names = [m._name for m in (*path, self) if m._name]
        ours = type(self).__module__.startswith(__name__.rpartition(".")[0] + ".")
        kind = f"nn.{type(self).__name__}" if ours else type(self).__name__
        return f"{kind} {'.'.join(names)!r}" if names else kind

    # --- walking -----------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(attribute, module) for the modules that this one holds directly."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def children(self) -> Iterator[Module]:
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(path, module) for this module and all below, each module once."""
        seen: set[int] = set()

        def visit(module: Module, path: str) -> Iterator[tuple[str, Module]]:
            if id(module) not in seen:
                seen.add(id(module))
                yield path, module
                for name, child in module.named_children():
                    yield from visit(child, f"{path}.{name}" if path else name)

        return visit(self, prefix)

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def members(self, recurse: bool = True) -> Iterator[Member]:
        """All parameters and buffers under their names; shared ones under each of their names."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter) or (name in self._buffers and value is not None):
                yield Member(name, self, name, value)
        if recurse:
            for name, child in self.named_children():
                for m in child.members():
                    yield m._replace(name=f"{name}.{m.name}")

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(name, parameter); a shared parameter comes once, under its first name."""
        seen: set[int] = set()
        for m in self.members(recurse):
            value = m.value
            if isinstance(value, Parameter) and id(value) not in seen:
                if remove_duplicate:
                    seen.add(id(value))
                yield (f"{prefix}.{m.name}" if prefix else m.name), value

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """(name, buffer), each buffer once."""
        seen: set[int] = set()
        for m in self.members(recurse):
            if not isinstance(m.value, Parameter) and id(m.value) not in seen:
                seen.add(id(m.value))
                yield (f"{prefix}.{m.name}" if prefix else m.name), m.value

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (b for _, b in self.named_buffers(recurse=recurse))

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every module below and then on this one."""
        for module in reversed(list(self.modules())):
            fn(module)
        return self

    # --- modes and places --------------------------------------------------------------------

    @property
    def training(self) -> bool:
        """True in training mode; a compiled function is traced again when it changes."""
        return bool(guard(self, "_training"))

    @training.setter
    def training(self, mode: bool) -> None:
        self._training = bool(mode)

    def train(self: Self, mode: bool = True) -> Self:
        """Set training mode (dropout acts) here and in all modules below."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        """Set evaluation mode (dropout does nothing)."""
        return self.train(False)

    def to(self: Self, *targets: Any) -> Self:
        """Move parameters and buffers to a backend and/or cast the floating ones to a dtype.

        The parameters keep their identity, so that optimizers need not be told. Generators that
        modules hold (of dropout) move along.
        """
        for target in targets:
            tensors = {id(m.value): m.value for m in self.members()}
            for module in self.modules():
                states = [v.state for v in vars(module).values() if isinstance(v, Generator)]
                tensors.update((id(t), t) for t in states)
            for tensor in tensors.values():
                convert_(tensor, target)
        return self

    def half(self: Self) -> Self:
        return self.to(as_dtype("float16"))

    def bfloat16(self: Self) -> Self:
        return self.to(as_dtype("bfloat16"))

    def float(self: Self) -> Self:
        return self.to(as_dtype("float32"))

    def double(self: Self) -> Self:
        return self.to(as_dtype("float64"))

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Freeze or thaw all parameters."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self

    def zero_grad(self) -> None:
        """Forget all gradients (`.grad = None`)."""
        for p in self.parameters():
            p.grad = None

    # --- state -------------------------------------------------------------------------------

    def state_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """Name -> value of parameters and persistent buffers, in PyTorch's names and layouts.

        The values are snapshots: training on does not change them.
        """
        return {
            prefix + m.name: m.value.detach()
            for m in self.members()
            if m.owner._buffers.get(m.attribute, True)
        }

    def load_state_dict(self, state_dict: Any, strict: bool = True) -> LoadResult:
        """Set parameters and buffers from a mapping of names to tensors or arrays.

        All names, shapes and dtypes are checked first: a bad dictionary changes nothing, and the
        `CheckpointError` lists everything that is wrong. `strict=False` lets names be missing or
        unexpected, and returns them.
        """
        members = {
            m.name: m.value for m in self.members() if m.owner._buffers.get(m.attribute, True)
        }
        return load_into(members, state_dict, strict, self.where())

    # --- printing ----------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the parentheses of the module's line in `repr`."""
        return ""

    def __repr__(self) -> str:
        kind = type(self).__name__
        children = [f"({name}): {child!r}" for name, child in self.named_children()]
        if not children:
            return f"{kind}({self.extra_repr()})"
        lines = [self.extra_repr(), *children] if self.extra_repr() else children
        body = "\n".join(lines).replace("\n", "\n  ")
        return f"{kind}(\n  {body}\n)"
