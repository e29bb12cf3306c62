"""Backends: where arrays live and graphs run. Protocol, discovery, selection, report.

In: a name (argument, `use_backend`, TINYGRAD_RNN_BACKEND). Out: a Backend value. Only the named
entry point is ever imported; nothing falls back to another backend.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .capabilities import Capabilities
from .errors import BackendError
from .graph import Graph, Node, subgraphs
from .program import compile_python
from .types import Type

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

API = 1
GROUP = "tinygrad_rnn.backends"
VARIABLE = "TINYGRAD_RNN_BACKEND"
Buffer = Any
Program = Callable[..., Sequence[Buffer]]

#: Passes that every graph runs through before a backend compiles it; `passes` fills it.
pipeline: list[Callable[[Graph], Graph]] = []
#: Called before the first graph is optimised: what fills `pipeline` is loaded only then.
before_first: list[Callable[[], object]] = []
#: Names of all primitives; `primitive` fills it. Kernels for other names are rejected.
primitives: dict[str, Any] = {}


class Backend:
    """Puts arrays somewhere and runs graphs there.

    A subclass gives `name`, `kernels` (primitive's name -> function on this backend's buffers,
    attributes by keyword), `put`, `get` and `empty`; everything else has a default. Kernels leave
    their operands as they are, and only those of `program.VIEWS` may return memory of an operand.
    The default `compile` runs loops by `buffer[t]` (a view, where `takes_out`) and `buffer[t] =
    row`, both also spelled `[t, ...]`. What a backend cannot do it says in `capabilities`;
    `tinygrad_rnn.testing.BackendConformance` checks all of it.
    """

    name: str = "?"
    api: int = API
    kernels: Mapping[str, Callable[..., Buffer]] = {}
    capabilities: Capabilities = Capabilities()

    @classmethod
    def missing(cls) -> str | None:
        """None if the backend can be used here, else what to install or plug in."""
        return None

    def put(self, host: np.ndarray) -> Buffer:
        """A buffer with a copy of the host array."""
        raise NotImplementedError

    def get(self, buffer: Buffer) -> np.ndarray:
        """The buffer's values as a NumPy array (which the caller does not modify)."""
        raise NotImplementedError

    def empty(self, type: Type) -> Buffer:
        """An uninitialised buffer."""
        raise NotImplementedError

    def adopt(self, array: Any) -> Buffer | None:
        """A buffer that is the memory of another library's array (by DLPack); None if that memory
        is not where buffers of this backend are."""
        return None

    def specialize(self, node: Node) -> Callable[..., Buffer] | None:
        """The kernel for one node of a graph, its attributes bound.

        For a scan, a function on buffers that returns the tuple of its outputs, or None: then the
        loop is written out over the kernels of its body.
        """
        if node.op.name == "scan":
            return None
        for _, body in subgraphs(node):
            run = self.compile(optimize(body))
            return lambda *buffers: tuple(run(*buffers))
        kernel = self.kernels[node.op.name]
        return functools.partial(kernel, **node.attrs) if node.attrs else kernel

    def takes_out(self, kernel: Callable[..., Buffer], node: Node) -> bool:
        """Whether `kernel(*inputs, out)` writes its result into `out`."""
        return False

    def compile(self, graph: Graph) -> Program:
        """A function on buffers; by default straight-line Python over `kernels`."""
        return compile_python(graph, self.specialize, self.empty, self.takes_out)

    def report(self, graph: Graph) -> list[tuple[str, str]]:
        """For every node of the (optimised) graph: its name and how it runs here."""
        return [(node.op.name, "loop over kernels" if node.op.name == "scan" else "kernel")
                for node in graph.nodes]  # fmt: skip

    def synchronize(self) -> None:
        """Wait until everything that was asked for has been computed."""

    def __repr__(self) -> str:
        return f"<backend {self.name}>"


class ProgramCache:
    """Compiled graphs by backend and structure; bounded, least recently used goes first."""

    def __init__(self, limit: int = 512):
        self.limit, self.lock = limit, threading.Lock()
        self.entries: OrderedDict[Any, Any] = OrderedDict()

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        with self.lock:
            if key in self.entries:
                self.entries.move_to_end(key)
                return self.entries[key]
        made = make()
        with self.lock:
            self.entries[key] = made
            while len(self.entries) > self.limit:
                self.entries.popitem(last=False)
        return made


_programs = ProgramCache()
_optimized = ProgramCache()


def optimize(graph: Graph) -> Graph:
    """`graph` after all passes; the result is remembered by structure."""

    def run() -> Graph:
        while before_first:
            before_first.pop()()
        out = graph
        for rewrite in pipeline:
            out = rewrite(out)
            if checking():
                out.verify()
        return out

    result: Graph = _optimized.get(graph.digest, run)
    return result


def compiled(backend: Backend, graph: Graph) -> Program:
    """`graph` optimised and compiled for `backend`, once per structure."""
    key = (backend.name, id(backend), graph.digest)
    program: Program = _programs.get(key, lambda: backend.compile(optimize(graph)))
    return program


def run(program: Program, buffers: Sequence[Buffer]) -> Sequence[Buffer]:
    """Run a program where NumPy does not warn of infinities and NaN: they are values here."""
    with np.errstate(all="ignore"):
        return program(*buffers)


def checking() -> bool:
    """Whether TINYGRAD_RNN_CHECK asks for slow self-verification (NaN search, graph checks)."""
    return os.environ.get("TINYGRAD_RNN_CHECK", "0") not in ("", "0")


# --- discovery -----------------------------------------------------------------------------------


class BackendInfo(NamedTuple):
    """What is known of a backend without importing it; `state`: `missing`, or that it is there."""

    name: str
    version: str
    origin: str
    missing: str | None
    state: str


#: What the backends of this project need beyond NumPy: module to look for, command to install it,
#: what to say when it is there.
REQUIRES = {
    "numba": ("numba", 'pip install "tinygrad-rnn[numba]"', "installed"),
    "cupy": (
        "cupy",
        'pip install "tinygrad-rnn[cuda12]" or "tinygrad-rnn[cuda13]"',
        "installed (a GPU is looked for when it is used)",
    ),
}


def _entries() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # slow to import, and not needed by every program

    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        known = found.get(entry.name)
        if known is not None and known.value != entry.value:
            raise BackendError(
                f"two packages register the backend '{entry.name}': {_origin(known)} and "
                f"{_origin(entry)}. Uninstall one of them."
            )
        found[entry.name] = entry
    return found


def _origin(entry: EntryPoint) -> str:
    return f"{entry.dist.name if entry.dist else 'unknown package'} ({entry.value})"


def list_backends() -> list[BackendInfo]:
    """Name, version, origin and what is missing of every registered backend; imports none.

    >>> [info.name for info in list_backends() if info.missing is None and info.name == "numpy"]
    ['numpy']
    """
    rows = []
    for name, entry in sorted(_entries().items()):
        missing = None
        module, hint, found = REQUIRES.get(
            name, (entry.module.split(".")[0], "reinstall its package", "installed")
        )
        if importlib.util.find_spec(module) is None:
            missing = f"the package '{module}' is not installed: {hint}"
        version = entry.dist.version if entry.dist else "?"
        rows.append(BackendInfo(name, version, _origin(entry), missing, missing or found))
    return rows


@functools.cache
def load_backend(name: str) -> Backend:
    """The backend registered under `name`, imported on first use."""
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
        raise BackendError(
            f"{name!r} is not a backend name; expected lower-case letters, digits and '_', "
            f"for example one of {_known()}."
        )
    entry = _entries().get(name)
    if entry is None:
        raise BackendError(
            f"there is no backend '{name}'; registered are {_known()}. Set {VARIABLE} (or "
            f"use_backend) to one of them, or install the package that provides '{name}'."
        )
    try:
        cls = entry.load()
    except (ImportError, AttributeError) as error:
        _, hint, _ = REQUIRES.get(name, ("", "reinstall its package", ""))
        raise BackendError(
            f"backend '{name}' from {_origin(entry)} cannot be imported: {error}. Try: {hint}."
        ) from error
    backend = validate(cls, name)
    missing = backend.missing()
    if missing is not None:
        raise BackendError(f"backend '{name}' cannot be used here: {missing}")
    instance: Backend = backend()
    return instance


def _known() -> str:
    return ", ".join(f"'{n}'" for n in sorted(_entries())) or (
        "none (the package is not installed: pip install -e .)"
    )


def validate(cls: Any, name: str) -> type[Backend]:
    """Check that `cls` is a Backend of this API with kernels for known primitives only."""
    if not (isinstance(cls, type) and issubclass(cls, Backend)):
        raise BackendError(f"backend '{name}': {cls!r} is not a subclass of Backend.")
    if cls.api != API:
        raise BackendError(
            f"backend '{name}' was written for API {cls.api}, this tinygrad_rnn speaks API {API}; "
            "upgrade the older of the two."
        )
    unknown = sorted(set(cls.kernels) - set(primitives))
    if unknown:
        raise BackendError(f"backend '{name}' has kernels for unknown primitives: {unknown}.")
    return cls


# --- selection -----------------------------------------------------------------------------------


class _Selection(threading.local):
    current: Backend | None = None


_selection = _Selection()


def get_backend(which: str | Backend | None = None) -> Backend:
    """The backend in use, or the one named: `use_backend` > TINYGRAD_RNN_BACKEND > numpy.

    >>> get_backend("numpy").name
    'numpy'
    """
    if which is not None:
        return which if isinstance(which, Backend) else load_backend(which)
    return _selection.current or load_backend(os.environ.get(VARIABLE) or "numpy")


class use_backend:
    """Make a backend the default for new tensors: call it, or use it as a context manager.

    >>> with use_backend("numpy") as backend:
    ...     backend.name
    'numpy'
    """

    def __init__(self, which: str | Backend):
        self.previous = _selection.current
        self.backend = get_backend(which)
        _selection.current = self.backend

    def __enter__(self) -> Backend:
        return self.backend

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _selection.current = self.previous


def same_backend(what: str, backends: Iterable[Backend]) -> Backend:
    """The one backend of all operands; an error names the two that differ."""
    first, *others = backends
    for other in others:
        if other is not first:
            raise BackendError(
                f"{what}: operands live on different backends ('{first.name}' and "
                f"'{other.name}'); move one with .to('{first.name}')."
            )
    return first
