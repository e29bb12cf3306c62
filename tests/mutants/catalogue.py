"""The catalogue of seeded faults, read from the text files beside this one.

A file is an area. It looks like this:

    # a remark
    in tinygrad_rnn/ops/reduction.py
    by tests/engine/test_primitives.py tests/museum/test_ties.py

    mutant max-takes-all: every tied maximum gets the whole gradient
    - g * share
    + g

`in` names the file of the mutants that follow, `by` the tests to run first; a `by` inside a mutant
is for that one alone. The lines after `-` are the old text, which occurs once in the file, those
after `+` the new one (none: the old text goes). `equivalent <reason>` marks a mutant that no test
can catch, because nothing changes that is promised; `survives <reason>` one that a test could.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@dataclass(frozen=True)
class Mutant:
    name: str
    area: str
    file: str
    old: str
    new: str
    breaks: str
    first: tuple[str, ...]
    equivalent: str = ""
    survives: str = ""

    @property
    def fingerprint(self) -> str:
        """Names the fault, so that an outcome is not taken for another's."""
        fault = f"{self.file}\0{self.old}\0{self.new}".encode()
        return hashlib.sha256(fault).hexdigest()[:6]

    def seeded(self, text: str) -> str:
        """The file's text with the fault."""
        count = text.count(self.old)
        if count != 1:
            raise Stale(
                f"mutant {self.name} (tests/mutants/{self.area}.txt): its old text occurs {count} "
                f"times in {self.file}, not once:\n{self.old}"
            )
        return text.replace(self.old, self.new)


class Stale(Exception):
    """The library has changed under a mutant: write its old text anew, or drop it."""


def areas() -> list[str]:
    return sorted(path.stem for path in HERE.glob("*.txt"))


def everything() -> list[Mutant]:
    return [mutant for area in areas() for mutant in read(area)]


def read(area: str) -> list[Mutant]:
    found: list[Mutant] = []
    file, first = "", ()
    block: list[str] = []
    for line in [*(HERE / f"{area}.txt").read_text().splitlines(), ""]:
        if block and line:
            block.append(line)
        elif block:
            found.append(_mutant(area, file, first, block))
            block = []
        elif line.startswith("in "):
            file, first = line[3:], ()
        elif line.startswith("by "):
            first = tuple(line[3:].split())
        elif line.startswith("mutant "):
            block = [line]
        elif line and not line.startswith("#"):
            raise ValueError(f"tests/mutants/{area}.txt: what is this? {line}")
    return found


def _mutant(area: str, file: str, first: tuple[str, ...], block: list[str]) -> Mutant:
    name, _, breaks = block[0].removeprefix("mutant ").partition(": ")
    old, new, equivalent, survives = [], [], "", ""
    for line in block[1:]:
        match line[:1], line[:3]:
            case "-", _:
                old.append(line[2:])
            case "+", _:
                new.append(line[2:])
            case _, "by ":
                first = tuple(line[3:].split())
            case _, "equ":
                equivalent = line.removeprefix("equivalent ")
            case _, "sur":
                survives = line.removeprefix("survives ")
            case _:
                raise ValueError(f"tests/mutants/{area}.txt, {name}: what is this? {line}")
    if not (breaks and file and first and old) or old == new:
        raise ValueError(f"tests/mutants/{area}.txt: {name} is not complete.")
    text = "\n".join(old), "\n".join(new)
    return Mutant(name, area, file, *text, breaks, first, equivalent, survives)
