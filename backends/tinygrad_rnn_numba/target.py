"""What this CPU's vector units are: lanes of a vector and the size of a register tile."""

from __future__ import annotations

import functools
from typing import NamedTuple

import llvmlite.binding as llvm


class Target(NamedTuple):
    """`bytes` of a vector register; `rows` x `vectors` of them accumulate a product, at most
    `registers` are there for that."""

    name: str
    bytes: int
    rows: int
    vectors: int
    registers: int

    @property
    def tallest(self) -> int:
        """Rows of the tallest tile of one panel."""
        return self.registers // self.vectors

    def panels(self, rows: int) -> int:
        """How many panels a low tile takes at once, so that sums enough are under way."""
        return max(1, min(8, (self.registers - 4) // (rows * self.vectors)))

    def lanes(self, itemsize: int) -> int:
        return self.bytes // itemsize


@functools.cache
def target() -> Target:
    """AVX-512 has 32 registers of 64 bytes, AVX2 16 of 32, NEON 32 of 16."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return Target("avx512", 64, 8, 2, 28)
    if features.get("avx2") and features.get("fma"):
        return Target("avx2", 32, 4, 3, 12)
    return Target("neon", 16, 8, 3, 27)


def fingerprint() -> str:
    """Everything about the CPU that generated code depends on."""
    return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
