"""BackendConformance: the checks as a class of tests for pytest.

In: `CHECKS`. Out: one test method per check, with one parameter per case.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

from ...backend import Backend
from . import checks as checks
from .registry import CHECKS, Check, Level, Skip
from .subject import Subject, missing


class BackendConformance:
    """Everything that a backend must do. In a package with a backend, three lines are its tests:

    ```python
    from tinygrad_rnn.testing import BackendConformance

    class TestMine(BackendConformance):
        backend = "mine"        # its entry point; or a class, or an instance
    ```

    Without a file, `pytest --tgr-backend=mine` runs the same tests, and `python -m
    tinygrad_rnn.testing backend mine --json card.json` runs them without pytest and writes a
    scorecard. A backend whose `missing()` gives a reason is skipped with this reason.

    **What is tested** is generated from the declarations of the primitives (their samples, type
    rules and NumPy references), those of your own included: every primitive in every dtype, size
    and layout. Each test is named after its level, the number of its property (`PROPERTIES` says
    what the numbers mean) and its subject: `test_forward_B3_layouts[add]`. The levels, each with
    those before it:

    0 smoke      the backend is found, has the kernels it claims, keeps every bit, trains a little
    1 forward    values, types, sizes, layouts, special values, integers; compiled programs, their
                 cache keys, their use of memory; random bits; errors
    2 gradients  of every primitive by every road, at ties and singular points, in float32
    3 loops      second derivatives; scan: 0, 1, 2, 7 steps, reversed, nested, ragged with poison
    4 resources  determinism, threads, memory, errors in the middle, the rest of the process

    **What to write first**: a subclass of `tinygrad_rnn.extend.Backend` with `name`, `put`, `get`,
    `empty` and `kernels`, at `level = 1`. Most failures quote one application, the element that is
    wrong and what was expected; `-x` stops at the first, and levels are in the order in which to
    mend things.

    **What a backend cannot do** is data, in its `capabilities`: the dtypes that it holds,
    primitives and promises that it `lacks` (with reasons), applications that it `refuses`, and how
    many `ulps` its results may be off by. What is denied must be refused by a BackendError that
    says so, and is listed as skipped; nothing else is ever skipped silently.

    `level`: how deep to go. `examples`: how many random applications every elementwise primitive
    gets, the same ones in every run; a `seed` draws others.
    """

    backend: ClassVar[str | Backend | type[Backend]]
    level: ClassVar[int] = Level.RESOURCES
    examples: ClassVar[int] = 10
    seed: ClassVar[int | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for check in CHECKS:
            if check.level > cls.level:
                setattr(cls, f"test_{check.name}", None)

    @classmethod
    def subject(cls) -> Subject:
        """The backend under test, made once for each class."""
        which: Any = cls.backend
        return _subject(which, cls.examples, cls.seed)

    @classmethod
    def missing(cls) -> str | None:
        """Why the backend cannot be used here; None if it can."""
        which: Any = cls.backend
        return _missing(which)

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """pytest asks here which cases a test has."""
        import pytest

        check = getattr(metafunc.function, "check", None)
        if check is None or check.cases is None:
            return
        reason = self.missing()
        if reason is None:
            metafunc.parametrize("case", check.names(self.subject()))
        else:
            skipped = pytest.param("", id="all", marks=pytest.mark.skip(reason=reason))
            metafunc.parametrize("case", [skipped])


@functools.cache
def _subject(backend: Any, examples: int, seed: int | None) -> Subject:
    return Subject(backend, examples, seed)


_missing = functools.cache(missing)


def _method(check: Check) -> Callable[..., None]:
    """A check as a test method."""

    def run(self: BackendConformance, case: str = "") -> None:
        import pytest

        reason = self.missing()
        if reason is not None:
            pytest.skip(reason)
        try:
            check(self.subject(), case)
        except Skip as reason:
            pytest.skip(str(reason))

    def one(self: BackendConformance) -> None:
        run(self)

    def each(self: BackendConformance, case: str) -> None:
        run(self, case)

    method: Any = each if check.cases else one
    method.check = check
    method.__name__ = method.__qualname__ = f"test_{check.name}"
    method.__doc__ = check.run.__doc__
    return method  # type: ignore[no-any-return]


for _check in CHECKS:
    setattr(BackendConformance, f"test_{_check.name}", _method(_check))
