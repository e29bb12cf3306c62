"""What is painted in a scene is what is said of it, and questions have the right answers."""

from __future__ import annotations

import _scenes
import numpy as np
import pytest
from examples_folder import load

caption, question, dialog = (load(name) for name in ("caption", "question", "dialog"))
SCENE = [3, -1, 7, 8]  # a three over a seven, nothing over an eight


@pytest.fixture(scope="module")
def painter() -> _scenes.Painter:
    return _scenes.Painter(np.random.default_rng(0))


def quarters(pictures: np.ndarray) -> np.ndarray:
    """[B,16,16] -> [B,4,8,8] in reading order."""
    halves = (slice(8), slice(8, 16))
    return np.stack([pictures[:, rows, columns] for rows in halves for columns in halves], 1)


def test_digits_are_where_they_are_said_to_be(painter: _scenes.Painter) -> None:
    pictures, digits = painter.scenes("test", 400)
    assert pictures.shape == (400, 16, 16) and pictures.dtype == np.float32
    for images, there in zip(quarters(pictures), digits):
        assert sorted(set(there[there >= 0])) == sorted(there[there >= 0])
        for image, digit in zip(images, there):
            known = painter.images[painter.known["test"][digit], 1:9, 1:9]
            assert (image == 0).all() if digit < 0 else (known == image).all(axis=(1, 2)).any()
    counts = (digits >= 0).sum(axis=1)
    assert set(counts) == {1, 2, 3, 4} and set(np.unique(digits)) == {-1, *range(10)}
    assert (digits >= 0).any(axis=0).all() and (digits < 0).any(axis=0).all()
    assert set((painter.scenes("test", 50, 2, 2)[1] >= 0).sum(axis=1)) == {2}


def test_scenes_to_learn_from_are_unsteady_and_of_other_images(painter: _scenes.Painter) -> None:
    parts = [np.concatenate(painter.known[part]) for part in ("train", "test")]
    assert sorted(np.concatenate(parts)) == list(range(len(painter.images)))
    pictures, digits = painter.scenes("train", 200)
    images, there = quarters(pictures), digits >= 0
    assert (images[~there] == 0).all()
    steady = painter.images[parts[0], 1:9, 1:9].reshape(-1, 64)
    nearest = [((steady - image.ravel()) ** 2).sum(axis=1).min() for image in images[there][:50]]
    assert min(nearest) > 0.1


def test_the_eye_sees_every_quarter_by_the_same_weights(painter: _scenes.Painter) -> None:
    eye, (pictures, _) = _scenes.Eye(5).eval(), painter.scenes("test", 3)
    seen = eye(pictures).detach().numpy()
    assert seen.shape == (4, 3, 5)
    assert np.array_equal(eye.whole(pictures).detach().numpy(), np.hstack(list(seen)))
    moved = np.roll(pictures, 8, axis=2)  # left and right change places
    assert np.allclose(eye(moved).detach().numpy(), seen[[1, 0, 3, 2]], atol=1e-6)


def test_a_scene_is_described() -> None:
    assert caption.describe([3, -1, -1, 8]) == "a three is above and left of an eight"
    assert caption.describe([-1, 3, 0, -1]) == "a three is above and right of a zero"
    assert caption.describe([-1, 3, -1, 0]) == "a three is above a zero"
    assert caption.describe([9, 1, -1, -1]) == "a nine is left of a one"


def test_questions_have_the_right_answers() -> None:
    rng = np.random.default_rng(0)
    found = {question.ask(SCENE, rng) for _ in range(2000)}
    answers = dict(found)
    assert len(answers) == len(found), "one answer to each question"
    assert answers.pop("how many digits are there ?") == "three"
    assert answers.pop("which is the largest ?") == "eight"
    places = {"top left": "three", "top right": "nothing", "bottom left": "seven",
              "bottom right": "eight"}  # fmt: skip
    for place, digit in places.items():
        assert answers.pop(f"what is {place} ?") == digit
    ways = {"right of the three": "nothing", "below the three": "seven", "above the seven": "three",
            "right of the seven": "eight", "left of the eight": "seven",
            "above the eight": "nothing"}  # fmt: skip
    for way, digit in ways.items():
        assert answers.pop(f"what is {way} ?") == digit
    for digit, word in enumerate(_scenes.DIGITS):
        a = "an" if word == "eight" else "a"
        assert answers.pop(f"is there {a} {word} ?") == ("yes" if digit in SCENE else "no")
    assert not answers


def test_later_questions_refer_to_the_earlier_ones() -> None:
    rng = np.random.default_rng(0)
    talks = [dialog.talk(SCENE, rng) for _ in range(500)]
    said = {tuple(question for question, _ in talk): [a for _, a in talk] for talk in talks}
    found = said["what is top left ?", "and below it ?", "and right of that ?"]
    assert found == ["three", "seven", "eight"]
    found = said["what is bottom left ?", "and right of it ?", "is that larger ?"]
    assert found == ["seven", "eight", "yes"]
    found = said["what is bottom right ?", "and above it ?", "is that larger ?"]
    assert found == ["eight", "nothing", "no"]
