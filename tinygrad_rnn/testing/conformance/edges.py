"""Level 1: special values. NaN, infinities, zeros of both signs, ties, the ends of the integers."""

from __future__ import annotations

import functools

import numpy as np

from ...array_api import finfo
from ...extend import DTYPES, Arg, DType, Elementwise, Type, primitives
from ...types import as_dtype, kind_of
from ..calls import PrimitiveCall, callable_primitives
from .calls import Host, assignments, draw, meant, seeded, uniform
from .compare import agree, same
from .registry import Level, check
from .subject import Subject

#: Primitives whose definition leaves the sign of a zero open: it depends on the order of work.
ANY_ZERO = (
    "max",
    "maximum",
    "minimum",
    "sum",
    "cumsum",
    "contract",
    "scatter_add",
    "scan",
    "zmul",
    "zdiv",
)


def taking(*kinds: str) -> list[str]:
    """Primitives with an operand whose dtype is free and may be of a kind."""
    free = [n for n in callable_primitives() if any(a.dtype is None for s in primitives[n].samples
                                                    for a in s.args)]  # fmt: skip
    return [n for n in free if not issubclass(primitives[n], Elementwise)
            or set("".join(kinds)) & set(primitives[n].kinds)]  # fmt: skip


def edges(dtype: DType) -> Host:
    """The special values of a dtype."""
    if dtype.is_bool:
        return np.array([False, True])
    if dtype.is_float:
        info = finfo(dtype)
        ends = (info.max, info.min, info.smallest_normal, -info.smallest_subnormal)
        wild = (np.nan, np.inf, -np.inf, *ends)
        return np.array([0.0, -0.0, 1, -1, 0.5, 1.5, -2.5, 2, 3, 7, -9, *wild], dtype.np)
    limits = np.iinfo(dtype.np)
    known = (limits.min, limits.min + 1, limits.max // 2, limits.max - 1, limits.max)
    return np.array(
        [*known, *[n for n in (-7, -2, -1, 0, 1, 2, 3, 7) if n >= limits.min]], dtype.np
    )


def edge_calls(subject: Subject, name: str, kind: str) -> list[PrimitiveCall]:
    """Every pair of special values; for other than elementwise primitives a few of them among
    ordinary ones (and no finite number so large that a sum of two depends on their order)."""
    op, found = subject.op(name), []

    def fill(rng: np.random.Generator, arg: Arg, dtype: DType, k: int) -> Host:
        plain = uniform(rng, arg, dtype, k)
        if arg.dtype is not None or dtype.kind != kind:
            return plain
        known = edges(dtype)
        if dtype.is_float:
            known = known[~np.isfinite(known) | (np.abs(known.astype(float)) < 10)]
        chosen = known[rng.integers(len(known), size=arg.shape)]
        return np.asarray(np.where(rng.random(arg.shape) < 0.3, chosen, plain), dtype.np)

    free = [a.dtype is None for a in op.samples[0].args]
    if issubclass(op, Elementwise) and all(free):
        n = len(free)
        for known in [edges(d) for d in subject.dtypes if d.kind == kind and kind in op.kinds]:
            args = [known.reshape(-1, *(1,) * (n - 1 - i)) for i in range(n)]
            found.append(meant(PrimitiveCall(name, tuple(args), {})))
        return subject.accepted(found)
    for k, sample in enumerate(op.samples):
        for assigned in assignments(op, sample, subject.dtypes):
            if any(f and d.kind == kind for f, d in zip(free, assigned.dtypes)):
                found += [draw(op, sample, assigned, f"edges {k} {assigned} {seed}", fill)
                          for seed in range(4)]  # fmt: skip
    return subject.accepted(found)


@check("C9", Level.FORWARD, lambda subject: taking("f"))
def specials(subject: Subject, name: str) -> None:
    for call in edge_calls(subject, name, "f"):
        agree(call, subject.apply(call), subject.claims, f"{call!r} of special values")


@check("C10", Level.FORWARD, lambda subject: taking("i", "u"))
def integers(subject: Subject, name: str) -> None:
    for kind in "iu":
        for call in edge_calls(subject, name, kind):
            agree(call, subject.apply(call), subject.claims, f"{call!r} of extreme integers")


@check("C11", Level.FORWARD, lambda subject: [n for n in taking("f") if n not in ANY_ZERO])
def signs_of_zero(subject: Subject, name: str) -> None:
    subject.promise("signed zeros")
    for call in edge_calls(subject, name, "f"):
        for got, want in zip(subject.apply(call), call.reference(), strict=True):
            if kind_of(want.dtype) == "f":
                zero = (want == 0) & (got == 0)
                wrong = zero & (np.signbit(got) != np.signbit(want))
                assert not wrong.any(), f"{call!r}: a zero has the wrong sign"


@check("C11", Level.FORWARD, lambda subject: taking("f"))
def subnormals(subject: Subject, name: str) -> None:
    """What the reference makes of subnormal numbers, or into them, is zero only where it says so:
    all operands subnormal, the first alone, or just large enough not to be."""

    def fill(which: int, rng: np.random.Generator, arg: Arg, dtype: DType, k: int) -> Host:
        plain = uniform(rng, arg, dtype, k)
        if not dtype.is_float or (which == 1 and k):
            return plain
        few = rng.integers(3, 99, arg.shape) * rng.choice([-1, 1], arg.shape)
        info = finfo(dtype)
        unit = info.smallest_normal / 8 if which == 2 else info.smallest_subnormal
        return np.asarray((few if k == 0 or which == 0 else plain) * unit, dtype.np)

    subject.promise("subnormals")
    for which in range(3):
        filled = functools.partial(fill, which)
        for call in subject.calls(name, ("float32", "float64"), filled):
            for got, want in zip(subject.apply(call), call.reference(), strict=True):
                if kind_of(want.dtype) == "f":
                    lost = (got == 0) & (want != 0)
                    assert not lost.any(), f"{call!r}: subnormal numbers became zero"


@check("B11", Level.FORWARD, lambda subject: taking("f", "i", "u"))
def ties(subject: Subject, name: str) -> None:
    """Operands with three values only: the first of equal ones counts, comparisons are exact."""

    def fill(rng: np.random.Generator, arg: Arg, dtype: DType, k: int) -> Host:
        if arg.dtype is not None:
            return uniform(rng, arg, dtype, k)
        return rng.integers(0, 3, arg.shape).astype(dtype.np)

    for call in subject.calls(name, ("float32", "float64", "int32", "int64"), fill):
        agree(call, subject.apply(call), subject.claims, f"{call!r} with ties")


# --- sums ----------------------------------------------------------------------------------------


def _sum(subject: Subject, x: Host) -> float:
    call = PrimitiveCall("sum", (x,), {"axes": (0,)})
    return float(subject.apply(call)[0])


@check("C7", Level.FORWARD, lambda subject: [d.name for d in DTYPES if d.wide is not d])
def half_precision(subject: Subject, dtype: str) -> None:
    """4096 ones: a sum in float16 would stop at 2048, in bfloat16 at 256."""
    subject.need(dtype)
    ones = np.ones(4096, as_dtype(dtype).np)
    column = {"a": (0,), "b": (0,), "out": ()}
    index = np.zeros(4096, np.int64)
    for name, args, attrs in (
        ("sum", (ones,), {"axes": (0,)}),
        ("cumsum", (ones,), {"axis": 0, "reverse": False}),
        ("contract", (ones, ones), column),
        ("scatter_add", (ones, index), {"axis": 0, "size": 1}),
    ):
        subject.op(name)
        (got,) = subject.apply(PrimitiveCall(name, args, attrs))
        assert got.reshape(-1)[-1] == 4096, f"{name} of 4096 ones in {dtype} gives {got}"


@check("C8", Level.FORWARD)
def long_sums(subject: Subject) -> None:
    import math

    subject.op("sum")
    for dtype in [d for d in subject.floats if d.itemsize > 2]:
        for n in (1000, 20011):
            x = (
                seeded("sums").normal(size=n) * 10.0 ** seeded("scales").integers(-3, 4, n)
            ).astype(dtype.np)
            got, want = _sum(subject, x), math.fsum(x.tolist())
            allowed = n * finfo(dtype).eps * math.fsum(np.abs(x).tolist())
            assert abs(got - want) <= allowed, f"sum of {n} {dtype}: {got}, expected {want}"


# --- indices -------------------------------------------------------------------------------------


@check("B7", Level.FORWARD)
def duplicates(subject: Subject) -> None:
    """scatter_add = the product with the one-hot matrix, however often an index occurs."""
    subject.op("scatter_add")
    rng = seeded("duplicates")
    for dtype in [d.name for d in subject.dtypes if d.name in ("float64", "float32", "int64")]:
        for n, size in ((1, 1), (8, 1), (50, 3), (200, 7), (64, 64), (0, 4)):
            index = rng.integers(0, size, n)
            rows = rng.integers(-9, 9, (n, 3)).astype(dtype)
            want = np.zeros((size, 3), dtype)
            for i, row in zip(index, rows):
                want[i] += row
            call = PrimitiveCall("scatter_add", (rows, index), {"axis": 0, "size": size})
            same(subject.apply(call)[0], want, f"{n} rows of {dtype} added up in {size}")


@check("F15", Level.FORWARD)
def index_errors(subject: Subject) -> None:
    from ...errors import IndexRangeError

    subject.promise("index errors")
    x = np.arange(12.0, dtype=subject.floats[-1].np).reshape(4, 3)
    for bad in (4, -1, 1000, -5):
        index = np.array([0, bad], np.int64)
        for call in (
            PrimitiveCall("take", (x, index), {"axis": 0}),
            PrimitiveCall("take", (x, np.array(bad)), {"axis": 1}),
            PrimitiveCall("scatter_add", (x[:2], index), {"axis": 0, "size": 4}),
        ):
            subject.op(call.name)
            try:
                got = subject.apply(call)
            except IndexRangeError as error:
                assert call.name in str(error), f"{call!r}: the error does not name it: {error}"
            else:
                raise AssertionError(f"{call!r} with index {bad} of 4 gives {got}, no error")


# --- choice, random bits -------------------------------------------------------------------------


@check("B12", Level.FORWARD)
def masks(subject: Subject) -> None:
    """Poison on the side that is not chosen reaches nothing: `where`, and zmul and zdiv at zero."""
    for dtype in subject.floats:
        chosen = np.array([True, False, True, False])
        x = np.array([1.5, -0.0, -2.0, 3.0], dtype.np)
        for bad in (np.nan, np.inf, -np.inf):
            a, b = (
                np.where(chosen, x, bad).astype(dtype.np),
                np.where(chosen, bad, x).astype(dtype.np),
            )
            if "where" not in subject.claims.lacks:
                (got,) = subject.apply(PrimitiveCall("where", (chosen, a, b), {}))
                same(got, x, f"where chooses beside {bad} in {dtype}")
            for name in {"zmul", "zdiv"} - set(subject.claims.lacks):
                zero = np.array([0.0, -0.0], dtype.np)
                (got,) = subject.apply(PrimitiveCall(name, (zero, np.full(2, bad, dtype.np)), {}))
                assert np.array_equal(got, zero), f"{name}(0, {bad}) in {dtype} is {got}"


#: The first block of Philox4x32-10 for a key of zeros and counter 0: J. Salmon et al., "Random123",
#: known-answer tests.
KNOWN = (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)


@check("F6", Level.FORWARD)
def random_bits(subject: Subject) -> None:
    subject.need("uint32")
    subject.op("random_bits")
    states = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 7, 3, 1), (2**32 - 1,) * 4, (5, 6, 7, 2**31)]
    for state in states:
        host = np.array(state, np.uint32)
        for shape in ((), (1,), (3,), (4,), (0, 2), (2, 3, 5), (1001,)):
            call = PrimitiveCall("random_bits", (host,), {"shape": shape})
            (got,) = subject.apply(call)
            same(got, call.reference()[0], f"random bits of state {state}, shape {list(shape)}")
            if state == states[0] and shape == (4,):
                assert tuple(got.tolist()) == KNOWN, f"random bits {got}, published {KNOWN}"


@check("F6", Level.FORWARD)
def generators(subject: Subject) -> None:
    """Bits, uniform numbers, choices and integers are those that NumPy's backend draws."""
    from ... import Generator, use_backend

    subject.need("uint32", "float32", "bool")
    drawn: list[list[Host]] = []
    for backend in (subject.backend, "numpy"):
        with use_backend(backend):
            g = Generator(7, stream=3)
            ts = [g.bits((7,)), g.uniform((5, 3)), g.bernoulli(0.3, (9,))]
            if {"uint64", "int64"} <= set(subject.claims.dtypes):
                ts.append(g.randint(-3, 9, (11,)))
            drawn.append([t.backend.get(t._value.data) for t in ts])
    for here, there, what in zip(*drawn, ("bits", "uniform", "bernoulli", "randint")):
        same(here, there, f"{what} of one seed")


@check("F15", Level.FORWARD)
def refusals(subject: Subject) -> None:
    """What a backend says it lacks or refuses is refused by a BackendError that says so."""
    from ...errors import BackendError

    expected: list[tuple[PrimitiveCall, str]] = []
    for name in set(subject.claims.lacks) & set(primitives):
        for assigned in assignments(primitives[name], primitives[name].samples[0], subject.dtypes):
            call = draw(primitives[name], primitives[name].samples[0], assigned, "refused")
            if call is not None:
                expected.append((call, f"no kernel for '{name}'"))
                break
    for refusal in subject.claims.refuses:
        op = primitives[refusal.op]
        for sample in op.samples:
            for assigned in assignments(op, sample, subject.dtypes):
                call = draw(op, sample, assigned, "refused")
                if call is not None and subject.refusal(call) is refusal:
                    expected.append((call, refusal.message))
    for call, message in expected:
        try:
            subject.apply(call)
        except BackendError as error:
            assert message in str(error), f"{call!r}: the error does not say '{message}': {error}"
        else:
            raise AssertionError(f"{call!r}: refused by declaration, and computed all the same")


def empty_types(subject: Subject) -> list[Type]:
    return [Type(shape, d) for d in subject.dtypes for shape in ((), (0,), (3,), (2, 0, 4), (5, 7))]
