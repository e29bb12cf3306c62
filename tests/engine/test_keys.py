"""What is remembered, and under which key: no cache gives what was made for something else, and
none of them grows for ever."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from tinygrad_rnn_numpy import NumpyBackend

import tinygrad_rnn as tg
from tinygrad_rnn import backend as backends
from tinygrad_rnn.backend import ProgramCache, compiled
from tinygrad_rnn.errors import GraphError
from tinygrad_rnn.graph import Graph
from tinygrad_rnn.pullbacks import pullback_program
from tinygrad_rnn.trace import guard

# --- programs ------------------------------------------------------------------------------------


def test_a_program_is_made_once_and_the_least_recently_used_goes():
    cache, made = ProgramCache(limit=2), []

    def get(key):
        return cache.get(key, lambda: made.append(key) or key)

    for key in "aabab":
        assert get(key) == key
    assert made == ["a", "b"]
    get("a"), get("c")  # b was not asked for as recently as a
    assert len(cache.entries) == 2 and made == ["a", "b", "c"]
    get("a")
    assert made == ["a", "b", "c"]
    get("b")
    assert made == ["a", "b", "c", "b"]


def test_compiled_graphs_belong_to_one_backend():
    class Other(NumpyBackend):
        name = "numpy"

    x = tg.tensor([1.0, 2.0])
    graph = tg.trace(lambda x: tg.exp(x) * 3.0)(x)
    first, second, numba = Other(), Other(), backends.get_backend("numba")
    programs = [compiled(b, graph) for b in (x.backend, first, second, numba)]
    assert len({id(p) for p in programs}) == 4
    assert compiled(first, graph) is programs[1]
    other = tg.trace(lambda x: tg.exp(x) * 4.0)(x)
    assert compiled(first, other) is not programs[1]


def test_compiled_rules_belong_to_one_backend():
    values = [
        (tg.tensor([1.0], requires_grad=True, backend=b) * 2.0)._value for b in ("numpy", "numba")
    ]
    a, b = (pullback_program(v, (True, False)) for v in values)
    assert a is not b and pullback_program(values[0], (True, False)) is a
    assert pullback_program(values[0], (True, True)) is not a


def test_checking_verifies_what_a_pass_returns(monkeypatch):
    def spoilt(graph: Graph) -> Graph:
        return Graph(graph.inputs, graph.nodes[1:], graph.outputs)

    x = tg.tensor([1.0, 2.0, 3.0])
    graph = tg.trace(lambda x: tg.exp(tg.sin(x)) + 0.12345)(x)
    monkeypatch.setattr(backends, "pipeline", [*backends.pipeline, spoilt])
    monkeypatch.setenv("TINYGRAD_RNN_CHECK", "1")
    with pytest.raises(GraphError, match="not defined"):
        backends.optimize(graph)
    monkeypatch.setenv("TINYGRAD_RNN_CHECK", "0")
    backends.optimize(graph)


# --- recordings ----------------------------------------------------------------------------------


def test_recordings_are_told_apart_by_structure_and_by_kind_of_number():
    @tg.jit
    def f(tree, n):
        return tree["a"] * n if "a" in tree else 1 / (tree["b"] * n)

    x = tg.tensor([2])
    assert f({"a": x}, 3).item() == 6 and f({"b": x}, 3).item() == pytest.approx(1 / 6)
    kinds = [f({"a": x}, n).dtype.name for n in (1, 1.0, True)]
    assert kinds == ["int64", "float32", "int64"]
    zero = tg.tensor([1.0])
    assert f({"b": zero}, 0.0).item() == np.inf and f({"b": zero}, -0.0).item() == -np.inf
    assert len(f.recordings) == 7


def test_a_recording_belongs_to_one_backend():
    f = tg.jit(lambda x: tg.tanh(x) * 2.0)
    x = tg.tensor([0.5])
    assert [f(x.to(b)).backend.name for b in ("numpy", "numba", "numpy")] == [
        "numpy",
        "numba",
        "numpy",
    ]


def test_arrays_and_their_elements_are_no_constants():
    f = tg.jit(lambda x: x * 2)
    for kind in (np.float32, np.array, lambda v: np.array([v])):
        made = [f(kind(v)).numpy().item() for v in (1.5, 2.5)]
        assert made == [3.0, 5.0]
    assert len(f.recordings) == 3


def test_stale_recordings_do_not_pile_up():
    mode = SimpleNamespace(scale=0)
    f = tg.jit(lambda x: x * guard(mode, "scale"))
    for mode.scale in range(20):
        assert f(tg.tensor([2.0])).item() == 2.0 * mode.scale
    assert len(f.recordings) == 8
    mode.scale = 19 - 7
    f(tg.tensor([2.0]))
    assert len(f.recordings) == 8


def test_guards_compare_values():
    mode = SimpleNamespace(scale=(1.0, 2.0))
    f = tg.jit(lambda x: x * guard(mode, "scale")[1])
    f(tg.tensor([2.0]))
    mode.scale = tuple([1.0, 2.0])
    f(tg.tensor([2.0]))
    assert len(f.recordings) == 1


def test_a_guard_inside_a_loop_is_the_recordings_too():
    mode = SimpleNamespace(scale=2.0)

    def run(xs):
        return tg.scan(lambda c, x: (c + x * guard(mode, "scale"), None), tg.tensor(0.0), xs)[0]

    f = tg.jit(run)
    xs = tg.tensor([1.0, 2.0])
    assert f(xs).item() == 6.0
    mode.scale = 10.0
    assert f(xs).item() == 30.0


def test_a_gradient_forgotten_inside_is_forgotten_outside():
    w = tg.tensor([1.0], requires_grad=True)

    @tg.jit
    def forget(x):
        w.grad = None
        return x * 1.0

    (w * 3.0).sum().backward()
    forget(tg.tensor([1.0]))
    assert w.grad is None
    (w * 3.0).sum().backward()
    forget(tg.tensor([1.0]))
    assert w.grad is None


def test_what_was_differentiated_inside_is_finished():
    w = tg.tensor([1.0, 2.0], requires_grad=True)

    @tg.jit
    def step():
        w.grad = None
        loss = (w * w).sum()
        loss.backward()
        return loss

    for _ in range(2):
        assert not step().requires_grad and w.grad.tolist() == [2.0, 4.0]


# --- per thread ----------------------------------------------------------------------------------


def test_a_backend_is_chosen_for_one_thread():
    seen = []
    with tg.use_backend("numba"):
        thread = threading.Thread(target=lambda: seen.append(tg.tensor(1.0).backend.name))
        thread.start()
        thread.join()
        assert tg.tensor(1.0).backend.name == "numba"
    assert seen == ["numpy"]


def test_no_grad_may_be_entered_again_while_it_is_active():
    x, off = tg.tensor(1.0, requires_grad=True), tg.no_grad()
    with off:
        with off:
            assert not (x * 2.0).requires_grad
        assert not (x * 2.0).requires_grad
    assert (x * 2.0).requires_grad
