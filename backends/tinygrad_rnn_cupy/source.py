"""Source text of a module: the device code that it needs, and the functions generated for it."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

from tinygrad_rnn.extend import BackendError

#: What every module begins with, in order.
ALWAYS = ("types", "ptx", "mathematics")


@functools.cache
def device_code(name: str) -> str:
    """One file of device code."""
    return (Path(__file__).parent / "cuda" / f"{name}.cuh").read_text(encoding="utf-8")


def module_source(needs: Iterable[str], functions: Iterable[str]) -> str:
    """The text of a module. It includes nothing: what NVRTC has built in is enough."""
    return "\n".join([*map(device_code, (*ALWAYS, *needs)), *functions, ""])


def options(capability: str, supported: Iterable[int]) -> tuple[list[str], bool]:
    """NVRTC's options for a device, and whether they give a binary for it (or else PTX, for a
    device younger than the compiler). Arithmetic is IEEE's: nothing is approximated or flushed."""
    known, own = sorted(supported), int(capability)
    older = [k for k in known if k <= own]
    if not older:
        raise BackendError(
            f"the device is sm_{capability}, and this CUDA compiles for sm_{known[0]} and younger. "
            "Install an older one: tinygrad-rnn[cuda12] instead of [cuda13]."
        )
    exact = own in known
    arch = f"sm_{capability}" if exact else f"compute_{older[-1]}"
    return [
        f"-arch={arch}", "-std=c++17", "-ftz=false", "-prec-div=true", "-prec-sqrt=true",
        "-fmad=true",
    ], exact  # fmt: skip
