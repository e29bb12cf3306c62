import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tinygrad_rnn.data import ContiguousStreams
from tinygrad_rnn.errors import ArgumentError

SIZES = (st.integers(2, 80), st.integers(1, 5), st.integers(1, 9))


@given(*SIZES, st.booleans(), st.booleans())
def test_every_step_is_a_target_once_in_order(n, batch, steps, batch_first, drop_last):
    assume(n >= batch * (steps if drop_last else 1) + 1)
    streams = ContiguousStreams(
        np.arange(n), batch, steps, batch_first=batch_first, drop_last=drop_last
    )
    chunks = list(streams)
    assert len(chunks) == len(streams)
    rows = [(x, y) if batch_first else (x.T, y.T) for x, y in chunks]
    inputs = np.concatenate([x for x, _ in rows], axis=1)
    targets = np.concatenate([y for _, y in rows], axis=1)
    assert (targets == inputs + 1).all()  # one step ahead
    assert (np.diff(inputs, axis=1) == 1).all()  # every stream is contiguous over chunks
    assert all(x.flags.c_contiguous and y.flags.c_contiguous for x, y in chunks)
    length = (n - 1) // batch
    if drop_last:
        length -= length % steps
        assert {x.shape[1] for x, _ in rows} == {steps}
    assert inputs.shape == (batch, length)
    if not drop_last:
        assert sorted(targets.ravel()) == list(range(1, batch * length + 1))


@given(*SIZES, st.data())
def test_resumes_exactly(n, batch, steps, data):
    assume(n > batch)
    whole = [x.tolist() for x, _ in ContiguousStreams(np.arange(n), batch, steps)]
    stop = data.draw(st.integers(0, len(whole)))
    first = ContiguousStreams(np.arange(n), batch, steps)
    seen = []
    for _, (x, _) in zip(range(stop), first, strict=False):
        seen.append(x.tolist())
    if stop == 0:
        assert first.position == 0
    second = ContiguousStreams(np.arange(n), batch, steps)
    second.load_state_dict({**first.state_dict(), "position": stop})
    seen += [x.tolist() for x, _ in second]
    assert seen == whole and (second.epoch, second.position) == (1, 0)


def test_position_counts_what_was_handed_out():
    streams = ContiguousStreams(np.arange(20), 2, 3)
    for k, _ in enumerate(streams, start=1):
        assert streams.position == k
    assert (streams.epoch, streams.position) == (1, 0)
    streams.rewind(5)
    assert (streams.epoch, streams.position) == (5, 0)


def test_features_stay():
    streams = ContiguousStreams(np.zeros((9, 4), "float32"), 2, 3)
    x, y = next(iter(streams))
    assert x.shape == y.shape == (3, 2, 4) and x.dtype == np.float32


def test_errors():
    for empty in ([], np.zeros((0, 3))):
        with pytest.raises(ArgumentError, match="empty"):
            ContiguousStreams(np.array(empty), 1, 1)
    with pytest.raises(ArgumentError, match="expected numbers"):
        ContiguousStreams("some text", 2, 2)
    with pytest.raises(ArgumentError, match="at least 5 are needed"):
        ContiguousStreams([1, 2, 3], 4, 1)
    with pytest.raises(ArgumentError, match="at least 7 are needed"):
        ContiguousStreams([1, 2, 3, 4], 2, 3, drop_last=True)
    with pytest.raises(ArgumentError, match="expected at least 1"):
        ContiguousStreams([1, 2, 3], 0, 1)
    state = ContiguousStreams(np.arange(20), 2, 3).state_dict()
    with pytest.raises(ArgumentError, match="steps: saved 3, here 4"):
        ContiguousStreams(np.arange(20), 2, 4).load_state_dict(state)
    with pytest.raises(ArgumentError, match="sequence: saved"):
        ContiguousStreams(np.arange(1, 21), 2, 3).load_state_dict(state)
