"""What will run on a GPU runs here as far as it can: the script, the bench on the fake device."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tinygrad_rnn as tg

from . import fake

ROOT = Path(__file__).resolve().parents[2]


def test_the_script_is_rehearsed(tmp_path: Path) -> None:
    report = tmp_path / "report.txt"
    env = {**os.environ, "PYTHON": sys.executable, "REHEARSE": "1"}
    for sections in (["gpu"], ["sanitizer"]):  # the second run continues the report of the first
        done = subprocess.run(
            ["bash", str(ROOT / "tests/gpu/run.sh"), str(report), *sections],
            capture_output=True, text=True, env=env, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    text = report.read_text()
    assert text.count("A REHEARSAL without a GPU") == 2
    assert "test_persistent_kernels_under_a_sanitizer" in text
    assert "RESULT: 0 section(s) failed" in text


def test_without_a_gpu_the_script_confirms_nothing(tmp_path: Path) -> None:
    try:
        tg.get_backend("cupy")
    except tg.errors.BackendError:
        pass
    else:
        pytest.skip("there is a GPU")
    report = tmp_path / "report.txt"
    env = {k: v for k, v in os.environ.items() if k != "REHEARSE"} | {"PYTHON": sys.executable}
    done = subprocess.run(
        ["bash", str(ROOT / "tests/gpu/run.sh"), str(report)],
        capture_output=True, text=True, env=env, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout
    assert "RESULT: no usable GPU or no CuPy; nothing was confirmed" in report.read_text()


def test_the_bench_measures_the_backend(backend: Any, monkeypatch: Any) -> None:
    """Our side on the fake device, PyTorch's on the CPU: the outputs are compared."""
    pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("bench_gpu", ROOT / "tests/bench/gpu.py")
    assert spec is not None and spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bench_gpu", bench)
    spec.loader.exec_module(bench)
    with fake.allowed_to_wait():
        for row in (
            bench.Row("lstm", "train", "tf32", 4, 2, 3),
            bench.Row("gru", "forward", "float16", 4, 2, 3),
            bench.Row("lstm", "train", "bfloat16", 4, 2, 3),
            bench.Row("lstm", "penalty", "float32", 4, 2, 3),
            bench.Row("mgu", "train", "float32", 4, 2, 3),
        ):
            found = bench.measure(row, backend, "cpu", 0.0)
            assert found["ratio"] > 0 and found["family"] in bench.GOALS
        monkeypatch.setattr(bench, "ROADS", ((5,), (2,), (False,)))
        roads = list(bench.both_roads(backend, 3))
    backend.settings.loops = "graph"
    assert [r["loops"] for r in roads] == ["graph", "persistent"]
    assert roads[0]["roads"][0].startswith("CUDA graph")
    assert all(text.startswith("persistent") for text in roads[1]["roads"])
    assert len(list(bench.rows(1024, quick=False))) > 300
