"""Level 0: the backend is there, has what it claims, moves arrays exactly, and trains a little."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import grad, jit, tanh
from ...array_api import finfo
from ...capabilities import FEATURES
from ...errors import TinygradRnnError
from ...extend import DTYPES, Type, primitives
from ...types import kind_of
from ..layouts import LAYOUTS, lay_out
from .calls import seeded
from .compare import close
from .loopback import has_body
from .registry import Level, Skip, check
from .subject import Subject, missing

SHAPES = ((), (0,), (1,), (5,), (3, 4), (2, 0, 3), (2, 3, 1, 2), (1,) * 7)


@check("F4", Level.SMOKE)
def found_by_name(subject: Subject) -> None:
    from ... import get_backend, list_backends

    cls, name = type(subject.backend), subject.backend.name
    assert cls.missing() is None, f"it is in use, and missing() says: {cls.missing()}"
    if name not in {info.name for info in list_backends()} or missing(name) is not None:
        raise Skip(f"'{name}' is not registered as an entry point")
    if isinstance(get_backend(name), cls):
        assert get_backend(name) is get_backend(name)
        assert get_backend(name).name == name, "the entry point has another name than the backend"


@check("F4", Level.SMOKE)
def declarations(subject: Subject) -> None:
    """What is claimed makes sense, and there is a kernel for every primitive that is not denied."""
    claims, kernels = subject.claims, set(subject.backend.kernels)
    known = {d.name for d in DTYPES}
    assert set(claims.dtypes) <= known, f"unknown dtypes: {sorted(set(claims.dtypes) - known)}"
    assert set(claims.ulps) <= known, f"ulps of unknown dtypes: {sorted(set(claims.ulps) - known)}"
    unknown = set(claims.lacks) - set(primitives) - set(FEATURES)
    assert not unknown, f"lacks what nobody knows: {sorted(unknown)}"
    assert all(claims.lacks.values()), "every lack needs a reason"
    refused = {r.op for r in claims.refuses} - set(primitives)
    assert not refused, f"refuses unknown primitives: {sorted(refused)}"
    needed = {name for name, op in primitives.items() if not has_body(op)}
    lost = needed - kernels - set(claims.lacks)
    assert not lost, f"no kernel for {sorted(lost)}; write it, or name it in `lacks`"
    both = kernels & set(claims.lacks)
    assert not both, f"`lacks` names primitives that have a kernel: {sorted(both)}"


def special_bits(dtype: Any) -> np.ndarray:
    """Values in which a careless copy changes bits."""
    kind = kind_of(dtype)
    if kind == "c":
        parts = special_bits(np.zeros(0, dtype).real.dtype)
        found = np.zeros((len(parts), len(parts)), dtype)
        found.real, found.imag = parts, parts[:, None]
        return found.reshape(-1)
    if kind != "f":
        limits = (0, 1) if kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max, 0, 1)
        return np.array(limits, dtype)
    info = finfo(dtype)
    payload = np.array([np.nan], dtype).view(f"u{dtype.itemsize}") | 5
    few = np.array(
        [0.0, -0.0, np.inf, -np.inf, info.max, info.smallest_normal, info.smallest_subnormal], dtype
    )
    return np.concatenate([few, -few, payload.view(dtype)])


@check("F7", Level.SMOKE)
def every_bit_comes_back(subject: Subject) -> None:
    rng = seeded("bits")
    for kind in subject.dtypes:
        values = special_bits(kind.np)
        for shape in SHAPES:
            for layout in [how for how in LAYOUTS if how != "big-endian"]:
                host = lay_out(rng.choice(values, shape), layout)
                before = host.tobytes()
                buffer = subject.backend.put(host)
                for _ in range(2):
                    back = np.asarray(subject.backend.get(buffer))
                    what = f"{kind}{list(shape)} ({layout})"
                    assert (back.shape, back.dtype) == (shape, kind.np), (
                        f"{what} comes back as {back.dtype}{list(back.shape)}"
                    )
                    assert back.tobytes() == before, f"{what} comes back with other bits"
                assert host.tobytes() == before, f"{what}: put changed the array"


@check("F7", Level.SMOKE)
def put_copies(subject: Subject) -> None:
    for kind in subject.dtypes:
        for shape in ((), (3,), (64, 33), (0,)):
            host = np.ones(shape, kind.np)
            buffer = subject.backend.put(host)
            host[...] = 0
            back = np.asarray(subject.backend.get(buffer))
            assert (back == 1).all(), (
                f"put of {kind}{list(shape)}: changed with the array it copied"
            )


@check("F7", Level.SMOKE)
def other_dtypes_are_refused(subject: Subject) -> None:
    for kind in [d for d in DTYPES if d.missing is None and d not in subject.dtypes]:
        try:
            buffer = subject.backend.put(np.zeros(2, kind.np))
        except TinygradRnnError as error:
            assert kind.name in str(error), f"the error does not name {kind}: {error}"
        else:
            back = np.asarray(subject.backend.get(buffer)).dtype
            raise AssertionError(f"{kind} is not claimed, and put took it (it came back as {back})")


@check("F7", Level.SMOKE)
def empty_buffers(subject: Subject) -> None:
    for kind in subject.dtypes:
        for shape in SHAPES:
            made = subject.host(subject.backend.empty(Type(shape, kind)))
            assert (made.shape, made.dtype) == (shape, kind.np), (
                f"empty({Type(shape, kind)}) is {made.dtype}{list(made.shape)}"
            )


@check("F1", Level.SMOKE)
def descent(subject: Subject) -> None:
    """Ten steps of gradient descent, eager and compiled, end where NumPy's do."""
    from ... import no_grad

    dtype = subject.floats[-1].np
    rng = seeded("descent")
    x, y, w = rng.normal(size=(8, 3)), rng.normal(size=(8, 2)), rng.normal(size=(3, 2))

    def slope(w: Any, x: Any, y: Any) -> Any:
        return grad(lambda w: ((tanh(x @ w) - y) ** 2).sum())(w)

    want = w.copy()
    for _ in range(10):
        h = np.tanh(x @ want)
        want -= 0.05 * x.T @ (2 * (h - y) * (1 - h * h))
    for step in (slope, jit(slope)):

        def run(w: Any, x: Any, y: Any, step: Any = step) -> Any:
            with no_grad():
                for _ in range(10):
                    w = w - step(w, x, y) * 0.05
                return w

        (got,) = subject.eager(run, *(a.astype(dtype) for a in (w, x, y)))
        close(got, want.astype(dtype), subject.claims, "weights after ten steps", terms=100)
