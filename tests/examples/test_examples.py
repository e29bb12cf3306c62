"""The examples do what they say: they learn, they resume exactly, they explain what is wrong."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import tinygrad_rnn as tg

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def keep_the_backend() -> object:
    with tg.use_backend(tg.get_backend()) as backend:
        yield backend


char_lm, dinner = load("char_lm"), load("dinner")


def learn(out: Path, *arguments: str) -> int:
    """Train the smallest network on the NumPy backend, which gives the same bits everywhere."""
    return char_lm.main(["--quick", "--backend", "numpy", "--out", str(out), *arguments])


def parameters(out: Path) -> dict[str, np.ndarray]:
    tensors = tg.load_tensors(out / "checkpoint.safetensors")
    return {name: value.numpy() for name, value in tensors.items()}


def log(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


# --- the dinner ----------------------------------------------------------------------------------


def test_dinner_set_by_hand_is_always_right() -> None:
    assert dinner.accuracy(dinner.by_hand(), 7) == 1.0


def test_dinner_by_hand_has_the_weights_of_the_classroom() -> None:
    hand = dinner.by_hand()
    assert [p.shape for p in (hand.food, hand.weather, hand.merge)] == [(6, 3), (6, 2), (3, 6)]
    for p in (hand.food, hand.weather, hand.merge):
        assert set(p.detach().numpy().ravel().tolist()) == {0.0, 1.0}
    assert np.array_equal(hand.food.detach().numpy()[:3], np.eye(3))


@pytest.mark.parametrize("seed", range(4))
def test_dinner_is_learned_from_random_weights(seed: int) -> None:
    network = dinner.at_random(seed)
    assert dinner.accuracy(network, 5) < 0.9
    assert dinner.train(network, days=5, limit=2000, lr=0.02) is not None
    assert dinner.accuracy(network, 5) == 1.0


def test_dinner_rules() -> None:
    _, skies, dinners = dinner.all_weeks(3)
    assert dinners.shape == (3, 24)
    rain = skies[..., 1] == 1
    assert np.array_equal(dinners[1:][rain[1:]], dinners[:-1][rain[1:]]), "rain: leftovers"
    assert np.array_equal(dinners[1:][~rain[1:]], (dinners[:-1][~rain[1:]] + 1) % 3)


def test_dinner_as_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert dinner.main(["--quick"]) == 0
    assert "learned:     100%" in capsys.readouterr().out
    assert dinner.main(["--quick", "--steps", "1"]) == 1


# --- the character model -------------------------------------------------------------------------


def test_the_book_is_a_book() -> None:
    text = char_lm.read_text(char_lm.BOOK)
    assert len(text) > 500_000
    assert "Gutenberg" not in text and "Call me Ishmael." in text


def test_char_lm_learns_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert learn(tmp_path, "--prompt", "The whale") == 0
    out = capsys.readouterr().out
    assert "backend numpy" in out
    sample = out.split("-" * 80 + "\n")[1]
    assert sample.startswith("The whale") and len(sample) == 9 + 60 + 1
    valid = [entry["valid"] for entry in log(tmp_path) if "valid" in entry]
    assert len(valid) == 2 and valid[1] < valid[0] < 5.5
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("cell", ["gru", "LayerNormLSTMCell"])
def test_char_lm_takes_any_cell(tmp_path: Path, cell: str) -> None:
    assert learn(tmp_path, "--cell", cell, "--layers", "2", "--epochs", "1") == 0


def test_resuming_gives_the_bits_of_an_uninterrupted_run(tmp_path: Path) -> None:
    """Stopped in the middle of an epoch, with dropout, two layers and a state that is carried."""
    options = ["--dropout", "0.2", "--layers", "2"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert learn(whole, *options) == 0
    assert learn(parts, *options, "--time", "1e-9") == 0
    stopped = log(parts)[-1]["step"]
    assert 0 < stopped < log(whole)[-1]["step"] / 2
    assert learn(parts, *options, "--resume", "--time", "0") == 0
    expected, found = parameters(whole), parameters(parts)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert value.tobytes() == found[name].tobytes(), name


def test_a_sample_can_be_drawn_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for extra in ([], ["--only-sample"], ["--only-sample", "--temperature", "0"]):
        assert learn(tmp_path, "--epochs", "1", *extra) == 0
        texts.append(capsys.readouterr().out.split("-" * 80 + "\n")[1])
    assert texts[0] == texts[1] != texts[2]


def test_an_interrupt_names_the_last_checkpoint(tmp_path: Path) -> None:
    assert learn(tmp_path, "--epochs", "1") == 0
    (tmp_path / "log.jsonl").unlink()
    command = [sys.executable, str(EXAMPLES / "char_lm.py"), "--backend", "numpy", "--epochs", "9"]
    process = subprocess.Popen(
        [*command, "--time", "0", "--log-every", "1", "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # a test run in the background inherits that interrupts are ignored
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "log.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, output
    assert "stopped" in output and "Traceback" not in output
    assert str(tmp_path / "checkpoint.safetensors") in output
    assert parameters(tmp_path), "it is whole"


def test_messages(tmp_path: Path) -> None:
    empty, short, binary = tmp_path / "empty", tmp_path / "short", tmp_path / "binary"
    empty.write_text(" \n")
    short.write_text("too short")
    binary.write_bytes(b"\xff\xfe\x00")
    cases = [
        (["--text", str(tmp_path / "none")], "cannot be read"),
        (["--text", str(empty)], "is empty"),
        (["--text", str(short)], "too short"),
        (["--text", str(binary)], "is not UTF-8"),
        (["--prompt", "ß"], "'ß'"),
        (["--cell", "transformer"], "choose one of lstm, gru, rnn"),
        (["--resume"], "cannot be read"),
    ]
    for arguments, message in cases:
        with pytest.raises(SystemExit) as stop:
            learn(tmp_path / "out", *arguments)
        assert message in str(stop.value), arguments


def test_a_run_that_diverges_stops_and_keeps_its_checkpoint(tmp_path: Path) -> None:
    assert learn(tmp_path, "--epochs", "1") == 0
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    with np.errstate(all="ignore"), pytest.raises(SystemExit, match="not finite"):
        learn(tmp_path, "--lr", "1e39", "--log-every", "1")
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


def test_another_run_s_checkpoint_is_refused(tmp_path: Path) -> None:
    assert learn(tmp_path, "--epochs", "1") == 0
    with pytest.raises(SystemExit, match=r"--epochs 1"):
        learn(tmp_path, "--epochs", "2", "--resume")
    (tmp_path / "checkpoint.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(SystemExit, match="checkpoint"):
        learn(tmp_path, "--epochs", "1", "--resume")
