"""Sound for speech.py: digits spoken by espeak-ng or by people, as spectrograms.

espeak-ng (GPL) comes with the package espeakng-loader and speaks with some sixty voices. Recordings
of people are WAV files named like those of the Free Spoken Digit Dataset: 7_jackson_32.wav.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import sys
import wave
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
from _common import need

DIGITS = "zero one two three four five six seven eight nine".split()
RATE, HOP, FRAME, BANDS = 8000, 128, 256, 24  # samples per second, per step, per window


def spectrogram(sound: np.ndarray) -> np.ndarray:
    """log of the energy in 24 mel bands, f32[T,24], for every 16 ms; mean 0 and variance 1."""
    count = max(1, (len(sound) - FRAME) // HOP)
    frames = sound[np.arange(count)[:, None] * HOP + np.arange(FRAME)] * np.hanning(FRAME)
    power = np.abs(np.fft.rfft(frames)) ** 2
    mel = np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1) * FRAME / RATE
    bins = np.arange(power.shape[1])
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    x = np.log(power @ np.clip(np.minimum(rise, fall), 0, None).T + 1e-3)
    return ((x - x.mean()) / (x.std() + 1e-6)).astype(np.float32)


class Espeak:
    """The synthesizer, asked for sound instead of playing it."""

    def __init__(self) -> None:
        loader = need("espeakng_loader", "espeakng-loader")
        self.lib = ctypes.CDLL(loader.get_library_path())
        self.rate = self.lib.espeak_Initialize(2, 0, loader.get_data_path().encode(), 0)
        pointer = ctypes.POINTER(ctypes.c_short)
        kind = ctypes.CFUNCTYPE(ctypes.c_int, pointer, ctypes.c_int, ctypes.c_void_p)
        self.callback = kind(self._take)
        self.lib.espeak_SetSynthCallback(self.callback)
        folder = Path(loader.get_data_path()) / "voices" / "!v"
        self.voices = sorted(file.name for file in folder.iterdir() if " " not in file.name)

    def _take(self, sound, count: int, events) -> int:
        if count > 0:
            self.parts.append(np.ctypeslib.as_array(sound, (count,)).astype(np.float64))
        return 0

    def say(self, text: str, voice: str, speed: int, pitch: int) -> np.ndarray:
        """Sound at 8,000 samples per second, at most 1."""
        self.parts = [np.zeros(800)]
        self.lib.espeak_SetVoiceByName(f"en+{voice}".encode())
        self.lib.espeak_SetParameter(1, speed, 0)
        self.lib.espeak_SetParameter(3, pitch, 0)
        letters = text.encode()
        self.lib.espeak_Synth(letters, len(letters) + 1, 0, 1, 0, 1, None, None)
        sound = np.concatenate(self.parts)
        times = np.arange(0, len(sound), self.rate / RATE)
        return np.interp(times, np.arange(len(sound)), sound) / max(1.0, np.abs(sound).max())


Spoken = tuple[np.ndarray, np.ndarray]  # a spectrogram, the digits


def synthesised(count: int, rng: np.random.Generator) -> tuple[list[Spoken], list[Spoken]]:
    """Digits by espeak-ng to learn from, and a quarter as many by voices not among these.

    espeak-ng has been seen to crash, rarely, so it speaks in a process of its own, and is asked
    again if that ends.
    """
    for attempt in range(1, 4):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
            try:
                learned, tested, state = apart.submit(_speak, count, rng).result()
            except BrokenProcessPool:
                print(f"espeak-ng crashed (attempt {attempt} of 3)", file=sys.stderr)
                continue
        rng.bit_generator.state = state
        return learned, tested
    raise SystemExit("espeak-ng crashed three times; use another --seed, or --recordings FOLDER")


def _speak(count: int, rng: np.random.Generator) -> tuple[list[Spoken], list[Spoken], Any]:
    """What is spoken, and the state of the generator afterwards."""
    speaker = Espeak()
    order = rng.permutation(speaker.voices)
    cut = len(order) * 3 // 4

    def make(voices: np.ndarray, count: int) -> list[Spoken]:
        made = []
        for _ in range(count):
            digits = rng.integers(0, 10, rng.integers(3, 8))
            text = " ".join(DIGITS[d] for d in digits)
            voice = str(rng.choice(voices))
            sound = speaker.say(text, voice, int(rng.integers(120, 200)), int(rng.integers(25, 75)))
            made.append((noisy(sound, rng), digits))
        return made

    learned, tested = make(order[:cut], count), make(order[cut:], count // 4)
    return learned, tested, rng.bit_generator.state


def recorded(
    folder: Path, count: int, rng: np.random.Generator
) -> tuple[list[Spoken], list[Spoken]]:
    """Recordings of one speaker put in a row; those numbered 0 to 4 are for the test."""
    people: dict[tuple[bool, str], list[tuple[int, np.ndarray]]] = defaultdict(list)
    for file in sorted(folder.glob("[0-9]_*_*.wav")):
        digit, person, number = file.stem.split("_")
        with wave.open(str(file)) as wav:
            if (wav.getframerate(), wav.getsampwidth(), wav.getnchannels()) != (RATE, 2, 1):
                raise SystemExit(
                    f"--recordings: {file} is not 16-bit mono sound of 8,000 per second"
                )
            sound = np.frombuffer(wav.readframes(wav.getnframes()), "<i2") / 2**15
        people[int(number) < 5, person].append((int(digit), sound / max(1e-3, np.abs(sound).max())))
    if not people:
        raise SystemExit(f"--recordings {folder}: has no files such as 7_jackson_32.wav")

    def make(test: bool, count: int) -> list[Spoken]:
        made = []
        voices = [clips for (kind, _), clips in people.items() if kind == test]
        for _ in range(count):
            clips = voices[rng.integers(len(voices))]
            chosen = [clips[rng.integers(len(clips))] for _ in range(rng.integers(3, 8))]
            gaps = [np.zeros(rng.integers(200, 1200)) for _ in chosen]
            sound = np.concatenate([part for (_, s), gap in zip(chosen, gaps) for part in (gap, s)])
            made.append((noisy(sound, rng), np.array([digit for digit, _ in chosen])))
        return made

    return make(False, count), make(True, count // 4)


def noisy(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The spectrogram with a little noise."""
    return spectrogram(sound + rng.normal(size=len(sound)) * 10 ** rng.uniform(-4, -2))
