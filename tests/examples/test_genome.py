"""Genes lie where the annotation says on both strands, and the gene finders find what is there."""

from __future__ import annotations

from pathlib import Path

import _genome
import numpy as np
import pytest
from examples_folder import EXAMPLES, load

DATA = EXAMPLES / "data"


@pytest.fixture(scope="module")
def genome() -> _genome.Genome:
    return _genome.read(
        str(DATA / "mycoplasma_genitalium.fa"), str(DATA / "mycoplasma_genitalium.gff")
    )


def read_in(genome: _genome.Genome) -> np.ndarray:
    """The codons as they are read according to the labels, of every three letters in a gene."""
    labels = genome.labels()
    inside = np.flatnonzero(labels > 0)
    return _genome.six_ways(genome)[labels[inside] - 1, inside]


def share_of_stops(genome: _genome.Genome) -> float:
    stops = [_genome.number(codon) for codon in _genome.STOPS["Mycoplasma's code"]]
    return float(np.isin(read_in(genome), stops).mean())


def test_genes_have_no_stops_inside_however_the_genome_is_cut_and_turned(
    genome: _genome.Genome,
) -> None:
    """One stop for each gene of hundreds of codons; read wrongly there is one in twenty."""
    for part in (
        genome,
        genome.part(1001, 400_001),
        genome.turned(),
        genome.part(3_002, 9_002).turned(),
    ):
        assert share_of_stops(part) < 0.005
    wrong = genome._replace(ways=np.where(genome.ways > 0, 1 + genome.ways % 6, genome.ways))
    assert share_of_stops(wrong) > 0.02


def test_turning_twice_changes_nothing(genome: _genome.Genome) -> None:
    part = genome.part(190_001, 220_001)
    again = part.turned().turned()
    assert set(part.labels()) >= {0, 1, 2, 3} and np.array_equal(part.letters, again.letters)
    assert np.array_equal(part.ways, again.ways)
    assert not np.array_equal(part.ways, part.turned().ways)


@pytest.mark.parametrize("begin", [30, 31, 32])
def test_open_reading_frames_are_found_on_both_strands(begin: int) -> None:
    gene = "ATG" + "GCTTGAGCC" * 10 + "TAA"  # TGA inside, which is a stop in the standard code only
    text = "C" * begin + gene + "C" * (198 - begin - len(gene))
    letters = np.array([_genome.LETTERS.index(c) for c in text])
    truth = np.zeros(198, int)
    truth[begin : begin + len(gene)] = 1 + begin % 3
    forward = _genome.Genome(letters, truth)
    for genome in (forward, forward.turned()):
        found = _genome.open_reading_frames(genome, "Mycoplasma's code", 20)
        assert np.array_equal(found, genome.labels())
        assert not _genome.open_reading_frames(genome, "Mycoplasma's code", 40).any()
        assert not _genome.open_reading_frames(genome, "standard code", 20).any()


@pytest.mark.parametrize(
    "fasta,gff,message",
    [
        ("ACGT", "", "expected one sequence in FASTA format"),
        (">a\nAC\n>b\nGT", "", "expected one sequence in FASTA format"),
        (">a\nACXGT", "", r"\['X'\] do not occur in DNA"),
        (">a\nACGT", "", r"--genes .* is empty"),
        (">a\nACGT", "x\ty", "has no line of GFF3 with the type CDS"),
        (">a\nACGT", "a\tb\tCDS\t2\t7\t.\t+\t0\tID=c", "2-7 is not in the 4 letters"),
    ],
)
def test_wrong_files_are_named(fasta: str, gff: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.fa").write_text(fasta)
    (tmp_path / "a.gff").write_text(gff)
    with pytest.raises(SystemExit, match=message):
        _genome.read(str(tmp_path / "a.fa"), str(tmp_path / "a.gff"))


@pytest.mark.parametrize(
    "text,message",
    [
        ("EI ACGT\nIE ACG\n", "equally many letters"),
        ("EI ACGT\nACGT\n", "every line needs a class"),
        ("EI ACGT\nXY ACGT\n", r"\['XY'\] do not occur in \['EI', 'IE', 'N'\]"),
        ("EI ACGT\nN AC!T\n", r"\['!'\] do not occur in DNA"),
    ],
)
def test_wrong_junctions_are_named(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "junctions.txt"
    file.write_text(text)
    with pytest.raises(SystemExit, match=message):
        load("dna").read_junctions(str(file), np.random.default_rng(0))


def test_no_junction_is_both_learned_and_tested() -> None:
    path = str(DATA / "splice_junctions.txt")
    x, y, x_test, y_test = load("dna").read_junctions(path, np.random.default_rng(0))
    learned = {(*row, label) for row, label in zip(x.tolist(), y.tolist())}
    tested = {(*row, label) for row, label in zip(x_test.tolist(), y_test.tolist())}
    assert len(x) + len(x_test) == 3006 and not learned & tested
    assert np.bincount(y_test).min() > 100
