"""Writing a file so that a crash leaves the old one or the new one, never half of one.

In: pieces of bytes. Out: a file on disk. Knows nothing of what the bytes mean.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path


def atomic_write(path: str | os.PathLike[str], pieces: Iterable[bytes | memoryview]) -> None:
    """Replace the file at `path` by the concatenated `pieces`, or leave everything as it was.

    A temporary file in the *same* directory is written, flushed, synced and renamed; then the
    directory is synced, because on ext4 and XFS a rename may reach the disk before the data.
    Every failure propagates as it is (OSError, KeyboardInterrupt), the temporary file is removed.

    >>> import tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     atomic_write(os.path.join(folder, "a"), [b"one ", b"two"])
    ...     (Path(folder) / "a").read_bytes(), os.listdir(folder)
    (b'one two', ['a'])
    """
    target = Path(path)
    # names have at most 255 bytes, of which a character takes up to four
    temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(8)}.tmp")
    # O_EXCL: never follow or overwrite something that is already there under this name.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(target.parent)


def _sync_directory(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a directory; NTFS journals the rename itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
