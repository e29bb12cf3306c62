"""Splice junctions for dna.py: letters around the places where exons and introns meet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _common import check_known, need, read_text

CLASSES = ["EI", "IE", "N"]
ANY = "NDRSYKMWBHV"  # one of several letters


def read_junctions(path: str, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Letters int[N,60] (4: uncertain) and classes int[N] of training, and those of the test.

    The file has sequences twice; here each counts once, so none is both learned and tested.
    """
    lines = sorted(
        {tuple(line.split()) for line in read_text(Path(path), "--junctions").splitlines()}
    )
    if any(len(line) != 2 or len(line[1]) != len(lines[0][1]) for line in lines):
        raise SystemExit(f"--junctions {path}: every line needs a class and equally many letters")
    check_known((name for name, _ in lines), CLASSES, f"--junctions {path}", str(CLASSES))
    check_known("".join(text for _, text in lines), "ACGT" + ANY, f"--junctions {path}", "DNA")
    x = np.array([["ACGT".find(c) % 5 for c in text] for _, text in lines])
    y = np.array([CLASSES.index(name) for name, _ in lines])
    order, test = rng.permutation(len(x)), len(x) // 5
    return x[order[test:]], y[order[test:]], x[order[:test]], y[order[:test]]


def weigh_places(x, y, x_test, y_test) -> tuple[str, float]:
    """The better of two classifiers that weigh each letter at each place."""
    linear, bayes = need("sklearn.linear_model", "scikit-learn"), need("sklearn.naive_bayes")
    models = {
        "logistic regression": linear.LogisticRegression(C=0.1, max_iter=1000),
        "letter frequencies": bayes.BernoulliNB(),
    }
    seen, asked = (np.eye(5)[letters].reshape(len(letters), -1) for letters in (x, x_test))
    scores = {name: model.fit(seen, y).score(asked, y_test) for name, model in models.items()}
    return max(scores.items(), key=lambda item: item[1])
