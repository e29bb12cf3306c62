"""What is measured: names, configurations, and what must be reached against whom.

A configuration is T, B, I, H. Targets are ratios (theirs / ours; for a rate ours / peak), or, where
there is no peer, a limit in the unit of the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple


class Config(NamedTuple):
    """Time steps, batch, input size, hidden size."""

    T: int
    B: int
    I: int
    H: int

    def __str__(self) -> str:
        return f"T{self.T} B{self.B} I{self.I} H{self.H}"


class Target(NamedTuple):
    """What must be reached: the geometric mean of all configurations, and each of them."""

    mean: float
    each: float = 0.0


PUBLISHED = tuple(
    Config(*c)
    for c in (
        (100, 16, 64, 64),
        (100, 32, 64, 128),
        (50, 64, 128, 256),
        (100, 64, 256, 512),
        (256, 16, 512, 512),
        (35, 20, 650, 650),
        (1000, 8, 32, 64),
        (200, 1, 64, 256),
    )
)
RAGGED = tuple(Config(*c) for c in ((100, 16, 64, 64), (100, 32, 64, 128), (50, 64, 128, 256)))
OWN_CELLS = tuple(Config(*c) for c in ((100, 16, 64, 64), (50, 32, 64, 128), (200, 64, 128, 256)))
LARGE = tuple(Config(*c) for c in ((100, 64, 256, 512), (256, 16, 512, 512), (1000, 8, 32, 64)))
LOOPS = tuple(Config(*c) for c in ((50, 64, 256, 256), (100, 32, 512, 512), (100, 64, 512, 512)))
#: What --quick measures: small, and one of B = 1.
QUICK = Config(100, 16, 64, 64)

NO_TARGETS: Mapping[str, Target] = MappingProxyType({})


@dataclass(frozen=True)
class Workload:
    """One table of the report.

    `measure` is what a process does: time | memory | first-call | rate. `model` is a key of `ours`
    and of `theirs_*`; `mode` is train | forward | penalty | step.
    """

    name: str
    title: str
    model: str
    mode: str
    configs: tuple[Config, ...]
    targets: Mapping[str, Target] = field(default_factory=lambda: NO_TARGETS)
    measure: str = "time"
    unit: str = "ms"
    layers: int = 1
    bidirectional: bool = False
    limit: float | None = None  # of our own value, where no peer is the measure

    @property
    def peers(self) -> tuple[str, ...]:
        return tuple(self.targets)

    def each(self, peer: str, config: Config) -> float:
        """What a single configuration must reach; a batch of one row cannot be split: 10 % less."""
        least = self.targets[peer].each
        return 0.9 * least if config.B == 1 and self.name == "lstm" else least


def _own(name: str, title: str) -> Workload:
    targets = {"torch": Target(6.0, 4.0), "jax": Target(2.0)}
    about = f"user-written {title}, forward + backward"
    return Workload(name, about, name, "train", OWN_CELLS, targets)


WORKLOADS: tuple[Workload, ...] = (
    Workload(
        "lstm",
        "LSTM forward + backward (weights, input, states)",
        "lstm",
        "train",
        PUBLISHED,
        {"torch": Target(1.3, 1.0), "jax": Target(3.0)},
    ),
    Workload(
        "lstm-forward",
        "LSTM forward, no gradient",
        "lstm",
        "forward",
        PUBLISHED,
        {"torch": Target(1.1, 0.9)},
    ),
    Workload(
        "gru", "GRU forward + backward", "gru", "train", PUBLISHED, {"torch": Target(4.0, 2.0)}
    ),
    Workload(
        "gru-forward", "GRU forward, no gradient", "gru", "forward", PUBLISHED, {"torch": Target(0)}
    ),
    Workload(
        "rnn",
        "vanilla RNN forward + backward",
        "rnn",
        "train",
        PUBLISHED,
        {"torch": Target(4.0, 2.0)},
    ),
    Workload(
        "rnn-forward",
        "vanilla RNN forward, no gradient",
        "rnn",
        "forward",
        PUBLISHED,
        {"torch": Target(0)},
    ),
    Workload(
        "ragged",
        "bidirectional 2-layer LSTM, ragged lengths, forward + backward",
        "lstm",
        "train",
        RAGGED,
        {"torch": Target(2.0)},
        layers=2,
        bidirectional=True,
    ),
    _own("layernorm-lstm", "layer-norm LSTM"),
    _own("peephole-lstm", "peephole LSTM"),
    _own("mgu", "minimal gated unit"),
    Workload(
        "penalty",
        "gradient penalty (second order) through an LSTM",
        "lstm",
        "penalty",
        OWN_CELLS,
        {"torch": Target(3.0)},
    ),
    Workload(
        "rate",
        "sustained rate of the LSTM loop, forward, against the peak of in-cache products",
        "loop",
        "forward",
        LOOPS,
        {"peak": Target(0.85, 0.85)},
        measure="rate",
        unit="GFLOP/s",
    ),
    Workload(
        "memory",
        "peak memory of a training step (model, data, Adam, activations)",
        "lstm",
        "step",
        LARGE,
        {"torch": Target(1.0, 1.0)},
        measure="memory",
        unit="MiB",
    ),
    Workload(
        "first-cold",
        "first call of an LSTM training step, nothing cached",
        "lstm",
        "step",
        (PUBLISHED[1],),
        {"torch": Target(0)},
        measure="first-call",
        unit="s",
        limit=6.0,
    ),
    Workload(
        "first-cached",
        "first call of an LSTM training step, from the disk cache",
        "lstm",
        "step",
        (PUBLISHED[1],),
        {"torch": Target(0)},
        measure="first-call",
        unit="s",
        limit=0.5,
    ),
)

NAMES = tuple(w.name for w in WORKLOADS)


def workload(name: str) -> Workload:
    """The workload of that name."""
    return next(w for w in WORKLOADS if w.name == name)
