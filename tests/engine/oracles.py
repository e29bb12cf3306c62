"""Oracles: what a derivative or a program should be, worked out another way.

Gradients: complex step through `Graph.interpret`, that is, through the primitives' NumPy references
alone. Programs: the reference interpreter. Loops: plain Python.
"""

from __future__ import annotations

import importlib.util
import itertools
import zlib
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import passes
from tinygrad_rnn.backend import GROUP, optimize
from tinygrad_rnn.extend import Graph, Node
from tinygrad_rnn.jit import _record
from tinygrad_rnn.tree import flatten

STEP = 1e-30
PASSES = {
    "none": (),
    "simplify": (passes.simplify,),
    "prune": (passes.prune,),
    "fission": (passes.fission,),
    "all": None,
}


def _usable(entry: EntryPoint) -> bool:
    """Whether a backend is importable and finds its device (CuPy comes without a GPU)."""
    spec = importlib.util.find_spec(entry.module)
    return spec is not None and spec.origin is not None and entry.load().missing() is None


#: Every registered backend that can be used here.
BACKENDS = [
    info.name
    for info in tg.list_backends()
    if info.missing is None
    and all(_usable(entry) for entry in entry_points(group=GROUP, name=info.name))
]


def seeded(name: str) -> np.random.Generator:
    """A generator that is the same in every run, and another one for every name."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def host(x: Any) -> np.ndarray:
    return x.detach().numpy() if isinstance(x, tg.Tensor) else np.asarray(x)


def tensors(arrays: Any) -> list[tg.Tensor]:
    return [a if isinstance(a, tg.Tensor) else tg.tensor(np.asarray(a)) for a in arrays]


def close(a: Any, b: Any, tol: float = 1e-9, what: str = "") -> None:
    """Equal shapes, NaN and infinities in the same places, the rest within tol of max(1, |b|)."""
    a, b = host(a), host(b)
    assert a.shape == b.shape, f"{what}: shape {a.shape}, expected {b.shape}"
    if a.dtype.kind in "biu" and b.dtype.kind in "biu":
        assert np.array_equal(a, b), f"{what}: {a} != {b}"
        return
    fine = np.isfinite(b)
    assert np.array_equal(a[~fine], b[~fine], equal_nan=True), f"{what}: {a} != {b}"
    if fine.any():
        scale = max(1.0, float(np.abs(b[fine]).max()))
        worst = float(np.abs(a[fine] - b[fine]).max())
        assert worst <= tol * scale, f"{what}: differs by {worst:.3g} at scale {scale:.3g}"


def same(a: Any, b: Any, what: str = "") -> None:
    """Bitwise the same values (any NaN equals any NaN), shapes and dtypes."""
    a, b = host(a), host(b)
    assert (a.shape, a.dtype) == (b.shape, b.dtype), (
        f"{what}: {a.dtype}{a.shape} != {b.dtype}{b.shape}"
    )
    assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), f"{what}: {a} != {b}"


class Frozen:
    """An operation recorded under no_grad: it takes real parts, so no perturbation passes."""

    def __init__(self, op: Any):
        self.op, self.name, self.infer = op, op.name, op.infer

    def reference(self, *xs: Any, **attrs: Any) -> Any:
        return self.op.reference(*[np.real(x) for x in xs], **attrs)


def frozen(graph: Graph) -> Graph:
    """The graph with `Frozen` operations where gradients stop, in bodies too."""
    nodes = []
    for node in graph.nodes:
        attrs = {k: frozen(v) if isinstance(v, Graph) else v for k, v in node.attrs.items()}
        nodes.append(
            Node(Frozen(node.op) if node.frozen else node.op, node.inputs, attrs, node.outputs)
        )
    return Graph(graph.inputs, nodes, graph.outputs)


class Program:
    """f at some arguments as a graph, with the arrays that it captures."""

    def __init__(self, f: Any, arrays: Any):
        self.args = tensors(arrays)
        record = _record(f, tuple(self.args), {})
        self.graph, self.n = record.graph, sum(s is None for s in record.static)
        self.captured = [host(s(self.args)) for s in record.sources]

    def interpret(self, *arrays: Any) -> list[np.ndarray]:
        """The results by the primitives' references, real or complex."""
        return self.graph.interpret(*arrays, *self.captured)[: self.n]

    def run(self, which: str, backend: str = "numpy") -> list[np.ndarray]:
        """The results by a backend's program, after the named passes."""
        graph = self.graph
        chosen = PASSES[which]
        if chosen is None:
            graph = optimize(graph)
        else:
            for rewrite in chosen:
                graph = rewrite(graph)
        graph.verify()
        where = tg.get_backend(backend)
        buffers = [where.put(a) for a in (*map(host, self.args), *self.captured)]
        return [where.get(b) for b in where.compile(graph)(*buffers)[: self.n]]


def complex_step(f: Any, arrays: Any, cotangents: Any) -> list[np.ndarray]:
    """sum of cotangent * d result, for every element of every floating argument."""
    program = Program(f, arrays)
    given, graph = [host(a) for a in program.args], frozen(program.graph)
    out = []
    for k, a in enumerate(given):
        if a.dtype.kind != "f":
            out.append(None)
            continue
        g = np.zeros(a.shape)
        for at in np.ndindex(a.shape):
            moved = a.astype(complex)
            moved[at] += STEP * 1j
            ys = graph.interpret(*given[:k], moved, *given[k + 1 :], *program.captured)
            g[at] = sum(
                float((np.imag(y) / STEP * ct).sum())
                for y, ct in zip(ys, cotangents)
                if ct is not None
            )
        out.append(g)
    return out


def results(out: Any) -> list[tg.Tensor]:
    return [y for y in flatten(out)[0] if isinstance(y, tg.Tensor)]


def check_gradients(
    f: Any, *arrays: Any, order: int = 2, tol: float = 1e-9, rng: Any = None, what: str = "f"
) -> None:
    """The pullback of f at float64 arguments equals the complex step, and so does its own pullback.

    Arguments that are not floating are passed on and not differentiated. Cotangents are random.
    """
    rng = rng or seeded(what)
    arrays = tuple(host(a) for a in arrays)
    places = [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]
    assert all(arrays[i].dtype == np.float64 for i in places)
    ys = results(f(*tensors(arrays)))
    chosen = [i for i, y in enumerate(ys) if y.dtype.is_float]
    cts = [rng.normal(size=ys[i].shape) for i in chosen]

    def pulled(*all_args: Any) -> Any:
        xs, gs = all_args[: len(arrays)], all_args[len(arrays) :]

        def of_floats(*fs: Any) -> Any:
            full = list(xs)
            for i, new in zip(places, fs):
                full[i] = new
            found = results(f(*full))
            return tuple(found[i] for i in chosen)

        return tg.vjp(of_floats, *[xs[i] for i in places])[1](tuple(gs))

    got = pulled(*tensors(arrays), *tensors(cts))
    spread = [None] * len(ys)
    for i, ct in zip(chosen, cts):
        spread[i] = ct
    want = complex_step(f, arrays, spread)
    for i, g in zip(places, got):
        assert g.dtype == tg.float64, f"{what}: gradient {i} is {g.type}"
        close(g, want[i], tol, f"{what}, argument {i}")
    if order > 1:
        check_gradients(pulled, *arrays, *cts, order=order - 1, tol=tol, rng=rng, what=f"{what}'")


def check_programs(f: Any, *arrays: Any, tol: float = 1e-10, which: Any = PASSES) -> None:
    """Eager = interpreter = compiled, with each pass alone and with all."""
    program = Program(f, arrays)
    want = program.interpret(*map(host, program.args))
    for y, z in zip(results(f(*program.args)), want, strict=True):
        close(y, z, tol, "eager")
    for name in which:
        for y, z in zip(program.run(name), want, strict=True):
            close(y, z, tol, f"passes: {name}")


def loop(step: Any, carry: Any, xs: Any, length: int, reverse: bool = False) -> Any:
    """scan, unrolled in Python."""
    order = range(length - 1, -1, -1) if reverse else range(length)
    rows: dict[int, Any] = {}
    from tinygrad_rnn.tree import tree_map

    for t in order:
        carry, rows[t] = step(carry, tree_map(lambda x, t=t: x[t], xs))
    if not rows:
        return carry, None
    first, treedef = flatten(rows[0])
    columns = [[flatten(rows[t])[0][k] for t in range(length)] for k in range(len(first))]
    from tinygrad_rnn.tree import unflatten

    return carry, unflatten(treedef, [tg.stack(c) for c in columns])


def subsets(n: int) -> list[tuple[bool, ...]]:
    """Every choice of some of n things, but none at all."""
    return [flags for flags in itertools.product((False, True), repeat=n) if any(flags)]
