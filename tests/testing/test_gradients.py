"""check_grads: right gradients pass, wrong ones are named, singular points are judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.testing import GradientMismatch, check_grads
from tinygrad_rnn.testing.complex_step import complex_step
from tinygrad_rnn.testing.differences import central

rng = np.random.default_rng(5)
X, W = rng.normal(size=(2, 3)), rng.normal(size=(3, 3))


def test_trees_loops_and_integers_to_the_third_order() -> None:
    def f(p: Any, i: Any) -> Any:
        end, ys = tg.scan(lambda c, x: (tg.tanh(c @ p["w"] + x), c * x), p["x"], p["xs"])
        return {"end": end[:, i], "ys": ys, "i": i}

    args = ({"w": W, "x": X, "xs": rng.normal(size=(2, 2, 3))}, np.array([2, 0, 2]))
    report = check_grads(f, args, order=3)
    first = 9 + 6 + 12
    second = first + 6 + 12  # the cotangents of `end` and `ys` too
    assert report.checked == first + second + (second + first)
    assert (report.singular, report.skipped) == (0, 0) and report.worst < 1e-12
    assert "27" not in str(report) and str(report.checked) in str(report)


FAULTS = {
    "sign": lambda g, y, x: -g * tg.cos(x),
    "factor": lambda g, y, x: g * tg.cos(x) * (1 + 1e-6),
    "wrong point": lambda g, y, x: g * tg.cos(y),
    "one entry": lambda g, y, x: g * tg.cos(x) + tg.tensor(np.eye(2, 3) * [0, 1e-7, 0]) * x,
    "precision": lambda g, y, x: (g.astype("float32") * tg.cos(x).astype("float32")).astype(
        "float64"
    ),
}


#: Differences see errors of 1e-7 at best.
COARSE = ("sign", "factor", "wrong point")


@pytest.mark.parametrize(
    ("name", "oracle"), [(n, "auto") for n in FAULTS] + [(n, "differences") for n in COARSE]
)
def test_a_wrong_rule_is_found(name: str, oracle: str) -> None:
    f = tg.custom_vjp(tg.sin, FAULTS[name])
    with pytest.raises(GradientMismatch, match=r"the gradient with respect to args\[0\]"):
        check_grads(f, [X], order=1, oracle=oracle)


def test_the_message_names_input_entry_expected_and_got() -> None:
    def rule(g: Any, y: Any, x: Any) -> Any:
        return g * tg.tensor([[1.0, 1.0, 1.0], [1.0, 7.0, 1.0]]).astype("float64")

    f = tg.custom_vjp(lambda x: x + 0.0, rule)
    with pytest.raises(GradientMismatch) as error:
        check_grads(lambda a, p: f(p["w"]) + a, [X, {"w": X}], order=1)
    got = str(error.value)
    assert "with respect to args[1]['w'], entry [1, 1]: expected " in got
    assert "1 of 6 entries differ" in got
    numbers = [float(got.split(word)[1].split()[0].strip(";")) for word in ("expected ", "got ")]
    assert np.isclose(numbers[1], 7 * numbers[0])


def test_a_rule_that_cannot_be_differentiated_is_found_at_the_second_order() -> None:
    f = tg.custom_vjp(tg.sin, lambda g, y, x: g * tg.cos(x.detach()))
    check_grads(f, [X], order=1)
    with pytest.raises(GradientMismatch, match=r"second derivative with respect to args\[0\]"):
        check_grads(f, [X], order=2)


def test_kinks_and_ties_by_the_policies() -> None:
    zero = np.zeros(3)
    for f in (tg.abs, tg.relu, tg.max, tg.norm, lambda x: tg.maximum(x, tg.flip(x * 0.5))):
        report = check_grads(f, [zero], order=1)
        # relu takes the slope of one side, as the complex step does
        assert (report.checked, report.singular) == ((3, 0) if f is tg.relu else (0, 3)), f
        assert report.skipped == 0
    # a wrong choice is still found
    wrong = tg.custom_vjp(tg.abs, lambda g, y, x: g * (tg.sign(x) + 1.5))
    with pytest.raises(GradientMismatch):
        check_grads(wrong, [zero], order=1)
    # and so is a wrong gradient of an entry that is no part of the tie
    part = tg.custom_vjp(lambda x: tg.max(x) + 2 * x, lambda g, y, x: (g + 0.0).sum() * 0 + g)
    with pytest.raises(GradientMismatch):
        check_grads(part, [np.array([1.0, 1.0, 0.0])], order=1)


def test_infinite_slopes_are_skipped_and_counted() -> None:
    report = check_grads(tg.sqrt, [np.array([0.0, 4.0])], order=1)
    assert (report.checked, report.singular, report.skipped) == (1, 0, 1)


def test_functions_that_read_values_are_checked_by_differences() -> None:
    def f(x: Any) -> Any:
        return tg.sin(x) if x.detach().numpy().sum() > 0 else tg.cos(x)

    for sign in (1, -1):
        report = check_grads(f, [sign * np.abs(X)])
        assert report.oracles[0] == "central differences" and report.checked == 18
    with pytest.raises(tg.TinygradRnnError):
        check_grads(f, [X], oracle="complex")


def test_central_differences_know_their_error() -> None:
    slope, error = central(lambda t: np.exp(np.sin(3 * t)))
    assert abs(slope - 3) < 1e-10 and error < 1e-9
    _, error = central(lambda t: abs(t - 1e-5))
    assert error > 1e-6


def test_only_float64_is_checked() -> None:
    with pytest.raises(tg.ArgumentError, match=r"args\[0\] is float32, expected float64"):
        check_grads(tg.sin, [X.astype("f4")])
    with pytest.raises(tg.ArgumentError, match="oracle='magic'"):
        check_grads(tg.sin, [X], oracle="magic")


def test_complex_step_of_several_results() -> None:
    g = complex_step(lambda x, i: (x * x, x[i]), [X, np.array([1])], [X, np.ones((1, 3))])
    assert g[1] is None and np.allclose(g[0], 2 * X * X + np.array([[0.0], [1.0]]), rtol=1e-15)
