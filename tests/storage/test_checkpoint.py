"""A checkpoint brings everything back bit for bit."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import FIXTURE_IS_FINE, Model, Run, bits, equal

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError, DTypeError

# --- coming back -----------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [0, 1, 5, 9])
def test_a_resumed_run_is_the_same_run(path, stop):
    reference = Run()
    whole = reference.take(12)
    first = Run()
    losses = first.take(stop)
    tg.save_checkpoint(path, **first.parts(), extra={"losses": losses})
    saved = first.everything()
    first.take(3)  # must not change what was saved
    second = Run(seed=5, lr=0.9)
    second.loader.rewind()
    extra = tg.load_checkpoint(path, **second.parts())
    assert second.everything() == saved
    assert extra == {"losses": losses}
    assert extra["losses"] + second.take(12 - stop) == whole
    assert second.everything() == reference.everything()


def test_every_bit_of_every_dtype(path):
    nan = np.array([0x7FC00001, 0xFFC12345, 0x80000000, 1], np.uint32).view(np.float32)
    arrays = {
        "nan": nan,
        "half": np.array([np.nan, -0.0, 6e-8, 65504], np.float16),
        "double": np.array([5e-324, -np.inf, 1 / 3]),
        "flags": np.array([True, False]),
        "big": np.array([2**64 - 1], np.uint64),
        "small": np.array([-128], np.int8),
        "empty": np.zeros((0, 3), np.float32),
        "scalar": np.array(7, np.int32),
    }
    source, target = Model(**arrays), Model(**{k: np.ones_like(v) for k, v in arrays.items()})
    tg.save_checkpoint(path, model=source)
    tg.load_checkpoint(path, model=target)
    for name, t in source.tensors.items():
        assert bits(target.tensors[name]) == bits(t)


EXTRAS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64) + 1, 2**64 - 1)
    | st.floats()
    | st.text(max_size=5),
    lambda x: (
        st.lists(x, max_size=3)
        | st.tuples(x, x)
        | st.dictionaries(st.text(max_size=3) | st.integers(-5, 5), x, max_size=3)
    ),
    max_leaves=8,
)


@FIXTURE_IS_FINE
@given(st.dictionaries(st.text(max_size=3), EXTRAS))
def test_extras_keep_value_and_type(path, extra):
    tg.save_checkpoint(path, extra=extra)
    assert equal(tg.load_checkpoint(path), extra)


def test_extras_may_hold_tensors_arrays_and_numpy_numbers(path):
    extra = {"t": tg.tensor([1.0]), "a": np.arange(3), "i": np.int64(4), "f": np.float32(0.1)}
    tg.save_checkpoint(path, extra=extra)
    back = tg.load_checkpoint(path)
    assert bits(back["t"]) == bits(extra["t"]) and back["i"] == 4 and back["f"] == extra["f"]
    assert isinstance(back["a"], np.ndarray) and back["a"].tolist() == [0, 1, 2]


def test_parts_can_be_loaded_alone(path):
    run = Run()
    run.take(3)
    tg.save_checkpoint(path, **run.parts())
    other = Run(seed=1)
    before = other.everything()
    tg.load_checkpoint(path, model=other.model)
    assert bits(other.w) == bits(run.w) and other.w.requires_grad
    codes, arrays = other.everything()
    assert codes == before[0]
    assert {k for k in arrays if arrays[k] != before[1][k]} == {"model/w", "model/seen"}


def test_loading_writes_into_the_handles_that_others_hold(path):
    run = Run()
    run.take(2)
    tg.save_checkpoint(path, model=run.model, state=run.state)
    w, h = run.w, run.state[0].h
    before = bits(w), bits(h)
    w.assign_(tg.zeros_like(w))
    h.assign_(tg.zeros_like(h))
    tg.load_checkpoint(path, model=run.model, state=run.state)
    assert (bits(w), bits(h)) == before and run.state[0].h is h


def test_a_file_is_a_function_of_its_content(path):
    run = Run()
    run.take(2)
    tg.save_checkpoint(path, **run.parts())
    first = path.read_bytes()
    again = Run(seed=3)
    tg.load_checkpoint(path, **again.parts())
    tg.save_checkpoint(path, **again.parts())
    assert path.read_bytes() == first


def test_plain_tensors(path):
    tg.save_tensors(path, {"w": tg.tensor([1.0, 2.0], requires_grad=True), "n": np.arange(2)})
    back = tg.load_tensors(path)
    assert back["w"].tolist() == [1.0, 2.0] and back["n"].dtype == "int64"
    assert not back["w"].requires_grad


# --- saving ----------------------------------------------------------------------------------


def test_what_cannot_be_saved(path):
    run = Run()
    deep = []
    for _ in range(100):
        deep = [deep]
    cyclic = []
    cyclic.append(cyclic)
    for kw, error, match in [
        ({"extra": {"f": len}}, DTypeError, "extra/f is a builtin_function"),
        ({"extra": {"s": {1}}}, DTypeError, "extra/s is a set"),
        ({"extra": {"c": 1j}}, DTypeError, "complex"),
        ({"extra": {"k": {1.5: 0}}}, DTypeError, "keys are strings or integers"),
        ({"extra": {"b": {True: 0}}}, DTypeError, "keys are strings or integers"),
        ({"extra": {"n": 2**64}}, ArgumentError, "64 bits"),
        ({"extra": {"deep": deep}}, ArgumentError, "levels deep"),
        ({"extra": {"cyclic": cyclic}}, ArgumentError, "levels deep"),
        ({"extra": {"a": {"b": np.ones(1)}, "a/b": np.ones(1)}}, ArgumentError, "both called"),
        ({"model": 3}, ArgumentError, "model is a int"),
    ]:
        with pytest.raises(error, match=match):
            tg.save_checkpoint(path, **{**run.parts(), **kw})
        assert os.listdir(path.parent) == []


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_a_crash_while_saving_keeps_the_old_checkpoint(path, monkeypatch, function):
    run = Run()
    tg.save_checkpoint(path, **run.parts())
    good = path.read_bytes()
    run.take(1)

    def crash(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, function, crash)
        with pytest.raises(OSError, match="No space left"):
            tg.save_checkpoint(path, **run.parts())
    assert path.read_bytes() == good and os.listdir(path.parent) == [path.name]
    tg.load_checkpoint(path, **Run().parts())


def test_a_missing_file_is_an_os_error(path):
    with pytest.raises(FileNotFoundError):
        tg.load_checkpoint(path)
