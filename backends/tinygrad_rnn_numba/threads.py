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

#: Looks at a semaphore (some 30 ns each) before a thread goes to sleep.
SPIN = 8000

# State: words 0-3 are the function, its argument, the number of blocks and the next block; the
# semaphores "start" and "done" lie at bytes 64 and 128. A helper takes one token of "start" per
# launch and gives one of "done", so nobody touches the state between two launches. A token that no
# helper has taken when all blocks are taken is taken back: on a busy machine nobody waits for a
# thread that has not begun.
_SEQUENCE = """
define void @sequence(i64 %f, i64 %numbers, i64 %blocks) {
entry:
  %function = inttoptr i64 %f to ptr
  br label %loop
loop:
  %k = phi i64 [0, %entry], [%next, %loop]
  call void %function(i64 %numbers, i64 %k)
  %next = add i64 %k, 1
  %more = icmp slt i64 %next, %blocks
  br i1 %more, label %loop, label %end
end:
  ret void
}
"""
_POOL = """
declare i32 @sem_wait(ptr)
declare i32 @sem_trywait(ptr)
declare i32 @sem_post(ptr)

define internal void @take(ptr %semaphore) {
entry:
  br label %spin
spin:
  %i = phi i64 [0, %entry], [%i2, %again]
  %r = call i32 @sem_trywait(ptr %semaphore)
  %got = icmp eq i32 %r, 0
  br i1 %got, label %end, label %again
again:
  call void asm sideeffect "PAUSE", ""()
  %i2 = add i64 %i, 1
  %on = icmp slt i64 %i2, SPIN
  br i1 %on, label %spin, label %sleep
sleep:
  %s = call i32 @sem_wait(ptr %semaphore)
  %awake = icmp eq i32 %s, 0
  br i1 %awake, label %end, label %sleep
end:
  ret void
}

define internal void @work_off(ptr %state) {
entry:
  %f = load i64, ptr %state
  %function = inttoptr i64 %f to ptr
  %p1 = getelementptr i64, ptr %state, i64 1
  %numbers = load i64, ptr %p1
  %p2 = getelementptr i64, ptr %state, i64 2
  %blocks = load i64, ptr %p2
  %p3 = getelementptr i64, ptr %state, i64 3
  br label %next
next:
  %k = atomicrmw add ptr %p3, i64 1 acq_rel
  %more = icmp slt i64 %k, %blocks
  br i1 %more, label %run, label %end
run:
  call void %function(i64 %numbers, i64 %k)
  br label %next
end:
  ret void
}

define ptr @helper(ptr %state) {
entry:
  %start = getelementptr i8, ptr %state, i64 64
  %done = getelementptr i8, ptr %state, i64 128
  br label %loop
loop:
  call void @take(ptr %start)
  call void @work_off(ptr %state)
  %r = call i32 @sem_post(ptr %done)
  br label %loop
}

define void @launch(ptr %state, i64 %f, i64 %numbers, i64 %blocks, i64 %helpers) {
entry:
  %start = getelementptr i8, ptr %state, i64 64
  %done = getelementptr i8, ptr %state, i64 128
  store i64 %f, ptr %state
  %p1 = getelementptr i64, ptr %state, i64 1
  store i64 %numbers, ptr %p1
  %p2 = getelementptr i64, ptr %state, i64 2
  store i64 %blocks, ptr %p2
  %p3 = getelementptr i64, ptr %state, i64 3
  store atomic i64 0, ptr %p3 release, align 8
  br label %post
post:
  %i = phi i64 [0, %entry], [%i2, %post]
  %r = call i32 @sem_post(ptr %start)
  %i2 = add i64 %i, 1
  %on = icmp slt i64 %i2, %helpers
  br i1 %on, label %post, label %own
own:
  call void @work_off(ptr %state)
  br label %wait
wait:
  %j = phi i64 [0, %own], [%j2, %gone]
  %t = call i32 @sem_trywait(ptr %start)
  %asleep = icmp eq i32 %t, 0
  br i1 %asleep, label %gone, label %finish
finish:
  call void @take(ptr %done)
  br label %gone
gone:
  %j2 = add i64 %j, 1
  %rest = icmp slt i64 %j2, %helpers
  br i1 %rest, label %wait, label %end
end:
  ret void
}
"""
_I64 = ctypes.c_int64


class _Threads:
    """The helpers of this process. POSIX semaphores where Linux has them, else Python's pool."""

    def __init__(self) -> None:
        self.busy = threading.Lock()
        self.helpers = 0
        self.native = sys.platform.startswith("linux")
        pause = "yield" if platform.machine() in ("aarch64", "arm64") else "pause"
        pool = _POOL.replace("PAUSE", pause).replace("SPIN", str(SPIN)) if self.native else ""
        engine = objects.assemble(_SEQUENCE + pool)
        self.sequence = ctypes.CFUNCTYPE(None, _I64, _I64, _I64)(
            engine.get_function_address("sequence")
        )
        if self.native:
            self.library = ctypes.CDLL(None)
            self.start = ctypes.c_void_p(engine.get_function_address("helper"))
            self.launch = ctypes.CFUNCTYPE(None, _I64, _I64, _I64, _I64, _I64)(
                engine.get_function_address("launch")
            )
            # helpers look at it as long as the process lives
            self.memory = ctypes.create_string_buffer(512)
            _immortal.append(self.memory)
            self.state = (ctypes.addressof(self.memory) + 63) & ~63
            for at in (64, 128):
                if self.library.sem_init(ctypes.c_void_p(self.state + at), 0, 0):
                    raise OSError("sem_init failed")

    def run(self, function: int, numbers: int, blocks: int, helpers: int) -> None:
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
            if helpers:
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
    global _threads
    if _threads is None:
        with _making:
            if _threads is None:
                _threads = _Threads()
    _threads.run(function, numbers, blocks, min(blocks, count()) - 1)


def count() -> int:
    """How many blocks may run at once: TINYGRAD_RNN_THREADS, OMP_NUM_THREADS or our CPUs."""
    for variable in ("TINYGRAD_RNN_THREADS", "OMP_NUM_THREADS"):
        given = os.environ.get(variable, "")
        if given.isdigit() and int(given):
            return int(given)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
