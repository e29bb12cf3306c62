"""The threads: every block runs once, whoever starts it, after forks too."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading

import numpy as np
import pytest
from tinygrad_rnn_numba import runtime, threads


@pytest.fixture(scope="module")
def count_up():
    """The address of a loop that adds 1 to the element `block` of an array."""

    def make():
        from tinygrad_rnn_numba import intrinsics

        get, put = intrinsics.get(64), intrinsics.put(64)

        def loop(numbers, block):
            put(numbers + 8 * block, get(numbers + 8 * block) + 1.0)

        return loop

    return runtime.compiled("count up", make)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_every_block_runs_once(count_up, count, monkeypatch):
    monkeypatch.setenv("TINYGRAD_RNN_THREADS", str(count))
    for blocks in (1, 2, 3, 7, 64):
        found = np.zeros(blocks)
        for _ in range(200):
            threads.drive(count_up, runtime.address(found), blocks)
        assert np.all(found == 200)


def test_many_callers(count_up, monkeypatch):
    monkeypatch.setenv("TINYGRAD_RNN_THREADS", "3")
    found = [np.zeros(5) for _ in range(6)]

    def call(a):
        for _ in range(500):
            threads.drive(count_up, runtime.address(a), 5)

    callers = [threading.Thread(target=call, args=(a,)) for a in found]
    for c in callers:
        c.start()
    for c in callers:
        c.join()
    assert all(np.all(a == 500) for a in found)


def _in_child(function: int) -> bool:
    found = np.zeros(4)
    for _ in range(50):
        threads.drive(function, runtime.address(found), 4)
    return bool(np.all(found == 50))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks on Linux only")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_after_a_fork(count_up, monkeypatch):
    monkeypatch.setenv("TINYGRAD_RNN_THREADS", "2")
    assert _in_child(count_up)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_in_child, (count_up,))
    assert _in_child(count_up)


def test_without_semaphores(count_up, monkeypatch):
    """What other systems than Linux use."""
    monkeypatch.setattr(sys, "platform", "darwin")
    ours = threads._Threads()
    found = np.zeros(7)
    for _ in range(20):
        ours.run(count_up, runtime.address(found), 7, 2)
    assert np.all(found == 20)
    ours.executor.shutdown()


def test_number_of_threads(monkeypatch):
    monkeypatch.setenv("TINYGRAD_RNN_THREADS", "3")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads.count() == 3
    monkeypatch.setenv("TINYGRAD_RNN_THREADS", "0")
    assert threads.count() == 2
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert 1 <= threads.count() <= (os.cpu_count() or 1)
