"""How good predictions are: accuracy, precision and recall, entities, perplexity, edit distance.

In: predictions and targets as tensors, arrays or lists. Out: numbers. NumPy on the host; nothing
here has a derivative.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .errors import ArgumentError, ShapeError
from .tensor import Tensor
from .types import kind_of

Array = np.ndarray[Any, Any]


def _host(a: Any) -> Array:
    return np.asarray(a.detach().numpy() if isinstance(a, Tensor) else a)


def _pair(what: str, predicted: Any, target: Any, ignore_index: int | None) -> tuple[Array, Array]:
    """Both as flat arrays of class numbers, without the ignored ones."""
    p, t = _host(predicted), _host(target)
    if p.ndim == t.ndim + 1 and p.shape[:-1] == t.shape and kind_of(p.dtype) == "f":
        p = p.argmax(axis=-1)  # scores of the classes
    if p.shape != t.shape:
        raise ShapeError(
            f"{what}: predictions of shape {list(p.shape)} for targets of shape {list(t.shape)}; "
            f"expected equal shapes, or scores with one more axis, the classes."
        )
    kept = np.ones(t.shape, bool) if ignore_index is None else t != ignore_index
    return p[kept], t[kept]


def accuracy(predicted: Any, target: Any, ignore_index: int | None = None) -> float:
    """The share of predictions that are right; nan if there are none.

    predicted [...] are class numbers, or scores [..., C] of which the greatest counts; targets
    [...] that are `ignore_index` are left out.

    >>> accuracy([1, 0, 2, 2], [1, 1, 2, -100], ignore_index=-100)
    0.666...
    """
    p, t = _pair("accuracy", predicted, target, ignore_index)
    return float((p == t).mean()) if t.size else math.nan


def confusion_matrix(
    predicted: Any, target: Any, classes: int, ignore_index: int | None = None
) -> Array:
    """int64[C, C]: how often class j was predicted where i was right.

    >>> confusion_matrix([1, 0, 1], [1, 1, 1], 2).tolist()
    [[0, 0], [1, 2]]
    """
    p, t = _pair("confusion_matrix", predicted, target, ignore_index)
    for name, a in (("prediction", p), ("target", t)):
        if a.size and not (0 <= a.min() and a.max() < classes):
            wrong = a.min() if a.min() < 0 else a.max()
            raise ArgumentError(f"confusion_matrix: a {name} is {wrong}, expected below {classes}.")
    counts = np.bincount((t * classes + p).astype(np.int64), minlength=classes * classes)
    return counts.reshape(classes, classes)


class F1(NamedTuple):
    """precision = right / predicted, recall = right / wanted, f1 = their harmonic mean.

    Each is 0 where nothing was predicted, or nothing was wanted.
    """

    precision: float
    recall: float
    f1: float

    @classmethod
    def of(cls, right: float, predicted: float, wanted: float) -> F1:
        """From counts."""
        precision = right / predicted if predicted else 0.0
        recall = right / wanted if wanted else 0.0
        return cls(precision, recall, 2 * right / (predicted + wanted) if right else 0.0)


def precision_recall_f1(
    predicted: Any, target: Any, positive: int = 1, ignore_index: int | None = None
) -> F1:
    """Precision, recall and F1 of one class against the rest.

    >>> precision_recall_f1([1, 1, 0, 0], [1, 0, 1, 0])
    F1(precision=0.5, recall=0.5, f1=0.5)
    """
    p, t = (a == positive for a in _pair("precision_recall_f1", predicted, target, ignore_index))
    return F1.of(int((p & t).sum()), int(p.sum()), int(t.sum()))


def macro_f1(predicted: Any, target: Any, classes: int, ignore_index: int | None = None) -> float:
    """The mean of the F1 of all classes.

    >>> round(macro_f1([1, 1, 0, 0], [1, 0, 0, 0], 2), 3)
    0.733
    """
    table = confusion_matrix(predicted, target, classes, ignore_index)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    found = [F1.of(table[k, k], columns[k], rows[k]).f1 for k in range(classes)]
    return float(np.mean(found)) if found else math.nan


# --- entities ------------------------------------------------------------------------------------


def entities(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """{(kind, first, end)} of tags B-kind (begins), I-kind (goes on) and O (outside).

    An I after something of another kind begins an entity too, as in CoNLL's evaluation. Bare tags
    "B" and "I" have the kind "". Ramshaw, Marcus, 1995.

    >>> sorted(entities(["B-PER", "I-PER", "O", "I-LOC"]))
    [('LOC', 3, 4), ('PER', 0, 2)]
    """
    found, kind, begin = set(), None, 0
    for i, tag in enumerate([*tags, "O"]):
        letter, _, this = str(tag).partition("-")
        if letter not in ("B", "I", "O"):
            raise ArgumentError(f"entities: tag {tag!r}, expected O, B, I, B-kind or I-kind.")
        if kind is not None and (letter != "I" or this != kind):
            found.add((kind, begin, i))
            kind = None
        if letter != "O" and kind is None:
            kind, begin = this, i
    return found


def entity_f1(predicted: Iterable[Sequence[str]], target: Iterable[Sequence[str]]) -> F1:
    """Precision, recall and F1 of whole entities, over all sentences: kind and both ends count.

    Tjong Kim Sang, De Meulder, 2003, Introduction to the CoNLL-2003 shared task.

    >>> entity_f1([["B-PER", "O", "B-PER"]], [["B-PER", "I-PER", "B-PER"]])
    F1(precision=0.5, recall=0.5, f1=0.5)
    """
    right = said = wanted = 0
    for i, (p, t) in enumerate(zip(predicted, target, strict=True)):
        if len(p) != len(t):
            raise ShapeError(f"entity_f1: sentence {i} has {len(p)} predictions, {len(t)} targets.")
        a, b = entities(p), entities(t)
        right, said, wanted = right + len(a & b), said + len(a), wanted + len(b)
    return F1.of(right, said, wanted)


# --- sequences -----------------------------------------------------------------------------------


def perplexity(nll: Any) -> float:
    """exp of the mean of negative log likelihoods (in nats), one for each token, or their mean.

    >>> round(perplexity([math.log(2), math.log(8)]), 6)
    4.0
    """
    return float(np.exp(np.mean(_host(nll), dtype=np.float64)))


def edit_distance(a: Sequence[Any], b: Sequence[Any]) -> int:
    """The fewest insertions, deletions and substitutions that turn `a` into `b`.

    Levenshtein, 1966; the algorithm is Wagner's and Fischer's, 1974.

    >>> edit_distance("kitten", "sitting")
    3
    """
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        corner, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (x != y))
    return row[-1]


def error_rate(predicted: Iterable[Sequence[Any]], target: Iterable[Sequence[Any]]) -> float:
    """Edit distances over the length of the targets: of words (WER), letters (CER), phonemes (PER).

    nan if all targets are empty. It may exceed 1.

    >>> error_rate(["kitten", "dog"], ["sitting", "dog"])
    0.3
    """
    pairs = list(zip(predicted, target, strict=True))
    wanted = sum(len(t) for _, t in pairs)
    return sum(edit_distance(p, t) for p, t in pairs) / wanted if wanted else math.nan
