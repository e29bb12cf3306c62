"""Which device is used, by number: CUDA has a choice for every thread, a user one for all."""

from __future__ import annotations

import os
import threading

import cupy

from tinygrad_rnn.errors import ArgumentError

VARIABLE = "TINYGRAD_RNN_CUDA_DEVICE"


class _Thread(threading.local):
    """The choice that this thread has told CUDA."""

    told: int | None = None


_thread = _Thread()
_chosen: int | None = None


def choose(number: int) -> None:
    """Use a device from now on, in all threads."""
    global _chosen
    count = cupy.cuda.runtime.getDeviceCount()
    if number not in range(count):
        names = [cupy.cuda.runtime.getDeviceProperties(k)["name"] for k in range(count)]
        there = ", ".join(f"{k}: {name.decode()}" for k, name in enumerate(names))
        raise ArgumentError(f"there is no CUDA device {number!r}; there are {there}.")
    _chosen = number
    follow()


def choose_by_environment() -> None:
    """Use the device that the environment names, if it names one."""
    given = os.environ.get(VARIABLE)
    if given:
        if not given.isdecimal():
            raise ArgumentError(f"{VARIABLE} is {given!r}, expected the number of a CUDA device.")
        choose(int(given))


def follow() -> None:
    """Let this thread use the device that was chosen, perhaps by another one. A device that the
    user has entered since (`with cupy.cuda.Device(1):`) stays."""
    if _thread.told != _chosen and _chosen is not None:
        cupy.cuda.Device(_chosen).use()
        _thread.told = _chosen


def current() -> int:
    """The number of the device in use."""
    follow()
    return int(cupy.cuda.Device().id)
