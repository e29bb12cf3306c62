"""Tunes: read from ABC files, written as ABC and MIDI files.

A tune is a list of words: its metre ("M:3/4"), notes as they stand in ABC ("G4", "_e2", "z2" is a
rest), and bars ("|"). All are moved to C and counted in sixteenths, so that a melody is the same
list in whatever key it was written down.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from _common import need, read_text

BAR, METRES = "|", ["2/4", "3/4", "4/4", "3/8", "6/8", "4/2", "6/4", "3/2", "2/2"]
#: German songs, as Helmut Schaffrath's Essen collection has them; music21 brings it as ABC files.
BOOKS = "altdeu ballad boehme dva erk fink kinder zuccal".split()
NAMES = ["C", "^C", "D", "_E", "E", "F", "^F", "G", "_A", "A", "_B", "B"]
NOTE = re.compile(r"([_^=]*)([A-Ga-gz])([,']*)(\d*)(/?)(\d*)(-?)")
SHARPS = {name: k - 5 for k, name in enumerate("Cb Gb Db Ab Eb Bb F C G D A E B F# C#".split(), -2)}
MODES = {"": 0, "maj": 0, "ion": 0, "m": -3, "min": -3, "aeo": -3, "mix": -1, "dor": -2, "lyd": 1}
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


class Note(NamedTuple):
    """Semitones above the C in the middle of the keyboard (None: a rest), and sixteenths."""

    pitch: int | None
    length: int

    def __str__(self) -> str:
        length = str(self.length) if self.length > 1 else ""
        if self.pitch is None:
            return f"z{length}"
        octave, step = divmod(self.pitch, 12)
        name = NAMES[step].lower() if octave > 0 else NAMES[step]
        return name + "'" * (octave - 1) + "," * -octave + length


class Unreadable(ValueError):
    """Something in a tune that is not a note, a rest or a bar."""


def signature(key: str) -> tuple[int, dict[str, int]]:
    """A key ("G", "F# dor"): its tonic as 0 to 11, and which letters it raises or lowers."""
    found = re.match(r"([A-G][#b]?)\s*([A-Za-z]{0,3})", key)
    if not found or found[2].lower() not in MODES:
        raise Unreadable(f"key {key!r}")
    sharps = SHARPS[found[1]] + MODES[found[2].lower()]
    order = "FCGDAEB" if sharps > 0 else "BEADGCF"
    return 7 * SHARPS[found[1]] % 12, {c: (1 if sharps > 0 else -1) for c in order[: abs(sharps)]}


def read_tune(lines: Iterable[str]) -> list[str]:
    """The words of one tune."""
    fields, music = {}, ""
    for line in lines:
        if re.match(r"[A-Za-z]:", line):
            fields.setdefault(line[0], line[2:].partition("%")[0].strip())
        elif not line.startswith("%"):
            music += line + " "
    metre = {"C": "4/4", "C|": "2/2"}.get(fields.get("M", ""), fields.get("M", ""))
    if metre not in METRES:
        raise Unreadable(f"metre {metre!r}")
    tonic, altered = signature(fields.get("K", ""))
    shift = -tonic if tonic <= 6 else 12 - tonic
    unit = 16 * Fraction(fields.get("L", "1/8"))
    words, here, tied, at = [f"M:{metre}"], {}, False, 0
    music = re.sub(r"\s+|\\", "", re.sub(r"[:\[]*\|[|\]:]*", BAR, music))
    while at < len(music):
        if music[at] == BAR:
            words += [BAR] if words[-1] not in (BAR, words[0]) else []
            here, at = {}, at + 1
            continue
        found = NOTE.match(music, at)
        if not found:
            raise Unreadable(f"{music[at : at + 8]!r}")
        accidental, letter, octaves, times, slash, parts, tie = found.groups()
        length = unit * int(times or 1) / (int(parts or 2) if slash else 1)
        if length.denominator > 1:
            raise Unreadable(f"a note of {length} sixteenths")
        note = Note(None, int(length))
        if letter != "z":
            name = letter.upper() + octaves + str(letter.islower())
            if accidental:
                here[name] = accidental.count("^") - accidental.count("_")
            octave = 12 * (letter.islower() + octaves.count("'") - octaves.count(","))
            change = here.get(name, altered.get(letter.upper(), 0))
            note = Note(STEPS[letter.upper()] + octave + change + shift, int(length))
        if tied and words[-1] != BAR and notes(words[-1:])[0].pitch == note.pitch:
            words[-1] = str(Note(note.pitch, note.length + notes(words[-1:])[0].length))
        else:
            words.append(str(note))
        tied, at = bool(tie), found.end()
    return words if words[-1] == BAR else [*words, BAR]


def notes(words: Iterable[str]) -> list[Note]:
    """The notes and rests among the words of a tune."""
    return [to_note(word) for word in words if word != BAR and not word.startswith("M:")]


def to_note(word: str) -> Note:
    accidental, letter, octaves, length, *_ = NOTE.fullmatch(word).groups()
    if letter == "z":
        return Note(None, int(length or 1))
    octave = letter.islower() + octaves.count("'") - octaves.count(",")
    change = accidental.count("^") - accidental.count("_")
    return Note(STEPS[letter.upper()] + 12 * octave + change, int(length or 1))


def read(path: str) -> list[list[str]]:
    """All different tunes of an ABC file; with an empty path, those of the Essen collection."""
    if path:
        texts = [read_text(Path(path), "--tunes")]
    else:
        found = importlib.util.find_spec("music21")  # only its files are read
        folder = Path((found or need("music21")).origin).parent / "corpus" / "essenFolksong"
        files = sorted(folder.glob("*.abc"))
        texts = [f.read_text("utf-8") for f in files if f.stem.rstrip("0123456789") in BOOKS]
    tunes, left_out = {}, []
    for part in (part for text in texts for part in re.split(r"(?m)^(?=X:)", text)):
        if part.startswith("X:"):
            try:
                words = read_tune(part.splitlines())
                tunes[tuple(words)] = words
            except Unreadable as error:
                left_out.append(str(error))
    if not tunes:
        why = f"; all are left out, the first because of {left_out[0]}" if left_out else ""
        raise SystemExit(
            f"--tunes {path or 'of music21'}: no tune (X: ... K: ... notes) found{why}"
        )
    return list(tunes.values())


# --- writing -------------------------------------------------------------------------------------


def to_abc(words: list[str], number: int, title: str) -> str:
    """A tune as ABC. An accidental holds to the end of its bar, so it may have to be undone."""
    text, here, bars = "", {}, 0
    for word in words[1:]:
        if word == BAR:
            here, bars = {}, bars + 1
            text += " |" + ("\n" if bars % 4 == 0 else " ")
            continue
        accidental, letter, octaves, *_ = NOTE.fullmatch(word).groups()
        sign = accidental or ("=" if here.get(letter + octaves) else "")
        here[letter + octaves] = accidental
        text += sign + word[len(accidental) :]
    return f"X:{number}\nT:{title}\n{words[0]}\nL:1/16\nK:C\n{text.strip()}\n"


def to_midi(tune: Iterable[Note], beats: int = 110) -> bytes:
    """A standard MIDI file of one track, `beats` crotchets a minute."""

    def size(ticks: int) -> bytes:  # seven bits a byte; all but the last have the eighth bit set
        parts = [ticks & 127]
        while ticks := ticks >> 7:
            parts.append(ticks & 127 | 128)
        return bytes(reversed(parts))

    track, rest = size(0) + b"\xff\x51\x03" + (60_000_000 // beats).to_bytes(3, "big"), 0
    for pitch, length in tune:
        if pitch is None:
            rest += 24 * length
            continue
        key = bytes([60 + pitch])
        track += size(rest) + b"\x90" + key + b"\x50" + size(24 * length) + b"\x80" + key + b"\x00"
        rest = 0
    track += size(rest) + b"\xff\x2f\x00"
    head = b"MThd" + b"".join(n.to_bytes(k, "big") for n, k in [(6, 4), (0, 2), (1, 2), (96, 2)])
    return head + b"MTrk" + len(track).to_bytes(4, "big") + track


def timeline(words: Iterable[str]) -> Iterator[tuple[int, Note | None]]:
    """When, in sixteenths, each note and rest begins, and each bar line (None) is."""
    at = 0
    for word in words:
        if word == BAR:
            yield at, None
        elif not word.startswith("M:"):
            note = to_note(word)
            yield at, note
            at += note.length


def full_bars(words: list[str]) -> list[bool]:
    """Whether each bar has the length that the metre asks for; the first and last may be shorter.

    Songs split these two: the upbeat is what the last bar lacks.
    """
    lines = [at for at, note in timeline(words) if note is None]
    whole = 16 * Fraction(words[0].removeprefix("M:"))
    return [end - begin == whole for begin, end in itertools.pairwise(lines[:-1])]


def longest_copy(words: list[str], songs: str) -> int:
    """How many events in a row of a tune stand in one of the songs that were read."""
    best = begin = 0
    for end in range(1, len(words) + 1):
        while begin < end and f" {' '.join(words[begin:end])} " not in songs:
            begin += 1
        best = max(best, end - begin)
    return best
