"""scan with random steps: every wiring of carries, xs and ys that a small grammar can make."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import BACKENDS, PASSES, check_programs, close, loop, tensors

import tinygrad_rnn as tg

B, H = 2, 3

#: name -> (number of operands, function); every value is [B, H].
OPS: dict[str, tuple[int, Any]] = {
    "tanh": (1, tg.tanh),
    "sigmoid": (1, tg.sigmoid),
    "sin": (1, tg.sin),
    "half": (1, lambda a: a * 0.5),
    "neg": (1, lambda a: -a),
    "add": (2, lambda a, b: a + b),
    "sub": (2, lambda a, b: a - b),
    "mul": (2, lambda a, b: a * b),
    "mix": (2, lambda a, b: tg.concat([a[:, :1], b[:, 1:]], 1)),
    "flip": (1, lambda a: tg.flip(a, 1)),
    "mean": (1, lambda a: a - a.mean(1, keepdims=True)),
    "detach": (1, lambda a: a.detach() * 0.5),
    "gate": (2, lambda a, b: tg.where(a > b, a, b * 0.3)),
    "roll": (1, lambda a: tg.roll(a, 1, 1)),
    "turn": (1, lambda a: a.T.reshape(B, H)),
}


@st.composite
def steps(draw: Any) -> Any:
    """(number of carries, of xs, of weights, instructions, carry outputs, y outputs)."""
    n_c, n_x, n_w = draw(st.integers(0, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    size = n_c + n_x + n_w  # weights are also values: their first B rows
    code = []
    for _ in range(draw(st.integers(1, 9))):
        op = draw(st.sampled_from([*OPS, "product", "product", "product", "joined"]))
        pick = st.integers(0, size + len(code) - 1)
        if op == "product":
            code.append((op, draw(pick), draw(st.integers(0, n_w - 1)), draw(st.booleans())))
        elif op == "joined":
            code.append((op, draw(pick), draw(pick), draw(st.integers(0, n_w - 1))))
        else:
            code.append((op, *[draw(pick) for _ in range(OPS[op][0])]))
    every = st.integers(0, size + len(code) - 1)
    late = st.one_of(every, st.integers(max(0, size + len(code) - 3), size + len(code) - 1))
    return (
        n_c,
        n_x,
        n_w,
        tuple(code),
        tuple(draw(late) for _ in range(n_c)),
        tuple(draw(st.lists(late, min_size=0 if n_c else 1, max_size=3))),
    )


def run(spec: Any, ws: Any, carry: Any, xs: Any) -> Any:
    _, _, _, code, c_out, y_out = spec
    values = [*carry, *xs, *[w[:B] for w in ws]]
    for op, *args in code:
        if op == "product":
            a, w, turned = args
            values.append(values[a] @ (ws[w].T if turned else ws[w]) * 0.5)
        elif op == "joined":
            a, b, w = args
            wide = tg.concat([ws[w], ws[0] * 0.5], 0)
            values.append(tg.concat([values[a], values[b]], 1) @ wide)
        else:
            values.append(OPS[op][1](*[values[a] for a in args]))
    return tuple(
        tg.tanh(values[i]) if i >= len(carry) + len(xs) + len(ws) else values[i] for i in c_out
    ), tuple(values[i] for i in y_out)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    steps(),
    st.integers(1, 4),
    st.booleans(),
    st.sampled_from(["auto", "carry"]),
    st.integers(0, 9999),
)
def test_random_steps(spec, T, reverse, save, seed):
    rng = np.random.default_rng(seed)
    n_c, n_x, n_w = spec[:3]
    arrays = [rng.normal(size=(H, H)) * 0.7 for _ in range(n_w)]
    arrays += [rng.normal(size=(B, H)) for _ in range(n_c)]
    arrays += [rng.normal(size=(T, B, H)) for _ in range(n_x)]
    cts = [rng.normal(size=(B, H)) for _ in range(n_c)] + [
        rng.normal(size=(T, B, H)) for _ in spec[5]
    ]
    mix = [rng.normal(size=a.shape) for a in arrays]

    def cut(args: Any) -> Any:
        return args[:n_w], tuple(args[n_w : n_w + n_c]), tuple(args[n_w + n_c :])

    def scanned(*args: Any) -> Any:
        ws, c, xs = cut(args)
        end, ys = tg.scan(lambda c, x: run(spec, ws, c, x), c, xs, reverse=reverse, save=save)
        return (*end, *ys)

    def looped(*args: Any) -> Any:
        ws, c, xs = cut(args)
        end, ys = loop(lambda c, x: run(spec, ws, c, x), c, xs, T, reverse)
        return (*end, *(ys or ()))

    def weigh(f: Any) -> Any:
        return lambda *args: sum(
            ((y * y + y) * ct).sum() for y, ct in zip(f(*args), cts, strict=True)
        )

    nums = tuple(range(len(arrays)))

    def first(f: Any) -> Any:
        return tg.grad(weigh(f), nums)

    def second(f: Any) -> Any:
        return tg.grad(lambda *a: sum((g * m).sum() for g, m in zip(first(f)(*a), mix)), nums)

    args = tensors(arrays)
    for a, b in zip(scanned(*args), looped(*args), strict=True):
        close(a, b, 1e-11)
    for derive in (first, second):
        for a, b in zip(derive(scanned)(*args), derive(looped)(*args), strict=True):
            close(a, b, 1e-10)
    check_programs(scanned, *args, tol=1e-11)
    for name in PASSES:
        check_programs(first(scanned), *args, tol=1e-10, which=[name])
    check_programs(second(scanned), *args, tol=1e-9, which=["all"])


@pytest.mark.parametrize("backend", [b for b in BACKENDS if b != "numpy"])
def test_random_steps_on_other_backends(backend):
    @settings(max_examples=12, deadline=None, derandomize=True)
    @given(steps(), st.integers(1, 3), st.booleans(), st.integers(0, 9999))
    def compare(spec: Any, T: int, reverse: bool, seed: int) -> None:
        n_c, n_x, n_w = spec[:3]
        rng = np.random.default_rng(seed)
        shapes = [(H, H)] * n_w + [(B, H)] * n_c + [(T, B, H)] * n_x
        arrays = [rng.normal(size=s) * 0.7 for s in shapes]

        def scanned(*args: Any) -> Any:
            ws, c, xs = args[:n_w], tuple(args[n_w : n_w + n_c]), tuple(args[n_w + n_c :])
            end, ys = tg.scan(lambda c, x: run(spec, ws, c, x), c, xs, reverse=reverse)
            return (*end, *ys)

        nums = tuple(range(len(arrays)))
        derive = tg.grad(lambda *a: sum((y * y + y).sum() for y in scanned(*a)), nums)
        want = [*scanned(*tensors(arrays)), *derive(*tensors(arrays))]
        with tg.use_backend(backend):
            moved = [tg.tensor(a, backend=backend) for a in arrays]
            got = [*tg.jit(scanned)(*moved), *tg.jit(derive)(*moved)]
        for a, b in zip(got, want, strict=True):
            close(a, b, 1e-10)

    compare()
