"""DNA: where genes are cut and joined (splice junctions), and where they are (coding regions).

Both networks are bidirectional, as DNA has no time. x_t is a group of three letters:

    e_t = E[x_t],  h→_t = GRU(h→_{t-1}, e_t),  h←_t = GRU(h←_{t+1}, e_t)
    junction:  ŷ = softmax(V [h→_m; h←_m] + c)          m: the middle of 60 letters
    genes:     ŷ_t = softmax(V [h→_t; h←_t] + c)        one label for every three letters

A junction is EI (a gene's exon ends, an intron begins), IE, or neither. Baselines: the letters at
each of the 60 places, weighted by logistic regression, or by their frequencies (a naive Bayes).
The genes are those of Mycoplasma genitalium, one of the smallest genomes that live; e_t sums the
three codons that begin in these letters, ŷ_t says in which of six ways they are read, if at all.
Baselines: codon frequencies in a window; from a start codon to the next stop. The latter is good
if it is told what the network finds out: that TGA is no stop in Mycoplasma.

    python examples/dna.py
    python examples/dna.py --genome my.fasta --genes my.gff
"""

from __future__ import annotations

import itertools
from pathlib import Path

import _genome
import numpy as np
from _common import Report, Run, Score, example, need
from _junctions import read_junctions, weigh_places
from _training import Descent

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.metrics import accuracy
from tinygrad_rnn.nn import functional as F

DATA = Path(__file__).parent / "data"


class Reader(nn.Module):
    """Triples of letters int[T,B,G] -> scores f32[T,B,classes], by reading in both directions.

    Each of the G triples of a step has its own embedding; they are summed.
    """

    def __init__(
        self, triples: int, groups: int, hidden: int, classes: int, dropout: float
    ) -> None:
        self.offsets = triples * np.arange(groups)
        self.embed, self.dropout = nn.Embedding(triples * groups, hidden), nn.Dropout(dropout)
        self.rnn = nn.Bidirectional(nn.GRUCell(hidden, hidden), nn.GRUCell(hidden, hidden))
        self.head = nn.Linear(2 * hidden, classes)

    def forward(self, x: tg.Tensor, middle: bool = False) -> tg.Tensor:
        h, _ = self.rnn(self.dropout(self.embed(x + self.offsets).sum(axis=-2)))
        return self.head(self.dropout(h[len(h) // 2] if middle else h))

    def probabilities(self, x: np.ndarray, middle: bool = False) -> np.ndarray:
        with tg.no_grad():
            return F.softmax(self(tg.tensor(x), middle)).numpy()


def train(run: Run, model: Reader, name: str, steps: int, lr: float, draw, **options) -> float:
    """Learn from draw() -> (x, y), `steps` times; the last loss."""
    descent = Descent(model, lr, decay=0.01)

    @tg.jit
    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        scores = model(x, **options)
        loss = F.cross_entropy(
            scores.reshape(-1, scores.shape[-1]), y.reshape(-1), ignore_index=_genome.UNKNOWN
        )
        loss.backward()
        descent.step()
        return loss

    for _ in descent.steps(run, steps, name):
        run.show(step(*draw()))
    return run.loss


# --- splice junctions ----------------------------------------------------------------------------


def triples(x: np.ndarray) -> np.ndarray:
    """Letters int[B,60] -> int[58,B,1]: the three that begin at each place, as one number."""
    return (25 * x[:, :-2] + 5 * x[:, 1:-1] + x[:, 2:]).T[..., None]


def effects(model: Reader, x: np.ndarray, label: int) -> np.ndarray:
    """float[4,60]: what each letter at each place does to log ŷ, on average over x int[B,60]."""
    changed = np.repeat(x[None], 4 * x.shape[1], axis=0)
    for k in range(len(changed)):
        changed[k, :, k % x.shape[1]] = k // x.shape[1]
    p = model.probabilities(triples(changed.reshape(-1, x.shape[1])), middle=True)[:, label]
    logs = np.log(p + 1e-3).reshape(4, x.shape[1], -1).mean(axis=-1)
    return logs - logs.mean(axis=0)


def draw_effects(axis, found: np.ndarray, title: str) -> None:
    """Places count from the junction: -30 ... -1 before it, 1 ... 30 after it."""
    shown = np.sign(found) * np.sqrt(np.abs(found))  # so that the weak ones are seen, too
    bound = np.abs(shown).max()
    axis.imshow(shown, cmap="RdBu_r", vmin=-bound, vmax=bound, aspect="auto")
    axis.set(yticks=range(4), yticklabels=_genome.LETTERS, title=title)
    axis.set_xticks([0, 10, 20, 29, 30, 39, 49, 59], [-30, -20, -10, -1, 1, 10, 20, 30])
    axis.axvline(29.5, color="black", linewidth=1.5)
    axis.grid(False)


# --- genes ---------------------------------------------------------------------------------------


def draw_genes(axis, p: np.ndarray, labels: np.ndarray, begin: int) -> None:
    """Probabilities [N,7] as colours in six rows, annotated genes as frames around them."""
    rows = [3, 2, 1, 4, 5, 6]
    size, right = 3 / 1000, begin + 3 / 1000 * len(p)
    axis.imshow(
        p[:, rows].T, cmap="Blues", vmin=0, vmax=1, aspect="auto", extent=(begin, right, 6, 0),
        interpolation="nearest",
    )  # fmt: skip
    edges = np.flatnonzero(np.diff(labels, prepend=-9, append=-9))
    rectangle = need("matplotlib.patches").Rectangle
    for first, last in itertools.pairwise(edges):
        if labels[first] > 0:
            corner = (begin + size * first, rows.index(labels[first]) + 0.06)
            style = {"fill": False, "edgecolor": "#D55E00", "linewidth": 2}
            axis.add_patch(rectangle(corner, size * (last - first), 0.88, **style))
    axis.set(xlabel="thousands of letters", ylabel="how it is read")
    axis.set_yticks(np.arange(6) + 0.5, ["→ 3", "→ 2", "→ 1", "← 1", "← 2", "← 3"])
    axis.set_title("Six ways to read DNA: genes found (blue), annotated (frames)")
    axis.grid(False)


@example(
    quick={"epochs": 2, "steps": 40, "hidden": 32},
    epochs=(12, "times to read the junctions"),
    steps=(1200, "training steps on the genome"),
    codons=(200, "T, codons of the genome in each of the 32 pieces of a step"),
    hidden=(64, "H, size of the state in each direction"),
    junctions=(str(DATA / "splice_junctions.txt"), "lines of class and letters"),
    genome=(str(DATA / "mycoplasma_genitalium.fa"), "a sequence in FASTA format"),
    genes=(str(DATA / "mycoplasma_genitalium.gff"), "where its genes are, GFF3"),
)
def main(
    run: Run,
    epochs: int,
    steps: int,
    codons: int,
    hidden: int,
    junctions: str,
    genome: str,
    genes: str,
) -> Report:
    rng = run.rng
    x, y, x_test, y_test = read_junctions(junctions, rng)
    whole = _genome.read(genome, genes)
    cut = len(whole.letters) * 4 // 5 // 3 * 3
    learned, test = whole.part(0, cut), whole.part(cut, len(whole.letters))
    if cut < 2 * 3 * codons:
        raise SystemExit(
            f"--genome {genome}: {len(whole.letters)} letters are too few for --codons {codons}"
        )

    def some_junctions() -> tuple[np.ndarray, np.ndarray]:
        rows = rng.integers(0, len(x), 32)
        return triples(x[rows]), y[rows]

    def some_pieces() -> tuple[np.ndarray, np.ndarray]:
        pieces = [learned.part(k, k + 3 * codons) for k in rng.integers(0, cut - 3 * codons, 32)]
        pieces = [piece.turned() if rng.random() < 0.5 else piece for piece in pieces]
        return np.stack([p.codons() for p in pieces], 1), np.stack([p.labels() for p in pieces], 1)

    splicer = Reader(125, 1, 64, 3, dropout=0.4)
    splice_loss = train(
        run, splicer, "junctions", epochs * len(x) // 32, 0.003, some_junctions, middle=True
    )
    caller = Reader(64, 3, hidden, 7, dropout=0.2)
    loss = train(run, caller, "genes", steps, 0.004, some_pieces)

    spliced = splicer.probabilities(triples(x_test), middle=True)
    called = caller.probabilities(test.codons()[:, None])[:, 0]
    axes = run.axes("What two networks found in DNA", 3, 1, height_ratios=[1, 1, 1.7])
    few = 10 if run.quick else 50
    for axis, k, what in zip(axes, (0, 1), ("an intron begins here", "an intron ends here")):
        found = effects(splicer, x_test[y_test == k][:few], k)
        draw_effects(axis, found, f"Letters that say (red) or deny (blue): {what}")
    shown = slice(len(called) // 2, len(called) // 2 + 5000)
    draw_genes(axes[2], called[shown], test.labels()[shown], (cut + 3 * shown.start) / 1000)

    simpler = _genome.finders(learned, test)
    told = simpler.pop("start to stop, Mycoplasma's code")
    return Report(
        max(splice_loss, loss),
        Score(
            "junctions right", accuracy(spliced, y_test), at_least=0.94,
            baseline=weigh_places(x, y, x_test, y_test),
        ),
        Score(
            "codons called right", accuracy(called, test.labels(), _genome.UNKNOWN), at_least=0.94,
            baseline=max(simpler.items(), key=lambda item: item[1]),
        ),
        Score("start to stop, told that TGA is no stop", told),
    )  # fmt: skip


if __name__ == "__main__":
    main()
