"""Groups of elementwise work outside of loops: what may be one, and that it computes the same."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import fuse, nn, optim
from tinygrad_rnn.backend import optimize
from tinygrad_rnn.group_body import Fused
from tinygrad_rnn.testing.fuzz.cases import case


@pytest.fixture
def everything(monkeypatch):
    """Groups are made however small they are."""
    monkeypatch.setattr(fuse, "GROUP", 0)


def evaluate(graph, arrays):
    """A graph with groups, by the primitives' references; groups in the shapes of their bodies."""
    values = dict(zip(graph.inputs, arrays))
    for node in graph.nodes:
        operands = [values[v] for v in node.inputs]
        if node.op is Fused:
            body = node.attrs["body"]
            operands = [np.reshape(a, v.type.shape) for a, v in zip(operands, body.inputs)]
            body.verify()
            results = body.interpret(*operands)
            results = [np.reshape(a, v.type.shape) for a, v in zip(results, node.outputs)]
        else:
            found = node.op.reference(*operands, **node.attrs)
            results = found if isinstance(found, tuple) else (found,)
        values.update(zip(node.outputs, results))
    return [values[v] for v in graph.outputs]


def groups(graph):
    return [n for n in graph.nodes if n.op is Fused]


def names(node):
    return [n.op.name for n in node.attrs["body"].nodes]


@pytest.mark.parametrize("part", range(4))
def test_grouping_changes_no_value(part, everything):
    """Random programs: grouped and not, by the references."""
    made = 0
    for index in range(40 * part, 40 * part + 40):
        program = case(77, index, ["numpy"]).program
        graph = optimize(program.graph)
        grouped = fuse.fuse(graph)
        made += len(groups(grouped))
        with np.errstate(all="ignore"):
            arrays = program.arrays()
            found, wanted = evaluate(grouped, arrays), graph.interpret(*arrays)
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert made


def layer(x, scale, shift):
    centred = x - x.mean(-1, keepdims=True)
    return centred / tg.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + shift


EXAMPLES = {
    # shapes in which rows and columns can be mistaken for each other
    "square": (lambda x, v, c: tg.exp(x * v) + c - v, [(5, 5), (5,), (5, 1)]),
    "one row": (lambda x, v: tg.tanh(x * v) + x.sum(-1, keepdims=True), [(1, 7), (7,)]),
    "one column": (lambda x, v: tg.tanh(x * v) - x.sum(0), [(7, 1), (1,)]),
    "numbers": (lambda x, y: tg.exp(x) * y + tg.log(1 + y * y) / (x * x + 1), [(), ()]),
    "vector": (lambda x, y: tg.sigmoid(x * 3) - y * y.sum(), [(9,), (9,)]),
    "layer norm": (layer, [(3, 4, 33), (33,), (33,)]),
    "softmax": (lambda x: tg.softmax(x * 2, -1), [(2, 3, 17)]),
    "parts of rows": (lambda x: tg.tanh(x[..., :8]) * tg.exp(x[..., 8:]), [(3, 5, 16)]),
    "outer": (lambda x, y: tg.exp(x[:, None] * y), [(6,), (4,)]),
    "masks": (lambda x, y: tg.where((x > 0) & (y < 1), x, y) * (x == y).astype("float64"),
              [(4, 9), (4, 9)]),
    "total": (lambda x: (x * x).sum() + tg.sqrt((x + 1) ** 2).mean(), [(5, 6, 7)]),
    "long": (lambda x, y: tg.tanh(x) * y, [(4096,), (4096,)]),
    "transposed": (lambda x, y: tg.tanh(x.T + 1) * y, [(3, 8), (8, 3)]),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name, dtype, rng, everything):
    f, shapes = EXAMPLES[name]
    arrays = [rng.normal(size=s).astype(dtype) for s in shapes]
    tol = 1e-12 if dtype == "float64" else 2e-6
    weights = None
    results = {}
    for backend in ("numpy", "numba"):
        with tg.use_backend(backend):
            args = [tg.tensor(a) for a in arrays]
            if weights is None:
                weights = rng.normal(size=f(*args).shape)
            w = tg.tensor(weights.astype(args[0].dtype.np))

            def both(*xs):
                return f(*xs), *tg.grad(lambda *v: (f(*v) * w).sum(), tuple(range(len(xs))))(*xs)  # noqa: B023

            if backend == "numba":
                grouped = fuse.fuse(optimize(tg.trace(both)(*args)))
                assert groups(grouped), name
            results[backend] = [y.numpy() for y in tg.jit(both)(*args)]
    for a, b in zip(results["numpy"], results["numba"], strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol * max(1, np.abs(a).max()))


def test_a_group_ends_where_a_product_lies_between(everything):
    """tanh(x) @ w depends on the group and is read beside it: two groups, in the right order."""

    def f(x, w):
        a = tg.tanh(x) * 2
        return (a @ w) + a, a

    x, w = tg.tensor(np.ones((3, 3))), tg.tensor(np.eye(3) * 2)
    grouped = fuse.fuse(optimize(tg.trace(f)(x, w)))
    assert [names(n) for n in groups(grouped)] == [["tanh", "full", "mul"], ["add"]]


def test_groups_that_would_wait_for_each_other_stay_apart(everything):
    def f(x, y, w):
        a, b = tg.tanh(x), tg.exp(y)
        left, right = (a @ w) * b, (b @ w) * a
        return left + right, tg.sin(left)

    arrays = [np.random.default_rng(k).normal(size=(4, 4)) for k in range(3)]
    graph = optimize(tg.trace(f)(*map(tg.tensor, arrays)))
    for a, b in zip(evaluate(fuse.fuse(graph), arrays), graph.interpret(*arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_movement_that_only_groups_read_is_gone(everything):
    """The sums of a softmax reach its division as columns, without a reshape outside."""
    graph = fuse.fuse(optimize(tg.trace(lambda x: tg.softmax(x, -1))(tg.tensor(np.ones((3, 5))))))
    assert len(groups(graph)) == 1 and all(n.op.name in ("fused", "full") for n in graph.nodes)


def test_a_group_must_be_worth_its_call():
    small, large = (tg.tensor(np.ones(n, "f4")) for n in (4, 1 << 18))
    for x, expected in ((small, 0), (large, 1)):
        graph = fuse.fuse(optimize(tg.trace(lambda x: tg.tanh(x) * 2 + 1)(x)))
        assert len(groups(graph)) == expected


def test_a_training_step_is_compiled_whole(rng, everything):
    """Loss, clipping and optimizer run in generated code; `explain` counts what does not."""
    with tg.use_backend("numba"):
        net, head = nn.LSTM(8, 32, rng=0), nn.Linear(32, 8, rng=1)
        parameters = [*net.parameters(), *head.parameters()]
        optimizer = optim.AdamW(parameters, lr=1e-2)

        @tg.jit
        def step(x, y):
            loss = ((head(net(x)[0]) - y) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optim.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            return loss

        x, y = (tg.tensor(rng.normal(size=(20, 16, 8)).astype("f4")) for _ in range(2))
        losses = [step(x, y).item() for _ in range(20)]
        report = tg.get_backend().report(optimize(step.recordings[0].graph))
    assert losses[-1] < 0.9 * losses[0]
    left = sorted({name for name, how in report if how == "NumPy kernel"})
    assert set(left) <= {"full", "reshape", "slice", "transpose", "concat", "sum"}, left


def test_infinite_worth_means_no_groups(monkeypatch):
    monkeypatch.setattr(fuse, "GROUP", math.inf)
    graph = optimize(tg.trace(lambda x: tg.tanh(x) * 2)(tg.tensor(np.ones((99, 99)))))
    assert not groups(fuse.fuse(graph))
