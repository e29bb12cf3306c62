"""The language examples: their readers by hand, and a clear message for what cannot be read."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from examples_folder import load

import tinygrad_rnn as tg

names, pos = load("names_in_text"), load("part_of_speech")
translate, sentiment = load("translate"), load("sentiment")
pairs, plays = load("_pairs"), load("_plays")

PLAY = """THE PLAY

PERSONS REPRESENTED.

HAMLET, Prince of Denmark.
LADY MACBETH.
Yorick, a Fool.
Servants and Lords.

ACT I.

SCENE I.

HAMLET.
Alas, poor Yorick! I knew him,
Horatio: a fellow. [Exit Macbeth]
Where be your gibes, servants?

[Enter Yorick.]

"""


def test_a_play_is_its_cast_and_its_sentences() -> None:
    cast, sentences = plays.read_play(PLAY)
    assert cast == {"hamlet", "macbeth", "yorick", "servants", "lords"}
    assert [[word for word, _ in s] for s in sentences] == [
        ["Alas", ",", "poor", "Yorick", "!", "I", "knew", "him", ",", "Horatio", ":", "a",
         "fellow", "."],
        ["Where", "be", "your", "gibes", ",", "servants", "?"],
    ]  # fmt: skip
    assert [word for word, first in sentences[0] if first] == ["Alas", "Horatio"]
    assert plays.read_play("no cast at all") == (set(), [])


def test_all_places_of_a_word_vote_together() -> None:
    sentences = [[("Ann", True), ("a", False)], [("Ann's", False), ("ann", False)]]
    voted = names.vote(sentences, [np.array([3.0, -1.0]), np.array([-1.0, -5.0])])
    assert [v.tolist() for v in voted] == [[1.0, -1.0], [1.0, -5.0]]


def test_corpora_of_both_kinds() -> None:
    conllu = (
        "# text\n1\tBir\tbir\tDET\tDT\t_\n2-3\tx\t_\t_\t_\t_\n2\tgün\tgün\tNOUN\t_\t_\n\n"
        "1\tGel\t_\tV\tVB\t_\n\n"
    )
    assert pos.read_corpus(conllu) == [[("Bir", "DT"), ("gün", "NOUN")], [("Gel", "VB")]]
    assert pos.read_corpus("The/DT 1/2/CD dog/NN\n\n//SYM") == [
        [("The", "DT"), ("1/2", "CD"), ("dog", "NN")],
        [("/", "SYM")],
    ]
    train = [[("a", "X"), ("A", "Y"), ("a", "Y"), ("b", "Z"), ("c", "Z")]]
    assert pos.most_frequent_tag(train, [[("A", "?"), ("b", "?"), ("new", "?")]]) == ["Y", "Z", "Y"]


def test_dates_and_numbers_are_what_they_say() -> None:
    pytest.importorskip("babel")
    pytest.importorskip("num2words")
    found = {
        "".join(text): "".join(digits)
        for text, digits in pairs.dates(400, np.random.default_rng(1))
    }
    assert len(found) == 400
    days = {t: d for t, d in found.items() if d.count("-") == 2}
    assert 280 < len(days) < 360
    for text, digits in days.items():
        year, _, day = digits.split("-")
        assert year in text and str(int(day)) in text
    assert all(0 <= int(d) < 10_000 for t, d in found.items() if t not in days)


def test_verses_of_a_sword_module(tmp_path: Path) -> None:
    verses = ["", "<w>In</w> the beginning <note>not this</note>", "¶ God", "said", ""]
    for name in ("engKJV2006eb", "spaRV1909eb"):
        (tmp_path / name).mkdir()
        for part in ("ot", "nt"):
            text = "".join(verses).encode()
            packed = zlib.compress(text)
            base = tmp_path / name / part
            base.with_suffix(".bzz").write_bytes(b"???" + packed)
            base.with_suffix(".bzs").write_bytes(struct.pack("<III", 3, len(packed), len(text)))
            rows, at = b"", 0
            for verse in verses:
                rows += struct.pack("<IIH", 0, at, len(verse.encode()))
                at += len(verse.encode())
            base.with_suffix(".bzv").write_bytes(rows)
    assert (
        pairs.read_module(tmp_path / "engKJV2006eb")
        == ["", "In the beginning", "God", "said", ""] * 2
    )
    found = pairs.verses(str(tmp_path), 10, np.random.default_rng(0))
    assert len(found) == 6 and (["god"], ["god"]) in found


def test_the_nearest_text() -> None:
    known = [(list("cat"), ["K"]), (list("category"), ["L"]), (list("dog"), ["D"])]
    assert translate.nearest(known, [list("cats"), list("dig"), list("?")]) == [["K"], ["D"], ["K"]]


def refused(module: object, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        module.main(["--quick", "--backend", "numpy", *arguments])
    return str(stopped.value)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    out, gone = ["--out", str(tmp_path / "out")], str(tmp_path / "gone")
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    assert "needs at least two plays" in refused(names, "--plays", gone, *out)
    assert "empty.txt: is empty" in refused(names, "--plays", str(tmp_path), *out)
    assert "gone: cannot be read" in refused(pos, "--corpus", gone, *out)
    empty.write_text("no tags here")
    assert "has 0 tagged sentences" in refused(pos, "--corpus", str(empty), *out)
    assert "apt install sword-text-kjv" in refused(translate, "--bible", gone, *out)


def test_an_unknown_kind_of_network_is_refused(tmp_path: Path) -> None:
    said = refused(sentiment, "--kinds", "mean,transformer", "--out", str(tmp_path))
    assert "transformer; choose of last, mean" in said


def test_a_missing_package_is_named() -> None:
    common = load("_common")
    with pytest.raises(SystemExit, match="'nowhere': pip install --no-deps nowhere"):
        common.data_file("nowhere", "x", "pip install --no-deps nowhere")
    with pytest.raises(SystemExit, match="has no file nothing/here"):
        common.data_file("numpy", "nothing/here")


def test_a_hierarchical_network_reads_sentences_of_words() -> None:
    table = sentiment.data.Vocabulary.from_tokens(["good", "food"], go=None, eos=None, pad="<pad>")
    samples = sentiment.prepare("hierarchical", ["Good food. Bad!", "..."], table)
    x, lengths, y, inner = sentiment.arrange([(s, True) for s in samples])
    assert x.shape == (8, sentiment.WORDS, 2) and lengths.tolist() == [2, 1]
    assert inner[:2].tolist() == [[2, 1], [2, 0]] and y.tolist() == [1, 1]
    model = sentiment.Reader("hierarchical", np.eye(4, dtype=np.float32), 3)
    assert model(tg.tensor(x), lengths, inner)[0].shape == (2,)
