"""Streams, events, graphs and the device itself. Work is done at once, or recorded in a capture."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

from . import memory


class CUDARuntimeError(RuntimeError):
    pass


class Waited(AssertionError):
    """The program waited for the device where it should not."""


class _State:
    may_wait = False
    captures = 0
    attributes: ClassVar[dict[str, int]] = {
        "MultiProcessorCount": 12,
        "MaxSharedMemoryPerBlockOptin": 232448,
        "CooperativeLaunch": 1,
    }


class _OfThread(threading.local):
    """What CUDA knows of a thread; None: the default stream, no capture."""

    stream: Any = None
    recording: list[Callable[[], None]] | None = None
    device = 0


here = _OfThread()
state = _State()


def wait(what: str) -> None:
    if not state.may_wait:
        raise Waited(f"{what} waits for the device")


@contextlib.contextmanager
def allowed_to_wait() -> Iterator[None]:
    before, state.may_wait = state.may_wait, True
    try:
        yield
    finally:
        state.may_wait = before


def enqueue(work: Callable[[], None]) -> None:
    """Do something on the current stream: now, or at every launch of the graph being captured."""
    if here.recording is None:
        work()
    else:
        here.recording.append(work)


_numbers = itertools.count(1)


class Stream:
    def __init__(self, null: bool = False, non_blocking: bool = False):
        self.ptr = 0 if null else next(_numbers)
        self.before: list[Any] = []
        self.waited: list[Event] = []

    def __enter__(self) -> Stream:
        self.before.append(here.stream)
        here.stream = self
        return self

    def __exit__(self, *_: Any) -> None:
        here.stream = self.before.pop()

    def begin_capture(self) -> None:
        assert self.ptr, "cannot capture on the default stream"
        assert here.recording is None and here.stream is self
        here.recording = []

    def end_capture(self) -> Graph:
        works, here.recording = here.recording, None
        state.captures += 1
        return Graph(works)

    def synchronize(self) -> None:
        wait("Stream.synchronize")

    def wait_event(self, event: Event) -> None:
        assert event.recorded
        self.waited.append(event)


class Graph:
    def __init__(self, works: Any):
        self.works = works

    def launch(self) -> None:
        for work in self.works:
            enqueue(work)


class Event:
    def __init__(self, block: bool = False, disable_timing: bool = False):
        self.recorded = False

    def record(self, stream: Any = None) -> None:
        self.recorded = True

    def synchronize(self) -> None:
        wait("Event.synchronize")


class Device:
    cublas_handle = 7
    compute_capability = "90"

    def __init__(self, device: int | None = None):
        self.id = here.device if device is None else device

    def use(self) -> None:
        here.device = self.id

    def __enter__(self) -> Device:
        self.before = here.device
        self.use()
        return self

    def __exit__(self, *_: Any) -> None:
        here.device = self.before

    @property
    def attributes(self) -> dict[str, int]:
        return state.attributes

    def synchronize(self) -> None:
        wait("Device.synchronize")


def get_current_stream() -> Stream:
    return here.stream or NULL


def is_available() -> bool:
    return True


def _memory_info() -> tuple[int, int]:
    pool = memory.get_default_memory_pool()
    return pool.limit - pool.total_bytes(), pool.limit


NULL = Stream(null=True)
runtime = SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError,
    CUDA_R_16F=2,
    CUDA_R_16BF=14,
    CUDA_R_32F=0,
    CUDA_R_64F=1,
    memGetInfo=_memory_info,
    getDeviceCount=lambda: 2,
    getDeviceProperties=lambda i: {"name": b"fake %d" % i},
)
