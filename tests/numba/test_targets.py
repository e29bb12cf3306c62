"""Vectors and tiles of other CPUs: the same code with their widths runs here as well."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from tinygrad_rnn_numba import target
wanted = target.Target("another", *map(int, sys.argv[1:5]))
target.target = lambda: wanted

import numpy as np
from tinygrad_rnn import nn
from tinygrad_rnn_numba import tiles
from compare import agree
assert tiles.target() is wanted
rng = np.random.default_rng(0)
for B, H in ((1, 1), (3, 5), (17, 33)):
    make = lambda: nn.Recurrent(nn.LayerNormLSTMCell(4, H, rng=1))
    agree(make, rng.normal(size=(3, B, 4)), single=True)
"""


@pytest.mark.parametrize("bytes,rows,vectors,registers", [(32, 4, 3, 12), (16, 8, 3, 27)])
def test_other_widths(bytes, rows, vectors, registers):
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        ),
        "TINYGRAD_RNN_CACHE_DIR": "off",
    }
    command = [sys.executable, "-c", SCRIPT, *map(str, (bytes, rows, vectors, registers))]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
