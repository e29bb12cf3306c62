"""Every network of the zoo learns its task in a second or two, and draws it."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from _common import Run
from examples_folder import EXAMPLES as FOLDER
from examples_folder import load
from zoo import NETWORKS

import tinygrad_rnn as tg

# What a quick run from seed 0 must reach: scores of at least, or (negative) errors of at most.
WANTED = {
    "perceptron": 0.95,
    "feed_forward": 0.88,
    "radial_basis": -0.15,
    "deep_feed_forward": 0.95,
    "recurrent": -0.65,
    "lstm": 0.7,
    "gru": -0.4,
    "auto_encoder": -0.06,
    "variational": -26.5,
    "denoising": -0.06,
    "sparse": -0.02,
    "markov_chain": -3.4,
    "hopfield": 0.97,
    "boltzmann": -3.0,
    "restricted_boltzmann": -0.072,
    "deep_belief": 0.5,
    "deep_convolutional": 0.95,
    "deconvolutional": -0.047,
    "deep_convolutional_inverse_graphics": 0.85,
    "generative_adversarial": 0.6,
    "liquid_state_machine": 0.9,
    "extreme_learning_machine": 0.96,
    "echo_state": -1.0,
    "deep_residual": 0.7,
    "kohonen": 0.85,
    "support_vector": 0.92,
    "neural_turing_machine": 0.55,
}


def learn(name: str, out: Path, backend: str) -> Any:
    with tg.use_backend(backend):
        tg.manual_seed(0)
        return importlib.import_module(f"zoo.{name}").learn(Run(name, out, seed=0, quick=True))


def check(name: str, found: Any) -> None:
    value, wanted = found.score.value, WANTED[name]
    assert value >= wanted if wanted > 0 else value <= -wanted, str(found.score)
    assert (found.score.at_least is None) == (wanted < 0)
    assert math.isfinite(found.loss)
    assert found.score.baseline is not None


@pytest.mark.parametrize("name", NETWORKS)
def test_it_learns_and_draws(name: str, tmp_path: Path) -> None:
    found = learn(name, tmp_path, "numpy")
    check(name, found)
    axis = importlib.import_module("matplotlib.figure").Figure().subplots()
    found.draw(axis)
    assert axis.lines or axis.images or axis.collections


@pytest.mark.parametrize("name", ["lstm", "deep_convolutional", "kohonen", "restricted_boltzmann"])
def test_it_learns_on_numba(name: str, tmp_path: Path) -> None:
    pytest.importorskip("numba")
    check(name, learn(name, tmp_path, "numba"))


def test_the_whole_is_drawn_and_every_figure_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["--networks", "hopfield, markov_chain"]
    options = ["--quick", "--backend", "numpy", "--out", str(tmp_path)]
    report = load("zoo").main([*names, *options])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Hopfield network: pixels right 9")
    assert lines[1].startswith("Markov chain: bits per letter 3.")
    assert lines[2].startswith(f"zoo: {report.scores[0]}; ")
    assert (tmp_path / "zoo.png").read_bytes().startswith(b"\x89PNG")
    scores = json.loads((tmp_path / "result.json").read_text())["scores"]
    assert [s["name"] for s in scores[1:]] == [
        "Hopfield network: pixels right",
        "Markov chain: bits per letter",
    ]


def test_a_network_that_is_not_in_the_zoo(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"\['lion'\] are not in the zoo; it has perceptron, "):
        load("zoo").main(["--networks", "lion,kohonen", "--out", str(tmp_path)])


def test_no_network_is_forgotten() -> None:
    files = {f.stem for f in (FOLDER / "zoo").glob("*.py") if not f.name.startswith("_")}
    assert files == set(NETWORKS) == set(WANTED) and len(NETWORKS) == 27
