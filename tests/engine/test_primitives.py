"""Every primitive, tested from its own declaration: no operation can be added without."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import BACKENDS, check_gradients, check_programs, close, same, seeded, subsets

import tinygrad_rnn as tg
from tinygrad_rnn.extend import bind_all, primitives
from tinygrad_rnn.types import Type, as_dtype

#: Operations whose meaning is the body that they carry: tested with the functions that make them.
WITH_BODY = {"call", "custom"}


NAMES = sorted(set(primitives) - WITH_BODY)


def draw(name: str, k: int, dtype: str = "float64") -> tuple[list[np.ndarray], dict[str, Any]]:
    """The operands of sample k; those without a dtype of their own get `dtype`."""
    rng, sample = seeded(f"{name}{k}"), primitives[name].samples[k]
    out = []
    for a in sample.args:
        kind = np.dtype(a.dtype or dtype)
        if kind.kind == "b":
            out.append(rng.random(a.shape) < 0.5)
        elif kind.kind in "iu":
            out.append(
                rng.integers(int(a.low), int(a.high) + (a.high < 2**31), a.shape).astype(kind)
            )
        else:
            out.append(np.asarray(rng.uniform(a.low, a.high, a.shape), kind))
    return out, sample.attrs


def several(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, tuple | list) else (x,)


def applied(name: str, attrs: dict[str, Any]) -> Any:
    def f(*xs: tg.Tensor) -> Any:
        return bind_all(primitives[name], *xs, **attrs)

    return f


def test_every_primitive_has_samples():
    assert {n for n, p in primitives.items() if not p.samples} == WITH_BODY


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_primitive_runs_on_the_backend(backend):
    kernels = tg.get_backend(backend).kernels
    assert set(primitives) - set(kernels) <= WITH_BODY | {"scan"}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_value_is_the_reference_and_has_the_type_of_the_rule(name, backend):
    where = tg.get_backend(backend)
    for k, sample in enumerate(primitives[name].samples):
        free = any(a.dtype is None for a in sample.args)
        for dtype in ("float64", "float32", "float16") if free else ("float64",):
            args, attrs = draw(name, k, dtype)
            types = tuple(Type(a.shape, as_dtype(a.dtype)) for a in args)
            rule = several(primitives[name].infer(types, attrs))
            want = several(primitives[name].reference(*args, **attrs))
            ts = [tg.tensor(a, backend=where) for a in args]
            with tg.use_backend(where):
                got = several(applied(name, attrs)(*ts))
            eps = float(np.finfo(dtype).eps)
            for y, z, t in zip(got, map(np.asarray, want), rule, strict=True):
                assert y.type is t, f"{dtype}: the result is {y.type}, the rule says {t}"
                assert (z.shape, z.dtype) == (t.shape, t.dtype.np), (
                    f"reference {z.dtype}{z.shape}, rule {t}"
                )
                found = where.get(y._value.data)
                assert (np.shape(found), found.dtype) == (t.shape, t.dtype.np)
                close(
                    found.astype(np.float64),
                    z.astype(np.float64),
                    16 * eps,
                    f"sample {k} in {dtype}",
                )


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_first_and_second_order(name):
    for k in range(len(primitives[name].samples)):
        args, attrs = draw(name, k)
        types = tuple(Type(a.shape, as_dtype(a.dtype)) for a in args)
        result = several(primitives[name].infer(types, attrs))
        rounds = name == "cast" and attrs["dtype"] is not tg.float64
        if (
            not rounds
            and any(t.dtype.is_float for t in result)
            and any(a.dtype == np.float64 for a in args)
        ):
            check_gradients(applied(name, attrs), *args, what=f"{name}, sample {k}")


@pytest.mark.parametrize("name", NAMES)
def test_operands_and_cotangents_are_not_changed(name):
    for k in range(len(primitives[name].samples)):
        args, attrs = draw(name, k)
        copies = [a.copy() for a in args]
        ts = [tg.tensor(a, requires_grad=a.dtype.kind == "f") for a in args]
        for y in several(applied(name, attrs)(*ts)):
            if y.requires_grad:
                g = tg.ones_like(y) * 0.5
                y.backward(g, retain_graph=True)
                same(g, np.full(y.shape, 0.5, y.dtype.np))
        for a, t, b in zip(args, ts, copies):
            same(a, b)
            same(t, b)


@pytest.mark.parametrize("name", NAMES)
def test_batch_rule_is_a_loop_over_rows(name):
    for k, size in [(k, size) for k in range(len(primitives[name].samples)) for size in (1, 3)]:
        args, attrs = draw(name, k)
        rng, f = seeded(f"batch {name}{k}"), applied(name, attrs)
        for flags in subsets(len(args)):
            # other values in every row, drawn from the same sample
            rows = [
                np.stack([rng.permutation(a.reshape(-1)).reshape(a.shape) for _ in range(size)])
                if b
                else a
                for a, b in zip(args, flags)
            ]
            got = several(tg.vmap(f, tuple(0 if b else None for b in flags))(*map(tg.tensor, rows)))
            want = [
                several(f(*[tg.tensor(r[i] if b else r) for r, b in zip(rows, flags)]))
                for i in range(size)
            ]
            for j, y in enumerate(got):
                expected = np.stack([w[j].numpy() for w in want])
                assert y.dtype.np == expected.dtype
                close(y, expected, 1e-12, f"sample {k}, {size} rows, batched {flags}")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_jit_is_eager(name, backend):
    for k in range(len(primitives[name].samples)):
        args, attrs = draw(name, k, "float32")
        f = applied(name, attrs)
        with tg.use_backend(backend):
            ts = [tg.tensor(a) for a in args]
            for y, z in zip(several(tg.jit(f)(*ts)), several(f(*ts)), strict=True):
                assert y.type is z.type
                if backend == "numpy":
                    same(y, z)
                else:
                    close(y, z, 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_passes_keep_the_meaning(name):
    for k in range(len(primitives[name].samples)):
        args, attrs = draw(name, k)
        check_programs(applied(name, attrs), *args)
