"""Compiled loops on disk, so that a process need not compile what another one has compiled.

An entry is a file of object code named by the SHA-256 of everything that it depends on: the loop's
structure, this package's source, the versions of what compiles, the CPU. It holds its own hash and
is believed only if that is right. Entries are written to a temporary file and renamed, so any
number of processes may write the same one. Code is loaded only from a directory that belongs to the
user and that nobody else can write.

TINYGRAD_RNN_CACHE_DIR names another directory; "off" means none.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from . import objects
from .target import fingerprint

VARIABLE = "TINYGRAD_RNN_CACHE_DIR"
MAGIC = b"tinygrad_rnn loop 1\n"
#: Entries (of some 20 KB) that may lie in the directory; the oldest go first.
LIMIT = 4096

_warned = False


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
    folder = directory()
    code = _read(folder, name) if folder else None
    if code is None:
        with _telling(folder):
            code = objects.emit(make(), symbol)
        if folder:
            _write(folder, name, code)
    return objects.load(code, symbol)


# --- the directory -------------------------------------------------------------------------------


def directory() -> Path | None:
    """Where entries lie; None if there is no place, of which one warning tells."""
    given = os.environ.get(VARIABLE)
    if given == "off":
        return None
    if given:
        folder = Path(given)
    else:
        try:
            base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        except RuntimeError:  # no home directory
            return _nowhere("there is no home directory")
        folder = Path(base) / "tinygrad_rnn"
    folder = folder / "numba"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
    except OSError as reason:
        return _nowhere(f"{folder}: {reason.strerror}")
    if hasattr(os, "getuid"):
        if about.st_uid != os.getuid():
            return _nowhere(f"{folder} belongs to another user")
        if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return _nowhere(f"others can write to {folder}")
    return folder


def _nowhere(reason: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"compiled loops are not kept on disk: {reason}. Set {VARIABLE} to a directory that "
            'is yours alone, or to "off".',
            RuntimeWarning,
            stacklevel=2,
        )


# --- entries -------------------------------------------------------------------------------------


def _sealed(name: str, code: bytes) -> bytes:
    return hashlib.sha256(MAGIC + name.encode() + code).digest()


def _read(folder: Path, name: str) -> bytes | None:
    """The object code of an entry; None if there is none or not all of it is as it was written."""
    try:
        fd = os.open(folder / f"{name}.o", os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with open(fd, "rb") as file:
            if hasattr(os, "getuid") and os.fstat(fd).st_uid != os.getuid():
                return None
            data = file.read()
    except OSError:
        return None
    head = len(MAGIC)
    code = data[head + 32 :]
    if data[:head] != MAGIC or data[head : head + 32] != _sealed(name, code):
        return None
    return code


def _write(folder: Path, name: str, code: bytes) -> None:
    temporary = None
    try:
        fd, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=folder)
        with open(fd, "wb") as file:
            file.write(MAGIC + _sealed(name, code) + code)
        os.replace(temporary, folder / f"{name}.o")
        _prune(folder)
    except OSError as reason:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        _nowhere(f"{folder}: {reason.strerror}")


def _prune(folder: Path) -> None:
    """Remove the oldest quarter of too many entries; other processes may be at it too."""
    names = [e for e in os.scandir(folder) if e.name.endswith((".o", ".tmp"))]
    if len(names) <= LIMIT:
        return
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted(names, key=lambda e: e.stat().st_mtime)[: len(names) - 3 * LIMIT // 4]:
            os.unlink(entry.path)


# --- telling -------------------------------------------------------------------------------------


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
