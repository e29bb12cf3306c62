"""What all examples share: options, progress, checkpoints, one look of the pictures, the last line.

An example is a function of a Run and of its settings, which become options:

    @example(quick={"steps": 50}, steps=(500, "steps of training"), lr=(0.01, "Adam's step size"))
    def main(run: Run, steps: int, lr: float) -> Report:
        for _ in run.steps(steps, model=model):     # a progress bar; model is saved now and then
            run.show(train_step(...))               # the loss, beside the bar
        axes = run.axes("What it shows")
        return Report(loss, Score("accuracy", 0.98, at_least=0.97, baseline=("guessing", 0.1)))

    if __name__ == "__main__":
        main()

`main([...])` takes arguments as a list and returns the Report, for the tests.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_rnn as tg

# Okabe and Ito's colours, which colour-blind people can tell apart, and grey.
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#888888"]
LOOK = {
    "figure.figsize": (12.8, 7.2),
    "figure.dpi": 125,
    "figure.constrained_layout.use": True,
    "font.size": 15,
    "axes.titlesize": 17,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "lines.linewidth": 2.5,
    "legend.frameon": False,
    "image.cmap": "viridis",
}


def need(module: str, package: str | None = None) -> Any:
    """An imported module, or a message that names the command that installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        name = package if package and missing == module.partition(".")[0] else missing
        raise SystemExit(
            f"this example needs the package {name!r}: pip install {name} "
            f"(pip install -e '.[examples]' installs all that the examples need)"
        ) from error


def data_file(package: str, path: str, command: str = "") -> Path:
    """A file or folder that an installed package brings, or how to install it.

    The package is not imported; its requirements need not be there.
    """
    try:
        found = Path(str(distribution(package).locate_file(path)))
    except PackageNotFoundError as error:
        command = command or f"pip install {package}"
        raise SystemExit(
            f"this example needs the data of the package {package!r}: {command}"
        ) from error
    if not found.exists():
        raise SystemExit(f"the package {package!r} of this version has no file {path}")
    return found


def read_text(path: Path, option: str = "--text") -> str:
    """A text file, or a message that says what is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SystemExit(f"{option} {path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SystemExit(f"{option} {path}: is not UTF-8 text ({error})") from error
    if not text.strip():
        raise SystemExit(f"{option} {path}: is empty; a few hundred thousand letters work well")
    return text


def check_known(tokens: Iterable[str], known: Iterable[str], option: str, where: str) -> None:
    """Stop with a message if there are tokens that the training data does not have."""
    if unknown := sorted(set(tokens) - set(known)):
        raise SystemExit(f"{option}: {unknown[:8]} do not occur in {where}")


@dataclass
class Score:
    """A figure that was reached, what it should be, and what a simpler method reaches.

    `form` says how it is printed: ".1%", ".2f", ".0e".
    """

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None
    baseline: tuple[str, float] | None = None
    form: str = ".1%"

    @property
    def reached(self) -> bool:
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        return bool(low <= self.value <= high)

    @property
    def wanted(self) -> str:
        """ "at least 97.0%", or nothing."""
        if self.at_least is not None:
            return f"at least {self.at_least:{self.form}}"
        return f"at most {self.at_most:{self.form}}" if self.at_most is not None else ""

    @property
    def compared(self) -> str:
        """ "logistic regression 96.7%", or nothing."""
        return f"{self.baseline[0]} {self.baseline[1]:{self.form}}" if self.baseline else ""

    def __str__(self) -> str:
        text = f"{self.name} {self.value:{self.form}}"
        return text + (f" ({self.compared})" if self.compared else "")

    def judged(self, quick: bool) -> str:
        """In words, with what is wanted; a quick run is not expected to reach it."""
        if quick or not self.wanted:
            return str(self)
        return f"{self}, {self.wanted}: {'reached' if self.reached else 'NOT reached'}"

    def as_dict(self) -> dict[str, Any]:
        text = f"{self.name} {self.value:{self.form}}"
        parts = {"text": text, "wanted": self.wanted, "baseline": self.compared}
        return {"name": self.name, "value": float(self.value), "reached": self.reached, **parts}


class Report:
    """What an example found: the last training loss (nan where nothing is trained) and scores.

    The last line shows all scores, or the first `shown`.
    """

    def __init__(self, loss: Any, *scores: Score, shown: int | None = None):
        self.loss, self.scores, self.shown = float(loss), list(scores), shown

    def __getitem__(self, name: str) -> float:
        return next(score.value for score in self.scores if score.name == name)


@dataclass
class Run:
    """One run of an example: where it writes, its seed, and what it tells the user meanwhile."""

    name: str
    out: Path
    seed: int
    quick: bool
    checkpoint: Path | None = None
    picture: Path | None = None
    shown: list[float] = field(default_factory=list)  # what `show` was given since `steps` began
    _bar: Any = None
    _figure: Any = None
    _started: float = field(default_factory=time.perf_counter)

    @functools.cached_property
    def rng(self) -> np.random.Generator:
        """NumPy's generator, seeded by --seed; tg.manual_seed(--seed) has been called too."""
        return np.random.default_rng(self.seed)

    def steps(
        self,
        count: int,
        name: str = "",
        start: int = 0,
        save: Callable[[], Any] | None = None,
        **parts: Any,
    ) -> Iterator[int]:
        """start … count - 1 under a progress bar.

        `parts` (model=…, optimizer=…) are saved after the first step, every five seconds, and
        after the last, or `save()` is called; `name` tells several trainings apart.
        """
        self.shown = []
        bar = need("tqdm").tqdm(total=count, initial=start, desc=name or self.name, disable=None)
        save, due = save or (lambda: self.save(name, **parts) if parts else None), 0.0
        with bar as self._bar:
            for step in range(start, count):
                yield step
                bar.update()
                if time.monotonic() > due or step == count - 1:
                    save()
                    due = time.monotonic() + 5

    def save(self, name: str = "", **parts: Any) -> None:
        """Write a checkpoint, if the weights are finite; it is named when the user interrupts."""
        for p in parts["model"].parameters():
            if not np.isfinite(p.detach().numpy()).all():
                raise SystemExit("weights are not finite: training diverged; lower --lr")
        self.checkpoint = self.out / f"{name or 'checkpoint'}.safetensors"
        tg.save_checkpoint(self.checkpoint, **parts)

    def show(self, loss: Any, what: str = "loss") -> float:
        """The loss as a number, shown beside the bar; stops when it is not finite."""
        value = float(loss.item() if hasattr(loss, "item") else loss)
        if not math.isfinite(value):
            raise SystemExit(f"the {what} is {value}: training diverged; lower --lr")
        if self._bar is not None:
            self._bar.set_postfix_str(f"{what} {value:.4f}", refresh=False)
        self.shown.append(value)
        return value

    @property
    def loss(self) -> float:
        """The loss at the end of a training: the mean of the last tenth shown; batches differ."""
        return float(np.mean(self.shown[-max(len(self.shown) // 10, 1) :]))

    def say(self, text: str) -> None:
        """A line of text that does not disturb the bar."""
        need("tqdm").tqdm.write(text)

    def axes(self, title: str, rows: int = 1, columns: int = 1, **options: Any) -> Any:
        """The axes of a new figure in the look of all examples, `options` as for plt.subplots.

        It is saved as NAME.png when the example ends; `axis.figure` is the figure.
        """
        matplotlib = need("matplotlib")
        cycle = need("cycler").cycler(color=COLORS)
        matplotlib.rcParams.update({**LOOK, "axes.prop_cycle": cycle})
        size = options.pop("figsize", LOOK["figure.figsize"])
        self._figure = need("matplotlib.figure").Figure(figsize=size)
        self._figure.suptitle(title, x=0.01, ha="left", fontsize=21, fontweight="bold")
        return self._figure.subplots(rows, columns, **options)

    def finish(self, report: Report) -> None:
        """Save the picture and the figures, print the last line."""
        if self._figure is not None:
            self.picture = self.out / f"{self.name}.png"
            # matplotlib projects the uninitialised padding of three-dimensional polygons too
            with np.errstate(all="ignore"):
                self._figure.savefig(self.picture)
        seconds, backend = time.perf_counter() - self._started, tg.get_backend().name
        found = {"example": self.name, "backend": backend, "seed": self.seed, "quick": self.quick}
        scores = [score.as_dict() for score in report.scores]
        found |= {"seconds": seconds, "loss": report.loss, "scores": scores}
        (self.out / "result.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        line = [score.judged(self.quick) for score in report.scores[: report.shown]]
        line += [f"{seconds:.0f} s on {backend}"] + ([str(self.picture)] if self.picture else [])
        print(f"{self.name}: " + "; ".join(line))


def show_image(axis: Any, image: np.ndarray, title: str = "", right: bool = True) -> None:
    """An image [H,W] in grey, 1 is black; its title is red where the answer is wrong."""
    axis.imshow(image, cmap="gray_r", vmin=0, vmax=1)
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
    axis.set_title(title, fontsize=16, color="black" if right else COLORS[1])


def choose_backend(name: str | None) -> None:
    """Use the backend of --backend or TINYGRAD_RNN_BACKEND, else the best that a CPU has."""
    usable = {info.name for info in tg.list_backends() if info.missing is None}
    best = "numba" if "numba" in usable else "numpy"
    try:
        tg.use_backend(name or os.environ.get("TINYGRAD_RNN_BACKEND") or best)
    except tg.BackendError as error:
        raise SystemExit(str(error)) from error


def parse(
    doc: str,
    name: str,
    settings: Mapping[str, tuple[Any, ...]],
    quick: Mapping[str, Any],
    seed: int,
    argv: list[str] | None,
) -> dict[str, Any]:
    """Options of the command line; with --quick other defaults, which options still overrule."""
    parser = argparse.ArgumentParser(
        prog=f"{name}.py",
        description=doc.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    for setting, (default, text, *choices) in settings.items():
        flag = f"--{setting.replace('_', '-')}"
        if isinstance(default, bool):
            add(flag, action=argparse.BooleanOptionalAction, default=default, help=text)
        elif isinstance(default, tuple):
            kind = {"type": type(default[0]), "nargs": "+", "choices": choices or None}
            add(flag, default=default, help=text, **kind)
        else:
            kind = str if default is None else type(default)
            add(flag, type=kind, default=default, choices=choices or None, help=text)
    add("--quick", action="store_true", help="a smaller run of at most ten seconds")
    add("--seed", type=int, default=seed, help="of the weights and of all that is drawn")
    add("--backend", help="numpy, numba, cupy (default: TINYGRAD_RNN_BACKEND, else the best)")
    add("--out", type=Path, default=Path("runs") / name, help="folder for all that is written")
    if parser.parse_args(argv).quick:
        parser.set_defaults(**quick)
    given = vars(parser.parse_args(argv))
    for setting, value in given.items():
        flag, default = f"--{setting.replace('_', '-')}", settings.get(setting, (0,))[0]
        for number in value if isinstance(value, tuple | list) else [value]:
            if isinstance(number, int | float) and not isinstance(number, bool):
                least = 1 if isinstance(number, int) and default else 0
                if not least <= number < math.inf:
                    parser.error(f"{flag} {number}: must be at least {least}")
    return given


def example(
    *, quick: Mapping[str, Any] | None = None, seed: int = 0, **settings: tuple[Any, ...]
) -> Callable[[Callable[..., Report]], Callable[..., Report]]:
    """Make `main(run, **settings)` a program; each setting is name=(default, help, *choices).

    A default that is a tuple makes an option of one or more values.
    """

    def decorate(fn: Callable[..., Report]) -> Callable[..., Report]:
        name = Path(fn.__code__.co_filename).stem

        @functools.wraps(fn)
        def main(argv: list[str] | None = None) -> Report:
            options = parse(fn.__globals__["__doc__"], name, settings, quick or {}, seed, argv)
            choose_backend(options.pop("backend"))
            run = Run(name, *(options.pop(key) for key in ("out", "seed", "quick")))
            tg.manual_seed(run.seed)
            try:
                run.out.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise SystemExit(f"--out {run.out}: {error.strerror}") from error
            try:
                report = fn(run, **options)
                run.finish(report)
            except KeyboardInterrupt:
                kept = run.checkpoint is not None and run.checkpoint.exists()
                last = f"the last checkpoint is {run.checkpoint}"
                print(f"\nstopped; {last if kept else 'nothing is saved yet'}")
                raise SystemExit(130) from None
            return report

        return main

    return decorate
