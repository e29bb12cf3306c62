import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data import pad_sequences
from tinygrad_rnn.errors import ArgumentError, ShapeError

RAGGED = st.lists(st.lists(st.integers(-9, 9), max_size=6), min_size=1, max_size=6)


@given(RAGGED, st.booleans(), st.integers(6, 8) | st.none())
def test_every_step_is_where_it_belongs(sequences, batch_first, length):
    padded, lengths = pad_sequences(sequences, value=77, batch_first=batch_first, length=length)
    rows = padded if batch_first else padded.T
    assert rows.shape == (len(sequences), length or max(map(len, sequences)))
    assert lengths.tolist() == [len(s) for s in sequences] and lengths.dtype == np.int64
    for row, s in zip(rows.tolist(), sequences, strict=True):
        assert row[: len(s)] == s
        assert set(row[len(s) :]) <= {77}


def test_features_and_dtypes():
    padded, lengths = pad_sequences([np.ones((2, 3), "float32"), np.zeros((0, 3), "float32")])
    assert padded.shape == (2, 2, 3) and padded.dtype == np.float32 and padded.flags.c_contiguous
    assert lengths.tolist() == [2, 0]
    assert pad_sequences([[1], []])[0].dtype == np.int64
    assert pad_sequences([[1.5], [2]], dtype="float16")[0].dtype == np.float16
    assert pad_sequences([[], []])[0].shape == (0, 2)


@given(RAGGED, st.integers(1, 5))
def test_few_shapes(sequences, multiple):
    padded, lengths = pad_sequences(sequences, multiple=multiple)
    assert padded.shape[0] % multiple == 0
    assert 0 <= padded.shape[0] - lengths.max() < multiple


def test_errors():
    with pytest.raises(ArgumentError, match="no sequences"):
        pad_sequences([])
    with pytest.raises(ArgumentError, match="element 1 has 3 steps, length=2"):
        pad_sequences([[1], [1, 2, 3]], length=2)
    with pytest.raises(ShapeError, match="first axis only"):
        pad_sequences([np.ones((2, 3)), np.ones((2, 4))])
    with pytest.raises(ShapeError, match="single number"):
        pad_sequences([[1], 2])
    with pytest.raises(ArgumentError, match="multiple is 0"):
        pad_sequences([[1]], multiple=0)
