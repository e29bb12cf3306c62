"""Compiled loops on disk: object code named by the SHA-256 of everything that it depends on.

That is the loop's structure, this package's source, the versions of what compiles, the CPU.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tinygrad_rnn.artifacts import Artifacts

from . import objects
from .target import fingerprint

entries = Artifacts("numba")


def key(structure: str) -> str:
    """The name of a structure's entry on this machine with this software."""
    return hashlib.sha256("\0".join((structure, _surroundings())).encode()).hexdigest()


@functools.cache
def _surroundings() -> str:
    from importlib.metadata import version  # slow to import

    source = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        source.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    # this project's version is in its source, which may lie there without being installed
    versions = [f"{name} {version(name)}" for name in ("numba", "llvmlite")]
    return "\n".join([*versions, sys.version, sys.platform, fingerprint(), source.hexdigest()])


def address(structure: str, make: Callable[[], Callable[[int, int], None]]) -> int:
    """The address of the compiled function of a structure; `make` gives it in Python."""
    name = key(structure)
    symbol = f"loop_{name}"
    folder = entries.directory()
    code = entries.read(folder, name) if folder else None
    if code is None:
        with _telling(folder):
            code = objects.emit(make(), symbol)
        if folder:
            entries.write(folder, name, code)
    return objects.load(code, symbol)


@contextlib.contextmanager
def _telling(folder: Path | None) -> Iterator[None]:
    """A line on a terminal while a compilation takes longer than a second."""
    if not sys.stderr.isatty():
        yield
        return
    where = f", kept in {folder}" if folder else ""
    line = f"tinygrad_rnn: compiling a loop for this CPU (once{where}) …"
    timer = threading.Timer(1.0, lambda: print(line, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
