"""A checkpoint that does not fit, is damaged or foreign changes nothing, and executes nothing."""

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import FIXTURE_IS_FINE, Model, Run, Stubborn, bits

import tinygrad_rnn as tg
from tinygrad_rnn import optim
from tinygrad_rnn.errors import CheckpointError
from tinygrad_rnn.storage.safetensors import read_safetensors, write_safetensors


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


def test_arrays_that_are_written_in_place_are_put_back_too(path):
    class InPlace:
        def __init__(self, values):
            self.array = np.array(values)

        def state_dict(self):
            return {"array": self.array}

        def load_state_dict(self, state):
            self.array[...] = state["array"]

    stubborn = Stubborn(ValueError("no"), x=np.ones(2))
    tg.save_checkpoint(path, scheduler=InPlace([1.0, 2.0]), loader=stubborn)
    part = InPlace([3.0, 4.0])
    with pytest.raises(CheckpointError, match="put back"):
        tg.load_checkpoint(path, scheduler=part, loader=stubborn)
    assert part.array.tolist() == [3.0, 4.0]


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
        '{"extra":{"type":"","state":{"d":[[true,1]]}}}',
        '{"extra":{"type":"","state":{"d":[["a"]]}}}',
        '{"extra":{"type":"","state":{"d":{}}}}',
        '{"extra":{"type":"","state":{"q":[]}}}',
        '{"extra":{"type":"","state":{"l":[],"t":[]}}}',
        '{"extra":{"type":"","state":{"d":[["a",{"l":[],"t":[]}]]}}}',
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
