"""Optimizers, schedules and clipping by their formulas, where PyTorch is not asked."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import optim
from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.optim import lr_scheduler as ls

INF, NAN = math.inf, math.nan


def leaves(*values, dtype="float64"):
    out = [tg.tensor(np.asarray(v, dtype), requires_grad=True) for v in values]
    for p in out:
        p.grad = tg.tensor(p.detach().numpy())
    return out


# --- steps ---------------------------------------------------------------------------------------


def test_groups_have_rates_and_numbers_of_their_own():
    a, b, c = leaves([1.0], [2.0], [4.0])
    o = optim.SGD([{"params": [a]}, {"params": [b, c], "lr": 0.5, "momentum": 0.5}], lr=0.25)
    assert [g["lr"] for g in o.param_groups] == [0.25, 0.5]
    o.step()
    assert [p.item() for p in (a, b, c)] == [0.75, 1.0, 2.0]
    saved = o.state_dict()
    assert [g["params"] for g in saved["param_groups"]] == [[0], [1, 2]]
    assert sorted(saved["state"]) == [0, 1, 2] and "momentum_buffer" in saved["state"][2]
    before = saved["state"][1]["momentum_buffer"].tolist()
    o.step()
    assert saved["state"][1]["momentum_buffer"].tolist() == before
    o.zero_grad()
    assert a.grad is b.grad is c.grad is None


def test_maximize_goes_up_and_nothing_is_recorded():
    class Watched(optim.SGD):
        def update(self, p, *given):
            new, state = super().update(p, *given)
            assert p.requires_grad and not new.requires_grad
            return new, state

    (p,) = leaves([2.0])
    o = Watched([p], lr=0.5, momentum=0.9, maximize=True)
    o.step()
    assert p.item() == 3.0 and p.is_leaf and p.requires_grad
    assert not any(t.requires_grad for t in o.state[p].values())
    (p,) = leaves([2.0])
    rate = tg.tensor(0.5, requires_grad=True)
    o = optim.SGD([p], lr=0.1)
    o.param_groups[0]["lr"] = rate * 2.0
    assert not o.param_groups[0].lr.requires_grad
    o.step()
    assert p.item() == 0.0 and p.is_leaf


def test_settings_that_are_refused():
    (p,) = leaves([1.0])
    for bad in (INF, NAN, -1.0):
        with pytest.raises(ArgumentError, match="lr"):
            optim.SGD([p], lr=bad)
    with pytest.raises(TypeError, match="lr is a bool"):
        optim.SGD([p], lr=True)
    with pytest.raises(ArgumentError, match="weight_decay"):
        optim.SGD([p], weight_decay=-0.5)
    o = optim.SGD([p])
    with pytest.raises(ArgumentError, match="no setting 'params'"):
        o.param_groups[0]["params"] = [p]
    assert o.param_groups[0].params == [p]


def test_debiasing_is_exact_in_half_precision():
    """b2**t is 0.999 to 1 in three digits: half precision would divide by 0."""
    (p,) = leaves([1.0, 1.0], dtype="float16")
    o = optim.Adam([p], lr=0.125)
    for k in range(1, 5):
        o.step()
        assert p.detach().numpy().tolist() == pytest.approx([1 - 0.125 * k] * 2, abs=2e-3)


# --- clipping ------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0, 3.0, INF])
@pytest.mark.parametrize("max_norm", [0.0, 1.0, 1e9])
def test_clipping_by_any_norm(order, max_norm):
    values = [[3.0, -1.0], [[2.0], [-8.0]], np.zeros((0, 2))]
    params = leaves(*values)
    flat = np.abs([3.0, 1, 2, 8])
    want = flat.max() if order == INF else (flat**order).sum() ** (1 / order)
    norm = optim.clip_grad_norm_(params, max_norm, order)
    assert norm.item() == pytest.approx(want, rel=1e-12)
    scale = min(1.0, max_norm / (want + 1e-6))
    for p, v in zip(params, values):
        np.testing.assert_allclose(p.grad.numpy(), np.asarray(v) * scale, rtol=1e-12)
        assert not p.grad.requires_grad and p.grad.type is p.type


def test_clipping_is_not_recorded():
    (p,) = leaves([3.0, 4.0])
    (p**3).sum().backward(create_graph=True)
    assert p.grad.requires_grad
    norm = optim.clip_grad_norm_([p], 1.0)
    assert not p.grad.requires_grad and not norm.requires_grad


def test_clipping_by_value_on_both_sides():
    (p,) = leaves([-3.0, -0.5, 0.5, 3.0])
    optim.clip_grad_value_(p, 1.0)
    assert p.grad.tolist() == [-1.0, -0.5, 0.5, 1.0]


# --- schedules -----------------------------------------------------------------------------------


def rates(make, steps, groups=(0.5, 2.0)):
    o = optim.SGD([{"params": leaves([1.0]), "lr": lr} for lr in groups])
    schedule = make(o)
    found = [schedule.get_last_lr()]
    for _ in range(steps):
        schedule.step()
        found.append(schedule.get_last_lr())
    return np.array(found)


FORMULAS = {
    "step": (lambda o: ls.StepLR(o, 3, 0.1), lambda t: 0.1 ** (t // 3)),
    "cosine": (
        lambda o: ls.CosineAnnealingLR(o, 6), lambda t: (1 + math.cos(math.pi * t / 6)) / 2,
    ),
    "warmup": (lambda o: ls.LinearWarmup(o, 0.2, 4), lambda t: 0.2 + 0.8 * min(1, t / 4)),
    "sequential": (
        lambda o: ls.SequentialLR(o, [ls.LinearWarmup(o, 0.5, 5), ls.StepLR(o, 2, 0.1)], [3]),
        lambda t: 0.5 + 0.5 * t / 5 if t < 3 else 0.1 ** ((t - 3) // 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_schedules(name):
    make, formula = FORMULAS[name]
    want = np.outer([formula(t) for t in range(9)], [0.5, 2.0])
    np.testing.assert_allclose(rates(make, 8), want, rtol=1e-12)


def test_a_cosine_ends_at_its_minimum():
    got = rates(lambda o: ls.CosineAnnealingLR(o, 4, 0.25), 4)
    np.testing.assert_allclose(got[-1], [0.25, 0.25])
    np.testing.assert_allclose(got[2], [0.375, 1.125])


def test_functions_of_the_step_one_for_each_group():
    got = rates(lambda o: ls.LambdaLR(o, [lambda t: t, lambda t: t * t]), 3)
    np.testing.assert_allclose(got, [[0.5 * t, 2.0 * t * t] for t in range(4)])
    for count in (1, 3):
        with pytest.raises(ArgumentError, match="functions for 2"):
            rates(lambda o, n=count: ls.LambdaLR(o, [lambda t: 1.0] * n), 0)


def test_a_group_that_comes_later_keeps_its_rate():
    o = optim.SGD(leaves([1.0]), lr=1.0)
    schedule = ls.StepLR(o, 1, 0.5)
    o.add_param_group({"params": leaves([2.0]), "lr": 7.0})
    schedule.step()
    assert [g["lr"] for g in o.param_groups] == [0.5, 7.0]


PLATEAUS = [
    # settings, metrics, how often the rate (1.0) had been divided by 10 after each
    ({"patience": 1}, [5, 4, 4, 4, 4, 4], [0, 0, 0, 1, 1, 2]),
    ({"patience": 0, "mode": "max"}, [1, 2, 1, 3], [0, 0, 1, 1]),
    ({"patience": 0, "threshold": 0.5}, [8, 5, 3.9], [0, 1, 1]),
    ({"patience": 0, "threshold": 0.5, "mode": "max"}, [8, 11, 13], [0, 1, 1]),
    ({"patience": 0, "threshold": 2, "threshold_mode": "abs"}, [8, 6.5, 5.9], [0, 1, 1]),
    ({"patience": 0, "cooldown": 2}, [1, 1, 1, 1, 1], [0, 1, 1, 1, 2]),
    ({"patience": 0}, [1, NAN, 0.5, NAN], [0, 1, 1, 2]),
    ({"patience": 0, "min_lr": 0.1}, [1, 1, 1], [0, 1, 1]),
    ({"patience": 0, "eps": 0.5}, [1, 1, 1], [0, 1, 1]),
    ({"patience": 1, "cooldown": 1}, [1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 2]),
]


@pytest.mark.parametrize(("settings", "metrics", "reductions"), PLATEAUS)
def test_plateaus(settings, metrics, reductions):
    o = optim.SGD(leaves([1.0]), lr=1.0)
    schedule = ls.ReduceLROnPlateau(o, **settings)
    found = []
    for metric in metrics:
        schedule.step(metric)
        found.append(round(-math.log10(o.param_groups[0]["lr"])))
    assert found == reductions
