"""Tunes survive being written and read, in any key; a MIDI file says the same as the notes."""

from __future__ import annotations

import re
from pathlib import Path

import _ngrams
import _tunes
import numpy as np
import pytest

# "Frère Jacques" in G, with an upbeat and a tie that it does not have, and in a minor key.
JACQUES = """X:7
T:Bruder Jakob
M:4/4
L:1/8
K:G
D2 | G2A2B2G2 | G2A2 B2G2 | B2c2d4 | B2c2d2-d2 |]
"""
MINOR = "X:1\nM:4/4\nL:1/16\nK:F# min\nF4G4A4F4|^G4=G4A4c'4|z4 C,4 F8|\n"


def test_a_tune_is_moved_to_c_and_counted_in_sixteenths() -> None:
    words = _tunes.read_tune(JACQUES.splitlines())
    first = "M:4/4 G4 | c4 d4 e4 c4 | c4 d4 e4 c4 | e4 f4 g8 | e4 f4 g8 |"
    assert " ".join(words) == first
    pitches = [note.pitch for note in _tunes.notes(words)]
    assert pitches[:5] == [7, 12, 14, 16, 12]
    assert _tunes.full_bars(words) == [True] * 3


def test_accidentals_hold_for_a_bar_and_the_key_for_all() -> None:
    words = _tunes.read_tune(MINOR.splitlines())
    assert " ".join(words) == "M:4/4 C4 D4 _E4 C4 | D4 _D4 _E4 g4 | z4 G,,4 C8 |".replace(
        "_D", "^C"
    )


@pytest.mark.parametrize("seed", range(5))
def test_what_is_written_reads_as_the_same_tune(seed: int) -> None:
    """Random notes from all over the keyboard, or (seed 0) so close that accidentals are undone."""
    rng = np.random.default_rng(seed)
    words = ["M:3/4"]
    for _ in range(12):
        pitches = rng.integers(-25, 30, 6) if seed else rng.integers(0, 3, 6)
        words += [str(_tunes.Note(int(p), int(n))) for p, n in zip(pitches, rng.integers(1, 17, 6))]
        words += ["z3", "|"]
    text = _tunes.to_abc(words, 3, "Anything")
    assert _tunes.read_tune(text.splitlines()) == words
    assert seed or re.search(r"=[A-Ga-g]", text)


def test_a_midi_file_has_the_notes_at_their_times() -> None:
    tune = [_tunes.Note(0, 4), _tunes.Note(None, 2), _tunes.Note(-5, 16), _tunes.Note(12, 1)]
    midi = _tunes.to_midi(tune, beats=120)
    assert midi[:14] == bytes.fromhex("4d546864 00000006 0000 0001 0060")
    assert midi[14:18] == b"MTrk" and int.from_bytes(midi[18:22], "big") == len(midi) - 22
    assert midi[22:29] == bytes.fromhex("00 ff5103 07a120")  # half a second a crotchet
    assert midi[29:] == bytes.fromhex(
        "00 903c50 60 803c00  30 903750 8300 803700  00 904850 18 804800  00 ff2f00"
    )


@pytest.mark.parametrize(
    "music,why",
    [
        ("K:C\nM:4/4\n[CEG]4|", "'\\[CEG"),
        ("K:C\nM:7/16\nC4|", "metre '7/16'"),
        ("K:H\nM:4/4\nC4|", "key 'H'"),
        ("K:C\nM:4/4\nL:1/32\nC3|", "a note of 3/2 sixteenths"),
    ],
)
def test_what_cannot_be_read_is_named(music: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(_tunes.Unreadable, match=why):
        _tunes.read_tune(music.splitlines())
    file = tmp_path / "a.abc"
    file.write_text("X:1\n" + music)
    with pytest.raises(SystemExit, match=f"no tune .* the first because of .*{why}"):
        _tunes.read(str(file))


def test_a_file_without_tunes_and_one_with_the_same_tune_twice(tmp_path: Path) -> None:
    file = tmp_path / "b.abc"
    file.write_text("It was a dark and stormy night.\n")
    with pytest.raises(SystemExit, match=r"no tune \(X: ... K: ... notes\) found$"):
        _tunes.read(str(file))
    file.write_text(JACQUES + "\n" + JACQUES.replace("X:7", "X:8") + "\n" + MINOR)
    assert len(_tunes.read(str(file))) == 2


def test_counted_probabilities_sum_to_one_and_know_their_context() -> None:
    rng = np.random.default_rng(0)
    tunes = [rng.integers(0, 6, 20) for _ in range(30)] + [np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])]
    for n in (1, 2, 3):
        model = _ngrams.NGram(tunes, n, 7)
        for context in [(), (3,), (0, 1), (6,), (6, 6)]:
            if len(context) < n:
                assert np.isclose(sum(model.probability(context, x) for x in range(7)), 1)
        found = model.bits(tunes[-1:])[0]
        assert found.shape == (8,) and (found > 0).all()
    abc = _ngrams.NGram([np.array([0, 1, 2] * 9)], 3, 7)
    assert abc.probability((0, 1), 2) > 0.8 > abc.probability((), 2) > abc.probability((), 6) > 0


def test_the_longest_copied_stretch() -> None:
    assert _tunes.longest_copy("a b c d x".split(), " z a b c y b c d | ") == 3
    assert _tunes.longest_copy(["q"], " a b ") == 0
    assert _tunes.longest_copy(["a"], " ab ba ") == 0
