"""A genome and its genes, seen three letters at a time, and gene finders without networks.

A gene is read in codons of three letters, so the same stretch of DNA can be read in six ways: from
three beginnings on this strand, and from three on the other one. The labels of a genome say for
every three letters which way is right: 0 none, 1 to 3 forward, 4 to 6 backward.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _common import check_known, read_text

from tinygrad_rnn.metrics import accuracy

LETTERS = "ACGT"  # in this order the partner of letter k is 3 - k
UNKNOWN = -1  # genes that are broken, or joined of several parts: they are not judged
STARTS = ["ATG", "GTG", "TTG"]
#: Translation tables of NCBI: in Mycoplasma TGA is no stop, but an amino acid (tryptophan).
STOPS = {"standard code": ["TAA", "TAG", "TGA"], "Mycoplasma's code": ["TAA", "TAG"]}


class Genome(NamedTuple):
    """Letters int[3N] as numbers, and how each is read int[3N] (0 to 6, or UNKNOWN)."""

    letters: np.ndarray
    ways: np.ndarray

    def part(self, begin: int, end: int) -> Genome:
        """Letters begin … end - 1, whose number is a multiple of 3; ways count from `begin`."""
        ways = self.ways[begin:end]
        moved = 1 + (ways - 1 - begin) % 3 + 3 * (ways > 3)
        return Genome(self.letters[begin:end], np.where(ways > 0, moved, ways))

    def turned(self) -> Genome:
        """The other strand: read from the end, every letter replaced by its partner."""
        ways = self.ways[::-1]
        moved = 1 + (1 - ways) % 3 + 3 * (ways < 4)
        return Genome(3 - self.letters[::-1], np.where(ways > 0, moved, ways))

    def codons(self) -> np.ndarray:
        """int[N,3]: the codons (0 to 63) that begin at letters 3t, 3t + 1 and 3t + 2."""
        return codons(self.letters)

    def labels(self) -> np.ndarray:
        """int[N]: the way in which letter 3t + 1 is read."""
        return self.ways[1::3]


def codons(letters: np.ndarray) -> np.ndarray:
    a = np.append(letters, [0, 0])
    return (16 * a[:-2] + 4 * a[1:-1] + a[2:]).reshape(-1, 3)


def number(codon: str) -> int:
    return int(sum(LETTERS.index(c) * 4 ** (2 - k) for k, c in enumerate(codon)))


def read(fasta: str, gff: str) -> Genome:
    """One sequence in FASTA format, and its genes (lines 'CDS') in GFF3."""
    head, _, body = read_text(Path(fasta), "--genome").partition("\n")
    text = "".join(body.split()).upper()
    if not head.startswith(">") or ">" in text:
        raise SystemExit(f"--genome {fasta}: expected one sequence in FASTA format, >name first")
    check_known(text, LETTERS, f"--genome {fasta}", f"DNA, which is written in {LETTERS}")
    letters = np.array([LETTERS.index(c) for c in text])[: len(text) // 3 * 3]
    ways, lines = np.zeros(len(letters), int), read_text(Path(gff), "--genes").splitlines()
    genes = [f for f in (line.split("\t") for line in lines) if len(f) == 9 and f[2] == "CDS"]
    names = [gene[8].split(";")[0] for gene in genes]
    if not genes:
        raise SystemExit(f"--genes {gff}: has no line of GFF3 with the type CDS")
    for (*_, first, last, _, strand, _, about), name in zip(genes, names):
        begin, end = int(first) - 1, int(last)
        if not 0 <= begin < end <= len(text):
            raise SystemExit(f"--genes {gff}: {first}-{last} is not in the {len(text)} letters")
        whole = (end - begin) % 3 == 0 and "pseudo=true" not in about and names.count(name) == 1
        ways[begin:end] = 1 + begin % 3 + 3 * (strand == "-") if whole else UNKNOWN
    return Genome(letters, ways)


# --- gene finders --------------------------------------------------------------------------------


def open_reading_frames(genome: Genome, code: str, least: int) -> np.ndarray:
    """Labels int[N]: from a start to the next stop is a gene, if it has `least` codons.

    Where two of them overlap the longer one counts.
    """
    letters, count = genome.letters, len(genome.letters)
    ways, sizes = np.zeros(count, int), np.zeros(count, int)
    for strand, read in enumerate((letters, 3 - letters[::-1])):
        for frame in range(3):
            words = codons(read[frame : count - (3 - frame) % 3])[:, 0]
            starts, stops = (
                np.flatnonzero(np.isin(words, [number(codon) for codon in which]))
                for which in (STARTS, STOPS[code])
            )
            firsts = np.append(starts, count)[np.searchsorted(starts, np.append(0, stops[:-1]))]
            for first, stop in zip(firsts, stops):
                if stop - first >= least:
                    begin, end = frame + 3 * first, frame + 3 * stop + 3
                    if strand:
                        begin, end = count - end, count - begin
                    free = begin + np.flatnonzero(sizes[begin:end] < end - begin)
                    ways[free], sizes[free] = 1 + begin % 3 + 3 * strand, end - begin
    return ways[1::3]


def six_ways(genome: Genome) -> np.ndarray:
    """int[6,N]: the codons around letters 3t + 1, in the six ways to read them."""
    forward = genome.codons().T
    return np.concatenate([forward, 63 - (forward % 4 * 16 + forward // 4 % 4 * 4 + forward // 16)])


def codon_weights(genome: Genome) -> np.ndarray:
    """float[64]: log of how much likelier a codon is where it is read than where it is not."""
    words, right = six_ways(genome), genome.labels() == np.arange(1, 7)[:, None]
    p, q = (np.bincount(words[which], minlength=64) + 1 for which in (right, ~right))
    return np.log(p / p.sum()) - np.log(q / q.sum())


def by_codons(genome: Genome, weights: np.ndarray, window: int, least: float) -> np.ndarray:
    """Labels int[N]: the way whose codons weigh most, on average over a window, if it is enough."""
    kernel = np.ones(window) / window
    means = np.array([np.convolve(row, kernel, "same") for row in weights[six_ways(genome)]])
    return np.where(means.max(axis=0) > least, 1 + means.argmax(axis=0), 0)


def best(
    method: Callable[..., np.ndarray], learned: Genome, test: Genome, *choices: tuple
) -> float:
    """How often method(test, *choice) is right; the choice is the best one for `learned`."""

    def right(genome: Genome, choice: tuple) -> float:
        return accuracy(method(genome, *choice), genome.labels(), UNKNOWN)

    return right(test, max(choices, key=lambda choice: right(learned, choice)))


def finders(learned: Genome, test: Genome) -> dict[str, float]:
    """How often the gene finders are right."""
    sizes, weights = (30, 60, 90, 120), codon_weights(learned)
    found = {
        f"start to stop, {code}": best(
            open_reading_frames, learned, test, *[(code, least) for least in sizes]
        )
        for code in STOPS
    }
    windows = [(weights, window, least) for window in (40, 80, 120) for least in (-0.1, 0.0)]
    return found | {"codon frequencies": best(by_codons, learned, test, *windows)}
