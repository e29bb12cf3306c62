import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError, NaNError, TraceError
from tinygrad_rnn.optim import clip_grad_norm_, clip_grad_value_

ARRAYS = st.lists(
    hnp.arrays(
        np.float64,
        hnp.array_shapes(max_dims=2, max_side=3),
        elements=st.floats(-1e3, 1e3, allow_subnormal=False),
    ),
    min_size=1,
    max_size=3,
)


def with_gradients(arrays):
    params = []
    for g in arrays:
        p = tg.tensor(np.zeros_like(g), requires_grad=True)
        p.grad = tg.tensor(g)
        params.append(p)
    return params


def flat(params):
    return np.concatenate([p.grad.numpy().ravel() for p in params])


@given(ARRAYS, st.floats(0, 1e4))
def test_e5_norm_at_most_max_direction_kept(arrays, max_norm):
    params = with_gradients(arrays)
    before = flat(params)
    norm = clip_grad_norm_(params, max_norm)
    after = flat(params)
    np.testing.assert_allclose(norm.item(), np.linalg.norm(before), rtol=1e-12, atol=1e-150)
    assert np.linalg.norm(after) <= max_norm * (1 + 1e-12)
    # same direction: after = factor * before, 0 <= factor <= 1
    np.testing.assert_allclose(
        after * np.linalg.norm(before), before * np.linalg.norm(after), rtol=1e-9, atol=1e-9
    )


@given(ARRAYS)
def test_e5_below_the_limit_no_bit_changes(arrays):
    params = with_gradients(arrays)
    before = flat(params)
    clip_grad_norm_(params, np.linalg.norm(before) + 1e-3)
    assert flat(params).tobytes() == before.tobytes()


def test_e5_norm_zero():
    params = with_gradients([np.zeros(3), np.array(-0.0)])
    assert clip_grad_norm_(params, 0.0).item() == 0.0
    assert clip_grad_norm_(params, 1.0).item() == 0.0
    assert flat(params).tolist() == [0.0] * 4


def test_e5_infinite_and_nan_norms():
    params = with_gradients([np.array([np.inf, 1.0]), np.array([2.0])])
    assert clip_grad_norm_(params, 1.0).item() == np.inf
    np.testing.assert_array_equal(flat(params), [np.nan, 0.0, 0.0])
    params = with_gradients([np.array([np.nan, 1.0]), np.array([2.0])])
    assert np.isnan(clip_grad_norm_(params, 1.0).item())
    assert np.isnan(flat(params)).all()


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_error_if_nonfinite_changes_nothing(bad):
    params = with_gradients([np.array([bad, 1.0])])
    with pytest.raises(NaNError, match="total norm"):
        clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(flat(params), [bad, 1.0])


def test_several_dtypes_and_half_precision():
    params = [
        tg.tensor(np.zeros(4, "float16"), requires_grad=True),
        tg.tensor(np.zeros(2, "float32"), requires_grad=True),
    ]
    params[0].grad = tg.tensor(np.full(4, 300, "float16"))  # its square is no float16
    params[1].grad = tg.tensor(np.full(2, 1, "float32"))
    norm = clip_grad_norm_(params, 1.0)
    assert norm.dtype == "float32" and norm.item() == pytest.approx(600.0017)
    assert [p.grad.dtype.name for p in params] == ["float16", "float32"]
    np.testing.assert_allclose(params[0].grad.numpy(), 0.5, rtol=1e-3)


def test_no_gradients_and_tied_weights():
    p = tg.tensor([1.0], requires_grad=True)
    assert clip_grad_norm_([p], 1.0).item() == 0.0
    p.grad = tg.tensor([4.0])
    assert clip_grad_norm_([p, p], 1.0).item() == 4.0
    assert p.grad.item() == pytest.approx(1.0)
    clip_grad_value_(p, 0.25)
    assert p.grad.item() == 0.25


def test_bad_arguments():
    p = with_gradients([np.ones(1)])
    for call in (
        lambda: clip_grad_norm_(p, -1),
        lambda: clip_grad_norm_(p, float("nan")),
        lambda: clip_grad_norm_(p, 1, norm_type=0),
        lambda: clip_grad_value_(p, -1),
    ):
        with pytest.raises(ArgumentError):
            call()


def test_clipping_compiles():
    p = tg.tensor(np.zeros(2), requires_grad=True)

    @tg.jit
    def clipped(g):
        p.grad = g
        norm = clip_grad_norm_([p], 1.0)
        return norm, p.grad

    for g in ([3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [np.nan, 1.0]):
        norm, after = clipped(tg.tensor(np.array(g)))
        q = tg.tensor(np.zeros(2), requires_grad=True)
        q.grad = tg.tensor(np.array(g))
        assert norm.numpy().tobytes() == clip_grad_norm_([q], 1.0).numpy().tobytes()
        assert after.numpy().tobytes() == q.grad.numpy().tobytes()


def test_looking_at_values_does_not_compile():
    p = tg.tensor(np.zeros(2), requires_grad=True)

    @tg.jit
    def clipped(g):
        p.grad = g
        return clip_grad_norm_([p], 1.0, error_if_nonfinite=True)

    with pytest.raises(TraceError, match="error_if_nonfinite"):
        clipped(tg.tensor(np.ones(2)))
