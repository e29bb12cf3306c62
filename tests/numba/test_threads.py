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
    """Whether all is computed, by threads that are there."""
    found = np.zeros(4)
    for _ in range(50):
        threads.drive(function, runtime.address(found), 4)
    return bool(np.all(found == 50)) and len(os.listdir("/proc/self/task")) > 1


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


@pytest.fixture(scope="module")
def pass_round():
    """The address of a gang's loop: words are where `mine` lies, its length, and the gang.

    Every member writes its part of a row of numbers; then every member sums up what all wrote, and
    so on: a sum is right only if nobody runs ahead.
    """

    def make():
        from tinygrad_rnn_numba import intrinsics
        from tinygrad_rnn_numba.assembly import MEMBERS

        get, put, load = intrinsics.get(64), intrinsics.put(64), intrinsics.load
        barrier, word = intrinsics.barrier, MEMBERS // 8

        def loop(numbers, block):
            row, n, gang = load(numbers, 0), load(numbers, 1), load(numbers, 2)
            members = 1
            if gang != 0:
                members = load(gang, word)
            sums = row + 8 * n
            for step in range(200):
                for i in range(n * block // members, n * (block + 1) // members):
                    put(row + 8 * i, get(row + 8 * i) + i + step)
                if members > 1:
                    barrier(gang, members)
                total = 0.0
                for i in range(n):
                    total += get(row + 8 * i)
                put(sums + 8 * block, get(sums + 8 * block) + total)
                if members > 1:
                    barrier(gang, members)
            put(sums + 8 * n, members)

        return loop

    return runtime.compiled("pass round", make)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="gangs need our own threads")
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_gang_waits_for_all(pass_round, count, monkeypatch):
    monkeypatch.setenv("TINYGRAD_RNN_THREADS", str(count))
    n = 7
    expected = np.cumsum([sum(i + s for i in range(n)) for s in range(200)]).sum()
    seen = set()
    for _ in range(20):
        memory = np.zeros(2 * n + 1)
        numbers = np.array([runtime.address(memory), n, 0], np.int64)
        runtime.drive_gang(pass_round, numbers, 2)
        members = int(memory[-1])
        seen.add(members)
        assert 1 <= members <= count
        np.testing.assert_array_equal(memory[n : n + members], expected)
        assert not memory[n + members : 2 * n].any()
    assert count == 1 or max(seen) > 1  # nobody may come, but not every time


def test_a_gang_of_one_where_threads_cannot_wait(pass_round, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("TINYGRAD_RNN_THREADS", "3")
    monkeypatch.setattr(threads, "_threads", None)
    assert not threads.gangs()
    memory = np.zeros(15)
    numbers = np.array([runtime.address(memory), 7, 0], np.int64)
    runtime.drive_gang(pass_round, numbers, 2)
    assert memory[-1] == 1


def test_number_of_threads(monkeypatch):
    monkeypatch.setenv("TINYGRAD_RNN_THREADS", "3")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads.count() == 3
    monkeypatch.setenv("TINYGRAD_RNN_THREADS", "0")
    assert threads.count() == 2
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert 1 <= threads.count() <= (os.cpu_count() or 1)
