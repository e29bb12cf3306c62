"""One side of one row, in a process of its own: `python -m tinygrad_rnn.bench.child ORDER`.

In: an order as JSON (see `Order`). Out: a JSON object on the last line of standard output, and,
where the order says so, outputs and gradients in a file.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import tinygrad_rnn as tg

from . import peak
from .arrays import draw
from .clock import median_ms
from .memory import peak_growth
from .ours import Program
from .workloads import Config, workload

PEERS = ("torch", "jax")


#: Steps over which the results of all sides must agree.
COMPARED = 20


@dataclass(frozen=True)
class Order:
    """What a process shall do; without a workload it only says the version of its side."""

    side: str
    threads: int
    workload: str = ""
    config: tuple[int, int, int, int] = (1, 1, 1, 1)
    seconds: float = 1.0
    save: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def prepare(order: Order) -> str:
    """Load the side's framework, limit its threads; its version."""
    if order.side.removeprefix("peak-") not in PEERS:
        return str(tg.get_backend().name and tg.__version__)
    framework: Any = importlib.import_module(order.side.removeprefix("peak-"))
    if hasattr(framework, "set_num_threads"):
        framework.set_num_threads(order.threads)
    return str(framework.__version__)


def program(order: Order, config: Config) -> Program:
    """The side's program for a configuration."""
    work = workload(order.workload)
    module = f".theirs_{order.side}" if order.side in PEERS else ".ours"
    build = importlib.import_module(module, __package__).build
    found: Program = build(work, config, draw(work, config))
    return found


def rate(order: Order) -> float:
    """GFLOP/s of a loop, or of the product that says what can be reached."""
    if order.side == "peak-numpy":
        return peak.numpy_peak(order.seconds)
    if order.side == "peak-torch":
        return peak.torch_peak(order.seconds)
    if order.side.startswith("peak-"):
        return peak.own_peak(order.seconds)
    return peak.loop_rate(Config(*order.config), order.seconds)


def first_call(built: Program) -> float:
    """Seconds of the first run: recording, generating, compiling or loading, and computing."""
    start = time.perf_counter()
    built.run()
    return time.perf_counter() - start


def memory(order: Order) -> tuple[float, Program]:
    """MiB that model, data and three steps need, once a tiny run has loaded all code."""
    config = Config(*order.config)
    program(order, Config(2, 2, config.I, config.H)).run()
    kept: list[Program] = []

    def work() -> None:
        kept.append(program(order, config))
        for _ in range(3):
            kept[0].run()

    return peak_growth(work), kept[0]


def measure(order: Order) -> float:
    """The number of this side, in the workload's unit."""
    kind = workload(order.workload).measure
    if kind == "rate":
        return rate(order)
    if kind == "memory":
        value, built = memory(order)
    else:
        built = program(order, Config(*order.config))
        value = first_call(built) if kind == "first-call" else 0.0
    if order.save:
        if kind == "time":  # long recurrences amplify rounding: sides are compared over few steps
            T, *rest = order.config
            built_short = program(order, Config(min(T, COMPARED), *rest))
            np.savez(order.save, **built_short.results())  # type: ignore[arg-type]
        else:
            np.savez(order.save, **built.results())  # type: ignore[arg-type]
    return median_ms(built.run, order.seconds) if kind == "time" else value


def main(text: str) -> None:
    """Do what the order says and print the answer."""
    start = time.perf_counter()
    order = Order(**json.loads(text))
    answer: dict[str, Any] = {"version": prepare(order)}
    if order.workload:
        answer["value"] = measure(order)
    answer["process_s"] = time.perf_counter() - start
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1])
