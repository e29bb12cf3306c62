"""CTC against PyTorch, and against the sum over all paths, which can be differentiated twice."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.nn import functional as F

torch = pytest.importorskip("torch")
T, N, C, S = 9, 6, 4, 4
STEPS = np.array([9, 8, 5, 7, 3, 4])
LABELS = np.array([4, 2, 0, 3, 3, 2])
TARGETS = np.array(
    [[1, 2, 2, 3], [3, 3, 0, 0], [1, 1, 1, 1], [2, 1, 2, 9], [1, 2, 3, -5], [3, 3, 7, 7]]
)


def theirs(logits, targets, steps, labels, **options):
    return torch.nn.functional.ctc_loss(
        torch.log_softmax(logits, -1), *map(torch.as_tensor, (targets, steps, labels)), **options
    )


def ours(logits, *args, **options):
    return F.ctc_loss(F.log_softmax(logits), *args, **options)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("blank", [0, 2])
def test_values_and_gradients_are_pytorchs(reduction, blank, rng, close):
    """Repeated labels, an empty target, targets that just fit, garbage in the padding."""
    x = rng.normal(size=(T, N, C)) * 2
    clean = np.where(np.arange(S) < LABELS[:, None], TARGETS, 0)
    targets, clean = ((a - blank) % C if blank else a for a in (TARGETS, clean))
    if blank:  # any labels but the blank
        targets = clean = np.where(clean == blank, 3, clean)
    a, b = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    loss = ours(a, targets, STEPS, LABELS, blank=blank, reduction=reduction)
    loss2 = theirs(b, clean, STEPS, LABELS, blank=blank, reduction=reduction)
    close(loss, loss2, 1e-12)
    c = rng.normal(size=loss2.shape)
    (loss * tg.tensor(c)).sum().backward()
    (loss2 * torch.tensor(c)).sum().backward()
    close(a.grad, b.grad, 1e-12)
    close(nn.CTCLoss(blank, reduction)(F.log_softmax(a), targets, STEPS, LABELS), loss2, 1e-12)


def test_targets_in_one_row(rng, close):
    x = rng.normal(size=(T, N, C))
    row = np.concatenate([t[:n] for t, n in zip(TARGETS, LABELS)])
    close(ours(x, row, STEPS, LABELS), theirs(torch.tensor(x), row, STEPS, LABELS), 1e-12)
    lists = STEPS.tolist(), LABELS.tolist()
    close(tg.jit(lambda x: ours(x, row, *lists))(tg.tensor(x)), ours(x, row, *lists), 1e-12)


def test_a_single_sequence(rng, close):
    x = rng.normal(size=(T, C))
    for target in ([1, 2, 2], [], [3]):
        for reduction in ("none", "mean"):
            args = np.array(target, int), np.array(T), np.array(len(target))
            loss = ours(x, *args, reduction=reduction)
            close(loss, theirs(torch.tensor(x), *args, reduction=reduction), 1e-12)
            assert loss.shape == ()


def paths(T, target):
    """All sequences of T classes that collapse to the target."""
    for path in itertools.product(range(3), repeat=T):
        runs = [k for k, _ in itertools.groupby(path) if k != 0]
        if runs == list(target):
            yield path


@pytest.mark.parametrize("target", [[1, 2], [1, 1], [2], []])
def test_the_sum_over_all_paths_and_its_first_two_derivatives(target, rng, close):
    """By the log probabilities themselves, not normalised: the formula, nothing else."""
    steps = 4
    logp = rng.normal(size=(steps, 1, 3))
    b = torch.tensor(logp, requires_grad=True)
    sums = [sum(b[t, 0, k] for t, k in enumerate(path)) for path in paths(steps, target)]
    reference = -torch.logsumexp(torch.stack(sums), 0)
    a = tg.tensor(logp, requires_grad=True)

    def loss(a):
        return F.ctc_loss(a, [target], [steps], [len(target)], reduction="sum")

    close(loss(a), reference, 1e-12)
    (first,) = torch.autograd.grad(reference, b, create_graph=True)
    g = tg.grad(loss)(a)
    close(g, first, 1e-12)
    c = rng.normal(size=logp.shape)
    (g * tg.tensor(c)).sum().backward()
    (second,) = torch.autograd.grad((first * torch.tensor(c)).sum(), b)
    close(a.grad, second, 1e-10)
    close(tg.hessian(loss)(a).reshape(12, 12), torch.autograd.functional.hessian(
        lambda b: -torch.logsumexp(torch.stack(
            [sum(b[t, 0, k] for t, k in enumerate(path)) for path in paths(steps, target)]), 0),
        torch.tensor(logp)).reshape(12, 12), 1e-10)  # fmt: skip


def test_infeasible_targets(rng, close):
    """Too few steps: inf, or 0 with zero_infinity; nothing in the gradients of the others."""
    x = rng.normal(size=(4, 4, C))
    targets = np.array([[1, 1, 2], [1, 2, 3], [2, 2, 2], [1, 3, 2]])
    steps, labels = np.array([4, 2, 4, 0]), np.array([3, 3, 3, 1])
    wanted = np.array([False, True, True, True])
    for zero in (False, True):
        a = tg.tensor(x, requires_grad=True)
        options = {"reduction": "none", "zero_infinity": zero}
        loss = ours(a, targets, steps, labels, **options)
        host = loss.detach().numpy()
        assert (host[wanted] == (0 if zero else np.inf)).all() and np.isfinite(host[0])
        its = theirs(torch.tensor(x), targets, steps, labels, **options)
        close(loss[:1], its[:1], 1e-12)
        assert (host[1:] == its.numpy()[1:]).all()
        loss.sum().backward()
        alone = tg.tensor(x[:, :1], requires_grad=True)
        ours(alone, targets[:1], steps[:1], labels[:1], reduction="sum").backward()
        close(a.grad[:, :1], alone.grad, 1e-12)
        assert not a.grad.numpy()[:, 1:].any()
    mean = ours(x, targets, steps, labels, zero_infinity=True)
    close(mean, theirs(torch.tensor(x), targets, steps, labels, zero_infinity=True), 1e-12)


def test_padding_may_hold_anything(rng, close):
    x = rng.normal(size=(T, N, C))
    found = []
    for poison in (0.0, np.nan, np.inf):
        for n, steps in enumerate(STEPS):
            x[steps:, n] = poison
        a = tg.tensor(x, requires_grad=True)
        loss = ours(a, TARGETS, STEPS, LABELS)
        loss.backward()
        found.append((loss, a.grad))
        assert not a.grad.numpy()[np.arange(T)[:, None] >= STEPS].any()
    for loss, g in found[1:]:
        close(loss, found[0][0], 0)
        close(g, found[0][1], 0)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_compiled_with_lengths_as_arguments(backend, rng, close):
    if backend == "numba":
        pytest.importorskip("numba")

    def loss_and_gradient(x, targets, steps, labels):
        loss, g = tg.value_and_grad(lambda x: ours(x, targets, steps, labels))(x)
        return loss, g

    x = rng.normal(size=(T, N, C))
    wanted = loss_and_gradient(tg.tensor(x), TARGETS, STEPS, LABELS)
    with tg.use_backend(backend):
        run = tg.jit(loss_and_gradient)
        for a, b in zip(run(*map(tg.tensor, (x, TARGETS, STEPS, LABELS))), wanted):
            close(a, b, 1e-10)


def test_long_sequences_in_single_precision(rng):
    """A thousand steps: probabilities of e^-3000 are no trouble in log space."""
    x = rng.normal(size=(1000, 2, 30)).astype("f4")
    targets = rng.integers(1, 30, size=(2, 60))
    a, b = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    args = targets, np.array([1000, 700]), np.array([60, 50])
    loss, loss2 = ours(a, *args), theirs(b, *args)
    assert abs(loss.item() / loss2.item() - 1) < 1e-4
    loss.backward()
    loss2.backward()
    assert np.abs(a.grad.numpy() - b.grad.numpy()).max() < 1e-4


def test_ctc_refuses_what_does_not_fit():
    logp = np.zeros((T, 2, C))
    good = [[1, 2], [3, 1]]
    with pytest.raises(tg.errors.ArgumentError, match=r"blank=4 is none of the 4"):
        F.ctc_loss(logp, good, [T, T], [2, 2], blank=4)
    with pytest.raises(tg.errors.ArgumentError, match=r"input_lengths\[1\] is 10, expected 0 to 9"):
        F.ctc_loss(logp, good, [T, T + 1], [2, 2])
    with pytest.raises(tg.errors.ArgumentError, match=r"target_lengths\[0\] is 3, expected 0 to 2"):
        F.ctc_loss(logp, good, [T, T], [3, 2])
    with pytest.raises(tg.errors.IndexRangeError, match=r"a target is 4, expected 0 to 3"):
        F.ctc_loss(logp, [[1, 4], [3, 1]], [T, T], [2, 2])
    with pytest.raises(tg.errors.ArgumentError, match=r"add up to 4"):
        F.ctc_loss(logp, [1, 2, 3], [T, T], [2, 2])
    with pytest.raises(tg.errors.ShapeError, match=r"expected \[2, S\]"):
        F.ctc_loss(logp, [good], [T, T], [2, 2])
    with pytest.raises(tg.errors.ShapeError, match=r"\[T, N, C\]"):
        F.ctc_loss(logp[0, 0], good, [T, T], [2, 2])
    with pytest.raises(tg.errors.DTypeError, match=r"expected integers"):
        F.ctc_loss(logp, np.ones((2, 2)), [T, T], [2, 2])
    row, lengths = tg.tensor([1, 2, 3]), tg.tensor([2, 1])
    with pytest.raises(tg.errors.ArgumentError, match=r"known when the function is compiled"):
        tg.jit(lambda t, n: F.ctc_loss(logp, t, [T, T], n))(row, lengths)
