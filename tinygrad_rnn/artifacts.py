"""Compiled code on disk, so that a process need not compile what another one has compiled.

In: names that say all that the code depends on (hashes), and the code. An entry holds its own hash
and is believed only if that is right. Entries are written to a temporary file and renamed, so any
number of processes may write the same one. Code is loaded only from a directory that belongs to the
user and that nobody else can write.

TINYGRAD_RNN_CACHE_DIR names another directory; "off" means none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
import warnings
from pathlib import Path

VARIABLE = "TINYGRAD_RNN_CACHE_DIR"
MAGIC = b"tinygrad_rnn code 1\n"
#: Entries (of some 20 KB) that may lie in a directory; the oldest go first.
LIMIT = 4096

_warned = False


class Artifacts:
    """The entries of one kind: a folder in the cache's directory."""

    def __init__(self, kind: str):
        self.kind = kind

    def directory(self) -> Path | None:
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
        folder = folder / self.kind
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

    @staticmethod
    def read(folder: Path, name: str) -> bytes | None:
        """The code of an entry; None if there is none or not all of it is as it was written."""
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

    @staticmethod
    def write(folder: Path, name: str, code: bytes) -> None:
        """Keep an entry; a warning tells if it could not be."""
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


def _sealed(name: str, code: bytes) -> bytes:
    return hashlib.sha256(MAGIC + name.encode() + code).digest()


def _nowhere(reason: str) -> Path | None:
    """No place, and a warning the first time."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"compiled code is not kept on disk: {reason}. Set {VARIABLE} to a directory that "
            'is yours alone, or to "off".',
            RuntimeWarning,
            stacklevel=2,
        )
    return None


def _prune(folder: Path) -> None:
    """Remove the oldest quarter of too many entries; other processes may be at it too."""
    names = [e for e in os.scandir(folder) if e.name.endswith((".o", ".tmp"))]
    if len(names) <= LIMIT:
        return
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted(names, key=lambda e: e.stat().st_mtime)[: len(names) - 3 * LIMIT // 4]:
            os.unlink(entry.path)
