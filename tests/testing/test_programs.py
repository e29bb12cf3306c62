"""Random programs: valid, printed as code that does the same, varied, shrinking; and their kin."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.extend import Elementwise, Graph, Sample, primitives, subgraphs
from tinygrad_rnn.passes import prune
from tinygrad_rnn.primitive import Arg
from tinygrad_rnn.testing import assert_close, assert_same, ragged_batch
from tinygrad_rnn.testing import strategies as tst
from tinygrad_rnn.testing.fuzz.coverage import Coverage, every_node, features
from tinygrad_rnn.testing.programs import BEYOND, Program, generate, possible, random_numbers
from tinygrad_rnn.testing.recorded import Recorded, tensors

QUICK = dict(deadline=None, database=None, derandomize=True)
KINDS = ("float64", "float32", "mixed")


def drawn(seed: int, **options: Any) -> Program:
    rng = random.Random(seed)
    return generate(random_numbers(rng, rng.randrange(4, 24)), **options)


def interpreted(graph: Graph, arrays: Any) -> list[np.ndarray]:
    with np.errstate(all="ignore"):
        return [np.asarray(y) for y in graph.interpret(*arrays)]


@pytest.mark.parametrize("rows", [False, True])
def test_programs_are_valid_finite_and_callable(rows: bool) -> None:
    for seed in range(60):
        p = drawn(seed, rows=rows, floats=KINDS[seed % 3])
        p.graph.verify()
        arrays = p.arrays()
        for a, b in zip(arrays, p.arrays(), strict=True):
            assert_same(a, b)
        want = interpreted(p.graph, arrays)
        single = any(v.type.dtype is tg.float32 for n in every_node(p.graph) for v in n.outputs)
        for y, z, v in zip(p(*tensors(arrays)), want, p.graph.outputs, strict=True):
            assert y.type is v.type and np.isfinite(z).all()
            if not single:
                assert_close(y, z, 1e-9)


def operations(graph: Graph) -> Counter[Any]:
    """What is applied to which types; of loops only what their step applies."""
    found: Counter[Any] = Counter()
    for node in graph.nodes:
        # numbers may be captured or written inside, and nothing is captured that is not read
        if node.op.name not in ("scan", "full"):
            found[node.op.name, tuple(v.type for v in node.inputs)] += 1
        for _, body in subgraphs(node):
            found += operations(body)
    return found


def test_a_program_prints_as_a_function_that_records_the_same() -> None:
    for seed in range(80):
        p = drawn(seed, rows=seed % 5 == 0, floats=KINDS[seed % 3])
        scope: dict[str, Any] = {}
        exec(p.script(), scope)
        arrays = p.arrays()
        for a, b in zip(scope["inputs"], arrays, strict=True):
            assert_same(a, b)
        again = Recorded(scope["program"], arrays).graph
        assert operations(prune(again)) == operations(prune(p.graph)), p
        for a, b in zip(interpreted(again, arrays), interpreted(p.graph, arrays), strict=True):
            assert_same(a, b)


def test_what_a_batch_of_programs_has_in_it() -> None:
    """Shares of the features that keep optimizers honest, and of loops, at least."""
    wanted = {
        "loop": 30, "loop in a loop": 1, "reverse loop": 10, "empty loop": 2, "fan-out": 90,
        "dead code": 50, "duplicate": 10, "stopped gradient": 20, "recomputed call": 15,
        "rule of its own": 15, "random bits": 15,
    }  # fmt: skip
    programs = [drawn(seed) for seed in range(300)]
    seen = Counter(f for p in programs for f in features(p.graph))
    assert not {f: seen[f] / 3 for f, share in wanted.items() if seen[f] / 3 < share}
    assert sum(any(leaf.same_as is not None for leaf in p.leaves) for p in programs) > 60
    sizes = sorted(sum(1 for _ in every_node(p.graph)) for p in programs)
    assert sizes[150] >= 12
    used = {n.op.name for p in programs for n in every_node(p.graph)}
    assert used == set(primitives) - BEYOND


def test_equal_inputs_are_equal_and_distinct() -> None:
    p = next(p for p in map(drawn, range(99)) if any(x.same_as is not None for x in p.leaves))
    k = next(k for k, leaf in enumerate(p.leaves) if leaf.same_as is not None)
    arrays = p.arrays()
    of = arrays[p.leaves[k].same_as]
    assert_same(arrays[k], of)
    assert arrays[k] is not of


#: Results of the first never lie in the domain of the second, or only by chance.
FOREIGN = 80


def test_every_pair_of_primitives_can_be_adjacent() -> None:
    """A tenth of them each time the suite runs with another start; all by hand."""
    names = sorted(set(primitives) - BEYOND)
    pairs = [(a, b) for a in names for b in names if possible(a, b)]
    rng = random.Random(0)
    chosen = rng.sample(pairs, 400)
    missing = []
    for pair in chosen:
        for _ in range(12):
            p = generate(random_numbers(rng, 1), pairs=[pair])
            seen = Coverage()
            seen._walk(p.graph)
            if seen.pairs[pair]:
                break
        else:
            missing.append(pair)
    assert len(missing) * len(pairs) <= FOREIGN * 1.5 * len(chosen), missing


class Softsign(Elementwise):
    """A primitive that a stranger adds, with a domain of its own."""

    name = "softsign"
    kinds = "f"
    reference = staticmethod(lambda x: x / (1 + abs(x)))
    samples = (Sample((Arg((3,), 0.25, 0.75),)),)
    vjp = (lambda g, y, x: g / ((1 + tg.abs(x)) * (1 + tg.abs(x))),)
    _types: Any = {}  # noqa: RUF012


def test_a_new_primitive_takes_part_by_its_declaration(monkeypatch: Any) -> None:
    monkeypatch.setitem(primitives, "softsign", Softsign)
    inside = 0
    for seed in range(400):
        p = drawn(seed)
        for node in p.graph.nodes:
            if node.op is Softsign:
                inside += 1
                x = interpreted(Graph(p.graph.inputs, p.graph.nodes, node.inputs), p.arrays())[0]
                assert ((x >= 0.2) & (x <= 0.8)).all()
    assert inside > 5


def test_the_same_numbers_are_the_same_program_and_none_is_the_simplest() -> None:
    numbers = random_numbers(random.Random(4), 12)
    assert repr(generate(numbers)) == repr(generate(numbers))
    assert len(generate([]).graph.nodes) <= 1


@pytest.mark.parametrize("name", ["contract", "scan", "cumsum"])
def test_failures_shrink_to_a_few_lines(name: str) -> None:
    def has(p: Program) -> bool:
        return any(n.op.name == name for n in every_node(p.graph))

    small = find(tst.programs(), has, settings=settings(max_examples=1000, **QUICK))
    assert sum(1 for _ in every_node(small.graph)) <= 4, small
    assert repr(small).startswith("def program(")


@settings(max_examples=40, **QUICK)
@given(tst.scan_bodies(), st.booleans())
def test_steps_of_loops_run_step_by_step(body: Any, twice: bool) -> None:
    carry, ys = tensors(body.carry), []
    order = range(body.length)[:: -1 if body.reverse else 1]
    xs = tensors(body.xs)
    for t in order:
        carry, y = body(carry, [x[t] for x in xs])
        ys.append([v.numpy() for v in y])
    p = body.program
    want = interpreted(p.graph, p.arrays())
    for a, b in zip(carry, want):
        assert_close(a, b, 1e-11)
    for row, t in zip(ys, order):
        for a, b in zip(row, want[len(carry) :], strict=True):
            assert_close(a, b[t], 1e-11)
    assert "tg.scan(step" in repr(body)


@settings(max_examples=60, **QUICK)
@given(tst.ragged_batches(batch_first=st.booleans()))
def test_ragged_batches_hold_the_sequences_and_poison(batch: Any) -> None:
    x = batch.x.swapaxes(0, 1) if batch.batch_first else batch.x
    for b, (n, sequence) in enumerate(zip(batch.lengths, batch.sequences, strict=True)):
        assert_same(x[:n, b], sequence)
        assert np.array_equal(x[n:, b], np.full(x[n:, b].shape, batch.poison), equal_nan=True)
    again = eval(repr(batch), {"ragged_batch": _from_lists, "nan": np.nan, "inf": np.inf})
    assert_same(again.x, batch.x)


def _from_lists(sequences: Any, steps: int, poison: float, batch_first: bool, dtype: str) -> Any:
    rows = [np.array(s, dtype).reshape(len(s), 3) for s in sequences]
    return ragged_batch(rows, steps, poison, batch_first)


@settings(max_examples=25, **QUICK)
@given(tst.rnn_configs(), tst.ragged_batches(features=2))
def test_layers_of_every_configuration_ignore_poisoned_padding(config: Any, batch: Any) -> None:
    layer = config._replace(input_size=2).build().eval()
    x = batch.x.swapaxes(0, 1) if config.options.get("batch_first") else batch.x
    y, _ = layer(tg.tensor(np.ascontiguousarray(x)), lengths=batch.lengths)
    assert np.isfinite(y.detach().numpy()).all() and repr(config).startswith(f"nn.{config.kind}(")


@settings(max_examples=40, **QUICK)
@given(tst.optimizer_configs())
def test_optimizers_of_every_configuration_take_steps(config: Any) -> None:
    w = tg.tensor(np.array([1.0, -2.0]), requires_grad=True)
    optimizer = config.build([w])
    for _ in range(2):
        optimizer.zero_grad()
        (w * w).sum().backward()
        optimizer.step()
    assert np.isfinite(w.detach().numpy()).all()
    assert repr(config).startswith(f"optim.{config.kind}(params, lr=")
