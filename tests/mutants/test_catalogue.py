"""The catalogue is alive: every fault can still be seeded, and some that are seeded are caught."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from catalogue import ROOT, Stale, areas, everything, read
from results import RESULTS, read_results, write_results

#: One of each kind: a derivative, an optimizer, a cache, a file.
SAMPLE = ("neg-keeps-sign", "sgd-ascends", "cache-latest", "encode-tuple")


def test_every_fault_can_be_seeded():
    """A stale one is named: write its old text anew where the code has gone, or drop it.

    A change may leave one in thirty stale; more would make the score one of another library.
    """
    mutants, problems, stale = everything(), [], []
    names = Counter(m.name for m in mutants)
    problems += [f"{name} is there {n} times" for name, n in names.items() if n > 1]
    texts = {m.file: (ROOT / m.file).read_text() for m in mutants if (ROOT / m.file).exists()}
    for m in mutants:
        try:
            ast.parse(m.seeded(texts.get(m.file, "")))
        except Stale as error:
            stale.append(str(error))
        except SyntaxError as error:
            problems.append(f"{m.name}: {error}")
    print(*stale, sep="\n\n")
    assert not problems, "\n\n".join(problems)
    assert len(stale) <= len(mutants) / 30, "\n\n".join(stale)
    assert len(mutants) >= 300 and all(read(area) for area in areas())


def test_the_results_file_is_what_the_runner_writes(tmp_path):
    """It is read back; nobody edits it, and reasons of survivors come from the catalogue."""
    catalogue = everything()
    known = read_results(RESULTS, catalogue)
    assert len(known) >= 300
    write_results(again := tmp_path / RESULTS.name, catalogue, known)
    assert read_results(again, catalogue) == known


def test_a_sample_is_caught(tmp_path):
    """By the tests that the results file names."""
    results = shutil.copy(RESULTS, tmp_path)
    run = [sys.executable, str(Path(__file__).with_name("run.py")), "--quick", "--trusting"]
    done = subprocess.run(
        [*run, "--results", str(results), "--ids", *SAMPLE],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for name in SAMPLE:
        assert re.search(rf" {name} \(.*\): tests/", done.stdout), done.stdout
