"""Metrics against scikit-learn, against definitions tried out, and by hand."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import metrics


@pytest.mark.parametrize("seed", range(4))
def test_classes_against_scikit_learn(seed):
    theirs = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    target, predicted = rng.integers(0, 4, size=(2, 5, 8))
    target[0] = -100
    t, p = target[1:].ravel(), predicted[1:].ravel()
    ignore = {"ignore_index": -100}
    assert metrics.accuracy(predicted, target, **ignore) == theirs.accuracy_score(t, p)
    table = metrics.confusion_matrix(tg.tensor(predicted), target, 4, **ignore)
    assert (table == theirs.confusion_matrix(t, p, labels=range(4))).all()
    options = {"labels": range(4), "zero_division": 0}
    for k in range(4):
        found = metrics.precision_recall_f1(predicted, target, k, **ignore)
        wanted = theirs.precision_recall_fscore_support(t, p, **options)
        assert np.allclose(found, [wanted[i][k] for i in range(3)], atol=1e-15)
    macro = theirs.f1_score(t, p, average="macro", **options)
    assert math.isclose(metrics.macro_f1(predicted, target, 4, **ignore), macro)


def test_accuracy_of_scores():
    rng = np.random.default_rng(0)
    scores, target = rng.normal(size=(6, 3, 5)), rng.integers(0, 5, size=(6, 3))
    assert metrics.accuracy(tg.tensor(scores), target) == (scores.argmax(-1) == target).mean()
    assert math.isnan(metrics.accuracy([], []))
    assert math.isnan(metrics.accuracy([1, 2], [-1, -1], ignore_index=-1))


def test_nothing_found_and_nothing_wanted():
    assert metrics.precision_recall_f1([0, 0], [1, 1]) == (0.0, 0.0, 0.0)
    assert metrics.precision_recall_f1([1, 1], [0, 0]) == (0.0, 0.0, 0.0)
    assert metrics.entity_f1([["O", "O"]], [["O", "O"]]) == (0.0, 0.0, 0.0)


# (tags, entities): beginnings, neighbours, a change of kind, an I that begins, ends at the end
ENTITIES = [
    ("O O", set()),
    ("B-A", {("A", 0, 1)}),
    ("B-A I-A O B-A", {("A", 0, 2), ("A", 3, 4)}),
    ("B-A B-A I-A", {("A", 0, 1), ("A", 1, 3)}),
    ("B-A I-B I-B", {("A", 0, 1), ("B", 1, 3)}),
    ("O I-A I-A B-B", {("A", 1, 3), ("B", 3, 4)}),
    ("I I B O I", {("", 0, 2), ("", 2, 3), ("", 4, 5)}),
    ("", set()),
]


@pytest.mark.parametrize("tags,wanted", ENTITIES)
def test_entities(tags, wanted):
    assert metrics.entities(tags.split()) == wanted


def test_entity_f1_counts_whole_entities_over_all_sentences():
    predicted = ["B-A I-A O B-B", "O B-A", "B-B I-B"]
    target = ["B-A I-A O B-A", "O B-A", "B-B B-B"]
    found = metrics.entity_f1([p.split() for p in predicted], [t.split() for t in target])
    assert found == metrics.F1(2 / 4, 2 / 5, 4 / 9)


@pytest.mark.parametrize("seed", range(5))
def test_edit_distance_against_its_definition(seed):
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(0, 3, size=rng.integers(0, 8)).tolist() for _ in "ab")

    @functools.cache
    def distance(i, j):
        if i == 0 or j == 0:
            return i + j
        return min(
            distance(i - 1, j) + 1,
            distance(i, j - 1) + 1,
            distance(i - 1, j - 1) + (a[i - 1] != b[j - 1]),
        )

    assert metrics.edit_distance(a, b) == distance(len(a), len(b)) == metrics.edit_distance(b, a)


def test_rates():
    assert metrics.error_rate([["a"], []], [["b", "c"], ["d"]]) == 1.0
    assert metrics.error_rate([[]], [[1, 2]]) == 1.0
    assert math.isnan(metrics.error_rate([[1]], [[]]))
    assert math.isclose(metrics.perplexity(tg.tensor(np.log([4.0, 4.0]))), 4.0)


def test_refusals():
    with pytest.raises(tg.errors.ShapeError, match=r"predictions of shape \[2\].*\[3\]"):
        metrics.accuracy([1, 2], [1, 2, 3])
    with pytest.raises(tg.errors.ArgumentError, match=r"a target is 3, expected below 3"):
        metrics.confusion_matrix([1], [3], 3)
    with pytest.raises(tg.errors.ArgumentError, match=r"a prediction is -1"):
        metrics.confusion_matrix([-1], [2], 3)
    with pytest.raises(tg.errors.ArgumentError, match=r"tag 'PER'"):
        metrics.entities(["PER"])
    with pytest.raises(tg.errors.ShapeError, match=r"sentence 0 has 1 predictions, 2 targets"):
        metrics.entity_f1([["O"]], [["O", "O"]])
