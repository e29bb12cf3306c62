"""Random programs: eager = interpreter = compiled with each pass alone and all, to second order.

A program is made from a seed: a pool of values of assorted shapes to which operations are applied,
with fan-out, dead code, equal-valued leaves, views under products, loops (some nested) over what is
there. Every value stays of moderate size, and every operation is smooth almost everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import BACKENDS, PASSES, close, complex_step, loop, tensors

import tinygrad_rnn as tg
from tinygrad_rnn.testing.recorded import Recorded

SIZES = (1, 2, 3)


class Fuzz:
    """Builds the same program again and again from one seed, on whatever it is given."""

    def __init__(self, seed: int, unrolled: bool = False):
        self.seed, self.unrolled = seed, unrolled
        rng = np.random.default_rng(seed)
        shapes = [tuple(rng.choice(SIZES, rng.integers(0, 4))) for _ in range(rng.integers(2, 5))]
        self.arrays = [rng.normal(size=tuple(int(n) for n in s)) for s in shapes]
        self.arrays.append(self.arrays[0].copy())  # an equal value, another leaf

    def __call__(self, *leaves: Any) -> list[tg.Tensor]:
        self.rng = np.random.default_rng(self.seed + 1)
        pool = list(leaves)
        for _ in range(self.rng.integers(4, 12)):
            pool.append(self.step(pool))
        return pool[-3:]

    def pick(self, pool: list[Any], rank: int = 0) -> tg.Tensor:
        recent = pool[-6:] if self.rng.random() < 0.7 else pool
        x = recent[self.rng.integers(len(recent))]
        while x.ndim < rank:
            x = tg.expand_dims(x, int(self.rng.integers(x.ndim + 1)))
        return x

    def step(self, pool: list[Any], depth: int = 0) -> tg.Tensor:
        kinds = [
            "unary",
            "unary",
            "binary",
            "binary",
            "move",
            "reduce",
            "product",
            "index",
            "softmax",
            "scan",
            "call",
        ]
        kind = kinds[self.rng.integers(len(kinds) - 2 * (depth > 1))]
        return getattr(self, kind)(pool, depth)

    def unary(self, pool: list[Any], depth: int) -> tg.Tensor:
        table = [
            tg.tanh,
            tg.sigmoid,
            tg.sin,
            tg.cos,
            tg.softplus,
            tg.gelu,
            lambda x: x * x * 0.3,
            lambda x: 1.5 - x,
            lambda x: tg.exp(-x * x),
            lambda x: tg.log1p(x * x),
            lambda x: tg.sqrt(x * x + 0.1),
            lambda x: -x,
            lambda x: x.detach() * 0.5 + x,
            lambda x: x / (1.0 + x * x),
            lambda x: (x * x + 0.5) ** 0.7,
        ]
        return table[self.rng.integers(len(table))](self.pick(pool))

    def binary(self, pool: list[Any], depth: int) -> tg.Tensor:
        x, y = self.pick(pool), self.pick(pool)
        # make the shapes broadcast: cut every axis on which they differ down to one
        for k in range(1, min(x.ndim, y.ndim) + 1):
            if x.shape[-k] != y.shape[-k] and 1 not in (x.shape[-k], y.shape[-k]):
                index = (..., slice(1), *(slice(None),) * (k - 1))
                y = y[index]
        table = [
            lambda a, b: a + b,
            lambda a, b: a - b,
            lambda a, b: a * b * 0.5,
            lambda a, b: tg.where(a > b, a, b * 0.5),
            lambda a, b: a / (1.0 + b * b),
            lambda a, b: tg.maximum(a, b),
            lambda a, b: tg.atan2(a, 1.5 + b * b),
        ]
        return table[self.rng.integers(len(table))](x, y)

    def move(self, pool: list[Any], depth: int) -> tg.Tensor:
        x, r = self.pick(pool, 1), self.rng
        axis = int(r.integers(x.ndim))
        table = [
            lambda: x.reshape(-1) if x.size < 8 else x[:1],
            lambda: tg.permute_dims(x, [int(i) for i in r.permutation(x.ndim)]),
            lambda: tg.flip(x, axis),
            lambda: tg.roll(x, 1, axis),
            lambda: tg.cumsum(x, axis) * 0.5,
            lambda: tg.concat([x, tg.tanh(x)], axis)[:3],
            lambda: tg.moveaxis(x, axis, 0)[::-1],
            lambda: tg.stack([x, x])[1],
            lambda: tg.pad(tg.moveaxis(x, axis, 0), [(1, 0)] + [(0, 0)] * (x.ndim - 1))[:-1] + 0.1,
        ]
        return table[r.integers(len(table))]()

    def reduce(self, pool: list[Any], depth: int) -> tg.Tensor:
        x = self.pick(pool, 1)
        axis = int(self.rng.integers(x.ndim))
        table = [tg.sum, tg.mean, tg.max, tg.logsumexp, tg.var, tg.prod]
        return tg.tanh(
            table[self.rng.integers(len(table))](x, axis, keepdims=bool(self.rng.integers(2)))
        )

    def product(self, pool: list[Any], depth: int) -> tg.Tensor:
        x, y = self.pick(pool, 2), self.pick(pool, 2)
        x, y = x[(0,) * (x.ndim - 2)], y[(0,) * (y.ndim - 2)]
        if x.shape[1] == y.shape[0]:
            return tg.tanh(x @ y)
        if x.shape[0] == y.shape[0]:
            return tg.tanh(x.T @ y)
        return tg.einsum("ij,kl->il", x, y) * 0.2

    def index(self, pool: list[Any], depth: int) -> tg.Tensor:
        x = self.pick(pool, 1)
        i = self.rng.integers(-x.shape[0], x.shape[0], 3)
        if self.rng.random() < 0.5:
            return x[i]
        return tg.scatter_add(3, i % 3, x[i]) * 0.7

    def softmax(self, pool: list[Any], depth: int) -> tg.Tensor:
        x = self.pick(pool, 1)
        return tg.softmax(x, int(self.rng.integers(x.ndim)))

    def call(self, pool: list[Any], depth: int) -> tg.Tensor:
        x, y, seed = self.pick(pool, 1), self.pick(pool), int(self.rng.integers(2**31))
        if self.rng.random() < 0.5:
            return tg.checkpoint(lambda x: self.inside(seed, [x, tg.sin(y)], depth).sum() + x)(x)
        return tg.vmap(lambda r: self.inside(seed, [r, y], depth).sum() * r)(x)

    def inside(self, seed: int, pool: list[Any], depth: int) -> tg.Tensor:
        outer, self.rng = self.rng, np.random.default_rng(seed)
        for _ in range(self.rng.integers(1, 4)):
            pool.append(self.step(pool, depth + 1))
        self.rng = outer
        return pool[-1]

    def scan(self, pool: list[Any], depth: int) -> tg.Tensor:
        xs, c, w = self.pick(pool, 1), self.pick(pool), self.pick(pool)
        r = self.rng
        seed, reverse, T = int(r.integers(2**31)), bool(r.integers(2)), xs.shape[0]

        def step(carry: Any, x: Any) -> Any:
            c, s = carry
            new = self.inside(seed, [x, w, c], depth)
            mixed = tg.tanh(c * 0.7 + new.sum() + (x.sum() if x.ndim else x) * 0.3)
            return (mixed, s + new.mean() if new.ndim else s + new), (c * new.sum(), x)

        start = (c, tg.zeros((), "float64"))
        if self.unrolled:
            (end, total), ys = loop(step, start, xs, T, reverse)
        else:
            (end, total), ys = tg.scan(
                step, start, xs, reverse=reverse, save="carry" if seed % 3 == 0 else "auto"
            )
        return end + total if seed % 2 else ys[0] * 0.5


def scalar(fuzz: Fuzz, mix: Any) -> Any:
    return lambda *xs: sum((y * m).sum() for y, m in zip(fuzz(*xs), mix))


SEEDS = range(40)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_programs(seed):
    fuzz = Fuzz(seed)
    args = tensors(fuzz.arrays)
    outs = fuzz(*args)
    rng = np.random.default_rng(seed + 2)
    mix = [tg.tensor(rng.normal(size=y.shape)) for y in outs]
    turn = [tg.tensor(rng.normal(size=a.shape)) for a in fuzz.arrays]
    nums = tuple(range(len(args)))

    def first(f):
        return tg.grad(scalar(f, mix), nums)

    def second(f):
        return tg.grad(lambda *xs: sum((g * t).sum() for g, t in zip(first(f)(*xs), turn)), nums)

    # against plain loops
    plain = Fuzz(seed, unrolled=True)
    for a, b in zip(outs, plain(*args)):
        close(a, b, 1e-11, "value")
    for derive in (first, second):
        for a, b in zip(derive(fuzz)(*args), derive(plain)(*args)):
            close(a, b, 1e-9, derive.__name__)
    # against the complex step
    want = complex_step(scalar(fuzz, mix), args, [np.ones(())])
    for a, b in zip(first(fuzz)(*args), want):
        close(a, b, 1e-9, "complex step")
    # the programs, pass by pass
    for f, names in ((fuzz, PASSES), (first(fuzz), PASSES), (second(fuzz), ("all",))):
        eager = f(*args)
        program = Recorded(f, args)
        program.graph.verify()
        for a, b in zip(program.interpret(*fuzz.arrays), eager, strict=True):
            close(a, b, 1e-9, "interpreter")
        for name in names:
            for a, b in zip(program.run(name), eager, strict=True):
                close(a, b, 1e-9, name)


@pytest.mark.parametrize("backend", [b for b in BACKENDS if b != "numpy"])
@pytest.mark.parametrize("seed", [s for s in SEEDS if s % 4 == 0])
def test_random_programs_on_other_backends(backend, seed):
    fuzz = Fuzz(seed)
    args = tensors(fuzz.arrays)
    mix = [np.random.default_rng(seed).normal(size=y.shape) for y in fuzz(*args)]
    derive = tg.grad(scalar(fuzz, mix), tuple(range(len(args))))
    want = [*fuzz(*args), *derive(*args)]
    with tg.use_backend(backend):
        moved = [tg.tensor(a, backend=backend) for a in fuzz.arrays]
        for a, b in zip([*tg.jit(fuzz)(*moved), *tg.jit(derive)(*moved)], want, strict=True):
            close(a, b, 1e-9, backend)
