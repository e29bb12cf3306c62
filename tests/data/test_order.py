"""Orders of samples and of batches."""

from __future__ import annotations

import numpy as np

from tinygrad_rnn.data import order

SHUFFLED = {"shuffle": True, "drop_last": False}


def test_the_order_of_batches_is_not_that_of_samples():
    lengths = np.full(20, 7)
    got = np.concatenate(order.batches_by_length(lengths, 1, seed=3, epoch=4, **SHUFFLED))
    p = order.permutation(20, 3, 4)
    assert sorted(got) == list(range(20)) and got.tolist() != p[p].tolist()


def test_batches_of_similar_length_change_from_epoch_to_epoch():
    lengths = np.repeat([1, 2, 3, 4], 10)
    epochs = [
        order.batches_by_length(lengths, 5, seed=0, epoch=e, **SHUFFLED) for e in range(6)
    ]  # fmt: skip
    for batches in epochs:
        assert all(len(set(lengths[b])) == 1 for b in batches)
        assert sorted(np.concatenate(batches)) == list(range(40))
    members = [sorted(tuple(sorted(b)) for b in batches) for batches in epochs]
    assert len({str(m) for m in members}) == 6  # who is in a batch with whom
    assert len({int(lengths[batches[0]][0]) for batches in epochs}) > 1  # which length comes first


def test_every_sample_comes_whatever_the_remainder():
    for n in range(1, 12):
        for size in range(1, 6):
            whole = order.batches(n, size, shuffle=False, seed=0, epoch=0, drop_last=False)
            assert np.concatenate(whole).tolist() == list(range(n))
            cut = order.batches(n, size, shuffle=False, seed=0, epoch=0, drop_last=True)
            assert [len(b) for b in cut] == [size] * (n // size)
