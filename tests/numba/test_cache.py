"""The cache of compiled loops: what is hit, what is rebuilt, what is refused."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from tinygrad_rnn_numba import cache, objects, runtime, threads

from tinygrad_rnn import artifacts

STEP = """
import sys
import numpy as np
import tinygrad_rnn as tg
tg.use_backend("numba")
layer = tg.nn.LSTM(3, 5, rng=0)
x = tg.tensor(np.linspace(-1, 1, 4 * 6 * 3, dtype="f4").reshape(4, 6, 3))
y, _ = layer(x)
(y * y).sum().backward()
print(repr([y.sum().item(), *[p.grad.sum().item() for p in layer.parameters()]]))
print("numba" in sys.modules, file=sys.stderr)
"""


def process(folder: Path | str) -> subprocess.Popen:
    env = {**os.environ, artifacts.VARIABLE: str(folder), "PYTHONWARNINGS": "error"}
    return subprocess.Popen(
        [sys.executable, "-c", STEP], env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def outcome(p: subprocess.Popen) -> tuple[str, bool]:
    """What it printed, and whether it needed Numba."""
    out, err = p.communicate(timeout=120)
    assert p.returncode == 0, err
    assert err.strip() in ("True", "False"), err
    return out, err.strip() == "True"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(artifacts.VARIABLE, str(tmp_path))
    monkeypatch.setattr(artifacts, "_warned", False)
    return tmp_path / "numba"


def make():
    """A loop that writes block + 40 to its place of an array."""
    from tinygrad_rnn_numba import intrinsics

    put = intrinsics.put(64)

    def loop(numbers, block):
        put(numbers + 8 * block, block + 40.0)

    return loop


def works(address: int) -> bool:
    found = np.zeros(5)
    threads.drive(address, runtime.address(found), 5)
    return found.tolist() == [40.0, 41.0, 42.0, 43.0, 44.0]


def never():
    raise AssertionError("compiled although it was cached")


def test_processes_share_entries_and_write_them_at_once(tmp_path):
    first = [outcome(p) for p in [process(tmp_path) for _ in range(3)]]
    again, compiled = outcome(process(tmp_path))
    # the second time Numba isn't even imported
    assert not compiled and {out for out, _ in first} == {again}
    folder = tmp_path / "numba"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {p.suffix for p in folder.iterdir()} == {".o"}


def test_hit(folder):
    assert works(cache.address("a", make))
    assert works(cache.address("a", never))
    with pytest.raises(AssertionError, match="although"):
        cache.address("b", never)


DAMAGE = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[:-1],
    "longer": lambda data: data + b"\0",
    "a bit": lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
    "no header": lambda data: data[len(artifacts.MAGIC) :],
    "text": lambda data: artifacts.MAGIC * 50,
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_entries_are_rebuilt(folder, how):
    cache.address("a", make)
    (entry,) = folder.iterdir()
    good = entry.read_bytes()
    entry.write_bytes(DAMAGE[how](good))
    assert works(cache.address("a", make))
    assert works(cache.address("a", never))


def test_an_entry_under_another_name_is_not_believed(folder):
    cache.address("a", make)
    (entry,) = folder.iterdir()
    entry.rename(folder / f"{cache.key('b')}.o")
    with pytest.raises(AssertionError, match="although"):
        cache.address("b", never)


def test_other_surroundings_are_other_entries(folder, monkeypatch):
    cache.address("a", make)
    monkeypatch.setattr(cache, "_surroundings", lambda: "another CPU, another version")
    with pytest.raises(AssertionError, match="although"):
        cache.address("a", never)


def test_key_depends_on_cpu_versions_and_source(monkeypatch, tmp_path):
    keys = {cache.key("a"), cache.key("b")}
    cache._surroundings.cache_clear()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(cache, "fingerprint", lambda: "a CPU")
            keys.add(cache.key("a"))
        cache._surroundings.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr("importlib.metadata.version", lambda name: "99")
            keys.add(cache.key("a"))
        cache._surroundings.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(cache, "__file__", str(tmp_path / "cache.py"))
            keys.add(cache.key("a"))
    finally:
        cache._surroundings.cache_clear()
    assert len(keys) == 5


def test_off(folder, tmp_path, monkeypatch):
    monkeypatch.setenv(artifacts.VARIABLE, "off")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert works(cache.address("a", make))
    assert not folder.exists() and not any(Path().iterdir())  # nor a directory of that name


def test_default_place(tmp_path, monkeypatch):
    monkeypatch.delenv(artifacts.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.entries.directory() == tmp_path / "tinygrad_rnn" / "numba"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.entries.directory() == tmp_path / ".cache" / "tinygrad_rnn" / "numba"


def test_a_place_that_cannot_be_written_is_told_of_once(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts, "_warned", False)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(artifacts.VARIABLE, str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match="not kept on disk") as told:
        assert works(cache.address("a", make))
        assert works(cache.address("b", make))
    assert len(told) == 1


def test_a_full_disk_is_told_of(folder, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifacts.os, "replace", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        assert works(cache.address("a", make))
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs POSIX permissions")
def test_places_of_others_are_refused(folder, monkeypatch):
    folder.mkdir(mode=0o700)
    folder.chmod(0o777)
    with pytest.warns(RuntimeWarning, match="others can write"):
        assert cache.entries.directory() is None
    folder.chmod(0o700)
    assert works(cache.address("a", make))
    monkeypatch.setattr(artifacts, "_warned", False)
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    with pytest.warns(RuntimeWarning, match="another user"):
        assert cache.entries.directory() is None
    # and an entry of another user is not read
    assert cache.entries.read(folder, cache.key("a")) is None


def test_links_are_not_followed(folder, tmp_path):
    cache.address("a", make)
    (entry,) = folder.iterdir()
    entry.rename(tmp_path / "elsewhere")
    entry.symlink_to(tmp_path / "elsewhere")
    assert cache.entries.read(folder, entry.stem) is None


def test_the_oldest_entries_go(folder, monkeypatch):
    monkeypatch.setattr(artifacts, "LIMIT", 8)
    folder.mkdir(mode=0o700)
    for i in range(12):
        (folder / f"{i}.o").write_bytes(b"")
        os.utime(folder / f"{i}.o", (i, i))
    cache.address("a", make)
    left = {p.stem for p in folder.iterdir()}
    assert left == {cache.key("a"), *[str(i) for i in range(7, 12)]}


def test_equal_names_do_not_collide(folder):
    """Two loops of one name and of different code, both loaded, from memory and from disk."""

    def other():
        from tinygrad_rnn_numba import intrinsics

        put = intrinsics.put(64)

        def loop(numbers, block):
            put(numbers + 8 * block, 1.0)

        loop.__qualname__ = make().__qualname__
        return loop

    for a, b in ((make, other), (never, never)):
        one, two = cache.address("one", a), cache.address("two", b)
        found = np.zeros(5)
        threads.drive(two, runtime.address(found), 5)
        assert found.tolist() == [1.0] * 5
        assert works(one)


def test_a_line_on_a_terminal(folder, monkeypatch, capsys):
    class Terminal:
        def __init__(self):
            self.text = ""

        def isatty(self):
            return True

        def write(self, text):
            self.text += text

        def flush(self):
            pass

    def slow(function, name, emit=objects.emit):
        import time

        time.sleep(1.2)
        return emit(function, name)

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    cache.address("quick", make)
    assert screen.text == ""
    monkeypatch.setattr(objects, "emit", slow)
    cache.address("slow", make)
    assert "compiling" in screen.text and screen.text.count("\n") == 1


def test_no_warnings_in_passing(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert works(cache.address("a", make))
