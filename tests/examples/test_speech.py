"""The sound of the speech example, and a clear message where there is none."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from examples_folder import load

speech, voices = load("speech"), load("_voices")


def test_a_spectrogram_shows_a_tone_where_it_is() -> None:
    t = np.arange(4000) / voices.RATE
    low, high = (
        voices.spectrogram(np.sin(2 * np.pi * f * t)).mean(axis=0).argmax() for f in (400, 2500)
    )
    x = voices.spectrogram(np.concatenate([np.zeros(2000), np.sin(2 * np.pi * 1000 * t)]))
    assert low < high and x.shape[1] == voices.BANDS and abs(x.mean()) < 1e-5
    assert x[:10].max() < x[-10:].max() - 1


def test_recordings_in_a_row(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for digit, number in ((3, 0), (7, 8), (5, 9)):
        with wave.open(str(tmp_path / f"{digit}_ann_{number}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes((rng.normal(size=2000) * 1000).astype("<i2").tobytes())
    training, test = voices.recorded(tmp_path, 8, rng)
    assert {d for _, y in training for d in y.tolist()} == {5, 7}
    assert [set(y.tolist()) for _, y in test] == [{3}] * 2
    assert all(x.shape[1] == 24 and len(x) > 15 * len(y) for x, y in training)


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    gone, out = str(tmp_path / "gone"), str(tmp_path / "out")
    with pytest.raises(SystemExit, match=r"has no files such as 7_jackson_32\.wav"):
        speech.main(["--quick", "--backend", "numpy", "--recordings", gone, "--out", out])
