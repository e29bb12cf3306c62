"""Local rewrites keep every bit: programs that invite them, compiled whole and step by step."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import same

import tinygrad_rnn as tg
from tinygrad_rnn.extend import primitives
from tinygrad_rnn.primitive import bind

X = np.arange(24.0).reshape(2, 3, 4) + 0.125
Y = X[::-1] * 3.0 - 7.0


def pad(x, low, high, interior=None, value=0.0):
    interior = interior or (0,) * x.ndim
    return bind(primitives["pad"], x, low=low, high=high, interior=interior, value=value)


def cut(x, start, stop, step=(1, 1, 1)):
    return bind(primitives["slice"], x, start=start, stop=stop, step=step)


def around(x, value=0.0):
    """x at the front and x at the back of a longer axis."""
    front = pad(x, (0, 0, 0), (0, 3, 0), value=value)
    return front, pad(x, (0, 3, 0), (0, 0, 0), value=value)


PROGRAMS = {
    "reshape of reshape": lambda x, y: x.reshape(6, 4).reshape(3, 8) + 1.0,
    "reshape there and back": lambda x, y: x.reshape(6, 4).reshape(2, 3, 4) * y,
    "transpose of transpose": lambda x, y: x.transpose((1, 2, 0)).transpose((1, 2, 0)) + 1.0,
    "transpose of another transpose": lambda x, y: (
        x.transpose((1, 2, 0)).transpose((0, 2, 1)) + 1.0
    ),
    "transpose there and back": lambda x, y: x.transpose((1, 2, 0)).transpose((2, 0, 1)) * y,
    "cast there and back": lambda x, y: (x / 3).astype("float32").astype("float64") + y,
    "cast to a narrower kind": lambda x, y: (x / 3).astype("float32").astype("float16"),
    "cast through integers": lambda x, y: (x / 3).astype("int64").astype("float64"),
    "slice of slice": lambda x, y: x[:, 1:, 1:][:, :, 1:],
    "slice of slice with steps": lambda x, y: tg.arange(40)[3:39:2][1:17:3],
    "slice of the whole with a step": lambda x, y: x[:, ::2],
    "empty slice of slice": lambda x, y: x[:, 1:][:, 2:],
    "slice of a part": lambda x, y: tg.concat([x, y], 1)[:, 1:3],
    "slice of the second part": lambda x, y: tg.concat([x, y], 2)[:, :, 5:7],
    "slice of a whole part": lambda x, y: tg.concat([x, y, x], 1)[:, 3:6] * 2.0,
    "slice across parts": lambda x, y: tg.concat([x, y], 1)[:, 2:5],
    "slice across with steps": lambda x, y: tg.concat([x, y], 1)[:, 0:6:2],
    "slice of part along another axis": lambda x, y: tg.concat([x, y], 1)[:, 3:, 1:3],
    "neighbours": lambda x, y: tg.concat([x[:, :1], x[:, 1:3]], 1) + y,
    "neighbours within": lambda x, y: tg.concat([x[:, :, 1:2], x[:, :, 2:3]], 2) + 1.0,
    "neighbours with a gap": lambda x, y: tg.concat([x[:, :1], x[:, 2:3]], 1) + 1.0,
    "neighbours in the wrong order": lambda x, y: tg.concat([x[:, 1:], x[:, :1]], 1) + 1.0,
    "neighbours that overlap": lambda x, y: tg.concat([x[:, :2], x[:, 1:3]], 1) + 1.0,
    "neighbours of two tensors": lambda x, y: tg.concat([x[:, :1], y[:, 1:3]], 1) + 1.0,
    "neighbours at other rows": lambda x, y: tg.concat([x[:1, :1], x[1:, 1:3]], 1) + 1.0,
    "neighbours with steps": lambda x, y: tg.concat([x[:, :, 0:2:2], x[:, :, 2:4:2]], 2) + 1.0,
    "pads side by side": lambda x, y: around(x)[0] + around(y)[1],
    "pads with a gap": lambda x, y: pad(x, (0, 1, 0), (0, 5, 0)) + pad(y, (0, 5, 0), (0, 1, 0)),
    "pads that overlap": lambda x, y: pad(x, (0, 0, 0), (0, 2, 0)) + pad(y, (0, 2, 0), (0, 0, 0)),
    "pads with ones": lambda x, y: around(x, 1.0)[0] + around(y, 1.0)[1],
    "pads between": lambda x, y: (
        pad(x[:, :2], (0, 0, 0), (0, 3, 0), (0, 1, 0)) + pad(y, (0, 3, 0), (0, 0, 0))
    ),
    "pads along two axes": lambda x, y: (
        pad(x[:, :2], (0, 0, 0), (0, 1, 0)) + pad(y[:, :, :2], (0, 0, 2), (0, 0, 0))
    ),
    "three pads": lambda x, y: (
        pad(x, (0, 0, 0), (0, 6, 0)) + pad(y, (0, 6, 0), (0, 0, 0)) + pad(x, (0, 3, 0), (0, 3, 0))
    ),
    "product of a transpose": lambda x, y: tg.einsum(
        "kab,kcb->kac", x.transpose((0, 2, 1)), y.transpose((0, 2, 1))
    ),
    "product of a cycled operand": lambda x, y: tg.einsum(
        "abk,cdk->abcd", x.transpose((1, 2, 0)), y.transpose((1, 2, 0))
    ),
    "literals": lambda x, y: x * (tg.tensor(0.1) + 0.2).astype("float64") + y,
    "literals of single precision": lambda x, y: (
        x * (tg.full((), 0.1) * tg.full((), 0.1)).astype("float64")
    ),
    "literals beyond their range": lambda x, y: x.astype("float16") * (tg.exp(80.0) * 1e10),
    "literals in half precision": lambda x, y: (
        x.astype("float16") + (tg.full((), 2048.0, "float16") + 1.0)
    ),
    "negative zero": lambda x, y: 1.0 / ((x * 0.0) * -1.0),
    "moved literals": lambda x, y: tg.full((2, 3), 2.5).reshape(3, 2).T + x[0, 0, :3],
    "one literal": lambda x, y: tg.full((), 3.0, "float64") * x - y,
    "flip of flip": lambda x, y: tg.flip(tg.flip(x, 1), (1, 2)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_compiled_is_eager(name):
    program = PROGRAMS[name]
    x, y = tg.tensor(X), tg.tensor(Y)
    with np.errstate(all="ignore"):
        same(tg.jit(program)(x, y).numpy(), program(x, y).numpy())


def scanned(step):
    return lambda x, y: tg.scan(step(y), tg.ones((3, 4), "float64"), x)


LOOPS = {
    "stacks of one value": lambda y: lambda c, x: (c + x, (c + x, c + x, x)),
    "a carry that stays": lambda y: lambda c, x: (c, (c * x).sum()),
    "the same const twice": lambda y: lambda c, x: (tg.tanh(c * y[0] + x * y[0]), c),
}


@pytest.mark.parametrize("name", LOOPS)
def test_compiled_loops_are_eager(name):
    program = scanned(LOOPS[name])
    x, y = tg.tensor(X), tg.tensor(Y)
    (a, ys), (b, zs) = tg.jit(program)(x, y), program(x, y)
    same(a.numpy(), b.numpy())
    for u, v in zip(*(t if isinstance(t, tuple) else (t,) for t in (ys, zs))):
        same(u.numpy(), v.numpy())
