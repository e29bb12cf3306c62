"""One hundred steps in float64 next to PyTorch's optimizers and schedules."""

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import optim
from tinygrad_rnn.optim import lr_scheduler

torch = pytest.importorskip("torch")
torch_schedule = torch.optim.lr_scheduler

SETTINGS = {
    "SGD": [
        {},
        {"lr": 0.1, "momentum": 0.9},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01},
        {"lr": 0.1, "momentum": 0.9, "nesterov": True},
        {"lr": 0.1, "weight_decay": 0.1, "maximize": True},
    ],
    "RMSprop": [
        {},
        {"lr": 0.05, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1},
        {"momentum": 0.9},
        {"centered": True},
        {"centered": True, "momentum": 0.5, "weight_decay": 0.01, "maximize": True},
    ],
    "Adagrad": [
        {},
        {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1},
        {"initial_accumulator_value": 0.5, "eps": 1e-3, "maximize": True},
    ],
    "Adam": [
        {},
        {"lr": 0.1, "betas": (0.8, 0.99), "eps": 1e-3, "weight_decay": 0.1},
        {"lr": 0.1, "amsgrad": True},
        {"lr": 0.1, "amsgrad": True, "maximize": True, "weight_decay": 0.1},
    ],
    "AdamW": [{}, {"lr": 0.1, "weight_decay": 0.5}, {"amsgrad": True, "maximize": True}],
}
CASES = [(name, kw) for name, cases in SETTINGS.items() for kw in cases]
SHAPES = [(3, 4), (4,), (), (2, 0), (2, 3, 2)]


def start(rng):
    values = [rng.normal(size=s) for s in SHAPES]
    ours = [tg.tensor(v, requires_grad=True) for v in values]
    theirs = [torch.tensor(v, requires_grad=True) for v in values]
    return ours, theirs


def give_gradients(rng, ours, theirs, step):
    for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
        g = rng.normal(size=p.shape) * 10.0 ** rng.integers(-3, 2)
        if step % 10 == 3:
            g = np.zeros(p.shape)  # a step with gradient zero
        if step % 7 == i:  # a parameter that has none this time
            p.grad = q.grad = None
        else:
            p.grad, q.grad = tg.tensor(g), torch.tensor(g)


def agree(ours, theirs, tolerance=1e-10):
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(
            p.detach().numpy(), q.detach().numpy(), rtol=tolerance, atol=tolerance
        )


@pytest.mark.parametrize("name, kw", CASES)
def test_trajectory(name, kw):
    rng = np.random.default_rng(0)
    ours, theirs = start(rng)
    a, b = getattr(optim, name)(ours, **kw), getattr(torch.optim, name)(theirs, **kw)
    for step in range(100):
        give_gradients(rng, ours, theirs, step)
        a.step()
        b.step()
        agree(ours, theirs)


@pytest.mark.parametrize("name", SETTINGS)
def test_groups(name):
    rng = np.random.default_rng(1)
    ours, theirs = start(rng)

    def groups(p):
        return [{"params": p[:2], "lr": 0.3}, {"params": p[2:4], "weight_decay": 0.2}]

    a = getattr(optim, name)(groups(ours), lr=0.01)
    b = getattr(torch.optim, name)(groups(theirs), lr=0.01)
    a.add_param_group({"params": ours[4], "lr": 0.5})
    b.add_param_group({"params": theirs[4], "lr": 0.5})
    for step in range(100):
        give_gradients(rng, ours, theirs, step)
        if step == 50:
            a.param_groups[0]["lr"] = b.param_groups[0]["lr"] = 0.07
            a.param_groups[1]["weight_decay"] = b.param_groups[1]["weight_decay"] = 0.01
        a.step()
        b.step()
        agree(ours, theirs)


@pytest.mark.parametrize("name, kw", CASES)
def test_defaults_are_pytorchs(name, kw):
    p = tg.tensor([1.0], requires_grad=True)
    q = torch.tensor([1.0], requires_grad=True)
    ours = getattr(optim, name)([p], **kw).param_groups[0]
    theirs = getattr(torch.optim, name)([q], **kw).param_groups[0]
    for key in ours:
        if key != "params":
            assert ours[key] == theirs[key], key


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, float("inf")])
@pytest.mark.parametrize("max_norm", [0.0, 1e-3, 1.0, 1e9])
@pytest.mark.parametrize("scale", [0.0, 1e-9, 1.0, 1e9])
def test_clip_by_norm(norm_type, max_norm, scale):
    rng = np.random.default_rng(2)
    ours, theirs = start(rng)
    for p, q in zip(ours[:-1], theirs[:-1], strict=True):
        g = scale * rng.normal(size=p.shape)
        p.grad, q.grad = tg.tensor(g), torch.tensor(g)
    used = [i for i, p in enumerate(ours) if p.size] if norm_type == float("inf") else range(5)
    norm = optim.clip_grad_norm_([ours[i] for i in used], max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_([theirs[i] for i in used], max_norm, norm_type)
    np.testing.assert_allclose(norm.item(), expected.item(), rtol=1e-12)
    assert ours[-1].grad is None
    agree([ours[i].grad for i in used if i < 4], [theirs[i].grad for i in used if i < 4], 1e-12)


def test_clip_by_value():
    rng = np.random.default_rng(3)
    ours, theirs = start(rng)
    give_gradients(rng, ours, theirs, 5)
    ours[0].grad = tg.tensor(np.array([[np.nan, np.inf, -np.inf, 0.1]] * 3))
    theirs[0].grad = torch.tensor([[np.nan, np.inf, -np.inf, 0.1]] * 3, dtype=torch.float64)
    optim.clip_grad_value_(ours, 0.5)
    torch.nn.utils.clip_grad_value_(theirs, 0.5)
    have = [i for i, p in enumerate(ours) if p.grad is not None]
    agree([ours[i].grad for i in have], [theirs[i].grad for i in have], 0)


SCHEDULES = {
    "step": (
        lambda o: lr_scheduler.StepLR(o, 7, 0.5),
        lambda o: torch_schedule.StepLR(o, 7, 0.5),
    ),
    "cosine": (
        lambda o: lr_scheduler.CosineAnnealingLR(o, 30, 0.001),
        lambda o: torch_schedule.CosineAnnealingLR(o, 30, 0.001),
    ),
    "lambda": (
        lambda o: lr_scheduler.LambdaLR(o, lambda t: 0.95**t),
        lambda o: torch_schedule.LambdaLR(o, lambda t: 0.95**t),
    ),
    "lambdas": (
        lambda o: lr_scheduler.LambdaLR(o, [lambda t: 0.95**t, lambda t: 1 / (1 + t)]),
        lambda o: torch_schedule.LambdaLR(o, [lambda t: 0.95**t, lambda t: 1 / (1 + t)]),
    ),
    "warmup": (
        lambda o: lr_scheduler.LinearWarmup(o, 0.1, 12),
        lambda o: torch_schedule.LinearLR(o, 0.1, total_iters=12),
    ),
    "chain": (
        lambda o: lr_scheduler.warmup_cosine(o, 10, 60, 0.1, 1e-4),
        lambda o: torch_schedule.SequentialLR(
            o,
            [
                torch_schedule.LinearLR(o, 0.1, total_iters=10),
                torch_schedule.CosineAnnealingLR(o, 50, 1e-4),
            ],
            [10],
        ),
    ),
}


def two_groups(module, make):
    params = [make([1.0]), make([2.0])]
    return module.SGD([{"params": params[:1]}, {"params": params[1:], "lr": 0.02}], lr=0.3)


def optimizers():
    ours = two_groups(optim, lambda v: tg.tensor(v, requires_grad=True))
    theirs = two_groups(torch.optim, lambda v: torch.tensor(v, requires_grad=True))
    return ours, theirs


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name):
    a, b = optimizers()
    ours, theirs = (make(o) for make, o in zip(SCHEDULES[name], (a, b), strict=True))
    for _ in range(100):
        expected = [g["lr"] for g in b.param_groups]
        np.testing.assert_allclose(ours.get_last_lr(), expected, rtol=1e-9, atol=1e-15)
        b.step()  # PyTorch warns if a schedule moves before its optimizer
        ours.step()
        theirs.step()


@pytest.mark.parametrize(
    "kw",
    [
        {"patience": 2},
        {"mode": "max", "patience": 1, "threshold_mode": "abs", "threshold": 0.1},
        {"factor": 0.5, "patience": 0, "cooldown": 3, "min_lr": 1e-3},
        {"factor": 0.5, "patience": 1, "min_lr": [1e-2, 1e-4], "eps": 1e-3},
        {"threshold_mode": "abs", "patience": 3},
        {"mode": "max", "patience": 2},
    ],
)
def test_plateau(kw):
    rng = np.random.default_rng(4)
    a, b = optimizers()
    ours = lr_scheduler.ReduceLROnPlateau(a, **kw)
    theirs = torch_schedule.ReduceLROnPlateau(b, **kw)
    for metric in [*rng.normal(size=40) + np.linspace(3, 0, 40), np.nan, np.nan, np.inf, 0.0]:
        ours.step(metric)
        theirs.step(metric)
        assert ours.get_last_lr() == [g["lr"] for g in b.param_groups]
        assert (ours.num_bad_epochs, ours.cooldown_counter) == (
            theirs.num_bad_epochs,
            theirs.cooldown_counter,
        )
