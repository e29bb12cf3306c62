"""Checkpoints and data loaders: what was lost, repeated, or run."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from gallery import host, randomize

import tinygrad_rnn as tg
from tinygrad_rnn import data, nn, optim


def test_a_checkpoint_that_was_half_written(tmp_path, rng, monkeypatch):
    """https://github.com/Lightning-AI/pytorch-lightning/issues/688, /19970 and
    https://github.com/harvard-edge/cs249r_book/pull/2068: a crash while saving left half a file
    where the good one had been. Here the old file is there until the new one is complete."""
    path = tmp_path / "run.safetensors"
    model = randomize(nn.Linear(3, 2), rng)
    tg.save_checkpoint(path, model=model)
    before = path.read_bytes()
    randomize(model, rng)
    for name in ("fsync", "replace"):

        def crash(*args, **kwargs):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(os, name, crash)
            with pytest.raises(KeyboardInterrupt):
                tg.save_checkpoint(path, model=model)
        assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


def test_a_save_that_fails_in_silence(tmp_path, monkeypatch):
    """https://github.com/Lightning-AI/pytorch-lightning/issues/21800: a PermissionError was
    swallowed, saving "succeeded", and nothing was written. Here every error of the system is
    raised."""

    def refuse(*args, **kwargs):
        raise PermissionError("read-only directory")

    for name in ("open", "replace", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, refuse)
            with pytest.raises(PermissionError):
                tg.save_tensors(tmp_path / "w", {"w": tg.ones(2)})


def test_the_file_was_staged_on_another_disk(tmp_path, monkeypatch):
    """https://github.com/Lightning-AI/pytorch-lightning/issues/21253: checkpoints were staged
    in the system's temporary directory and filled its disk. Here the staging is beside the
    target."""
    seen = []
    replace = os.replace

    def watch(source, target):
        seen.append((os.path.dirname(source), os.path.dirname(target)))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watch)
    tg.save_tensors(tmp_path / "w", {"w": tg.ones(2)})
    assert seen == [(str(tmp_path), str(tmp_path))]


class Payload:
    ran = False

    def __reduce__(self):
        return setattr, (Payload, "ran", True)


def test_loading_runs_the_file(tmp_path):
    """https://github.com/pytorch/pytorch/security/advisories/GHSA-53q9-r3pm-6pq6
    (CVE-2025-32434): torch.load ran code of the file even with weights_only=True. Here no
    loader knows pickle."""
    path = tmp_path / "evil"
    path.write_bytes(pickle.dumps(Payload()))
    for load in (tg.load_tensors, tg.load_checkpoint):
        with pytest.raises(tg.CheckpointError):
            load(path)
    assert not Payload.ran
    tg.save_tensors(path, {"w": tg.ones(2)})
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(tg.ones(2))


def test_a_model_that_is_half_loaded(tmp_path, rng):
    """https://github.com/stanfordnlp/dspy/pull/9657: a missing key raised after other
    parameters had been loaded, "silently corrupting inference". Here a checkpoint loads
    completely or not at all, optimizer included."""
    path = tmp_path / "run"
    small, large = randomize(nn.GRU(3, 4), rng), randomize(nn.GRU(3, 5), rng)
    tg.save_checkpoint(path, model=large, optimizer=optim.Adam(large.parameters()))
    before = {k: host(v) for k, v in small.state_dict().items()}
    with pytest.raises(tg.CheckpointError, match="Nothing was loaded"):
        tg.load_checkpoint(path, model=small, optimizer=optim.Adam(small.parameters()))
    for name, value in small.state_dict().items():
        assert np.array_equal(host(value), before[name])


def test_a_shuffle_that_is_lost_on_resuming():
    """https://github.com/huggingface/accelerate/issues/2823,
    https://github.com/huggingface/accelerate/pull/4238 and
    https://github.com/wyim-pgl/transgenic/issues/59: the position was restored, the permutation
    was not: "15 of 20 samples wrong". Here the order is a function of (seed, epoch)."""

    def made():
        return data.Loader(list(range(20)), 3, shuffle=True, seed=7)

    loader = made()
    epochs = [[b.tolist() for b in loader] for _ in range(3)]
    for epoch in range(3):
        for stop in range(7):
            loader = made()
            loader.rewind(epoch)
            batches = iter(loader)
            seen = [next(batches).tolist() for _ in range(stop)]
            resumed = made()
            resumed.load_state_dict(loader.state_dict())
            assert seen + [b.tolist() for b in resumed] == epochs[epoch]
            assert resumed.epoch == epoch + 1


def test_every_epoch_in_the_same_order():
    """https://github.com/xinntao/Real-ESRGAN/issues/799 and
    https://github.com/fangchangma/sparse-to-dense.pytorch/issues/19: every run began with the
    same files, because the seed did not know the epoch."""
    loader = data.Loader(list(range(20)), 5, shuffle=True)
    orders = [[i for b in loader for i in b.tolist()] for _ in range(4)]
    assert len({tuple(o) for o in orders}) == 4
    assert all(sorted(o) == list(range(20)) for o in orders)


def test_shuffles_of_shuffles():
    """https://github.com/pytorch/torchtitan/issues/2864: each epoch shuffled the order of the
    epoch before, so epoch 3 could only be had by replaying 1 and 2. Here it is computed
    directly."""
    loader = data.Loader(list(range(20)), 5, shuffle=True, seed=3)
    third = [[b.tolist() for b in loader] for _ in range(3)][2]
    direct = data.Loader(list(range(20)), 5, shuffle=True, seed=3)
    direct.rewind(2)
    assert [b.tolist() for b in direct] == third
