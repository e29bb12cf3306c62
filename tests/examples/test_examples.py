"""The character model and the dinner: they learn, resume exactly, explain what is wrong."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples_folder import EXAMPLES, load

import tinygrad_rnn as tg

char_lm, dinner = load("char_lm"), load("dinner")


def learn(out: Path, *arguments: str) -> Any:
    """Train the smallest network on the NumPy backend, which gives the same bits everywhere."""
    return char_lm.main(["--quick", "--backend", "numpy", "--out", str(out), *arguments])


def parameters(out: Path) -> dict[str, np.ndarray]:
    tensors = tg.load_tensors(out / "checkpoint.safetensors")
    return {name: value.numpy() for name, value in tensors.items()}


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
    shares = dinner.train(network, days=5, steps=range(2000), lr=0.02)
    assert shares[0] < 0.9 and shares[-1] == 1.0
    assert dinner.accuracy(network, 5) == 1.0


def test_dinner_rules() -> None:
    _, skies, dinners = dinner.all_weeks(3)
    assert dinners.shape == (3, 24)
    rain = skies[..., 1] == 1
    assert np.array_equal(dinners[1:][rain[1:]], dinners[:-1][rain[1:]]), "rain: leftovers"
    assert np.array_equal(dinners[1:][~rain[1:]], (dinners[:-1][~rain[1:]] + 1) % 3)


def test_dinner_as_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--quick", "--out", str(tmp_path)]
    assert dinner.main(options).loss == 0
    assert "all after" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="not learned in 1 steps"):
        dinner.main([*options, "--steps", "1"])


# --- the character model -------------------------------------------------------------------------


def test_the_book_is_a_book() -> None:
    text = char_lm.read_text(char_lm.BOOK)
    assert len(text) > 500_000
    assert "Gutenberg" not in text and "Call me Ishmael." in text


def test_char_lm_learns_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = learn(tmp_path, "--prompt", "The whale")
    out = capsys.readouterr().out
    assert "on numpy" in out
    sample = out.split("-" * 80 + "\n")[1]
    assert sample.startswith("The whale") and len(sample) == 9 + 60 + 1
    first, last = (float(line.split()[3]) for line in out.splitlines() if "epoch" in line)
    assert last < first < 5.5
    (score,) = report.scores
    assert abs(score.value - last) < 1e-3 and score.value < score.baseline[1]


@pytest.mark.parametrize("cell", ["gru", "LayerNormLSTMCell"])
def test_char_lm_takes_any_cell(tmp_path: Path, cell: str) -> None:
    assert learn(tmp_path, "--cell", cell, "--layers", "2", "--epochs", "1").loss < 5.5


def test_resuming_gives_the_bits_of_an_uninterrupted_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped in the middle of an epoch, with dropout, two layers and a state that is carried."""
    options = ["--dropout", "0.2", "--layers", "2"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    learn(whole, *options)
    learn(parts, *options, "--time", "1e-9")
    learn(parts, *options, "--resume", "--time", "0")
    assert ": 1 of " in capsys.readouterr().out
    expected, found = parameters(whole), parameters(parts)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert value.tobytes() == found[name].tobytes(), name


def test_a_sample_can_be_drawn_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for extra in ([], ["--only-sample"], ["--only-sample", "--temperature", "0"]):
        learn(tmp_path, "--epochs", "1", *extra)
        texts.append(capsys.readouterr().out.split("-" * 80 + "\n")[1])
    assert texts[0] == texts[1] != texts[2]


def test_an_interrupt_names_the_last_checkpoint(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    command = [sys.executable, str(EXAMPLES / "char_lm.py"), "--backend", "numpy", "--time", "0"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # a test run in the background inherits that interrupts are ignored
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 120
        while not checkpoint.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, output
    assert "stopped" in output and "Traceback" not in output
    assert str(checkpoint) in output
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
    learn(tmp_path, "--epochs", "1")
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    with np.errstate(all="ignore"), pytest.raises(SystemExit, match="training diverged"):
        learn(tmp_path, "--lr", "1e39")
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


def test_another_run_s_checkpoint_is_refused(tmp_path: Path) -> None:
    learn(tmp_path, "--epochs", "1")
    with pytest.raises(SystemExit, match=r"--epochs 1"):
        learn(tmp_path, "--epochs", "2", "--resume")
    (tmp_path / "checkpoint.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(SystemExit, match="checkpoint"):
        learn(tmp_path, "--epochs", "1", "--resume")
