import os
import secrets

import pytest

from tinygrad_rnn.storage.atomic import atomic_write

OLD, NEW = b"old" * 1000, b"new" * 70_000


class Crash(BaseException):
    """Not an Exception: like KeyboardInterrupt, it must not be swallowed."""


def pieces(error=None):
    yield NEW[:100_000]
    if error is not None:
        raise error
    yield memoryview(NEW[100_000:])


def failing(error, calls=1):
    """A stand-in that works until call number `calls`."""

    def make(real):
        count = [0]

        def call(*args, **kwargs):
            count[0] += 1
            if count[0] == calls:
                raise error
            return real(*args, **kwargs)

        return call

    return make


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(OLD)
    return path


def test_replaces(path):
    atomic_write(path, pieces())
    assert path.read_bytes() == NEW and os.listdir(path.parent) == ["file"]
    atomic_write(str(path.with_name("other")), [])
    assert path.with_name("other").read_bytes() == b""


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Crash()])
@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_a_failure_leaves_the_old_file_and_nothing_else(path, monkeypatch, function, error):
    monkeypatch.setattr(os, function, failing(error)(getattr(os, function)))
    with pytest.raises(type(error)):
        atomic_write(path, pieces())
    assert path.read_bytes() == OLD and os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Crash()])
def test_a_failure_while_writing(path, error):
    with pytest.raises(type(error)):
        atomic_write(path, pieces(error))
    assert path.read_bytes() == OLD and os.listdir(path.parent) == ["file"]


def test_a_failed_sync_of_the_directory_is_told_and_the_file_is_complete(path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(OSError(5, "I/O"), calls=2)(os.fsync))
    with pytest.raises(OSError, match="I/O"):
        atomic_write(path, pieces())
    assert path.read_bytes() == NEW and os.listdir(path.parent) == ["file"]


def test_the_order_of_events(path, monkeypatch):
    events = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, f=real: (events.append(n), f(*a))[1])
    atomic_write(path, pieces())
    assert events == ["fsync", "replace", "fsync"]  # data, name, directory


def test_a_missing_directory_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "absent" / "file", [b"x"])


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        atomic_write(tmp_path / "file", [b"x"])
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["n" * 255, "\N{HIRAGANA LETTER A}" * 85], ids=["ascii", "wide"])
def test_any_name_that_the_disk_takes(tmp_path, name):
    """The name beside it, under which the file is written at first, is not longer."""
    atomic_write(tmp_path / name, pieces())
    assert (tmp_path / name).read_bytes() == NEW and os.listdir(tmp_path) == [name]


def test_what_is_there_under_the_temporary_name_is_left_alone(path, monkeypatch):
    monkeypatch.setattr(secrets, "token_hex", lambda n: "0" * 2 * n)
    temporary = path.with_name(f".file.{'0' * 16}.tmp")
    temporary.write_bytes(b"another's")
    with pytest.raises(FileExistsError):
        atomic_write(path, pieces())
    assert path.read_bytes() == OLD and temporary.read_bytes() == b"another's"
