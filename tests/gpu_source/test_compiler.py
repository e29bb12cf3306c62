"""Compiled kernels are kept, in memory and on disk; what does not compile says so."""

from __future__ import annotations

from typing import Any

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import artifacts, nn
from tinygrad_rnn.errors import BackendError

from . import fake

SOURCE = 'extern "C" __global__ void nothing(i64 *const a) { a[0] = 1; }'


@pytest.fixture
def compiler(backend: Any, monkeypatch: Any, tmp_path: Any) -> Any:
    found = fake.submodule(backend, "compiler")
    monkeypatch.setattr(found, "_modules", {})
    monkeypatch.setenv(artifacts.VARIABLE, str(tmp_path))
    return found


def source(backend: Any) -> str:
    text: str = fake.submodule(backend, "source").module_source([], [SOURCE])
    return text


def test_kept(backend: Any, compiler: Any, monkeypatch: Any, tmp_path: Any) -> None:
    before = len(fake.modules.sources)
    one = compiler.module(source(backend))
    assert compiler.module(source(backend)) is one
    assert len(fake.modules.sources) == before + 1
    # another process finds it on disk
    monkeypatch.setattr(compiler, "_modules", {})
    two = compiler.module(source(backend))
    assert two is not one and len(fake.modules.sources) == before + 1
    (entry,) = (tmp_path / "cuda").iterdir()
    # another version of the compiler does not
    monkeypatch.setattr(compiler, "_modules", {})
    monkeypatch.setattr(compiler.nvrtc, "getVersion", lambda: (13, 1))
    compiler.module(source(backend))
    assert len(fake.modules.sources) == before + 2
    # nor does a damaged entry count
    entry.write_bytes(entry.read_bytes()[:-1])
    monkeypatch.setattr(compiler, "_modules", {})
    monkeypatch.setattr(compiler.nvrtc, "getVersion", lambda: (13, 0))
    compiler.module(source(backend))
    assert len(fake.modules.sources) == before + 3


def test_a_bug_in_generated_code_is_named(compiler: Any, monkeypatch: Any) -> None:
    def refuse(program: int, options: Any) -> None:
        raise compiler.nvrtc.NVRTCError("NVRTC_ERROR_COMPILATION")

    monkeypatch.setattr(compiler.nvrtc, "compileProgram", refuse)
    monkeypatch.setattr(compiler.nvrtc, "getProgramLog", lambda program: "line 7: no such thing")
    with pytest.raises(BackendError, match=r"(?s)did not compile.*line 7: no such thing.*nothing"):
        compiler.module(SOURCE)


def test_two_layers_of_one_structure_share_a_module(backend: Any, compiler: Any) -> None:
    with tg.use_backend(backend), tg.no_grad():
        for hidden in (11, 13):  # sizes of no other test, whose loops are compiled already
            nn.Recurrent(nn.GRUCell(2, hidden, rng=0)).to(backend)(tg.ones((3, 7, 2)))
            loops = [s for s, _ in compiler._modules if "setup(" in s]
            assert len(loops) == 1
