"""Configurations of recurrent layers and of optimizers: printed as the call that builds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .. import nn, optim


class RNNConfig(NamedTuple):
    """One of nn.RNN, nn.LSTM, nn.GRU with arguments; those not named have their defaults."""

    kind: str
    input_size: int
    hidden_size: int
    options: Mapping[str, Any]

    def build(self, rng: Any = 0, **more: Any) -> nn.Module:
        """The layer, its parameters drawn from `rng`."""
        layer: nn.Module = getattr(nn, self.kind)(
            self.input_size, self.hidden_size, **self.options, rng=rng, **more
        )
        return layer

    def __repr__(self) -> str:
        return _call(f"nn.{self.kind}", [self.input_size, self.hidden_size], self.options)


class OptimizerConfig(NamedTuple):
    """One of the rules of `optim` with arguments; those not named have their defaults."""

    kind: str
    options: Mapping[str, Any]

    def build(self, params: Iterable[Any]) -> optim.Optimizer[Any]:
        """The optimizer of these parameters."""
        made: optim.Optimizer[Any] = getattr(optim, self.kind)(params, **self.options)
        return made

    def __repr__(self) -> str:
        return _call(f"optim.{self.kind}", ["params"], self.options)


def _call(name: str, args: list[Any], options: Mapping[str, Any]) -> str:
    return f"{name}({', '.join([*map(str, args), *[f'{k}={v!r}' for k, v in options.items()]])})"
