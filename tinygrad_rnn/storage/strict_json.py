"""JSON from a stranger: every limit is checked before the parser does any work that could hurt.

In: bytes or text. Out: dicts, lists, strings and small integers. Knows nothing of tensors.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, NoReturn

from ..errors import CheckpointError

# Possessive, and content with a missing quote at the end: linear time on any input.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_BRACKET = re.compile(r"[^\[\]{}]+")
_MAX_DIGITS = 20  # 2**64 has 20


def parse(data: bytes | str, what: str, *, max_depth: int) -> Any:
    """Parse JSON without floats, duplicate keys, huge integers or deep nesting.

    Errors: CheckpointError, whose message starts with `what`.

    >>> parse('{"a": [1, 2]}', "header", max_depth=2)
    {'a': [1, 2]}
    """

    def refuse(problem: str) -> NoReturn:
        raise CheckpointError(f"{what} {problem}.")

    def number(text: str) -> int:
        if (digits := len(text.lstrip("-"))) > _MAX_DIGITS:
            refuse(f"holds an integer of {digits} digits, at most {_MAX_DIGITS} are allowed")
        return int(text)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
            refuse(f"holds the key {twice[:80]!r} twice")
        return result

    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{what} is not UTF-8 text ({error.reason}).") from error
    if (depth := _depth(text)) > max_depth:
        refuse(f"is nested {depth} levels deep, at most {max_depth} are allowed")
    try:
        return json.loads(
            text,
            object_pairs_hook=unique,
            parse_int=number,
            parse_float=lambda t: refuse(f"holds the number {t[:40]}, only integers are allowed"),
            parse_constant=lambda t: refuse(f"holds {t}, which is not JSON"),
        )
    except json.JSONDecodeError as error:
        raise CheckpointError(
            f"{what} is not valid JSON ({error.msg} at character {error.pos})."
        ) from error


def _depth(text: str) -> int:
    """Deepest nesting of brackets outside strings; linear time, no recursion."""
    level = deepest = 0
    for bracket in _NOT_BRACKET.sub("", _STRING.sub("", text)):
        level += 1 if bracket in "[{" else -1
        deepest = max(deepest, level)
    return deepest
