"""A checkpoint brings everything back bit for bit, or changes nothing."""

import json
import math
import os
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import data, optim
from tinygrad_rnn.errors import ArgumentError, CheckpointError, DTypeError
from tinygrad_rnn.storage import checkpoint as ck
from tinygrad_rnn.storage.safetensors import read_safetensors, write_safetensors

FIXTURE_IS_FINE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


class Model:
    """The least that can be saved: named tensors."""

    def __init__(self, **arrays):
        self.tensors = {k: tg.tensor(v) for k, v in arrays.items()}

    def state_dict(self):
        return dict(self.tensors)

    def load_state_dict(self, state):
        for name, t in self.tensors.items():
            t.assign_(state[name])


class Stubborn(Model):
    """Has the right form, and refuses all the same."""

    def __init__(self, error, **arrays):
        super().__init__(**arrays)
        self.error, self.calls = error, 0

    def load_state_dict(self, state):
        self.calls += 1
        if self.calls == 1:
            raise self.error
        super().load_state_dict(state)


class Carry(NamedTuple):
    h: tg.Tensor
    c: tg.Tensor | None


def bits(t):
    return (t.type, t.detach().numpy().tobytes())


class Run:
    """All that a training run consists of; `take` steps change all of it."""

    def __init__(self, seed=0, lr=0.1, width=3):
        rng = np.random.default_rng(seed)
        self.w = tg.tensor(rng.normal(size=(width, width)).astype("float32"), requires_grad=True)
        self.model = Model()
        self.model.tensors = {"w": self.w, "seen": tg.tensor(np.zeros((), "int64"))}
        self.optimizer = optim.Adam([self.w], lr=lr, amsgrad=True)
        self.scheduler = optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 50)
        self.rng = tg.random.Generator(seed)
        text = np.random.default_rng(7).normal(size=(40, width)).astype("float32")
        self.loader = data.ContiguousStreams(text, 2, 3)
        self.state = [Carry(tg.zeros((2, width)), None), {"c": tg.zeros(2)}]

    def take(self, steps):
        losses = []
        while len(losses) < steps:
            for x, y in self.loader:
                self.optimizer.zero_grad()
                h = self.state[0].h
                for t in range(len(x)):
                    h = tg.tanh(tg.tensor(x[t]) + h @ self.w)
                noise = self.rng.uniform(h.shape)
                loss = ((h * noise - tg.tensor(y[-1])) ** 2).mean()
                loss.backward()
                self.optimizer.step()
                self.scheduler.step()
                self.state = [Carry(h.detach(), None), {"c": h.detach().sum(axis=1)}]
                seen = self.model.tensors["seen"]
                seen.assign_(seen + 1)
                losses.append(loss.item())
                if len(losses) == steps:
                    break
        return losses

    def parts(self):
        names = ("model", "optimizer", "scheduler", "rng", "loader", "state")
        return {name: getattr(self, name) for name in names}

    def everything(self):
        arrays, codes = {}, {}
        for name, part in self.parts().items():
            value = part.state_dict() if hasattr(part, "state_dict") else part
            codes[name] = ck.encode(value, name, arrays)
        return codes, {k: (a.dtype, a.shape, a.tobytes()) for k, a in arrays.items()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


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


def equal(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (a != a and b != b) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    return a == b


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


# --- refusing --------------------------------------------------------------------------------


def assert_nothing_changes(run, match, call, error=CheckpointError):
    before = run.everything()
    with pytest.raises(error, match=match):
        call()
    assert run.everything() == before


def test_any_bit_flip_and_any_truncation(path):
    run = Run()
    run.take(2)
    tg.save_checkpoint(path, **run.parts())
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    before = run.everything()
    for position in rng.integers(0, len(good), 300):
        bad = bytearray(good)
        bad[position] ^= 1 << rng.integers(8)
        for content in (bytes(bad), good[:position]):
            path.write_bytes(content)
            with pytest.raises(CheckpointError):
                tg.load_checkpoint(path, **run.parts())
    assert run.everything() == before


def test_another_models_checkpoint(path):
    tg.save_checkpoint(path, model=Model(w=np.ones(3), b=np.ones(2), old=np.ones(1)))
    run = Run()
    load = lambda: tg.load_checkpoint(path, **{**run.parts(), "model": target})  # noqa: E731
    target = Model(w=np.ones((3, 1)), b=np.ones(2, "float32"), new=np.ones(1))
    with pytest.raises(CheckpointError) as caught:
        load()
    message = str(caught.value)
    for part in (
        "'model/w' is f64[3] in the file, f64[3,1] here",
        "'model/b' is f64[2] in the file, f32[2] here",
        "'model/new' is missing in the file",
        "'model/old' is only in the file",
        "Nothing was loaded",
    ):
        assert part in message
    assert target.tensors["w"].tolist() == [[1.0]] * 3


def test_a_part_that_does_not_fit_stops_the_others(path):
    wide = Run(width=4)
    wide.take(1)
    tg.save_checkpoint(path, **wide.parts())
    run = Run()
    run.take(1)
    for name in ("model", "optimizer", "loader", "state"):
        parts = {**wide.parts(), name: run.parts()[name]}
        assert_nothing_changes(wide, None, lambda p=parts: tg.load_checkpoint(path, **p))
        assert_nothing_changes(run, None, lambda p=parts: tg.load_checkpoint(path, **p))


def test_another_kind_of_optimizer(path):
    run = Run()
    run.take(1)
    tg.save_checkpoint(path, optimizer=optim.AdamW([run.w], amsgrad=True))
    assert_nothing_changes(
        run, "a AdamW as optimizer.*restore a Adam",
        lambda: tg.load_checkpoint(path, model=None, optimizer=run.optimizer),
    )  # fmt: skip


def test_a_part_that_is_not_there(path):
    run = Run()
    tg.save_checkpoint(path, model=run.model)
    assert_nothing_changes(
        run,
        "holds no optimizer, only model, extra",
        lambda: tg.load_checkpoint(path, **run.parts()),
    )


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("no"), CheckpointError("no")])
def test_a_refusal_at_the_last_moment_puts_everything_back(path, error):
    saved, run = Run(), Run(seed=1)
    saved.take(3)
    tg.save_checkpoint(path, **{**saved.parts(), "loader": Stubborn(error, x=np.ones(2))})
    late = Stubborn(error, x=np.zeros(2))
    assert_nothing_changes(
        run, "does not fit this loader.*put back",
        lambda: tg.load_checkpoint(path, **{**run.parts(), "loader": late}),
    )  # fmt: skip
    assert late.tensors["x"].tolist() == [0.0, 0.0]


def test_an_interrupt_while_loading_puts_everything_back(path):
    saved, run = Run(), Run(seed=1)
    tg.save_checkpoint(path, **{**saved.parts(), "loader": Stubborn(None, x=np.ones(2))})
    parts = {**run.parts(), "loader": Stubborn(KeyboardInterrupt(), x=np.zeros(2))}
    assert_nothing_changes(
        run, None, lambda: tg.load_checkpoint(path, **parts), error=KeyboardInterrupt
    )


def test_a_foreign_file(path):
    run = Run()
    tg.save_tensors(path, {"w": run.w})
    assert_nothing_changes(
        run, "not written by save_checkpoint.*load_tensors",
        lambda: tg.load_checkpoint(path, model=run.model),
    )  # fmt: skip
    for content in (b"", b"PK\x03\x04" + bytes(100), b"\x80\x04\x95" + bytes(100), bytes(1000)):
        path.write_bytes(content)
        assert_nothing_changes(run, None, lambda: tg.load_checkpoint(path, model=run.model))


def test_a_checkpoint_whose_hashes_were_removed(path):
    run = Run()
    tg.save_checkpoint(path, model=run.model)
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    del header["__metadata__"]["blake2b"], header["__metadata__"]["header_blake2b"]
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])
    assert bits(tg.load_tensors(path)["model/w"]) == bits(run.w)  # well formed, but not ours
    assert_nothing_changes(run, "not written by", lambda: tg.load_checkpoint(path, model=run.model))


def test_a_pickle_is_not_run(path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(path) + ".exploded",)

    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError):
        tg.load_checkpoint(path)
    assert os.listdir(path.parent) == [path.name]


def rewritten(path, change):
    """The same file with changed metadata and valid hashes: what a malicious writer can make."""
    file = read_safetensors(path)
    metadata = dict(file.metadata)
    change(metadata)
    write_safetensors(path, file.tensors, metadata)


def test_versions_and_conventions(path):
    run = Run()
    for key, value, match in [
        ("format", "other", "not written by"),
        ("version", "2", "version '2'.*install"),
        ("conventions", '{"layout":"keras"}', "keras"),
    ]:
        tg.save_checkpoint(path, model=run.model)
        rewritten(path, lambda m, k=key, v=value: m.update({k: v}))
        assert_nothing_changes(run, match, lambda: tg.load_checkpoint(path, model=run.model))


@pytest.mark.parametrize(
    "contents",
    [
        "",
        "[]",
        "{}",
        '{"extra":1}',
        '{"extra":{"type":"","state":{"d":[]}},"model":[]}',
        '{"extra":{"type":"","state":{"d":[[[],1]]}}}',
        '{"extra":{"type":"","state":{"d":[[1.5,1]]}}}',
        '{"extra":{"type":"","state":{"d":[["a"]]}}}',
        '{"extra":{"type":"","state":{"d":{}}}}',
        '{"extra":{"type":"","state":{"q":[]}}}',
        '{"extra":{"type":"","state":{"l":[],"t":[]}}}',
        '{"extra":{"type":"","state":[]}}',
        '{"extra":{"type":"","state":3}}',
        '{"extra":{"type":"","state":{"d":[["a",{"f":"1e5x"}]]}}}',
        '{"extra":{"type":"","state":{"d":[["a",{"f":"0x1p99999"}]]}}}',
        '{"extra":{"type":"","state":{"d":[["a",{"f":1}]]}}}',
        '{"extra":{"type":"","state":{"d":[["a",{"x":"absent"}]]}}}',
        '{"extra":{"type":"","state":{"d":[["a",{"x":["model/w"]}]]}}}',
        '{"extra":{"type":"","state":{"d":[["a",{"a":null}]]}}}',
        '{"extra":{"type":"","state":' + '{"l":[' * 200 + "]}" * 200 + "}}",
    ],
)
def test_contents_that_no_one_wrote(path, contents):
    run = Run()
    tg.save_checkpoint(path, model=run.model)
    rewritten(path, lambda m: m.update(contents=contents))
    assert_nothing_changes(run, None, lambda: tg.load_checkpoint(path))


NODES = st.recursive(
    st.none() | st.integers(0, 3) | st.sampled_from(["model", "model/w", "0x1p3", "lr"]),
    lambda x: (
        st.lists(x, max_size=3)
        | st.dictionaries(st.sampled_from(["d", "l", "t", "f", "x", "a"]), x, max_size=2)
        | st.builds(lambda v: {"d": [["w", v]]}, x)
    ),
    max_leaves=8,
)


@FIXTURE_IS_FINE
@given(NODES, NODES)
def test_malicious_contents_load_completely_or_not_at_all(path, model, extra):
    run = Run()
    tg.save_checkpoint(path, model=run.model)
    contents = {"model": {"type": "", "state": model}, "extra": {"type": "", "state": extra}}
    rewritten(path, lambda m: m.update(contents=json.dumps(contents)))
    before = run.everything()
    try:
        tg.load_checkpoint(path, model=run.model)
    except CheckpointError:
        assert run.everything() == before


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
