"""Who owns which gradient: identity of leaves, frozen weights, released graphs, assignments."""

from __future__ import annotations

import numpy as np
import pytest
from gallery import close, host, randomize

import tinygrad_rnn as tg
from tinygrad_rnn import nn


def test_two_equal_constants_are_merged(backend):
    """https://github.com/tinygrad/tinygrad/issues/9597: w1 + w2 with w1 = w2 = 3 gave each a
    gradient of 2, because equal constants were one node. Here leaves have identity."""
    for how in (lambda f: f, tg.jit):
        w1, w2 = tg.tensor(3.0, requires_grad=True), tg.tensor(3.0, requires_grad=True)

        def step(w1=w1, w2=w2):
            (w1 + w2 * 2.0).backward()

        how(step)()
        assert (w1.grad.item(), w2.grad.item()) == (1.0, 2.0)


def test_two_equal_weights_of_one_scan_are_merged(backend):
    """https://github.com/tinygrad/tinygrad/issues/9597, inside a loop: passes drop duplicate
    operands of a scan, and must not take two weights of one value for one."""
    a, b = (tg.tensor(np.full((2, 2), 0.3, "f4"), requires_grad=True) for _ in "ab")
    xs = tg.tensor(np.array([[1.0, 2.0], [3.0, 4.0]], "f4"))

    @tg.jit
    def run():
        h, _ = tg.scan(lambda h, x: (h @ a + x * 1.0, None), tg.ones((1, 2)) @ b, xs)
        h.sum().backward()

    run()
    assert not np.allclose(host(a.grad), host(b.grad))


def test_frozen_weights_break_the_gradient_of_the_input(backend, rng):
    """https://github.com/pytorch/pytorch/issues/776 and /7722: an LSTM whose weights had
    requires_grad=False failed in backward. Here any subset of leaves gets what the full set
    gets."""
    lstm = randomize(nn.LSTM(2, 3, bidirectional=True), rng)
    x = rng.normal(size=(4, 2, 2)).astype("f4")
    ct = tg.tensor(rng.normal(size=(4, 2, 6)).astype("f4"))

    def run():
        leaf = tg.tensor(x, requires_grad=True)
        lstm.zero_grad()
        (lstm(leaf)[0] * ct).sum().backward()
        return host(leaf.grad)

    everything = run()
    some = host(lstm.weight_hh_l0.grad)
    lstm.requires_grad_(False)
    close(run(), everything, 1e-5)
    lstm.weight_hh_l0.requires_grad = True
    close(run(), everything, 1e-5)
    close(lstm.weight_hh_l0.grad, some, 1e-5)
    assert lstm.weight_ih_l0.grad is None


def test_evaluation_mode_has_no_backward(backend, rng):
    """https://github.com/pytorch/pytorch/issues/15788: "cudnn RNN backward can only be called
    in training mode". Here evaluation turns off dropout and nothing else."""
    layer = randomize(nn.GRU(2, 3, 2, dropout=0.5, rng=0), rng).eval()
    x = tg.tensor(rng.normal(size=(4, 2, 2)).astype("f4"), requires_grad=True)
    layer(x)[0].sum().backward()
    assert np.abs(host(x.grad)).min() > 0


def test_forward_and_reverse_jacobians_differ():
    """https://github.com/jax-ml/jax/issues/10993: jacrev and jacfwd of select and of reversed
    cumulative products disagreed. Here J v by `jvp` is the column of the reverse `jacobian`."""
    x = tg.tensor(np.array([0.5, -1.5, 2.0, 1.1]))
    functions = [
        lambda x: tg.where(x > 0.0, x * x, tg.sin(x)),
        lambda x: tg.stack([tg.prod(x[k:]) for k in range(4)]),
        lambda x: tg.cumsum(x * x, reverse=True),
        lambda x: tg.logsumexp(tg.outer(x, x), 1),
    ]
    for f in functions:
        reverse = host(tg.jacobian(f)(x))
        columns = [host(tg.jvp(f, x, tg.tensor(np.eye(4)[j]))[1]) for j in range(4)]
        close(np.stack(columns, 1), reverse, 1e-14)


def test_a_loss_that_ignores_its_cotangent(backend, rng):
    """https://github.com/pytorch/pytorch/issues/21961: a fused CTC loss gave the same gradient
    whatever it was multiplied with. Here every loss is linear in its cotangent."""
    x, y = rng.normal(size=(5, 4)), rng.integers(0, 4, 5)
    for loss in (
        lambda x: nn.functional.cross_entropy(x, tg.tensor(y), reduction="none"),
        lambda x: nn.functional.smooth_l1_loss(x, tg.zeros((5, 4), "float64"), "none").sum(1),
        lambda x: nn.LSTM(4, 3, dtype="float64", rng=0)(x)[0].sum(1),
    ):
        _, pull = tg.vjp(loss, tg.tensor(x))
        c = rng.normal(size=5)
        rows = [host(pull(tg.tensor(np.eye(5)[k] * c[k]))[0]) for k in range(5)]
        close(pull(tg.tensor(c))[0], sum(rows), 1e-13)
        assert np.abs(host(pull(tg.tensor(c * 0.5))[0]) - sum(rows)).max() > 1e-3


def test_a_released_graph_is_walked_again():
    """https://github.com/pytorch/pytorch/issues/1536 and /2198: a state that carries over from
    the batch before leads backward into a graph that is gone. Here the error names the cure."""
    w = tg.tensor(0.5, requires_grad=True)
    h = w * 2.0
    (h * h).backward()
    with pytest.raises(RuntimeError, match=r"\.detach\(\) it there"):
        (h * w).backward()
    assert w.grad.item() == 4.0


def test_a_view_of_a_view_changes_its_base(backend):
    """https://github.com/pytorch/pytorch/issues/36608: changing a view of a view in place
    slipped past the check, and the base had half its gradient. Here assignment rebinds one
    handle."""
    root = tg.tensor(np.arange(9.0).reshape(3, 3), requires_grad=True)
    x = root * 1.0
    rows = x.unstack()
    v = rows[0][:2]
    v *= 2.0
    assert v.tolist() == [0.0, 2.0] and rows[0].tolist() == [0.0, 1.0, 2.0]
    (v.sum() + x.sum()).backward()
    assert root.grad.tolist() == [[3, 3, 1], [1, 1, 1], [1, 1, 1]]


def test_an_operand_changes_between_forward_and_backward(backend):
    """https://github.com/pytorch/pytorch/issues/197887 and /24413: the check for in-place
    changes did not see through views, and backward read the new values. Here a recorded value
    is for ever."""
    w = tg.tensor(np.array([[1.0, 2.0], [3.0, 5.0]]), requires_grad=True)
    x = tg.tensor(np.array([[1.0, -1.0]]))
    y = (x.T.mT @ w).sum()
    x += 100.0
    x[0, 0] = -7.0
    y.backward()
    assert w.grad.tolist() == [[1.0, 1.0], [-1.0, -1.0]]
    given = np.ones(3)
    t = tg.tensor(given, requires_grad=True)
    z = (t * t).sum()
    given[:] = 9.0
    z.backward()
    assert t.grad.tolist() == [2.0, 2.0, 2.0]


def test_a_leaf_changes_under_the_tape():
    """https://github.com/pytorch/pytorch/pull/46204: an in-place change of a view of a leaf was
    noticed late and leaked. Here a leaf that requires a gradient refuses at once."""
    a = tg.zeros(2)
    a.requires_grad = True
    with pytest.raises(RuntimeError, match="no_grad"):
        a[1] = 1.0
    with pytest.raises(RuntimeError, match="no_grad"):
        a += 1.0
    with tg.no_grad():
        a[1] = 1.0
    assert a.requires_grad and a.tolist() == [0.0, 1.0]
