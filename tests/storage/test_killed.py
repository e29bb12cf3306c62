"""A process killed while it saves leaves a checkpoint that loads: the last complete one."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import tinygrad_rnn as tg

CODE = """
import sys, numpy as np, tinygrad_rnn as tg
for n in range(10**9):
    tg.save_tensors(sys.argv[1], {"a": np.full(200_000, n), "b": np.full(3, n)})
    if n == 0:
        print("ready", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
@pytest.mark.parametrize("delay", [0.0, 0.011, 0.037])
def test_a_killed_process_leaves_a_whole_file(tmp_path, delay):
    path = tmp_path / "file"
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    back = tg.load_tensors(path)
    assert (back["a"].numpy() == back["b"].numpy()[0]).all() and back["a"].size == 200_000
    # what a killed process leaves is named as what it is, and does not hinder the next save
    left = [name for name in os.listdir(tmp_path) if name != "file"]
    assert all(name.startswith(".file.") and name.endswith(".tmp") for name in left)
    tg.save_tensors(path, {"a": np.ones(1)})
    assert tg.load_tensors(path)["a"].item() == 1.0
