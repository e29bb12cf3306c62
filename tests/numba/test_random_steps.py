"""Random steps of loops, and every operation in every form that a value can have, compiled.

Random steps are drawn by the fuzzer. Each operation is looked at by hand, too: a program is a list
of (operation, three numbers); the numbers choose operands among the values made so far. Elements
that a perturbation of the inputs far below the tolerance changes are not compared: there the
function itself is badly conditioned.
"""

from __future__ import annotations

import numpy as np
import pytest
from tinygrad_rnn_numba import loops

import tinygrad_rnn as tg
from tinygrad_rnn.lower import Unsupported
from tinygrad_rnn.testing.fuzz.cases import case
from tinygrad_rnn.testing.fuzz.command import look
from tinygrad_rnn.testing.fuzz.coverage import Coverage

T = 3
UNARY = {
    name: getattr(tg, name)
    for name in "abs exp expm1 log log1p sqrt sin cos tan asin acos atan sinh cosh tanh asinh "
    "acosh atanh sigmoid erf relu square softplus".split()
}
#: with arguments kept away from where they jump, because products may be fused or not
UNARY |= {
    "neg": lambda a: -a,
    "sign": lambda a: tg.sign(a - 0.1234),
    "floor": lambda a: tg.floor(a * 3.3 + 0.1234),
    "ceil": lambda a: tg.ceil(a * 3.3 + 0.1234),
    "round": lambda a: tg.round(a * 3.3 + 0.1234),
    "sum": lambda a: tg.sum(a, axis=1, keepdims=True),
    "mean": lambda a: tg.mean(a, axis=1, keepdims=True),
    "max": lambda a: tg.max(a, axis=1, keepdims=True),
    "softmax": lambda a: tg.softmax(a, axis=1) if a.shape[1] > 1 else a,
    "slice": lambda a: a[:, 1:] if a.shape[1] > 2 else a,
    "roll": lambda a: tg.concat([a[:, 2:], a[:, :2]], 1) if a.shape[1] > 4 else a,
    "narrow": lambda a: tg.concat([a, -a], 1)[:, 1 : 1 + a.shape[1]] if a.shape[1] > 2 else a,
}
SMOOTH = {
    "log": lambda a: tg.log(tg.abs(a) + 0.5),
    "log1p": lambda a: tg.log1p(tg.abs(a)),
    "sqrt": lambda a: tg.sqrt(tg.abs(a) + 0.5),
    "asin": lambda a: tg.asin(0.9 * tg.tanh(a)),
    "acos": lambda a: tg.acos(0.9 * tg.tanh(a)),
    "atanh": lambda a: tg.atanh(0.9 * tg.tanh(a)),
    "acosh": lambda a: tg.acosh(1.5 + tg.abs(a)),
    "tan": lambda a: tg.tan(tg.tanh(a)),
    "exp": lambda a: tg.exp(tg.tanh(a)),
    "expm1": lambda a: tg.expm1(tg.tanh(a)),
    "sinh": lambda a: tg.sinh(tg.tanh(a)),
    "cosh": lambda a: tg.cosh(tg.tanh(a)),
    "square": lambda a: tg.square(tg.tanh(a)),
}
BINARY = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / (tg.abs(b) + 0.5),
    "maximum": tg.maximum,
    "minimum": tg.minimum,
    "pow": lambda a, b: (tg.abs(a) + 0.5) ** tg.tanh(b),
    "atan2": lambda a, b: tg.atan2(a + 0.1234, b + 0.2345),
}
COMPARE = {
    "less": lambda a, b: a < b + 0.1234,
    "less_equal": lambda a, b: a <= b + 0.1234,
    "equal": lambda a, b: tg.floor(a + 0.1234) == tg.floor(b + 0.2345),
    "not_equal": lambda a, b: tg.floor(a + 0.1234) != tg.floor(b + 0.2345),
    "isnan": lambda a, b: tg.isnan(a) | tg.isinf(b),
    "isfinite": lambda a, b: tg.isfinite(a - b),
}
LOGIC = {
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "invert": lambda a, b: ~a,
}
WHOLE = {
    "int add": lambda a, b: a + b,
    "int sub": lambda a, b: a - b,
    "int mul": lambda a, b: tg.minimum(a, 9) * tg.maximum(b, -9),
    "int neg": lambda a, b: -a,
}
OTHER = ["where", "from bool", "to int32", "to int64", "from int", "int less", "product", "clip"]
NAMES = [*UNARY, *BINARY, *COMPARE, *LOGIC, *WHOLE, *OTHER]

class Values:
    """What a step has made so far, by kind; operands of unequal widths are not mixed."""

    def __init__(self, floats, weights, smooth):
        self.floats, self.bools, self.ints, self.W = list(floats), [], [], weights
        self.unary = UNARY | SMOOTH if smooth else UNARY
        self.smooth = smooth

    def pick(self, pool, i, like=None):
        fits = [
            v for v in pool if like is None or _width(v) in (1, _width(like)) or _width(like) == 1
        ]
        return fits[i % len(fits)]

    def apply(self, name, i, j, k):
        f = self.floats
        a = f[i % len(f)]
        b = self.pick(f, j, a)
        if name in self.unary:
            if name in ("sum", "mean", "max", "softmax", "slice", "roll", "narrow") and a.ndim < 2:
                a = a + f[0]
            f.append(self.unary[name](a))
        elif name in BINARY:
            f.append(BINARY[name](a, b))
        elif name in COMPARE:
            self.bools.append(COMPARE[name](a, b))
        elif name == "clip":
            f.append(tg.clip(a, -0.75, 1.25))
        elif name == "product":
            h = tg.tanh(a + f[0]) if _width(a) in (1, self.W.shape[0]) else f[0]
            f.append(h @ self.W)
        elif name in ("to int32", "to int64"):
            bounded = tg.clip(tg.where(tg.isnan(a), 0.5, a), -50.0, 50.0)
            self.ints.append(tg.floor(bounded * 1.7 + 0.1234).astype(name[3:]))
        elif self.bools and name in LOGIC:
            c = self.pick(self.bools, i)
            self.bools.append(LOGIC[name](c, self.pick(self.bools, j, c)))
        elif self.bools and name == "where":
            c = self.pick(self.bools, k, a)
            fits = [v for v in f if _width(v) in (1, max(_width(a), _width(c)))]
            f.append(tg.where(c, a, fits[j % len(fits)]))
        elif self.bools and name == "from bool":
            f.append(self.pick(self.bools, i).astype(self.W.dtype))
        elif self.ints and name in WHOLE:
            n = self.pick(self.ints, i)
            m = self.pick([v for v in self.ints if v.dtype == n.dtype], j, n)
            self.ints.append(WHOLE[name](n, m))
        elif self.ints and name == "int less":
            n = self.pick(self.ints, i)
            self.bools.append(n < self.pick([v for v in self.ints if v.dtype == n.dtype], j, n))
        elif self.ints and name == "from int":
            f.append(self.pick(self.ints, i).astype(self.W.dtype))


def _width(v):
    return v.shape[-1] if v.ndim else 1


def stepper(program, consts, smooth):
    """The step of a scan: carries h [B, H] and s [B, 1], inputs x [B, H] and u [B, 1]."""
    mat, vec, row, one, W = consts

    def step(carry, inputs):
        h, s = carry
        values = Values([h, s, *inputs, mat, vec, row, one], W, smooth)
        for item in program:
            values.apply(*item)
        full = [
            v for v in values.floats if _width(v) == h.shape[1] and v.ndim == 2 and v is not mat
        ]
        thin = [v for v in values.floats if v.shape == s.shape]
        out = [v + h - h if v.shape != h.shape else v for v in values.floats[8:][-2:] if v.ndim == 2
               and _width(v) in (1, h.shape[1])]  # fmt: skip
        ys = (*out, *[b for b in values.bools[-2:] if b.shape == h.shape],
              *[n for n in values.ints[-2:] if n.shape == h.shape])  # fmt: skip
        return (tg.tanh(full[-1] + 0.5 * h), tg.tanh(thin[-1] + s)), ys

    return step


def evaluate(program, arrays, backend, smooth, reverse):
    """All outputs; for smooth programs the gradients of a weighted sum of squares of them too."""
    with tg.use_backend(backend):
        leaves = [tg.tensor(a) for a in arrays]
        for t in leaves:
            t.requires_grad = smooth
        h, s, x, u, *consts = leaves
        carry, ys = tg.scan(stepper(program, consts, smooth), (h, s), (x, u), reverse=reverse)
        outputs = [*carry, *ys]
        if smooth:
            total = sum((y * y * 0.3 + y).sum() for y in outputs if y.dtype.is_float)
            total.backward()
            outputs += [tg.zeros_like(t) if t.grad is None else t.grad for t in leaves]
        return [y.detach().numpy() for y in outputs]


def check(program, B, H, seed, dtype, smooth, reverse):
    rng = np.random.default_rng(seed)
    shapes = [(B, H), (B, 1), (T, B, H), (T, B, 1), (B, H), (H,), (1, H), (), (H, H)]
    arrays = [rng.normal(size=s).astype(dtype) for s in shapes]
    near = [(a.astype("f8") * (1 + 1e-13 * rng.normal(size=a.shape))) for a in arrays]
    exact = evaluate(program, [a.astype("f8") for a in arrays], "numpy", smooth, reverse)
    moved = evaluate(program, near, "numpy", smooth, reverse)
    found = evaluate(program, arrays, "numba", smooth, reverse)
    same = evaluate(program, arrays, "numpy", smooth, reverse)
    single = dtype == "f4"
    for i, (a, b, c, m) in enumerate(zip(found, same, exact, moved, strict=True)):
        assert a.shape == b.shape and a.dtype == b.dtype, i
        with np.errstate(all="ignore"):
            b, c, m = (np.asarray(v, "f8") for v in (b, c, m))
            scale = 1 + np.abs(c)
            # a perturbation of 1e-13 stands for rounding, of float32 by a factor of 1e6
            limit = 1e-5 if single else 1e-9
            usable = (np.abs(c - m) <= scale * 1e-11) | (np.isnan(c) & np.isnan(m)) | (c == m)
            if single:
                usable &= (np.abs(b - c) <= scale * 1e-3) | (np.isnan(b) & np.isnan(c)) | (b == c)
                limit = np.maximum(limit, 100 * np.abs(b - c) / scale)
            fine = (np.abs(a - c) <= scale * limit) | (np.isnan(a) & np.isnan(c)) | (a == c)
            wrong = usable & ~fine
        assert not wrong.any(), (i, a[wrong][:4], b[wrong][:4], c[wrong][:4])


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_each_operation_is_compiled(name, smooth, monkeypatch):
    """Every operation on each form of operand; forwards none is left to NumPy's loop."""
    refused = []

    def noting(node, lower=loops.lower):
        try:
            return lower(node)
        except Unsupported as reason:
            refused.append(str(reason))
            raise

    monkeypatch.setattr(loops, "lower", noting)
    first = [
        ("less", 0, 2, 0),
        ("less_equal", 1, 1, 0),
        ("to int32", 0, 0, 0),
        ("to int32", 2, 0, 0),
    ]
    program = [*first, *[(name, i, 2 + i, i) for i in range(8)]]
    check(program, 3, 7, 1, "f8" if smooth else "f4", smooth, False)
    # gradients of what all rows share may be sums over rows that stay in the loop, and those of
    # slices are paddings: NumPy's loop runs them
    known = ("carries", "pad inside") if smooth else ()
    assert not [reason for reason in refused if not reason.startswith(known)]


@pytest.mark.parametrize("part", range(5))
def test_random_steps(part):
    """Programs of the fuzzer for this backend: values, gradients, second gradients."""
    coverage = Coverage()
    for index in range(part * 14, (part + 1) * 14):
        drawn = case(20261120, index, ["numpy", "numba"])
        outcome = look(drawn)
        assert outcome.failure is None, (index, outcome.failure, drawn.program)
        coverage.add(drawn.program.graph, False, drawn.variants, outcome)
    assert coverage.loops["compiled"] >= 5
