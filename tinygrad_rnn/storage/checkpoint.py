"""Checkpoints: everything that a training run needs to go on exactly where it stopped.

In: objects with `state_dict()`, carried states, numbers. Out: one safetensors file, and back.
A checkpoint loads completely or not at all, and loading runs nothing that is in the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from importlib import metadata as _packages
from typing import Any, Protocol

import numpy as np

from .. import ops, tree
from ..errors import ArgumentError, CheckpointError, TinygradRnnError
from ..tensor import Tensor
from ..types import Type, as_dtype
from . import strict_json
from .encoding import JSON_DEPTH, arrays_in, decode, encode, snapshot
from .safetensors import read_safetensors, write_safetensors

FORMAT, VERSION = "tinygrad_rnn.checkpoint", "1"
# What the numbers mean. A file with other conventions would load and compute nonsense.
CONVENTIONS = {"layout": "pytorch", "lstm_gates": "i f g o", "gru_gates": "r z n"}


class Stateful(Protocol):
    """Anything that can be saved: modules, optimizers, schedules, generators, loaders."""

    def state_dict(self) -> Any: ...
    def load_state_dict(self, state: Any, /) -> Any: ...


def save_tensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor | np.ndarray[Any, Any]],
    metadata: Mapping[str, str] = {},
) -> None:
    """Write named tensors to a safetensors file, atomically, with hashes.

    Errors: ArgumentError (bad name), DTypeError, OSError (the old file is intact).
    """
    arrays = {k: t.detach().numpy() if isinstance(t, Tensor) else t for k, t in tensors.items()}
    write_safetensors(path, arrays, metadata)


def load_tensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a safetensors file of any origin; hashes are verified if it has them.

    Errors: CheckpointError (anything wrong with the file), OSError.

    >>> import tempfile, os, tinygrad_rnn as tg
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_tensors(os.path.join(folder, "w"), {"w": tg.tensor([0.5, -0.0])})
    ...     load_tensors(os.path.join(folder, "w"))["w"].tolist()
    [0.5, -0.0]
    """
    return {name: ops.tensor(a) for name, a in read_safetensors(path).tensors.items()}


def save_checkpoint(
    path: str | os.PathLike[str],
    *,
    model: Stateful | None = None,
    optimizer: Stateful | None = None,
    scheduler: Stateful | None = None,
    rng: Stateful | None = None,
    loader: Stateful | None = None,
    state: Any = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write everything given to one file: atomically, bit for bit, without pickle.

    `state` is any nested structure of tensors (the carried states of truncated backpropagation);
    `extra` holds your own numbers and strings (epoch, best loss, ...). Pass
    `rng=tinygrad_rnn.random.default_generator()` if the model draws from it.

    Errors: DTypeError (something that cannot be stored), OSError (disk full, ...; the old file is
    intact and no temporary file is left).
    """
    parts = _given(model, optimizer, scheduler, rng, loader)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    contents: dict[str, Any] = {}
    for name, part in parts.items():
        code = encode(part.state_dict(), name, arrays)
        contents[name] = {"type": type(part).__name__, "state": code}
    if state is not None:
        contents["state"] = {"type": "", "state": encode(state, "state", arrays)}
    contents["extra"] = {"type": "", "state": encode(dict(extra or {}), "extra", arrays)}
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "conventions": json.dumps(CONVENTIONS, separators=(",", ":")),
        "written_by": f"tinygrad_rnn {_package_version('tinygrad_rnn')}, numpy {np.__version__}",
        "contents": json.dumps(contents, separators=(",", ":")),
    }
    write_safetensors(path, arrays, metadata)


def load_checkpoint(
    path: str | os.PathLike[str],
    *,
    model: Stateful | None = None,
    optimizer: Stateful | None = None,
    scheduler: Stateful | None = None,
    rng: Stateful | None = None,
    loader: Stateful | None = None,
    state: Any = None,
) -> dict[str, Any]:
    """Restore everything given from a checkpoint, in place, and return its `extra` dictionary.

    What is not asked for is not read into anything. `state` is a structure like the saved one
    (e.g. the initial state); its tensors get the saved values. Every check comes before the first
    change; should an object still refuse its state, all others get their old values back.

    Errors: CheckpointError, saying what is wrong and what to do; nothing was loaded. OSError.

    >>> import os, tempfile
    >>> from tinygrad_rnn import Generator
    >>> path = os.path.join(tempfile.mkdtemp(), "run.safetensors")
    >>> old, new = Generator(1), Generator(2)
    >>> save_checkpoint(path, rng=old, extra={"epoch": 3})
    >>> load_checkpoint(path, rng=new), new.state_dict() == old.state_dict()
    ({'epoch': 3}, True)
    """
    where = f"The checkpoint {os.fspath(path)!r}"
    file = read_safetensors(path)
    contents = _contents(file.metadata, file.verified, where)
    parts = _given(model, optimizer, scheduler, rng, loader)
    undo: list[tuple[Callable[[Any], Any], Any]] = []
    todo: list[tuple[str, Callable[[Any], Any], Any]] = []
    for name, part in parts.items():
        before = snapshot(part.state_dict())
        loaded = _component(name, contents, before, file.tensors, where)
        # Optimizers of different kinds may have states of the same form; models are free to be
        # renamed, their tensors' names and shapes say enough.
        written, here = contents[name]["type"], type(part).__name__
        if name != "model" and written != here:
            raise CheckpointError(
                f"{where} holds the state of a {written} as {name}, it was asked to restore a "
                f"{here}. Nothing was loaded: build the same kind of {name} as when it was saved."
            )
        todo.append((name, part.load_state_dict, loaded))
        undo.append((part.load_state_dict, before))
    if state is not None:
        before = snapshot(state)
        loaded = _component("state", contents, before, file.tensors, where)
        assign = _assign_to(state)
        todo.append(("state", assign, loaded))
        undo.append((assign, before))
    extra = decode(contents["extra"]["state"], file.tensors, lambda _, a: ops.tensor(a))
    if not isinstance(extra, dict):
        raise CheckpointError(f"{where}: its extra is a {type(extra).__name__}, not a dict.")
    _apply(todo, undo, where)
    return extra


def _given(*parts: Stateful | None) -> dict[str, Stateful]:
    names = ("model", "optimizer", "scheduler", "rng", "loader")
    given = dict(zip(names, parts, strict=True))
    for name, part in given.items():
        if part is not None and not hasattr(part, "load_state_dict"):
            raise ArgumentError(
                f"checkpoint: {name} is a {type(part).__name__}; an object with state_dict() and "
                "load_state_dict() was expected (put plain values into extra=...)."
            )
    return {name: part for name, part in given.items() if part is not None}


def _package_version(name: str) -> str:
    try:
        return _packages.version(name)
    except _packages.PackageNotFoundError:  # run from a source tree
        return "unknown"


def _contents(metadata: Mapping[str, str], verified: bool, where: str) -> dict[str, Any]:
    """The description of what is in the file, after checking that it is one of ours."""
    if metadata.get("format") != FORMAT or not verified:
        raise CheckpointError(
            f"{where} was not written by save_checkpoint. Nothing was loaded: read a safetensors "
            "file of another origin with load_tensors and pass the result to load_state_dict."
        )
    if metadata.get("version") != VERSION:
        raise CheckpointError(
            f"{where} has format version {metadata.get('version')!r}, this tinygrad_rnn reads "
            f"version {VERSION!r}; it was written by {metadata.get('written_by')!r}. "
            "Nothing was loaded: install a matching version."
        )
    if metadata.get("conventions") != json.dumps(CONVENTIONS, separators=(",", ":")):
        raise CheckpointError(
            f"{where} uses the conventions {metadata.get('conventions')}, expected {CONVENTIONS}. "
            "Nothing was loaded: convert the weights first."
        )
    contents = strict_json.parse(
        metadata.get("contents", ""), f"{where}: its list of contents", max_depth=JSON_DEPTH
    )
    well_formed = (
        isinstance(contents, dict)
        and "extra" in contents
        and all(isinstance(c, dict) and set(c) == {"type", "state"} for c in contents.values())
    )
    if not well_formed:
        raise CheckpointError(f"{where}: its list of contents is not well formed.")
    result: dict[str, Any] = contents
    return result


def _component(
    name: str,
    contents: Mapping[str, Any],
    current: Any,
    arrays: Mapping[str, np.ndarray[Any, Any]],
    where: str,
) -> Any:
    """The saved state of one component, once its tensors are known to fit the current ones."""
    if name not in contents:
        raise CheckpointError(
            f"{where} holds no {name}, only {', '.join(contents)}. "
            f"Nothing was loaded: call load_checkpoint without {name}."
        )
    have = arrays_in(current, name)

    def put(path: str, array: np.ndarray[Any, Any]) -> Tensor:
        old = have.get(path)
        return ops.tensor(array, backend=old.backend if isinstance(old, Tensor) else None)

    loaded = decode(contents[name]["state"], arrays, put)
    got = arrays_in(loaded, name)
    problems = [f"{p!r} is missing in the file" for p in have if p not in got]
    problems += [f"{p!r} is only in the file" for p in got if p not in have]
    problems += [
        f"{p!r} is {_type(got[p])} in the file, {_type(have[p])} here"
        for p in have
        if p in got and _type(have[p]) != _type(got[p])
    ]
    if problems:
        shown = "; ".join(problems[:8]) + (f"; and {len(problems) - 8} more" * (len(problems) > 8))
        raise CheckpointError(
            f"{where} does not fit this {name}: {shown}. Nothing was loaded: "
            f"build the {name} with the sizes and options it had when it was saved."
        )
    return loaded


def _type(value: Tensor | np.ndarray[Any, Any]) -> str:
    if isinstance(value, Tensor):
        return str(value.type)
    return f"ndarray {Type(value.shape, as_dtype(value.dtype))}"


def _assign_to(state: Any) -> Callable[[Any], None]:
    def tensors(nested: Any) -> list[Tensor]:
        return [leaf for leaf in tree.flatten(nested)[0] if isinstance(leaf, Tensor)]

    def assign(values: Any) -> None:
        for handle, value in zip(tensors(state), tensors(values), strict=True):
            handle.assign_(value)

    return assign


def _apply(
    todo: list[tuple[str, Callable[[Any], Any], Any]],
    undo: list[tuple[Callable[[Any], Any], Any]],
    where: str,
) -> None:
    """Load all, or put everything back that was there before."""
    for name, load, new in todo:
        try:
            load(new)
        except BaseException as error:
            for load_again, old in undo:
                load_again(old)
            if isinstance(error, (TinygradRnnError, LookupError, TypeError, ValueError)):
                raise CheckpointError(
                    f"{where} does not fit this {name}: {error} Everything was put back."
                ) from error
            raise
