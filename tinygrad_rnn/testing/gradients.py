"""check_grads: gradients of any order against derivatives that are worked out another way.

In: a function of tensors and float64 arguments. Out: a report, or a GradientMismatch that names the
input, the entry, what was expected and what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import Backend, get_backend
from ..derivatives import vjp
from ..errors import ArgumentError, TinygradRnnError
from ..ops.creation import tensor
from ..tensor import Tensor
from ..tree import flatten, paths, unflatten
from ..types import kind_of
from .assertions import host
from .complex_step import ComplexStep, NotAnalytic, weigh
from .differences import central
from .recorded import Recorded
from .singular import points_met

#: Beside a singular point: how far to go to look at the slopes on both sides, and how well those
#: are known there. Differences are compared no more closely than DIFFERENCES.
ASIDE, LOOSE, DIFFERENCES = 1e-6, 1e-3, 1e-7
Flat = Callable[..., Sequence[Tensor]]


class GradientMismatch(AssertionError):
    """A gradient is not what it should be."""


class GradientReport(NamedTuple):
    """What `check_grads` looked at, summed over the orders.

    checked: entries that agree with the oracle. singular: entries at a kink or a tie, whose
    gradient lies between the slopes on both sides. skipped: entries that have no finite slope, or
    that differences cannot resolve. oracles: what each order was compared with. worst: the largest
    difference of the checked entries, relative to max(1, largest entry).
    """

    checked: int
    singular: int
    skipped: int
    oracles: tuple[str, ...]
    worst: float

    def __str__(self) -> str:
        return (
            f"{self.checked} entries agree to {self.worst:.1g}, {self.singular} lie at singular "
            f"points between the slopes on both sides, {self.skipped} skipped; order by order "
            f"compared with: {', '.join(self.oracles)}"
        )


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    *,
    tolerance: float = 1e-9,
    oracle: str = "auto",
    seed: int = 0,
    backend: str | Backend | None = None,
) -> GradientReport:
    """Check the derivatives of `f(*args)` up to `order`, for every entry of every float64 argument.

    args: trees of arrays or tensors; floating leaves are float64, others are passed on as they are.
    Cotangents are random (`seed`). Gradients are compared, to `tolerance` * max(1, largest entry),
    with the complex step where the primitives' references allow it ("complex"), else with central
    differences of the eighth order, to 1e-7 at best ("differences"); `oracle` "auto" chooses. At
    kinks and ties any slope between those on both sides is right (the policies choose one: abs'(0)
    = 0, relu'(0) = 0, equal maxima share); entries without finite slopes are skipped and counted.

    >>> import tinygrad_rnn as tg
    >>> report = check_grads(lambda x: tg.sin(x) * x, [np.array([0.5, 2.0])])
    >>> report.checked, report.skipped, report.oracles
    (6, 0, ('complex step', 'complex step'))
    """
    if oracle not in ("auto", "complex", "differences"):
        raise ArgumentError(
            f"check_grads: oracle={oracle!r}, expected 'auto', 'complex' or 'differences'."
        )
    leaves, treedef = flatten(tuple(args))
    arrays, names = [host(x) for x in leaves], paths(tuple(args), "args")
    for name, a in zip(names, arrays):
        if kind_of(a.dtype) == "f" and a.dtype != np.float64:
            raise ArgumentError(
                f"check_grads: {name} is {a.dtype}, expected float64; rounding of {a.dtype} would "
                "hide errors. Cast it with .astype('float64')."
            )
    where = get_backend(backend) if backend is not None else None

    def flat(*xs: Tensor) -> list[Tensor]:
        return _results(f(*unflatten(treedef, xs)))

    rng = np.random.default_rng(seed)
    checks = []
    level: Flat = flat
    for k in range(1, order + 1):
        check = _Check(level, arrays, names, k, tolerance, oracle, rng, where)
        checks.append(check.run())
        level, arrays, names = check.pullback, check.all_arrays, check.all_names
    return GradientReport(
        sum(c.checked for c in checks),
        sum(c.singular for c in checks),
        sum(c.skipped for c in checks),
        tuple(c.oracles[0] for c in checks),
        max((c.worst for c in checks), default=0.0),
    )


def _results(out: Any) -> list[Tensor]:
    return [y for y in flatten(out)[0] if isinstance(y, Tensor)]


class _Check:
    """One order: the pullback of `f` at `arrays` beside an oracle for it."""

    def __init__(
        self,
        f: Flat,
        arrays: Sequence[np.ndarray],
        names: Sequence[str],
        order: int,
        tolerance: float,
        oracle: str,
        rng: np.random.Generator,
        backend: Backend | None,
    ):
        self.f, self.arrays, self.names, self.order = f, list(arrays), list(names), order
        self.tolerance, self.oracle, self.backend = tolerance, oracle, backend
        self.places = [i for i, a in enumerate(arrays) if kind_of(a.dtype) == "f"]
        ys = f(*self.put(arrays))
        self.chosen = [i for i, y in enumerate(ys) if y.dtype.is_float]
        cotangents = [rng.normal(size=ys[i].shape) for i in self.chosen]
        self.cotangents: list[np.ndarray | None] = [None] * len(ys)
        for i, ct in zip(self.chosen, cotangents):
            self.cotangents[i] = ct
        self.all_arrays = [*self.arrays, *cotangents]
        self.all_names = [*self.names, *[f"cotangent {i}" for i in self.chosen]]

    def put(self, arrays: Sequence[np.ndarray]) -> list[Tensor]:
        return [tensor(a, backend=self.backend) for a in arrays]

    def pullback(self, *values: Tensor) -> list[Tensor]:
        """Arguments and cotangents -> gradients of the floating arguments."""
        xs, cotangents = values[: len(self.arrays)], values[len(self.arrays) :]

        def of_floats(*floats: Tensor) -> tuple[Tensor, ...]:
            full = list(xs)
            for i, new in zip(self.places, floats):
                full[i] = new
            found = self.f(*full)
            return tuple(found[i] for i in self.chosen)

        return list(vjp(of_floats, *[xs[i] for i in self.places])[1](tuple(cotangents)))

    def run(self) -> GradientReport:
        got = self.pullback(*self.put(self.all_arrays))
        slopes = self.slopes()
        checked = singular = skipped = 0
        worst = 0.0
        for i, y in zip(self.places, got):
            g = host(y)
            if (g.shape, g.dtype) != (self.arrays[i].shape, np.dtype(np.float64)):
                raise GradientMismatch(f"{self.title(i)} is {y.type}, the argument is "
                                       f"f64{list(self.arrays[i].shape)}.")  # fmt: skip
            counts, here = self.compare(i, g, slopes)
            checked, singular, skipped = (
                a + b for a, b in zip((checked, singular, skipped), counts)
            )
            worst = max(worst, here)
        return GradientReport(checked, singular, skipped, (slopes.name,), worst)

    def compare(
        self, i: int, got: np.ndarray, slopes: _Slopes
    ) -> tuple[tuple[int, int, int], float]:
        """(entries checked, singular, skipped), the worst difference; raises at a wrong entry."""
        want, errors = np.zeros(got.shape), np.zeros(got.shape)
        for at in np.ndindex(got.shape):
            want[at], errors[at] = slopes.at(i, at)
        fine = np.isfinite(want)
        scale = max(1.0, float(np.abs(want[fine]).max())) if fine.any() else 1.0
        limit = max(self.tolerance, slopes.limit) * scale
        off = np.abs(got - want)
        good = off <= limit
        unknown = ~good & ~(errors <= limit)
        bad = [at for at in map(tuple, np.argwhere(~good & ~unknown))]
        judged = [self.beside(i, at, got[at], slopes) for at in bad]
        wrong = [at for at, verdict in zip(bad, judged) if verdict == "wrong"]
        if wrong:
            self.fail(i, got, want, wrong, slopes)
        singular, skipped = judged.count("singular"), judged.count("skipped")
        worst = float(off[good].max()) / scale if good.any() else 0.0
        return (int(good.sum()), singular, skipped + int(unknown.sum())), worst

    def beside(self, i: int, at: tuple[int, ...], got: float, slopes: _Slopes) -> str:
        """What to say of an entry that differs: "wrong" unless it lies at a singular point."""
        if not slopes.at_points():
            return "wrong"
        unit = ASIDE * max(1.0, abs(float(self.arrays[i][at])))
        sides = [slopes.aside(i, at, unit * sign) for sign in (-1, 1)]
        if not np.isfinite(sides).all():
            return "skipped"
        slack = LOOSE * max(1.0, *map(abs, sides))
        inside = min(sides) - slack <= got <= max(sides) + slack
        return "singular" if inside and abs(sides[0] - sides[1]) > slack else "wrong"

    def title(self, i: int) -> str:
        words = {1: "gradient", 2: "second derivative", 3: "third derivative"}
        what = words.get(self.order, f"derivative of order {self.order}")
        return f"check_grads: the {what} with respect to {self.names[i]}"

    def fail(
        self, i: int, got: np.ndarray, want: np.ndarray, wrong: Sequence[Any], slopes: _Slopes
    ) -> None:
        off = np.abs(got - want)
        at = tuple(map(int, max(wrong, key=lambda k: float(np.nan_to_num(off[k], nan=np.inf)))))
        where = f", entry {list(at)}" if at else ""
        raise GradientMismatch(
            f"{self.title(i)}{where}: expected {want[at]:.17g} ({slopes.name}), "
            f"got {got[at]:.17g}; {len(wrong)} of {got.size} entries differ."
        )

    def slopes(self) -> _Slopes:
        """The oracle: by complex step if that was asked for or is possible."""
        try:
            program = Recorded(self.f, self.put(self.arrays))
        except TinygradRnnError:  # it reads values, or assigns: only running it says what it does
            if self.oracle == "complex":
                raise
            return _Slopes(self, None, None)
        exact = None
        if self.oracle != "differences":
            try:
                exact = ComplexStep(program.graph, program.captured)
                exact.outputs([a + 0j if kind_of(a.dtype) == "f" else a for a in self.arrays])
            except NotAnalytic as reason:
                if self.oracle == "complex":
                    raise ArgumentError(f"check_grads: no complex step: {reason}.") from reason
                exact = None
        return _Slopes(self, program, exact)


class _Slopes:
    """d(sum of cotangent * result) / d(entry), by complex step or by differences."""

    def __init__(self, check: _Check, program: Recorded | None, exact: ComplexStep | None):
        self.check, self.program, self.exact = check, program, exact
        self.name = "complex step" if exact else "central differences"
        self.limit = 0.0 if exact else DIFFERENCES
        self.met: bool | None = None

    def at(self, i: int, at: tuple[int, ...], shift: float = 0.0) -> tuple[float, float]:
        """The slope at an entry moved by `shift`, and an estimate of its error."""
        arrays, cotangents = self.check.arrays, self.check.cotangents
        if shift:
            arrays = [a.copy() if k == i else a for k, a in enumerate(arrays)]
            arrays[i][at] += shift
        if self.exact is not None:
            return self.exact.entry(arrays, i, at, cotangents), 0.0

        def along(t: float) -> float:
            moved = arrays[i].copy()
            moved[at] += t
            return weigh(self.outputs([*arrays[:i], moved, *arrays[i + 1 :]]), cotangents)

        # one-sided slopes are looked at nearer than they are shifted
        return central(along, abs(shift) / 8 / 3e-2 if shift else 1.0)

    def aside(self, i: int, at: tuple[int, ...], shift: float) -> float:
        """The slope on one side of a singular point; NaN or infinity where there is none."""
        arrays = list(self.check.arrays)
        arrays[i] = arrays[i].copy()
        arrays[i][at] += shift
        if not np.isfinite(weigh(self.outputs(arrays), self.check.cotangents)):
            return float("nan")
        far, near = (self.at(i, at, shift / k)[0] for k in (1, 16))
        return near if abs(near) <= 2 * abs(far) + 1 else float("inf")

    def outputs(self, arrays: Sequence[np.ndarray]) -> list[Any]:
        if self.program is None:
            return [host(y) for y in self.check.f(*self.check.put(arrays))]
        with np.errstate(all="ignore"):
            return self.program.interpret(*arrays)

    def at_points(self) -> bool:
        """Whether an operation is at a singular point of its own here (unknown: yes)."""
        if self.met is None:
            self.met = self.program is None or bool(
                points_met(self.program.graph, [*self.check.arrays, *self.program.captured])
            )
        return self.met

