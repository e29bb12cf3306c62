"""Every primitive, tested from its own declaration: no operation can be added without.

Here is what the core does with it; what a backend computes, and its gradients, are tested by the
conformance suite (tests/conformance).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import check_programs, close, same, seeded, subsets

import tinygrad_rnn as tg
from tinygrad_rnn.extend import bind_all, primitives

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


@pytest.mark.parametrize("name", NAMES)
def test_jit_is_eager_to_the_bit(name):
    """On NumPy; elsewhere to rounding, which the conformance suite tests."""
    for k in range(len(primitives[name].samples)):
        args, attrs = draw(name, k, "float32")
        f = applied(name, attrs)
        ts = [tg.tensor(a, backend="numpy") for a in args]
        for y, z in zip(several(tg.jit(f)(*ts)), several(f(*ts)), strict=True):
            assert y.type is z.type
            same(y, z)


@pytest.mark.parametrize("name", NAMES)
def test_passes_keep_the_meaning(name):
    for k in range(len(primitives[name].samples)):
        args, attrs = draw(name, k)
        check_programs(applied(name, attrs), *args)
