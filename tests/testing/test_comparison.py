"""compare_backends: agreement, and what differs first: alone, in a program, in a loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tinygrad_rnn_numpy import NumpyBackend

import tinygrad_rnn as tg
from tinygrad_rnn.scan import single
from tinygrad_rnn.testing import compare_backends

rng = np.random.default_rng(3)
X = rng.normal(size=(4, 3))


def f(x: Any) -> Any:
    y = tg.tanh(x) + 1.0
    z = tg.cumsum(y, 1)
    return tg.exp(-z).sum(0), z


CUMSUM = {**NumpyBackend.kernels, "cumsum": lambda x, axis, reverse: np.cumsum(x, 0)}
ARGMAX = {**NumpyBackend.kernels, "argmax": lambda x, axis: np.argmax(x, axis) ^ 1}


class Wrong(NumpyBackend):
    """NumPy with a fault in one kernel."""

    name = "wrong"
    kernels = CUMSUM

    def specialize(self, node: Any) -> Any:
        if node.op.name == "cumsum":
            return lambda x: self.kernels["cumsum"](x, **node.attrs)
        return super().specialize(node)


class WrongTogether(NumpyBackend):
    """NumPy that forgets a minus sign where an exp follows."""

    name = "together"

    def compile(self, graph: Any) -> Any:
        names = [n.op.name for n in graph.nodes]
        run = super().compile(graph)
        wrong = "neg" in names and "exp" in names
        return (lambda *xs: [-y for y in run(*xs)]) if wrong else run


class WrongLoop(NumpyBackend):
    """A loop that reads a tanh of the step before, from the third step on."""

    name = "loop"

    def specialize(self, node: Any) -> Any:
        if node.op.name != "scan":
            return super().specialize(node)
        types = tuple(v.type for v in node.outputs)
        right = NumpyBackend().compile(single(node.op, node.attrs, types))
        body, first = node.attrs["body"], node.attrs["n_carry"]
        made = {n.output: n.op.name for n in body.nodes}

        def run(*buffers: Any) -> Any:
            out = [np.array(y) for y in right(*buffers)]
            for y, v in zip(out[first:], body.outputs[first:]):
                if made.get(v) == "tanh":
                    order = y[::-1] if node.attrs["reverse"] else y
                    order[2:] = order[1:-1].copy()
            return tuple(out)

        return run


def test_backends_that_agree_say_so() -> None:
    found = compare_backends(f, X, backends=("numpy", NumpyBackend()))
    assert found and found.node is None and str(found).startswith("numpy and numpy agree on")


def test_the_first_operation_that_differs_is_named() -> None:
    found = compare_backends(f, X, backends=("numpy", Wrong()))
    assert not found and found.how == "alone" and found.backend == "wrong"
    assert " = cumsum(" in found.node and "axis=1" in found.node
    assert "expected " in found.detail and str(found).count("\n") == 2
    graph = tg.trace(f)(tg.tensor(X))
    again = compare_backends(graph, X, backends=("numpy", Wrong()), optimized=False)
    assert again.position == [n.op.name for n in graph.nodes].index("cumsum")


def test_an_operation_that_is_right_alone_is_found_in_the_program() -> None:
    found = compare_backends(f, X, backends=("numpy", WrongTogether()))
    assert not found and found.how == "together" and "exp(" in found.node


@pytest.mark.parametrize("reverse", [False, True])
def test_in_a_loop_the_operation_and_the_step_are_named(reverse: bool) -> None:
    def step(c: Any, x: Any) -> Any:
        a = tg.sin(c) * x
        b = tg.tanh(a)
        return b + x, b

    def run(c: Any, xs: Any) -> Any:
        return tg.scan(step, c, xs, reverse=reverse)

    args = rng.normal(size=3), rng.normal(size=(5, 3))
    found = compare_backends(run, *args, backends=("numpy", WrongLoop()), optimized=False)
    assert not found and "scan(" in found.node and "tanh(" in found.inside
    assert found.step == 2  # the third of five in either direction
    assert f"at step {found.step}" in str(found)


def test_what_a_backend_raises_is_a_difference() -> None:
    class Refusing(NumpyBackend):
        name = "refusing"

        def specialize(self, node: Any) -> Any:
            if node.op.name == "exp":
                raise tg.BackendError("no exp today")
            return super().specialize(node)

    found = compare_backends(f, X, backends=("numpy", Refusing()))
    assert "exp(" in found.node and "no exp today" in found.detail


def test_misuse_is_named() -> None:
    with pytest.raises(tg.ArgumentError, match="two or more"):
        compare_backends(f, X, backends=("numpy",))
    with pytest.raises(tg.ArgumentError, match="takes 1 inputs, got 2"):
        compare_backends(tg.trace(f)(tg.tensor(X)), X, X)


def test_half_precision_and_integers_have_limits_of_their_own() -> None:
    x = X.astype("f2")
    assert compare_backends(lambda x: (x * 2).sum(), x, backends=("numpy", NumpyBackend()))

    class OffByOne(NumpyBackend):
        name = "off"
        kernels = ARGMAX

        def specialize(self, node: Any) -> Any:
            kernel = self.kernels["argmax"]
            return (lambda x: kernel(x, **node.attrs)) if node.op.name == "argmax" else (
                super().specialize(node)
            )

    found = compare_backends(lambda x: tg.argmax(x, 1), X, backends=("numpy", OffByOne()))
    assert "argmax" in found.node
