"""Strategies of primitives with valid inputs."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from ...extend import Elementwise, primitives
from ..calls import PrimitiveCall, callable_primitives, dtypes_of, make_call
from ..layouts import LAYOUTS
from .arrays import SEEDS
from .types import broadcastable_shapes


@st.composite
def primitive_calls(
    draw: st.DrawFn,
    *,
    names: Sequence[str] | None = None,
    dtypes: Sequence[str] | None = None,
    layouts: Sequence[str] = LAYOUTS,
    vary_shapes: bool = True,
    max_size: int = 128,
) -> PrimitiveCall:
    """A primitive with operands and attributes that it accepts.

    Drawn from its declared samples; elementwise primitives get any shapes that broadcast
    (`vary_shapes`). `dtypes`: those that free operands may have, by name (default: all that the
    primitive takes; a primitive that takes none of them is drawn with its own).
    """
    name = draw(st.sampled_from(callable_primitives() if names is None else list(names)))
    op = primitives[name]
    sample = draw(st.sampled_from(op.samples))
    allowed = dtypes_of(name, sample)
    dtype = draw(st.sampled_from([d for d in allowed if dtypes is None or d in dtypes] or allowed))
    count, sizes = len(sample.args), None
    if vary_shapes and issubclass(op, Elementwise) and draw(st.booleans()):
        sizes = draw(broadcastable_shapes(count=count, max_size=max_size))
    how = [draw(st.sampled_from(list(layouts))) for _ in range(count)]
    return make_call(name, sample, dtype, draw(SEEDS), sizes, how)
