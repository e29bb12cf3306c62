"""What the package promises about itself: dependencies, entry points, direction of imports."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "tinygrad_rnn"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# The house (DESIGN 3), top floor first: a module may import from lower floors only.
FLOORS = [
    {"__main__"},
    {"bench", "testing"},
    {"__init__"},
    {"extend"},
    {"nn", "optim", "data", "decoding", "metrics"},
    {"storage"},
    {"fft", "linalg"},
    {"jit"},
    {"fuse", "rows", "column_sums"},
    {"leading"},
    {"group_body"},
    {"lower", "explanation", "call"},
    {"loop_program"},
    {"passes"},
    {"scan"},
    {"residuals", "invariants", "scan_arguments"},
    {"derivatives"},
    {"autodiff"},
    {"pullbacks"},
    {"vectorize"},
    {"array_api", "random"},
    {"ops"},
    {"primitive"},
    {"tensor"},
    {"attached"},
    {"trace", "tree"},
    {"backend"},
    {"program", "capabilities", "artifacts"},
    {"graph", "dlpack"},
    {"types"},
    {"errors", "arguments", "synonyms"},
]
FLOOR_OF = {unit: floor for floor, units in enumerate(FLOORS) for unit in units}


def unit_of(path: Path) -> str:
    """The part of the house that a file belongs to: 'ops' for tinygrad_rnn/ops/matmul.py."""
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
    return name == "TYPE_CHECKING"


def imports_of(node: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Names of all that is imported, at any depth but not for type checkers, with lines."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and is_type_checking(child.test):
            for other in child.orelse:
                yield from imports_of(other, package)
        elif isinstance(child, ast.Import):
            yield from ((alias.name, child.lineno) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = package[: len(package) - child.level + 1] if child.level else ()
            module = ".".join((*base, child.module) if child.module else base)
            yield from ((f"{module}.{alias.name}", child.lineno) for alias in child.names)
        else:
            yield from imports_of(child, package)


def core_files() -> list[Path]:
    return sorted(CORE.rglob("*.py"))


def core_imports(path: Path) -> list[tuple[str, int]]:
    package = (CORE.name, *path.relative_to(CORE).parts[:-1])
    return list(imports_of(ast.parse(path.read_text()), package))


def test_imports_point_downwards() -> None:
    upwards = []
    for path in core_files():
        unit = unit_of(path)
        assert unit in FLOOR_OF, f"{path.name}: on which of the FLOORS does it live?"
        for name, line in core_imports(path):
            head, _, rest = name.partition(".")
            if head != CORE.name or unit in ("__init__", "__main__"):
                continue
            target = rest.partition(".")[0]
            if target not in FLOOR_OF:  # `from tinygrad_rnn import tanh`: from the top floor
                target = "__init__"
            if target != unit and FLOOR_OF[target] <= FLOOR_OF[unit]:
                upwards.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not upwards, "\n".join(upwards)


def test_core_imports_only_the_standard_library_and_numpy() -> None:
    allowed = {*sys.stdlib_module_names, "numpy", CORE.name}
    optional = {"testing": {"hypothesis", "pytest"}}
    strangers = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in core_files()
        for name, line in core_imports(path)
        if name.partition(".")[0] not in allowed | optional.get(unit_of(path), set())
    ]
    assert not strangers, "\n".join(strangers)


def test_the_layering_test_sees_what_it_should() -> None:
    source = (
        "import tinygrad_rnn.jit as j\nfrom . import scan\nfrom ..types import Type\n"
        "if TYPE_CHECKING:\n    from .. import nn\ndef f():\n    from ..random import x\n"
    )
    names = [name for name, _ in imports_of(ast.parse(source), ("tinygrad_rnn", "ops"))]
    assert names == [
        "tinygrad_rnn.jit",
        "tinygrad_rnn.ops.scan",
        "tinygrad_rnn.types.Type",
        "tinygrad_rnn.random.x",
    ]


def test_import_loads_no_backend_library_and_no_backend_but_the_one_in_use() -> None:
    code = (
        "import sys, tinygrad_rnn; from tinygrad_rnn import nn, optim, data\n"
        "heavy = {'ml_dtypes', 'numba', 'llvmlite', 'cupy', 'torch', 'hypothesis', 'matplotlib',\n"
        "         'tinygrad_rnn_numba', 'tinygrad_rnn_cupy'}\n"
        "tinygrad_rnn.list_backends()\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_numpy_is_the_only_dependency() -> None:
    assert PROJECT["dependencies"] == ["numpy>=2.0,<3"]


def test_extras() -> None:
    extras = PROJECT["optional-dependencies"]
    named = {"numba", "cuda12", "cuda13", "examples", "testing", "test", "bench", "dev"}
    assert set(extras) >= named
    for major in (12, 13):
        (requirement,) = extras[f"cuda{major}"]
        assert requirement == f"cupy-cuda{major}x[ctk]>=14.0.1,!=14.1.0"
    for name, requirements in extras.items():
        cupy = [r for r in requirements if "cupy" in r]
        assert not cupy or name in ("cuda12", "cuda13"), f"{name} drags in {cupy}"


@pytest.mark.parametrize("name", ["numpy", "numba", "cupy"])
def test_entry_points_are_registered_as_a_strangers_would_be(name: str) -> None:
    found = importlib.metadata.entry_points(group="tinygrad_rnn.backends", name=name)
    declared = PROJECT["entry-points"]["tinygrad_rnn.backends"][name]
    assert {point.value for point in found} == {declared}
    if name == "numpy":
        (backend,) = {point.load() for point in found}
        assert backend.name == "numpy"


def test_version_is_said_once() -> None:
    import tinygrad_rnn

    assert tinygrad_rnn.__version__ == PROJECT["version"]
    assert importlib.metadata.version("tinygrad_rnn") == PROJECT["version"]


def test_typed_marker_and_licence_are_shipped() -> None:
    assert (CORE / "py.typed").exists()
    assert PROJECT["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_command_line_lists_the_backends() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tinygrad_rnn"], capture_output=True, text=True, check=True
    )
    first, *lines = done.stdout.splitlines()
    assert first == f"tinygrad_rnn {PROJECT['version']}"
    assert {"numpy", "numba", "cupy"} <= {line.split()[0] for line in lines if line.strip()}
