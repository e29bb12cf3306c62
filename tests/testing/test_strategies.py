"""Strategies: what they draw is valid, quick to draw, never thrown away, and prints as code."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.testing import LAYOUTS, lay_out
from tinygrad_rnn.testing import strategies as tst

#: Every public strategy with its default arguments.
STRATEGIES: dict[str, Any] = {
    name: getattr(tst, name)() for name in tst.__all__ if callable(getattr(tst, name))
}
QUICK = dict(deadline=None, database=None, derandomize=True)


@pytest.mark.parametrize("name", STRATEGIES)
def test_draws_are_quick_and_none_is_thrown_away(name: str) -> None:
    """At most 5 % are rejected, and a draw takes less than 2 ms of this process's time."""
    drawn, rejected, seconds = 0, 0, 0.0

    @settings(max_examples=150, suppress_health_check=list(HealthCheck), **QUICK)
    @given(st.data())
    def count(data: Any) -> None:
        nonlocal drawn, rejected, seconds
        begin = time.process_time()
        try:
            data.draw(STRATEGIES[name])
        finally:
            # Hypothesis also stops draws that it has begun for reasons of its own
            rejected += data.conjecture_data.status.name == "INVALID"
        seconds += time.process_time() - begin
        drawn += 1

    gc.collect()
    gc.disable()  # what other tests have left behind is not to be paid for here
    try:
        count()
    finally:
        gc.enable()
    assert drawn >= 5 and rejected <= 0.05 * (drawn + rejected)
    assert seconds / drawn < 2e-3


@settings(max_examples=200, **QUICK)
@given(tst.primitive_calls())
def test_calls_are_valid_and_their_reference_has_the_type_of_the_rule(call: Any) -> None:
    for t, y in zip(call.types(), call.reference(), strict=True):
        assert (y.shape, y.dtype) == (t.shape, t.dtype.np), call


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_keep_the_values_and_are_what_they_say(layout: str) -> None:
    for shape in ((), (3,), (2, 0), (4, 3), (2, 1, 5)):
        for dtype in ("f8", "f4", "i8", "?"):
            values = (np.arange(np.prod(shape, dtype=int)).reshape(shape) % 5).astype(dtype)
            out = lay_out(values, layout)
            assert out.shape == shape and out.dtype.newbyteorder("=") == np.dtype(dtype)
            if layout == "broadcast":
                values = np.broadcast_to(values[:1] if shape else values, shape)
            assert np.array_equal(out, values)
    values = np.arange(12.0).reshape(4, 3)
    out = lay_out(values, layout)
    flags = out.flags
    assert {
        "C": flags.c_contiguous,
        "F": flags.f_contiguous,
        "strided": out.strides == (112, 16) and np.isnan(out.base).any(),
        "negative": out.strides == (-24, -8),
        "broadcast": out.strides == (0, 8),
        "readonly": not flags.writeable,
        "unaligned": not flags.aligned,
        "big-endian": not out.dtype.isnative,
    }[layout]


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(tg.ArgumentError, match="no layout 'G'"):
        lay_out(np.zeros(2), "G")


def test_tensors_are_known_to_hypothesis() -> None:
    @settings(max_examples=20, **QUICK)
    @given(st.from_type(tg.Tensor))
    def check(x: tg.Tensor) -> None:
        assert isinstance(x, tg.Tensor)

    check()


@settings(max_examples=60, **QUICK)
@given(tst.broadcastable_shapes(count=3))
def test_shapes_broadcast(shapes: Any) -> None:
    assert len(shapes) == 3 and np.prod(np.broadcast_shapes(*shapes), dtype=int) <= 256


@settings(max_examples=60, **QUICK)
@given(tst.arrays(dtype=tg.float32, shape=(4, 5), special=True, layout="C"))
def test_special_values_come_when_asked_for(x: Any) -> None:
    assert x.dtype == np.float32 and x.shape == (4, 5)
    ordinary = np.abs(x[np.isfinite(x)]) <= 2
    assert (~ordinary).sum() <= 2


def test_without_hypothesis_only_strategies_are_missing_and_say_so() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import numpy as np, tinygrad_rnn as tg\n"
        "from tinygrad_rnn import testing\n"
        "assert testing.check_grads(tg.sin, [np.ones(2)]).checked == 6\n"
        "from tinygrad_rnn.testing.__main__ import main\n"
        "assert main(['fuzz', '--graphs', '2']) == 0\n"
        "try: testing.strategies\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 'pip install "tinygrad_rnn[testing]"' in done.stdout.splitlines()[-1]
