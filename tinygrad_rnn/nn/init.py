"""Initialisers: set a tensor in place, from a seeded generator.

In: a tensor and `rng` (None for the default generator, an integer seed, or a Generator).
Out: the same tensor. The bits come from the counter-based generator, so they are the same on every
backend. For recurrent weights of several gates, [G*H, H], `gates=G` initialises each block alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, ShapeError
from ..random import as_generator
from ..tensor import Tensor
from ..trace import no_grad

_GAINS = {
    "linear": 1.0,
    "sigmoid": 1.0,
    "tanh": 5.0 / 3.0,
    "relu": math.sqrt(2.0),
    "selu": 0.75,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights before `nonlinearity` are scaled.

    >>> round(calculate_gain("leaky_relu", 0.0) ** 2, 12)
    2.0
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1.0 + slope**2))
    if nonlinearity not in _GAINS:
        names = ", ".join([*_GAINS, "leaky_relu"])
        raise ArgumentError(f"calculate_gain: got {nonlinearity!r}, expected one of {names}.")
    return _GAINS[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """(inputs, outputs) of a weight [out, in, ...]."""
    if tensor.ndim < 2:
        raise ShapeError(
            f"fan-in and fan-out need a weight of at least 2 axes, got {tensor.type}; "
            f"use uniform_ or zeros_ for biases."
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _set(tensor: Tensor, value: Any) -> Tensor:
    with no_grad():
        new = ops.asarray(value)
        new = new if new.dtype == tensor.dtype else new.astype(tensor.dtype)
        tensor.assign_(new.to(tensor.backend))
    return tensor


def uniform_(tensor: Tensor, low: float = 0.0, high: float = 1.0, *, rng: Any = None) -> Tensor:
    """Uniform on [low, high)."""
    return _set(tensor, as_generator(rng).uniform(tensor.shape, low, high, dtype=tensor.dtype))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, *, rng: Any = None) -> Tensor:
    """Normal with the given mean and standard deviation."""
    return _set(tensor, as_generator(rng).normal(tensor.shape, mean, std, dtype=tensor.dtype))


def constant_(tensor: Tensor, value: float) -> Tensor:
    """Every element equal to `value`."""
    return _set(tensor, np.full(tensor.shape, value, tensor.dtype.np))


def zeros_(tensor: Tensor) -> Tensor:
    """All zeros."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """All ones."""
    return constant_(tensor, 1.0)


def eye_(tensor: Tensor, gain: float = 1.0, *, gates: int = 1) -> Tensor:
    """`gain` times the identity (in each gate's block), for identity recurrent networks.

    Le, Jaitly, Hinton, 2015, A simple way to initialize recurrent networks of rectified linear
    units.
    """
    return _blocks(tensor, gates, lambda rows, cols: gain * np.eye(rows, cols))


identity_ = eye_


def orthogonal_(tensor: Tensor, gain: float = 1.0, *, gates: int = 1, rng: Any = None) -> Tensor:
    """`gain` times a matrix with orthonormal rows or columns, uniform over such matrices.

    The QR factors of a normal matrix, signs fixed by R's diagonal, computed on the host in
    float64. Saxe, McClelland, Ganguli, 2014, Exact solutions to the nonlinear dynamics of learning.
    """
    generator = as_generator(rng)

    def block(rows: int, cols: int) -> np.ndarray[Any, Any]:
        a = generator.normal((max(rows, cols), min(rows, cols)), dtype="float64").numpy()
        q, r = np.linalg.qr(a)
        q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
        return gain * (q if rows >= cols else q.T)

    return _blocks(tensor, gates, block)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, *, rng: Any = None) -> Tensor:
    """Uniform on ±gain·sqrt(6 / (fan_in + fan_out)). Glorot, Bengio, 2010."""
    bound = gain * math.sqrt(6.0 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound, rng=rng)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, *, rng: Any = None) -> Tensor:
    """Normal with standard deviation gain·sqrt(2 / (fan_in + fan_out)). Glorot, Bengio, 2010."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fans(tensor))), rng=rng)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    rng: Any = None,
) -> Tensor:
    """Uniform on ±gain·sqrt(3 / fan). He et al., 2015, Delving deep into rectifiers."""
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, rng=rng)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    rng: Any = None,
) -> Tensor:
    """Normal with standard deviation gain / sqrt(fan). He et al., 2015."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), rng=rng)


def gate_bias_(module: Any, **values: Any) -> Any:
    """Make the total bias (b_ih + b_hh) of the named gates equal to a value, or to values [H].

    In every cell of `module` that has them; their letters are in the cells' docstrings.

    >>> import tinygrad_rnn as tg
    >>> gru = gate_bias_(tg.nn.GRU(2, 3), z=4.0)
    >>> (gru.bias_ih_l0 + gru.bias_hh_l0)[3:6].tolist()
    [4.0, 4.0, 4.0]
    """
    cells = [m for m in module.modules() if isinstance(getattr(m, "gates", None), str)]
    chosen = [m for m in cells if set(values) <= set(m.gates) and m.bias_ih is not None]
    if not chosen:
        there = ", ".join(f"{m.where()} {m.gates}" for m in cells) or "none"
        raise ArgumentError(
            f"gate_bias_: {module.where()} has no cell with biases and the gates "
            f"{' '.join(values)}; its cells: {there}."
        )
    for m in chosen:
        for bias, factor in ((m.bias_ih, 1), (m.bias_hh, 0)):
            host = np.array(bias.detach().numpy()).reshape(len(m.gates), m.hidden_size)
            for gate, value in values.items():
                host[m.gates.index(gate)] = factor * np.asarray(value)
            _set(bias, host.reshape(-1))
    return module


def forget_bias_(module: Any, value: float = 1.0) -> Any:
    """Make the total bias of the forget gates f equal to `value`, in an LSTM cell or in nn.LSTM.

    Gers, Schmidhuber, Cummins, 2000; Jozefowicz, Zaremba, Sutskever, 2015.
    """
    for m in _keepers(module, "forget_bias_", "f"):
        gate_bias_(m, f=value)
    return module


def chrono_(module: Any, longest: float, *, rng: Any = None) -> Any:
    """Biases with which gated cells begin to remember for up to `longest` steps.

        b = log u,  u uniform on [1, longest - 1],  for gates that keep the state when open (LSTM:
        f, GRU: z), -b for those that keep it when closed (LSTM: i)

    Each of the H units remembers for about u steps. Tallec, Ollivier, 2018, Can recurrent neural
    networks warp time?
    """
    if not longest >= 2:
        raise ArgumentError(f"chrono_: longest is {longest!r}, expected a number of steps >= 2.")
    generator = as_generator(rng)
    for m in _keepers(module, "chrono_"):
        u = generator.uniform((m.hidden_size,), 1.0, longest - 1.0, dtype="float64").numpy()
        gate_bias_(m, **{gate: sign * np.log(u) for gate, sign in m.keeps.items()})
    return module


def _keepers(module: Any, what: str, gate: str | None = None) -> list[Any]:
    """The cells with biases and gates that keep the state (with `gate`: when that one is open)."""
    found = [m for m in module.modules() if getattr(m, "keeps", None) and m.bias_ih is not None]
    found = [m for m in found if gate is None or m.keeps.get(gate) == 1]
    if not found:
        kind = "a gate that keeps the state" if gate is None else f"a gate {gate} that keeps it"
        raise ArgumentError(f"{what}: {module.where()} has no cell with biases and {kind}.")
    return found


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"kaiming: mode is {mode!r}, expected 'fan_in' or 'fan_out'.")
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def _blocks(tensor: Tensor, gates: int, make: Callable[[int, int], np.ndarray[Any, Any]]) -> Tensor:
    if tensor.ndim != 2 or gates < 1 or tensor.shape[0] % gates:
        raise ShapeError(
            f"expected a matrix whose rows divide into gates={gates} blocks, got {tensor.type}."
        )
    rows, cols = tensor.shape[0] // gates, tensor.shape[1]
    blocks = [make(rows, cols) for _ in range(gates)]
    return _set(tensor, np.concatenate(blocks).astype(tensor.dtype.np))
