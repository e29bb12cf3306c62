import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data import Vocabulary
from tinygrad_rnn.errors import ArgumentError, IndexRangeError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


@given(TEXTS)
def test_characters_come_back(text):
    v = Vocabulary.from_text(text)
    numbers = v.encode(text)
    assert numbers.dtype == np.int64
    assert v.decode(numbers) == text
    assert v.decode(v.encode(text, go=True, eos=True)) == text


@given(st.lists(st.text(st.characters(categories=["L"]), min_size=1, max_size=4), min_size=1))
def test_words_come_back(words):
    v = Vocabulary.from_text(" ".join(words), level="word")
    assert v.decode(v.encode("  ".join(words))) == " ".join(words)


@given(TEXTS)
def test_saved_as_plain_json(text):
    v = Vocabulary.from_text(text, pad="<pad>")
    again = Vocabulary.from_dict(json.loads(json.dumps(v.to_dict())))
    assert again == v and again.tokens == v.tokens and hash(again) == hash(v)


def test_numbers_are_frequency_then_alphabet():
    v = Vocabulary.from_text("bbaac", unk=None, go=None, eos=None)
    assert v.tokens == ("a", "b", "c")
    assert list(v) == ["a", "b", "c"] and len(v) == 3 and "a" in v and v["c"] == 2


def test_numbers_do_not_depend_on_the_hash_seed():
    code = (
        "from tinygrad_rnn.data import Vocabulary;"
        "print(Vocabulary.from_text('the quick brown fox jumps', level='word').tokens)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(outputs) == 1


def test_specials():
    v = Vocabulary.from_tokens(["x", "y"], pad="<pad>")
    assert v.tokens[:4] == ("<unk>", "<go>", "<eos>", "<pad>")
    assert v.encode(["x", "nowhere"], go=True, eos=True).tolist() == [1, 4, 0, 2]
    assert v.decode([1, 4, 0, 3, 2, 5]) == ["x", "<unk>"]
    assert v.decode([1, 4, 2], keep_specials=True) == ["<go>", "x", "<eos>"]
    assert v["nowhere"] == v.special("unk") == 0
    with pytest.raises(ArgumentError, match="without 'pad'"):
        Vocabulary(["x"]).special("pad")


def test_a_special_in_the_text_is_not_listed_twice():
    v = Vocabulary.from_text("a <eos> b <eos>", level="word")
    assert v.tokens.count("<eos>") == 1
    assert v.encode("<eos>").tolist() == [v.special("eos")]


def test_rare_tokens_and_size():
    v = Vocabulary.from_text("aaabbc", min_count=2)
    assert v.tokens[3:] == ("a", "b") and v.encode("c").tolist() == [0]
    assert len(Vocabulary.from_text("aaabbc", max_size=4)) == 4


def test_one_hot():
    v = Vocabulary.from_text("ab", unk=None, go=None, eos=None)
    hot = v.one_hot([[0, 1], [1, 1]])
    assert hot.dtype == np.float32 and hot.shape == (2, 2, 2)
    assert hot.tolist() == [[[1, 0], [0, 1]], [[0, 1], [0, 1]]]
    assert v.one_hot([], dtype="float64").shape == (0, 2)
    with pytest.raises(IndexRangeError, match="0 to 1"):
        v.one_hot([2])


@pytest.mark.parametrize("level", ["char", "word", "token"])
def test_empty_text_is_refused(level):
    with pytest.raises(ArgumentError, match="empty"):
        Vocabulary.from_text("", level=level)


def test_white_space_has_no_words():
    with pytest.raises(ArgumentError, match="empty"):
        Vocabulary.from_text(" \n", level="word")


def test_errors_say_what_to_do():
    with pytest.raises(ArgumentError, match=r"unknown tokens \['z'\]"):
        Vocabulary.from_text("ab", unk=None).encode("az")
    with pytest.raises(ArgumentError, match="more than once"):
        Vocabulary(["a", "a"])
    with pytest.raises(ArgumentError, match="level"):
        Vocabulary(["a"], level="letter")
    with pytest.raises(ArgumentError, match="list of tokens"):
        Vocabulary(["a"]).encode("a")
    with pytest.raises(ArgumentError, match="unknown settings"):
        Vocabulary.from_text("a", stop="x")
    with pytest.raises(ArgumentError, match="no tokens"):
        Vocabulary([], unk=None, go=None, eos=None)
    v = Vocabulary.from_text("ab")
    for bad in (-1, len(v)):
        with pytest.raises(IndexRangeError, match="outside"):
            v.decode([bad])
