"""The report as a picture: how many times faster, a dot for each configuration."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinygrad_rnn.errors import ArgumentError

from .rows import Row
from .table import Verdict

COLOURS = {"torch": "#c44e52", "jax": "#4c72b0", "peak": "#55a868"}


def require_matplotlib() -> None:
    """`ArgumentError` without matplotlib: better before an hour of measuring than after."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ArgumentError(
            "bench: --png needs matplotlib, which is not installed: "
            'pip install "tinygrad_rnn[examples]"'
        )


def save(path: Path, rows: Sequence[Row], found: Sequence[Verdict], title: str) -> None:
    """One line for each workload and peer: dots are configurations, bars are geometric means."""
    require_matplotlib()
    figure_module: Any = importlib.import_module("matplotlib.figure")
    shown = [v for v in found if v.peer]
    figure = figure_module.Figure(figsize=(9, 1.4 + 0.32 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    for y, v in enumerate(shown):
        mine = [row for row in rows if row.work.name == v.workload]
        ratios = [r for row in mine if (r := row.ratio(v.own, v.peer)) is not None]
        colour = COLOURS.get(v.peer, "#777777")
        axes.plot(ratios, [y] * len(ratios), "o", color=colour, alpha=0.55, markersize=5)
        axes.plot([v.mean], [y], "|", color=colour, markersize=17, markeredgewidth=3)
        wanted = mine[0].work.targets[v.peer].mean
        if wanted:
            axes.plot([wanted], [y], "|", color="black", markersize=11, markeredgewidth=1)
        axes.annotate(f"{v.mean:.2f}", (1.01, y), xycoords=("axes fraction", "data"), va="center")
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(shown)), [f"{v.workload}  vs {v.peer}" for v in shown])
    axes.invert_yaxis()
    axes.grid(axis="x", which="both", alpha=0.2)
    axes.set_xlabel(
        "times better than the other (rate: part of the peak)\n"
        "dots: configurations, thick: geometric mean, thin: what must be reached"
    )
    axes.set_title(title, fontsize=10)
    figure.savefig(path, dpi=150)
