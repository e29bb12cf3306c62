"""Tokens and their numbers.

In: characters, words or any strings. Out: int64 arrays on the host. Knows nothing of tensors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, IndexRangeError

Array = np.ndarray[Any, np.dtype[Any]]
_JOINERS = {"char": "", "word": " "}
_SPECIALS = ("unk", "go", "eos", "pad")


class Vocabulary:
    """A two-way table of tokens and numbers 0, 1, ..., special tokens first.

    `unk` stands for unknown tokens, `go` and `eos` begin and end a sequence, `pad` fills up; each
    may be None. `level` says how text is split: "char", "word" (at white space) or "token" (never).

    >>> v = Vocabulary.from_text("to be or not to be", level="word")
    >>> v.tokens
    ('<unk>', '<go>', '<eos>', 'be', 'to', 'not', 'or')
    >>> v.encode("to see", eos=True)
    array([4, 0, 2])
    >>> v.decode([1, 4, 3, 2])
    'to be'
    """

    def __init__(
        self,
        tokens: Iterable[str],
        *,
        level: str = "token",
        unk: str | None = "<unk>",
        go: str | None = "<go>",
        eos: str | None = "<eos>",
        pad: str | None = None,
    ):
        if level not in ("char", "word", "token"):
            raise ArgumentError(f"Vocabulary: level is {level!r}, expected char, word or token.")
        self.level = level
        self.specials = dict(zip(_SPECIALS, (unk, go, eos, pad), strict=True))
        special = [t for t in self.specials.values() if t is not None]
        self.tokens = tuple(special) + tuple(t for t in tokens if t not in set(special))
        self._index = {token: i for i, token in enumerate(self.tokens)}
        if len(self._index) != len(self.tokens):
            twice = [t for t, n in Counter(self.tokens).items() if n > 1]
            raise ArgumentError(f"Vocabulary: the tokens {twice[:8]} are given more than once.")
        if not self.tokens:
            raise ArgumentError("Vocabulary: there are no tokens.")

    @classmethod
    def from_text(
        cls,
        text: str,
        *,
        level: str = "char",
        min_count: int = 1,
        max_size: int | None = None,
        **specials: str | None,
    ) -> Vocabulary:
        """The characters or words of a text. Errors: ArgumentError (empty text)."""
        tokens = text if level == "char" else text.split()
        return cls.from_tokens(
            tokens, level=level, min_count=min_count, max_size=max_size, **specials
        )

    @classmethod
    def from_tokens(
        cls,
        tokens: Iterable[str],
        *,
        level: str = "token",
        min_count: int = 1,
        max_size: int | None = None,
        **specials: str | None,
    ) -> Vocabulary:
        """The tokens that occur at least `min_count` times, the most frequent first.

        Ties go by alphabet, so the numbers do not depend on anything but the counts. `max_size` is
        the size of the whole table, special tokens included. Errors: ArgumentError (no tokens).
        """
        counts = Counter(tokens)
        if not counts:
            raise ArgumentError("Vocabulary: the text is empty, so there is nothing to number.")
        if unknown := set(specials) - set(_SPECIALS):
            raise ArgumentError(f"Vocabulary: unknown settings {sorted(unknown)}.")
        defaults: dict[str, str | None] = {
            "unk": "<unk>",
            "go": "<go>",
            "eos": "<eos>",
            "pad": None,
        }
        chosen = {**defaults, **specials}
        special = {t for t in chosen.values() if t is not None}
        frequent = [t for t, n in counts.items() if n >= min_count and t not in special]
        frequent.sort(key=lambda token: (-counts[token], token))
        if max_size is not None:
            frequent = frequent[: max(0, max_size - len(special))]
        return cls(frequent, level=level, **chosen)

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._index

    def __iter__(self) -> Iterator[str]:
        return iter(self.tokens)

    def __getitem__(self, token: str) -> int:
        """The number of a token; that of `unk` if it is not in the table."""
        return int(self.encode([token])[0])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.tokens, self.level))

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} tokens, level={self.level!r}: {list(self.tokens[:8])}...)"

    def special(self, name: str) -> int:
        """The number of a special token: "unk", "go", "eos" or "pad"."""
        token = self.specials.get(name)
        if token is None:
            raise ArgumentError(f"Vocabulary: this one was made without {name!r}.")
        return self._index[token]

    def encode(self, text: str | Sequence[str], *, go: bool = False, eos: bool = False) -> Array:
        """Numbers (int64) of a text, or of a sequence of tokens; `go`, `eos` are put around them.

        Errors: ArgumentError (an unknown token, and the vocabulary has no `unk`).
        """
        if self.level == "token" and isinstance(text, str):
            raise ArgumentError(
                f"Vocabulary.encode: got the string {text[:20]!r}, expected a list of tokens "
                "(this vocabulary has level='token')."
            )
        tokens = text.split() if self.level == "word" and isinstance(text, str) else text
        if self.specials["unk"] is None:
            if missing := sorted({t for t in tokens if t not in self._index}):
                raise ArgumentError(
                    f"Vocabulary.encode: unknown tokens {missing[:8]}, and there is no 'unk'."
                )
            numbers = [self._index[t] for t in tokens]
        else:
            unk = self.special("unk")
            numbers = [self._index.get(t, unk) for t in tokens]
        before = [self.special("go")] if go else []
        after = [self.special("eos")] if eos else []
        return np.array(before + numbers + after, np.int64)

    def decode(self, numbers: Iterable[int], *, keep_specials: bool = False) -> Any:
        """Text (levels "char", "word") or a list of tokens; stops at `eos`, drops the specials.

        `unk` stays visible. Errors: IndexRangeError (a number outside the table).
        """
        tokens = []
        hidden = {self.specials["go"], self.specials["pad"]}
        for number in np.asarray(list(numbers), np.int64).ravel().tolist():
            if not 0 <= number < len(self.tokens):
                raise IndexRangeError(
                    f"Vocabulary.decode: number {number} is outside 0 to {len(self.tokens) - 1}."
                )
            token = self.tokens[number]
            if not keep_specials and token == self.specials["eos"]:
                break
            if keep_specials or token not in hidden:
                tokens.append(token)
        return tokens if self.level == "token" else _JOINERS[self.level].join(tokens)

    def one_hot(self, numbers: Any, dtype: Any = np.float32) -> Array:
        """Numbers [...] -> vectors [..., len(self)] with a single 1.

        Errors: IndexRangeError (a number outside the table).
        """
        index = np.asarray(numbers)
        if index.size and not (0 <= index.min() and index.max() < len(self)):
            raise IndexRangeError(
                f"Vocabulary.one_hot: numbers {index.min()} to {index.max()}, "
                f"expected 0 to {len(self) - 1}."
            )
        return np.asarray(index[..., None] == np.arange(len(self)), dtype)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain data: it fits into the `extra` of a checkpoint, or into JSON."""
        return {"tokens": list(self.tokens), "level": self.level, **self.specials}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Vocabulary:
        """The inverse of `to_dict`."""
        return cls(**{**data, "tokens": data["tokens"]})
