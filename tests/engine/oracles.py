"""Oracles: what a derivative or a program should be, worked out another way.

Those of general use ship in `tinygrad_rnn.testing`; here are their short forms, and plain loops.
"""

from __future__ import annotations

import importlib.util
import itertools
import zlib
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.backend import GROUP
from tinygrad_rnn.testing import check_grads
from tinygrad_rnn.testing.assertions import assert_close as close
from tinygrad_rnn.testing.assertions import assert_same as same
from tinygrad_rnn.testing.assertions import host
from tinygrad_rnn.testing.complex_step import complex_step
from tinygrad_rnn.testing.differences import central
from tinygrad_rnn.testing.recorded import PASSES, Recorded, tensors
from tinygrad_rnn.tree import flatten, tree_map, unflatten

__all__ = [
    "BACKENDS", "PASSES", "check_gradients", "check_programs", "check_smooth", "close",
    "complex_step", "host", "loop", "random", "results", "same", "seeded", "subsets", "tensors",
]  # fmt: skip


def _usable(entry: EntryPoint) -> bool:
    """Whether a backend is importable and finds its device (CuPy comes without a GPU)."""
    spec = importlib.util.find_spec(entry.module)
    return spec is not None and spec.origin is not None and entry.load().missing() is None


#: Every registered backend that can be used here.
BACKENDS = [
    info.name
    for info in tg.list_backends()
    if info.missing is None
    and all(_usable(entry) for entry in entry_points(group=GROUP, name=info.name))
]


def seeded(name: str) -> np.random.Generator:
    """A generator that is the same in every run, and another one for every name."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def results(out: Any) -> list[tg.Tensor]:
    return [y for y in flatten(out)[0] if isinstance(y, tg.Tensor)]


def check_gradients(
    f: Any, *arrays: Any, order: int = 2, tol: float = 1e-9, what: str = "f"
) -> None:
    """`check_grads` that skips nothing: no point is singular."""
    seed = zlib.crc32(what.encode())
    report = check_grads(f, arrays, order, tolerance=tol, oracle="complex", seed=seed)
    assert not (report.skipped or report.singular), f"{what}: {report}"


def differences(f: Any, arrays: Any, cotangents: Any) -> list[Any]:
    """Derivatives of Re(sum of conj(cotangent) * f), by the references alone; of complex arguments
    x + iy d/dx + i d/dy."""
    program = Recorded(f, arrays)
    given = [host(a) for a in program.args]

    def along(k: int, at: Any, unit: complex, t: float) -> float:
        moved = given[k].copy()
        moved[at] += t * unit
        ys = program.interpret(*given[:k], moved, *given[k + 1 :])
        return sum(float(np.real(np.conj(ct) * y).sum()) for y, ct in zip(ys, cotangents))

    out: list[Any] = []
    for k, a in enumerate(given):
        g = np.zeros(a.shape, a.dtype)
        for at in np.ndindex(a.shape):
            for unit in (1, 1j) if a.dtype.kind == "c" else (1,):
                g[at] += unit * central(lambda t: along(k, at, unit, t))[0]  # noqa: B023
        out.append(g)
    return out


def check_smooth(
    f: Any, *arrays: Any, order: int = 2, tol: float = 1e-9, what: str = "f", rng: Any = None
) -> None:
    """The pullback of f, and its own pullback, by differences: for complex numbers, and where
    references are not analytic. All arguments and results are float64 or complex128."""
    # not the numbers that arguments are drawn from: a cotangent like them hides what it is blind to
    rng = rng or seeded(f"cotangents of {what}")
    ts = tensors(arrays)
    cts = [random(rng, y.shape, y.dtype.np) for y in results(f(*ts))]

    def pulled(*all_args: Any) -> Any:
        xs, gs = all_args[: len(arrays)], all_args[len(arrays) :]
        return tg.vjp(lambda *a: tuple(results(f(*a))), *xs)[1](tuple(gs))

    got = pulled(*ts, *tensors(cts))
    for i, (g, want) in enumerate(zip(got, differences(f, arrays, cts), strict=True)):
        assert g.dtype == want.dtype, f"{what}: gradient {i} is {g.type}"
        close(g, want, tol, f"{what}, argument {i}")
    if order > 1:
        check_smooth(pulled, *arrays, *cts, order=order - 1, tol=tol, what=f"{what}'", rng=rng)


def random(rng: np.random.Generator, shape: Any, dtype: Any = np.float64) -> np.ndarray:
    """Normal numbers, real or complex."""
    x = rng.normal(size=shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.normal(size=shape)
    return np.asarray(x, dtype)


def check_programs(f: Any, *arrays: Any, tol: float = 1e-10, which: Any = PASSES) -> None:
    """Eager = interpreter = compiled, with each pass alone and with all."""
    program = Recorded(f, arrays)
    want = program.interpret(*map(host, program.args))
    for y, z in zip(results(f(*program.args)), want, strict=True):
        close(y, z, tol, "eager")
    for name in which:
        for y, z in zip(program.run(name), want, strict=True):
            close(y, z, tol, f"passes: {name}")


def loop(step: Any, carry: Any, xs: Any, length: int, reverse: bool = False) -> Any:
    """scan, unrolled in Python."""
    order = range(length - 1, -1, -1) if reverse else range(length)
    rows: dict[int, Any] = {}
    for t in order:
        carry, rows[t] = step(carry, tree_map(lambda x, t=t: x[t], xs))
    if not rows:
        return carry, None
    first, treedef = flatten(rows[0])
    columns = [[flatten(rows[t])[0][k] for t in range(length)] for k in range(len(first))]
    return carry, unflatten(treedef, [tg.stack(c) for c in columns])


def subsets(n: int) -> list[tuple[bool, ...]]:
    """Every choice of some of n things, but none at all."""
    return [flags for flags in itertools.product((False, True), repeat=n) if any(flags)]
