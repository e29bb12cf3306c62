"""Scenes of digits: pictures of 16 x 16 pixels with up to four handwritten digits, one per quarter.

The digits are scikit-learn's; those of the test scenes are written by hands that were never seen.
What can be said of a scene, the examples `caption`, `question` and `dialog` say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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


def name(digit: int) -> str:
    return DIGITS[digit] if digit >= 0 else "nothing"


def with_article(digit: int) -> str:
    return f"{'an' if digit == 8 else 'a'} {DIGITS[digit]}"


class Painter:
    """Draws scenes; those of the test from images that training scenes never contain."""

    def __init__(self, rng: np.random.Generator) -> None:
        found = need("sklearn.datasets", "scikit-learn").load_digits()
        order = rng.permutation(len(found.images))
        cut = len(order) // 5
        self.rng = rng
        images = (found.images / 16).astype(np.float32)
        self.images = np.pad(images, ((0, 0), (1, 1), (1, 1)))  # with room to move by a pixel
        self.known = {  # which images show a digit
            part: [some[found.target[some] == digit] for digit in range(10)]
            for part, some in (("test", order[:cut]), ("train", order[cut:]))
        }

    def scenes(
        self, part: str, count: int, least: int = 1, most: int = 4
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pictures f32[B,16,16] of `least` to `most` digits, all different; which digit is in every
        quarter, i64[B,4] (-1: nothing)."""
        rng, quarters = self.rng, (count, 4)
        digits = rng.random((count, 10)).argsort(axis=1)[:, :4]
        shown = rng.random(quarters).argsort(axis=1) < rng.integers(least, most + 1, (count, 1))
        chosen = np.zeros(quarters, np.int64)
        for digit, known in enumerate(self.known[part]):
            here = digits == digit
            chosen[here] = rng.choice(known, here.sum())
        down, right = (np.ones((count, 4, 1, 1), np.int64) for _ in range(2))
        light, noise = 1.0, 0.0
        if part == "train":  # an unsteady hand: there are only 1,438 images to learn from
            down, right = rng.integers(3, size=(2, count, 4, 1, 1))
            light = rng.uniform(0.7, 1.3, (count, 4, 1, 1))
            noise = 0.1 * rng.standard_normal((count, 4, 8, 8), np.float32)
        pixels, at = np.arange(8), chosen[..., None, None]
        images = self.images[at, down + pixels[:, None], right + pixels] * light + noise
        images = np.where(shown[..., None, None], images, 0).astype(np.float32)
        pictures = images.reshape(count, 2, 2, 8, 8).swapaxes(2, 3).reshape(count, 16, 16)
        return pictures, np.where(shown, digits, -1)


class Eye(nn.Module):
    """Pictures f32[B,16,16] -> what is seen in each quarter f32[4,B,features], by the same
    convolutions."""

    def __init__(self, features: int = 32, hidden: int = 256) -> None:
        self.look = nn.Conv2d(1, hidden, kernel_size=8, stride=8)
        self.see = nn.Conv2d(hidden, features, kernel_size=1)
        self.dropout = nn.Dropout(0.2)

    def forward(self, pictures: tg.Tensor) -> tg.Tensor:
        seen = self.dropout(F.relu(self.look(pictures[:, None])))
        return F.tanh(self.see(seen)).reshape(len(pictures), -1, 4).transpose(2, 0, 1)

    def whole(self, pictures: tg.Tensor) -> tg.Tensor:
        """What is seen in all quarters, f32[B,4 * features]."""
        return tg.concat(list(self(pictures)), -1)


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
