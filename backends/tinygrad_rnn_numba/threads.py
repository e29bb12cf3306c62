"""Threads that run a compiled loop on several blocks of rows.

In: the address of a function (numbers, block), and how many blocks. The threads belong to us: they
never hold Python's lock, are asleep when there is nothing to do, are made again after a fork, and
two Python threads may both start loops (the second then runs its blocks itself, in order). Which
thread runs a block decides nothing about the result.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from . import objects
from .assembly import BARRIER, LOOKS, PATIENCE, POOL, SEQUENCE, SPIN

_I64 = ctypes.c_int64


class _Threads:
    """The helpers of this process. POSIX semaphores where Linux has them, else Python's pool."""

    def __init__(self) -> None:
        self.busy = threading.Lock()
        self.helpers = 0
        self.native = sys.platform.startswith("linux")
        pause = "yield" if platform.machine() in ("aarch64", "arm64") else "pause"
        pool = POOL.replace("PAUSE", pause) if self.native else ""
        for name, looks in (("SPIN", SPIN), ("PATIENCE", PATIENCE), ("LOOKS", LOOKS)):
            pool = pool.replace(name, str(looks))
        engine = objects.assemble(SEQUENCE + pool)
        self.sequence = ctypes.CFUNCTYPE(None, _I64, _I64, _I64)(
            engine.get_function_address("sequence")
        )
        if self.native:
            self.library = ctypes.CDLL(None)
            self.start = ctypes.c_void_p(engine.get_function_address("helper"))
            self.launch = ctypes.CFUNCTYPE(None, _I64, _I64, _I64, _I64, _I64)(
                engine.get_function_address("launch")
            )
            self.gang = ctypes.CFUNCTYPE(None, _I64, _I64, _I64, _I64)(
                engine.get_function_address("gang")
            )
            # helpers look at it as long as the process lives
            self.memory = ctypes.create_string_buffer(512)
            _immortal.append(self.memory)
            self.state = (ctypes.addressof(self.memory) + 63) & ~63
            for at in (64, 128):
                if self.library.sem_init(ctypes.c_void_p(self.state + at), 0, 0):
                    raise OSError("sem_init failed")
            _word(self.state + BARRIER).value = engine.get_function_address("barrier")

    def run(
        self, function: int, numbers: int, blocks: int, helpers: int, gang: int | None = None
    ) -> None:
        if helpers < 1 or not self.busy.acquire(blocking=False):
            self.sequence(function, numbers, blocks)
            return
        try:
            if not self.native:
                self._in_executor(function, numbers, blocks, helpers)
                return
            while self.helpers < helpers and self._another():
                pass
            helpers = min(helpers, self.helpers)
            if helpers and gang is not None:
                _word(numbers + 8 * gang).value = self.state
                self.gang(self.state, function, numbers, helpers)
            elif helpers:
                self.launch(self.state, function, numbers, blocks, helpers)
            else:
                self.sequence(function, numbers, blocks)
        finally:
            self.busy.release()

    def _another(self) -> bool:
        """Start a thread that sleeps until there is work; False if the system gives none."""
        thread = ctypes.c_uint64()
        state = ctypes.c_void_p(self.state)
        if self.library.pthread_create(ctypes.byref(thread), None, self.start, state):
            return False
        self.library.pthread_detach(thread)
        self.helpers += 1
        return True

    def _in_executor(self, function: int, numbers: int, blocks: int, helpers: int) -> None:
        if not self.helpers:
            self.executor = ThreadPoolExecutor(os.cpu_count(), "tinygrad_rnn")
            self.helpers = 1
        call = ctypes.CFUNCTYPE(None, _I64, _I64)(function)
        tasks = [self.executor.submit(call, numbers, k) for k in range(1, blocks)]
        call(numbers, 0)
        for task in tasks:
            task.result()


#: Memory that threads may read while the interpreter ends; never freed.
_immortal: list[Any] = []
_threads: _Threads | None = None
_making = threading.Lock()


def _forget() -> None:
    """A fork takes no threads along, and may have happened while one held a lock."""
    global _threads, _making
    _threads, _making = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def drive(function: int, numbers: int, blocks: int) -> None:
    """Run a compiled loop on blocks 0 … blocks - 1."""
    _pool().run(function, numbers, blocks, min(blocks, count()) - 1 if blocks > 1 else 0)


def drive_gang(function: int, numbers: int, gang: int) -> None:
    """Run a compiled loop once, on threads that wait for each other between its parts.

    Word `gang` of the numbers becomes the address of what the threads share; it stays as it is (0)
    where only one thread can be had, which then runs the loop alone.
    """
    _pool().run(function, numbers, 1, count() - 1, gang)


def gangs() -> bool:
    """Whether threads can wait for each other here."""
    return count() > 1 and _pool().native


def _pool() -> _Threads:
    global _threads
    if _threads is None:
        with _making:
            if _threads is None:
                _threads = _Threads()
    return _threads


def _word(at: int) -> Any:
    return _I64.from_address(at)


def count() -> int:
    """How many blocks may run at once: TINYGRAD_RNN_THREADS, OMP_NUM_THREADS or our CPUs."""
    for variable in ("TINYGRAD_RNN_THREADS", "OMP_NUM_THREADS"):
        given = os.environ.get(variable, "")
        if given.isdigit() and int(given):
            return int(given)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
