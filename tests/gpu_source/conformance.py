"""All of the conformance suite on the fake device: three minutes of one core; CI runs a part of it.

cd tests && python -m gpu_source.conformance [auto|graph|persistent|launches] [LEVEL]
"""

from __future__ import annotations

import os
import sys

from tinygrad_rnn import artifacts
from tinygrad_rnn.testing.conformance import Subject, score

from . import fake


def main(road: str = "auto", level: str = "4") -> int:
    os.environ[artifacts.VARIABLE] = "off"
    backend = fake.backend_class()()
    backend.settings.loops = road
    with fake.allowed_to_wait():
        card = score(Subject(backend, examples=1), int(level))
    print(card)
    for array in fake.memory.written_beyond:
        print("written beyond", array)
    return 0 if card.passed and not fake.memory.written_beyond else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
