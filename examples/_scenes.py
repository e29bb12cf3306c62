"""Scenes of digits: pictures of 16 x 16 pixels with up to four handwritten digits, one per quarter.

The digits are scikit-learn's; those of the test scenes are written by hands that were never seen.
What can be said of a scene, the examples `caption`, `question` and `dialog` say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from _common import need

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.nn import functional as F

DIGITS = "zero one two three four five six seven eight nine".split()
#: The four quarters in reading order: top left, top right, bottom left, bottom right.
PLACES = ["top left", "top right", "bottom left", "bottom right"]
#: From quarter to quarter: where one comes when one goes there.
MOVES = {
    (0, "right of"): 1, (1, "left of"): 0, (2, "right of"): 3, (3, "left of"): 2,
    (0, "below"): 2, (2, "above"): 0, (1, "below"): 3, (3, "above"): 1,
}  # fmt: skip


class Scene(NamedTuple):
    """A picture f32[16,16], and the digit in every quarter (-1: nothing)."""

    picture: np.ndarray
    digits: tuple[int, ...]


class Painter:
    """Draws scenes; those of the test from images that training scenes never contain."""

    def __init__(self, rng: np.random.Generator) -> None:
        found = need("sklearn.datasets", "scikit-learn").load_digits()
        order = rng.permutation(len(found.images))
        cut = len(order) // 5
        self.rng = rng
        images = (found.images / 16).astype(np.float32)
        self.images = np.pad(images, ((0, 0), (1, 1), (1, 1)))  # with room to move by a pixel
        self.labels = found.target
        self.parts = {"test": order[:cut], "train": order[cut:]}

    def scene(self, part: str, least: int = 1, most: int = 4) -> Scene:
        """A scene of `least` to `most` digits, all different."""
        rng, known = self.rng, self.parts[part]
        count = int(rng.integers(least, most + 1))
        picture, digits = np.zeros((16, 16), np.float32), [-1] * 4
        for place in rng.permutation(4)[:count].tolist():
            while True:
                k = known[rng.integers(len(known))]
                if self.labels[k] not in digits:
                    break
            digits[place] = int(self.labels[k])
            row, column = divmod(place, 2)
            image = self.images[k, 1:9, 1:9]
            if part == "train":  # an unsteady hand: there are only 1,438 images to learn from
                down, right = rng.integers(3, size=2).tolist()
                image = self.images[k, down : down + 8, right : right + 8]
                noise = rng.standard_normal((8, 8), np.float32)
                image = image * rng.uniform(0.7, 1.3) + 0.1 * noise
            picture[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = image
        return Scene(picture, tuple(digits))


class Eye(nn.Module):
    """Pictures f32[B,16,16] -> what is seen f32[B,4 * features]: the same convolutions look at
    every quarter."""

    def __init__(self, features: int = 32, hidden: int = 256) -> None:
        self.look = nn.Conv2d(1, hidden, kernel_size=8, stride=8)
        self.see = nn.Conv2d(hidden, features, kernel_size=1)
        self.dropout = nn.Dropout(0.2)

    def forward(self, pictures: tg.Tensor) -> tg.Tensor:
        seen = self.dropout(F.relu(self.look(pictures[:, None])))
        return F.tanh(self.see(seen)).reshape(len(pictures), -1)


class Words:
    """Words and their numbers; sentences become columns of equal length."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = ["<pad>", "<go>", "<eos>", *dict.fromkeys(words)]
        self.number = {word: i for i, word in enumerate(self.words)}
        self.go, self.eos = 1, 2

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, sentences: Sequence[str], length: int) -> tuple[np.ndarray, np.ndarray]:
        """i64[T,B] padded with zeros, and the lengths i64[B]."""
        rows = [[self.number[word] for word in sentence.split()] for sentence in sentences]
        table = np.zeros((length, len(rows)), np.int64)
        for b, row in enumerate(rows):
            table[: len(row), b] = row
        return table, np.array([len(row) for row in rows])

    def decode(self, numbers: Iterable[int]) -> str:
        return " ".join(self.words[i] for i in numbers)
