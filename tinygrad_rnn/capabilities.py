"""What a backend says of itself, as data.

In: facts that its author writes down. Out: the same facts. The conformance suite
(`tinygrad_rnn.testing`) holds the backend to them: what is claimed must be so, what is refused must
be refused by an error that says why, and what is left out is listed as skipped, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from .types import DTYPES

#: Promises that a backend may give up, by naming them in `lacks` with a reason.
FEATURES: Mapping[str, str] = MappingProxyType(
    {
        "index errors": "an index out of range raises IndexRangeError",
        "subnormals": "numbers below the smallest normal one are kept",
        "signed zeros": "-0.0 is told from 0.0",
        "threads": "several threads may use the backend at once",
        "determinism": "the same program gives the same bits every time",
    }
)


EVERY = tuple(d.name for d in DTYPES)


class Refusal(NamedTuple):
    """Applications of a primitive that the backend refuses with a BackendError.

    `dtypes`: of any operand or result; the error's message contains `message`.
    """

    op: str
    dtypes: tuple[str, ...]
    message: str


class Capabilities(NamedTuple):
    """Data that a backend's class holds as `capabilities`; the default claims everything.

    `dtypes`: names of the dtypes that it holds; `put` refuses any other with a BackendError.
    `lacks`: a primitive without a kernel, or one of `FEATURES` -> why. `refuses`: applications that
    are refused although there is a kernel. `ulps`: by dtype, how far a result may be from the exact
    one, in units of the last place, beyond eight times the error of NumPy's own result.

    >>> Capabilities(dtypes=("bool", "int32", "float32"), lacks={"erf": "not in the library"}).lacks
    {'erf': 'not in the library'}
    """

    dtypes: tuple[str, ...] = EVERY
    lacks: Mapping[str, str] = MappingProxyType({})
    refuses: tuple[Refusal, ...] = ()
    ulps: Mapping[str, float] = MappingProxyType({})
