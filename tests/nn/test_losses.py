"""Losses against PyTorch, at extreme values, and where their derivative is delicate."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.nn import functional as F


def both(ours, theirs, close, x, *args, tol=1e-12):
    """Value, first and (through |g|²) second derivative of two losses at x."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)

    def t(a):
        return torch.from_numpy(a) if isinstance(a, np.ndarray) else a

    a, b = tg.tensor(x, requires_grad=True), torch.from_numpy(x).requires_grad_()
    y, y2 = ours(a, *args), theirs(b, *map(t, args))
    close(y, y2, tol, "loss")
    c = np.random.default_rng(0).normal(size=y2.shape)
    g = tg.grad(lambda a: (ours(a, *args) * tg.tensor(c)).sum())(a)
    (g2,) = torch.autograd.grad((y2 * torch.from_numpy(c)).sum(), b, create_graph=True)
    close(g, g2, tol, "gradient")
    if not g.requires_grad:  # piecewise linear: PyTorch must say that the second derivative is 0
        if g2.requires_grad:
            (zero,) = torch.autograd.grad((g2 * g2).sum(), b, allow_unused=True)
            assert zero is None or not zero.any()
    else:
        (g * g).sum().backward()
        (g2 * g2).sum().backward()
        close(a.grad, b.grad, tol, "second derivative")


OPTIONS = list(
    itertools.product(["mean", "sum", "none"], [0.0, 0.1, 1.0], [False, True], [False, True])
)


@pytest.mark.parametrize("reduction,smoothing,weighted,ignoring", OPTIONS)
def test_cross_entropy(reduction, smoothing, weighted, ignoring, rng, close):
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(7, 5)) * 3
    target = np.array([0, 4, 2, 2, 1, 3, 0])
    weight = rng.uniform(0.1, 2, size=5) if weighted else None
    ignore = 2 if ignoring else -100
    both(
        lambda a, t: F.cross_entropy(a, t, weight, ignore, reduction, smoothing),
        lambda a, t: torch.nn.functional.cross_entropy(
            a, t, None if weight is None else torch.from_numpy(weight),
            ignore_index=ignore, reduction=reduction, label_smoothing=smoothing,
        ),
        close, x, target,
    )  # fmt: skip


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_with_probabilities(smoothing, weighted, rng, close):
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(4, 3))
    q = rng.uniform(size=(4, 3))
    weight = rng.uniform(0.1, 2, size=3) if weighted else None
    both(
        lambda a, t: F.cross_entropy(a, t, weight, label_smoothing=smoothing),
        lambda a, t: torch.nn.functional.cross_entropy(
            a, t, None if weight is None else torch.from_numpy(weight), label_smoothing=smoothing
        ),
        close, x, q / q.sum(1, keepdims=True),
    )  # fmt: skip


def test_cross_entropy_of_sequences_and_axis(rng, close):
    """[T, B, C] with classes last equals PyTorch's [T, C, B] with axis=1."""
    torch = pytest.importorskip("torch")
    x, target = rng.normal(size=(3, 4, 5)), rng.integers(0, 5, size=(3, 4))
    theirs = torch.nn.functional.cross_entropy(
        torch.from_numpy(x).permute(0, 2, 1), torch.from_numpy(target)
    )
    close(F.cross_entropy(x, target), theirs)
    close(F.cross_entropy(np.swapaxes(x, 1, 2), target, axis=1), theirs)
    close(tg.nn.CrossEntropyLoss(axis=1)(np.swapaxes(x, 1, 2), target), theirs)


def test_cross_entropy_is_finite_and_bounded(rng):
    """C3: logits of ±1e4; gradient rows sum to 0, entries in [-1, 1]."""
    x = tg.tensor(rng.choice([-1e4, 0.0, 1e4], size=(20, 6)), requires_grad=True)
    target = rng.integers(0, 6, size=20)
    loss = F.cross_entropy(x, target, reduction="sum")
    loss.backward()
    g = x.grad.numpy()
    assert np.isfinite(loss.item()) and np.abs(g.sum(1)).max() < 1e-12 and np.abs(g).max() <= 1


def test_ignored_rows_may_hold_anything(rng, close):
    x = rng.normal(size=(5, 4))
    target = np.array([1, -100, 3, -100, 0])
    clean = tg.tensor(x, requires_grad=True)
    F.cross_entropy(clean, target).backward()
    for poison in (np.nan, np.inf, -np.inf):
        bad = x.copy()
        bad[[1, 3]] = poison
        a = tg.tensor(bad, requires_grad=True)
        loss = F.cross_entropy(a, target)
        loss.backward()
        close(loss, F.cross_entropy(clean, target), 0)
        close(a.grad, clean.grad, 0)
        assert not a.grad.numpy()[[1, 3]].any()


def test_nothing_left_to_average_is_zero(rng):
    x = tg.tensor(rng.normal(size=(3, 4)), requires_grad=True)
    loss = F.cross_entropy(x, np.full(3, -100))
    loss.backward()
    assert loss.item() == 0 and not x.grad.numpy().any()


def test_nll_loss(rng, close):
    x, target = tg.tensor(rng.normal(size=(4, 3))), np.array([0, 2, 1, -100])
    close(F.nll_loss(F.log_softmax(x, axis=-1), target), F.cross_entropy(x, target), 1e-14)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    "name,kwargs",
    [
        ("mse_loss", {}),
        ("l1_loss", {}),
        ("huber_loss", {}),
        ("huber_loss", {"delta": 0.3}),
        ("smooth_l1_loss", {}),
        ("smooth_l1_loss", {"beta": 0.4}),
        ("smooth_l1_loss", {"beta": 0.0}),
    ],
)
def test_regression_losses(name, kwargs, reduction, rng, close):
    torch = pytest.importorskip("torch")
    x, target = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    x[0] = target[0]  # the kink
    both(
        lambda a, t: getattr(F, name)(a, t, reduction=reduction, **kwargs),
        lambda a, t: getattr(torch.nn.functional, name)(a, t, reduction=reduction, **kwargs),
        close, x, target,
    )  # fmt: skip


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("positive", [False, True])
def test_binary_cross_entropy(reduction, weighted, positive, rng, close):
    torch = pytest.importorskip("torch")
    x, target = rng.normal(size=(6, 3)) * 4, rng.uniform(size=(6, 3))
    w = rng.uniform(size=(6, 3)) if weighted else None
    p = rng.uniform(0.5, 3, size=3) if positive else None
    both(
        lambda a, t: F.binary_cross_entropy_with_logits(a, t, w, reduction, p),
        lambda a, t: torch.nn.functional.binary_cross_entropy_with_logits(
            a, t,
            None if w is None else torch.from_numpy(w),
            reduction=reduction,
            pos_weight=None if p is None else torch.from_numpy(p),
        ),
        close, x, target,
    )  # fmt: skip


def test_binary_cross_entropy_at_zero_and_far_out(close):
    """σ(0) - y and σ'(0) = 1/4 exactly (|x| in the formula would give 0), finite at ±1e4."""
    for target in (0.0, 0.3, 1.0):
        x, y = tg.tensor(np.zeros(())), np.array(target)
        loss = lambda x: F.binary_cross_entropy_with_logits(x, y)  # noqa: B023, E731
        close(loss(x), np.log(2.0), 1e-15)
        close(tg.grad(loss)(x), 0.5 - target, 1e-15)
        close(tg.grad(tg.grad(loss))(x), 0.25, 1e-15)
        for far in (1e4, -1e4):
            x = tg.tensor(np.array(far))
            close(loss(x), max(far, 0.0) - far * target, 1e-15)
            close(tg.grad(loss)(x), float(far > 0) - target, 1e-15)


def test_modules_are_the_functions(rng, close):
    x, target = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    for module, name in [
        (tg.nn.MSELoss(), "mse_loss"),
        (tg.nn.L1Loss(), "l1_loss"),
        (tg.nn.HuberLoss(), "huber_loss"),
        (tg.nn.SmoothL1Loss(), "smooth_l1_loss"),
    ]:
        close(module(x, target), getattr(F, name)(x, target), 0)
    p = tg.tensor(np.array([1.0, 2.0, 3.0]))
    module = tg.nn.BCEWithLogitsLoss(pos_weight=p)
    close(module(x, target), F.binary_cross_entropy_with_logits(x, target, pos_weight=p), 0)
    assert list(module.state_dict()) == ["pos_weight"]


def test_losses_refuse_what_would_be_broadcast(rng):
    x = rng.normal(size=(4, 3))
    with pytest.raises(tg.errors.ShapeError, match=r"f64\[4,3\].*f64\[4,1\].*equal shapes"):
        F.mse_loss(x, x[:, :1])
    with pytest.raises(tg.errors.ShapeError, match=r"axis=1 is PyTorch's layout"):
        F.cross_entropy(x, np.zeros(3, int))
    with pytest.raises(tg.errors.ShapeError, match=r"each of the 3 classes"):
        F.cross_entropy(x, np.zeros(4, int), weight=np.ones(4))
    with pytest.raises(tg.errors.ArgumentError, match=r"label_smoothing.*1.5"):
        F.cross_entropy(x, np.zeros(4, int), label_smoothing=1.5)
    with pytest.raises(tg.errors.ArgumentError, match=r"'median'.*'mean', 'sum' or 'none'"):
        F.mse_loss(x, x, reduction="median")
    with pytest.raises(tg.errors.DTypeError, match=r"i64\[4,3\]"):
        F.mse_loss(x.astype(int), x)
    with pytest.raises(tg.errors.IndexRangeError):
        F.cross_entropy(x, np.array([0, 1, 2, 3]))


def test_half_precision_counts_every_target(rng, close):
    """float16 has no whole numbers between 2048 and 2050, and ends at 65504."""
    logits = (rng.normal(size=(70_000, 2)) * 4).astype("f2")
    target = rng.integers(0, 2, 70_000)
    for weight in (None, tg.tensor(np.array([0.5, 2.0], "f2"))):
        got = F.cross_entropy(tg.tensor(logits), tg.tensor(target), weight)
        exact = F.cross_entropy(tg.tensor(logits.astype("f8")), tg.tensor(target), weight)
        assert got.dtype == "float16"
        close(got.astype("float64"), exact, 2e-3)


def test_layer_norm_of_half_precision_squares_in_single(rng, close):
    x = (rng.normal(size=(3, 9)) * 900).astype("f2")
    got = F.layer_norm(tg.tensor(x), 9)
    assert got.dtype == "float16"
    close(got.astype("float64"), F.layer_norm(tg.tensor(x.astype("f8")), 9), 2e-3)


@pytest.mark.parametrize("bad", [-1, -4, 3, 7])
def test_targets_that_are_no_class_are_refused(bad):
    """Neither counted from the end nor read from the next row; compiled code raises too."""
    logits, logp = tg.zeros((2, 2, 3)), tg.zeros((2, 2, 3)) - 1.0
    target = tg.tensor([[0, bad], [2, -100]])
    for f in (F.cross_entropy, F.nll_loss):
        with pytest.raises(IndexError, match=rf"target\[0, 1\] is {bad}, expected a class"):
            f(logits, target)
        with pytest.raises(IndexError):
            tg.jit(f)(logp, target)
    captured = tg.tensor([1, 1])
    step = tg.jit(lambda x: F.cross_entropy(x, captured))
    step(tg.zeros((2, 3)))
    captured.assign_(tg.tensor([1, bad]))
    with pytest.raises(IndexError):
        step(tg.zeros((2, 3)))


def test_targets_of_any_integer_dtype(rng, close):
    logits = tg.tensor(rng.normal(size=(300, 200)))
    target = rng.integers(0, 128, 300)
    want = F.cross_entropy(logits, tg.tensor(target))
    for dtype in ("int8", "uint8", "int32", "uint64"):
        close(F.cross_entropy(logits, tg.tensor(target.astype(dtype))), want, 1e-15)


def test_embedding_counts_nothing_from_the_end():
    for ids in ([0, -1], [3]):
        with pytest.raises(IndexError, match=f"index {ids[-1]} is out of range"):
            F.embedding(tg.tensor(ids), tg.zeros((3, 2)))
