"""Recurrent layers on a GPU beside PyTorch's on the same GPU, in one run, with the goals.

    python tests/bench/gpu.py [--minutes 8] [--json FILE] [--quick]
    python tests/bench/gpu.py --rehearse        # tiny, on the CPU: does every line of this run?

A row is a layer in a precision, forward or forward and backward, T = 1024, input size H. Weights,
data and precision are the same on both sides (TF32 is switched on or off for both), and the outputs
are compared. Rows come in an order in which a run that is cut short still says most. Times are
medians of whole calls, each with a wait for the device at its end.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import itertools
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import tinygrad_rnn as tg
from tinygrad_rnn.bench.arrays import GATES, STATES
from tinygrad_rnn.bench.cells_ours import CELLS as OUR_CELLS
from tinygrad_rnn.bench.theirs_torch import CELLS as THEIR_CELLS
from tinygrad_rnn.bench.theirs_torch import loop as their_loop
from tinygrad_rnn.explanation import scans

BUILT_IN = ("lstm", "gru", "rnn")
WIDTHS, BATCHES, STEPS = (128, 256, 512, 768, 1024), (1, 16, 64, 128), 1024
#: Where our two roads are compared: H, B, TF32.
ROADS: Any = ((128, 512, 1024), (1, 16, 64), (False, True))
#: What each family must reach: the geometric mean of theirs / ours over its rows.
GOALS = {
    "LSTM float32, TF32, bfloat16": 1.5,
    "GRU": 1.5,
    "LSTM float16": 0.9,
    "user-written cells": 20.0,
    "second order": 5.0,
    "RNN": 0.0,
}


class Row(NamedTuple):
    """`model`: a layer, or a cell that a user writes. `mode`: forward, train, or penalty (the
    gradient of the squared norm of a gradient)."""

    model: str
    mode: str
    precision: str
    H: int
    B: int
    T: int

    @property
    def family(self) -> str:
        if self.mode == "penalty":
            return "second order"
        if self.model not in BUILT_IN:
            return "user-written cells"
        if self.model == "lstm":
            return "LSTM float16" if self.precision == "float16" else "LSTM float32, TF32, bfloat16"
        return self.model.upper()

    def __str__(self) -> str:
        size = f"H{self.H} B{self.B} T{self.T}"
        return f"{self.model:15} {self.mode:8} {self.precision:8} {size:17}"


def rows(steps: int, quick: bool) -> Iterator[Row]:
    """The most telling first."""
    precisions = ["float32", "tf32", "bfloat16", "float16"]
    modes = ("train", "forward")
    seen = set()
    few = itertools.product(["lstm", "gru", "rnn"], modes, precisions, (256, 1024), (16, 64))
    own = itertools.product(["layernorm-lstm", "mgu"], ("train",), ["float32"], (256,), (16, 64))
    second = itertools.product(["lstm"], ("penalty",), ["float32"], (256,), (16,))
    all_ = itertools.product(["lstm", "gru", "rnn"], modes, precisions, WIDTHS, BATCHES)
    for case in itertools.chain(few, own, second, [] if quick else all_):
        row = Row(*case, T=steps // 4 if case[0] not in BUILT_IN or case[1] == "penalty" else steps)
        if row not in seen:
            seen.add(row)
            yield row


# --- the two sides -------------------------------------------------------------------------------


class Data:
    """The numbers of a row, float32, as both sides get them."""

    def __init__(self, row: Row):
        rng = np.random.default_rng(row.H + row.B)
        G, H = GATES[row.model], row.H

        def uniform(*shape: int) -> np.ndarray:
            return ((2 * rng.random(shape, np.float32) - 1) / math.sqrt(H)).astype(np.float32)

        self.x = rng.standard_normal((row.T, row.B, H), np.float32)
        self.dy = rng.standard_normal((row.T, row.B, H), np.float32)
        self.states = [uniform(row.B, H) for _ in range(STATES[row.model])]
        if row.model in BUILT_IN:
            shapes = {"weight_ih_l0": (G * H, H), "weight_hh_l0": (G * H, H),
                      "bias_ih_l0": (G * H,), "bias_hh_l0": (G * H,)}  # fmt: skip
        else:
            shapes = {"W": (G * H, H), "U": (G * H, H), "b": (G * H,)}
            if row.model == "layernorm-lstm":
                shapes |= {"gain_x": (4 * H,), "gain_h": (4 * H,), "gain_c": (H,), "bias_c": (H,)}
        self.weights = {name: uniform(*shape) for name, shape in shapes.items()}


class Side(NamedTuple):
    """`run` is timed; `output` gives y as float32."""

    run: Callable[[], Any]
    output: Callable[[], np.ndarray]


def ours(row: Row, data: Data, backend: Any) -> Side:
    dtype = "float32" if row.precision == "tf32" else row.precision
    with tg.use_backend(backend):

        def put(a: np.ndarray, learn: bool = False) -> Any:
            t = tg.tensor(a).astype(dtype).detach()
            t.requires_grad = learn
            return t

        x, dy = put(data.x, True), put(data.dy)
        if row.model in BUILT_IN:
            layer = getattr(tg.nn, row.model.upper())(row.H, row.H).to(backend, dtype)
            numbers = tg.types.as_dtype(dtype).np
            layer.load_state_dict({n: a.astype(numbers) for n, a in data.weights.items()})
            weights = list(layer.parameters())
            forward = lambda: layer(x)[0]  # noqa: E731
        else:
            named = {n: put(a, True) for n, a in data.weights.items()}
            weights, step = list(named.values()), OUR_CELLS[row.model](named)
            states = tuple(put(a) for a in data.states)
            forward = lambda: tg.scan(step, states, x)[1]  # noqa: E731

    def program() -> Any:
        if row.mode == "forward":
            return forward()
        for leaf in (x, *weights):
            leaf.grad = None
        if row.mode == "train":
            y = forward()
            y.backward(dy)
            return y.detach()
        y = forward()
        g = tg.grad(lambda x: (run_on(x) * dy).sum())(x)
        (g * g).sum().backward()
        return y.detach()

    def run_on(other: Any) -> Any:
        return layer(other)[0]

    compiled = tg.jit(program)

    def run() -> Any:
        with tg.use_backend(backend):
            if row.mode == "forward":
                with tg.no_grad():
                    y = compiled()
            else:
                y = compiled()
        backend.synchronize()
        return y

    return Side(run, lambda: run().astype("float32").numpy())


def theirs(row: Row, data: Data, device: str) -> Side:
    names = {"tf32": "float32"}
    dtype = getattr(torch, names.get(row.precision, row.precision))

    def put(a: np.ndarray, learn: bool = False) -> Any:
        return torch.tensor(a, dtype=dtype, device=device, requires_grad=learn)

    x, dy = put(data.x, True), put(data.dy)
    if row.model in BUILT_IN:
        layer = getattr(torch.nn, row.model.upper())(row.H, row.H).to(device, dtype)
        layer.load_state_dict({n: torch.from_numpy(a) for n, a in data.weights.items()})
        weights = list(layer.parameters())
        forward = lambda: layer(x)[0]  # noqa: E731
    else:
        named = {n: put(a, True) for n, a in data.weights.items()}
        weights, cell = list(named.values()), THEIR_CELLS[row.model](named)
        states = tuple(put(a) for a in data.states)
        forward = lambda: their_loop(cell, states, x)  # noqa: E731

    def run() -> Any:
        if row.mode == "forward":
            with torch.no_grad():
                y = forward()
        else:
            for leaf in (x, *weights):
                leaf.grad = None
            if row.mode == "train":
                y = forward()
                y.backward(dy)
            else:  # cuDNN cannot be differentiated twice
                with torch.backends.cudnn.flags(enabled=False):
                    y = forward()
                (g,) = torch.autograd.grad(y, x, dy, create_graph=True)
                (g * g).sum().backward()
        if device == "cuda":
            torch.cuda.synchronize()
        return y.detach()

    return Side(run, lambda: run().float().cpu().numpy())


# --- measuring -----------------------------------------------------------------------------------


def precision(row: Row, backend: Any) -> None:
    """The same arithmetic for float32 on both sides."""
    fast = row.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = fast
    torch.backends.cudnn.allow_tf32 = fast
    if hasattr(backend, "settings"):
        backend.settings.tf32 = fast


def median_ms(run: Callable[[], Any], seconds: float) -> float:
    """After three runs that do not count: compilation, capture, clocks."""
    for _ in range(3):
        run()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < end and len(times) < 200):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def road(row: Row, data: Data, backend: Any) -> list[str]:
    """How our loops run, first words only; with both roads timed if there is a choice."""
    if row.model not in BUILT_IN:
        return []
    dtype = "float32" if row.precision == "tf32" else row.precision
    with tg.use_backend(backend):
        layer = getattr(tg.nn, row.model.upper())(row.H, row.H).to(backend, dtype)
        x = tg.zeros((row.T, row.B, row.H)).astype(dtype).detach()
        x.requires_grad = True

        def step() -> Any:
            y = layer(x)[0]
            if row.mode != "forward":
                y.backward(tg.ones_like(y))
            return y.detach()

        graph = tg.explain(step)().graph
    count = len(list(scans(graph)))
    return [how for name, how in backend.report(graph) if name == "scan"][:count]


def measure(row: Row, backend: Any, device: str, seconds: float) -> dict[str, Any]:
    precision(row, backend)
    data = Data(row)
    ours_, theirs_ = ours(row, data, backend), theirs(row, data, device)
    difference = float(np.max(np.abs(ours_.output() - theirs_.output())))
    found: dict[str, Any] = row._asdict() | {"family": row.family, "difference": difference}
    limit = {"float16": 5e-2, "bfloat16": 2e-1, "tf32": 5e-2}.get(row.precision, 1e-3)
    if not difference <= limit:
        raise AssertionError(f"{row}: outputs differ by {difference:.3g}, more than {limit}")
    found["ours_ms"], found["theirs_ms"] = (median_ms(s.run, seconds) for s in (ours_, theirs_))
    found["ratio"] = found["theirs_ms"] / found["ours_ms"]
    found["roads"] = road(row, data, backend)
    return found


def both_roads(backend: Any, steps: int) -> Iterator[dict[str, Any]]:
    """Our two roads against each other: what the rule that chooses should know."""
    for H, B, tf32 in itertools.product(*ROADS):
        row = Row("lstm", "train", "tf32" if tf32 else "float32", H, B, steps)
        data = Data(row)
        precision(row, backend)
        for name in ("graph", "persistent"):
            backend.settings.loops = name
            side = ours(row, data, backend)
            taken, ms = road(row, data, backend), median_ms(side.run, 0.5)
            yield row._asdict() | {"loops": name, "ours_ms": ms, "roads": taken}
        backend.settings.loops = "auto"


# --- the report ----------------------------------------------------------------------------------


def about(device: str) -> dict[str, Any]:
    wanted = ("torch", "cupy", "numpy")
    packages = [d for d in importlib.metadata.distributions() if d.name]
    versions = {d.name: d.version for d in packages if d.name.lower().split("-")[0] in wanted}
    name = torch.cuda.get_device_name() if device == "cuda" else "no GPU: a rehearsal"
    cudnn = torch.backends.cudnn.version() if device == "cuda" else None
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"date": date, "device": name, "cudnn": cudnn, "versions": versions}


def summary(found: list[dict[str, Any]]) -> Iterator[str]:
    yield ""
    yield f"{'family':32} {'rows':>4} {'mean':>7} {'least':>7} {'goal':>6}"
    for family, goal in GOALS.items():
        ratios = [f["ratio"] for f in found if f["family"] == family]
        if ratios:
            mean = math.exp(statistics.fmean(map(math.log, ratios)))
            verdict = "" if not goal else "reached" if mean >= goal else "NOT REACHED"
            yield f"{family:32} {len(ratios):4} {mean:7.2f} {min(ratios):7.2f} {goal:6} {verdict}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Layers on a GPU beside PyTorch's.")
    parser.add_argument("--minutes", type=float, default=8.0, help="stop after this time")
    parser.add_argument("--seconds", type=float, default=0.4, help="for each side of a row")
    parser.add_argument("--quick", action="store_true", help="the most telling rows only")
    parser.add_argument("--roads", action="store_true", help="also our two roads side by side")
    parser.add_argument("--rehearse", action="store_true", help="tiny, on the CPU")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    device = "cpu" if args.rehearse else "cuda"
    backend = tg.get_backend("numpy" if args.rehearse else "cupy")
    todo: Any = rows(STEPS, args.quick)
    if args.rehearse:
        todo = [Row(m, mode, p, 4, 2, 3) for m, mode, p in (
            ("lstm", "train", "float32"), ("gru", "forward", "tf32"), ("rnn", "train", "float16"),
            ("lstm", "train", "bfloat16"),
            ("mgu", "train", "float32"), ("layernorm-lstm", "train", "float32"),
            ("lstm", "penalty", "float32"))]  # fmt: skip
    machine = about(device)
    print(json.dumps(machine))
    end, found, failed, left = time.monotonic() + 60 * args.minutes, [], 0, 0
    for row in todo:
        if time.monotonic() > end:
            left += 1
            continue
        try:
            result = measure(row, backend, device, 0.001 if args.rehearse else args.seconds)
        except (AssertionError, RuntimeError, tg.errors.TinygradRnnError) as error:
            failed += 1
            print(f"{row} FAILED: {error}", flush=True)
            continue
        found.append(result)
        first = " | ".join(dict.fromkeys(how.split(",")[0] for how in result["roads"]))
        print(
            f"{row} ours {result['ours_ms']:9.3f} ms  theirs {result['theirs_ms']:9.3f} ms"
            f"  ratio {result['ratio']:6.2f}  {first}", flush=True,
        )  # fmt: skip
    roads = []
    if args.roads and time.monotonic() < end:
        for result in both_roads(backend, STEPS):
            roads.append(result)
            print({k: v for k, v in result.items() if k != "roads"}, result["roads"], flush=True)
    for line in summary(found):
        print(line)
    if args.rehearse:
        print("a rehearsal on the CPU: the figures mean nothing")
    print(f"{left} rows were not measured for want of time, {failed} failed")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"machine": machine, "rows": found, "roads": roads}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
