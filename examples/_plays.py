"""Plays for names_in_text.py: the sentences that are spoken, and the names in the cast.

A play is a text with a cast ("Dramatis Personae" or "Persons Represented"), then "ACT I"; a speech
is a paragraph whose first line is the speaker; [what is in brackets] is done, not said.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from _common import read_text

TITLES = set(
    "king queen duke prince princess earl lord lady sir master mistress friar don saint young old "
    "the captain doctor time fool clown chorus ghost roman romans british english french greek "
    "trojan athenian volscian goths frenchman dutchman welshmen amazons".split()
)
Sentence = list[tuple[str, bool]]  # words, and whether they begin a line


def read_play(text: str) -> tuple[set[str], list[Sentence]]:
    """The words of the cast, and the sentences of the speeches."""
    head = re.search(r"(?im)^(dramatis person|persons represented).*$", text)
    rest = text[head.end() :] if head else ""
    begin = re.search(r"(?im)^\s*(act|prologue|induction|scene|chorus)\b.*$", rest)
    if not begin:
        return set(), []
    lines = re.split(r"\n", rest[: begin.start()])
    first = [re.split(r"(?i)[,.;:}(]| of | son | attending | servant ", line)[0] for line in lines]
    cast = {word.lower() for part in first for word in re.findall(r"[A-Z][A-Za-z]{2,}", part)}
    sentences: list[Sentence] = [[]]
    for speech in re.split(r"\n\s*\n", re.sub(r"\[[^]]*\]", "", rest[begin.end() :])):
        for line in speech.strip().split("\n")[1:]:  # after the speaker's name
            for i, word in enumerate(re.findall(r"[A-Za-z]+(?:'[A-Za-z]+)*|--|[^\sA-Za-z]", line)):
                sentences[-1].append((word, i == 0))
                if (word in ".!?" and len(sentences[-1]) > 5) or len(sentences[-1]) == 60:
                    sentences.append([])
        sentences += [[]] if sentences[-1] else []
    return cast - TITLES, sentences[:-1]


def bare(word: str) -> str:
    return re.sub(r"'s?$", "", word.lower())


def load(folder: Path) -> tuple[list[list[Sentence]], set[str]]:
    """The sentences of each play; the names of all casts, whole or shortened (Cressid, Pandar)."""
    files = sorted(f for f in folder.glob("*.txt") if not f.stem.endswith("_f"))  # not the folios
    plays = [p for p in map(read_play, (read_text(f, "--plays") for f in files)) if p[1]]
    if len(plays) < 2:
        raise SystemExit(
            f"--plays {folder}: needs at least two plays with a cast, has {len(plays)}"
        )
    words = [pair for _, sentences in plays for s in sentences for pair in s]
    small = Counter(word for word, _ in words if word.islower())
    capital = Counter(word.lower() for word, first in words if word[0].isupper() and not first)
    casts = set[str]().union(*(cast for cast, _ in plays))
    short = {name[:n] for name in casts for n in range(5, len(name) + 1)} | casts
    return [s for _, s in plays], {name for name in short if capital[name] > 5 * small[name]}
