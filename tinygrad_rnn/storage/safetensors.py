"""The safetensors format: written canonically, read strictly, with hashes.

In: named NumPy arrays and strings. Out: a file, and back. Knows nothing of models; runs nothing.

    file   = length (8 bytes, little endian) | header (JSON, `length` bytes) | data
    header = {"__metadata__": {str: str}, name: {"dtype", "shape", "data_offsets": [begin, end]}}

Other programs read these files. Two entries of `__metadata__` are ours: `blake2b`, the hash of
every tensor's bytes, and `header_blake2b`, the hash of length and header with its own digits at 0.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO, NoReturn

import numpy as np

from ..errors import ArgumentError, CheckpointError, DTypeError
from ..types import DTYPES, as_dtype
from . import strict_json
from .atomic import atomic_write

Array = np.ndarray[Any, np.dtype[Any]]

MAX_HEADER = 16 * 2**20
MAX_TENSORS = 10**6
MAX_RANK = 32
MAX_NAME = 1024
MAX_BYTES = 2**63 - 1
_NO_DIGEST = "0" * 32
_HEADER_KEY = "header_blake2b"
_TENSOR_KEY = "blake2b"

_DTYPES = {d.short.upper(): d for d in DTYPES if not d.is_complex}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}
# Valid elsewhere, but there is no such type here: worth a better message than "unknown".
_FOREIGN_DTYPES = {"F8_E4M3", "F8_E5M2", "F8_E8M0", "F6_E2M3", "F6_E3M2", "F4", "C64"}


@dataclass(frozen=True)
class TensorFile:
    """What `read_safetensors` returns; `verified` if every byte was covered by a matching hash."""

    tensors: dict[str, Array]
    metadata: dict[str, str]
    verified: bool


def write_safetensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Array], metadata: Mapping[str, str] = {}
) -> None:
    """Write arrays under their names, atomically; equal content gives equal bytes.

    Errors: ArgumentError (bad name or metadata), DTypeError (no such type in the format), OSError.
    """
    for name in tensors:
        if problem := _name_problem(name):
            raise ArgumentError(f"write_safetensors: the tensor name {name!r} {problem}.")
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ArgumentError(
                f"write_safetensors: metadata maps str to str, got {key!r}: {type(value).__name__}."
            )
        if key in (_HEADER_KEY, _TENSOR_KEY):
            raise ArgumentError(f"write_safetensors: the metadata key {key!r} is reserved.")
    arrays = {name: _canonical(name, array) for name, array in tensors.items()}
    # Widest elements first, as the reference writer does: then every tensor is aligned.
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    info, end = {}, 0
    for name in order:
        a, begin = arrays[name], end
        end += a.nbytes
        info[name] = {
            "dtype": _CODES[as_dtype(a.dtype)], "shape": list(a.shape), "data_offsets": [begin, end]
        }  # fmt: skip
    digests = {name: _digest(arrays[name]) for name in order}
    meta = {**metadata, _TENSOR_KEY: json.dumps(digests, separators=(",", ":"))}
    head = _header(
        {"__metadata__": {**dict(sorted(meta.items())), _HEADER_KEY: _NO_DIGEST}, **info}
    )
    if len(head) - 8 > MAX_HEADER or len(order) > MAX_TENSORS:
        raise ArgumentError(
            f"write_safetensors: {len(order)} tensors need a header of {len(head) - 8} bytes; "
            f"at most {MAX_TENSORS} tensors and {MAX_HEADER} bytes can be read again."
        )
    digest = hashlib.blake2b(head, digest_size=16).hexdigest()
    signed = head.replace(_signature(_NO_DIGEST), _signature(digest))
    atomic_write(path, [signed, *(_bytes(arrays[name]).data for name in order)])


def read_safetensors(path: str | os.PathLike[str]) -> TensorFile:
    """Read a safetensors file of any origin; nothing is allocated before every check has passed.

    Errors: CheckpointError, saying what is wrong, for anything but a faultless file; OSError.
    """
    where = f"The file {os.fspath(path)!r}"
    if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe or a device could block for ever
        raise CheckpointError(f"{where} is not a regular file.")
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        raw = _read_header(file, size, where)
        header = strict_json.parse(raw[8:], f"{where}: its header", max_depth=4)
        entries, metadata = _check_header(header, size - len(raw), where)
        digests = _check_digests(raw, entries, metadata, where)
        tensors = {}
        for name, (dtype, shape, nbytes) in entries.items():
            buffer = np.empty(nbytes, np.uint8)
            _fill(file, buffer, where)
            if digests is not None and _digest(buffer) != digests[name]:
                raise CheckpointError(
                    f"{where} is damaged: the bytes of tensor {name!r} do not match their hash. "
                    "Use an earlier copy."
                )
            if dtype.kind == "b" and nbytes and int(buffer.max()) > 1:
                raise CheckpointError(
                    f"{where}: BOOL tensor {name!r} has bytes other than 0 and 1."
                )
            tensors[name] = buffer.view(dtype).reshape(shape)
    return TensorFile(tensors, metadata, digests is not None)


def _name_problem(name: Any) -> str | None:
    if not isinstance(name, str):
        return f"is a {type(name).__name__}, not a string"
    if not name or name == "__metadata__":
        return "is reserved or empty"
    if len(name) > MAX_NAME or len(name.encode("utf-8", "replace")) > MAX_NAME:
        return f"is longer than {MAX_NAME} bytes"
    if any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in name):
        return "contains control characters"
    return None


def _canonical(name: str, array: Array) -> Array:
    """The same values in C order and little endian; copies only if they are not so already."""
    given = np.asarray(array)
    if given.dtype.name not in map(str, _CODES):
        raise DTypeError(
            f"write_safetensors: tensor {name!r} has dtype {given.dtype}; the file format knows "
            f"{', '.join(map(str, _CODES))}."
        )
    return np.ascontiguousarray(given, given.dtype.newbyteorder("<")).reshape(given.shape)


def _bytes(array: Array) -> Array:
    return array.reshape(-1).view(np.uint8)


def _digest(array: Array) -> str:
    return hashlib.blake2b(_bytes(array).data, digest_size=16).hexdigest()


def _signature(digest: str) -> bytes:
    # A quote inside a JSON string is escaped, so this can only be the key itself.
    return f'"{_HEADER_KEY}":"{digest}"'.encode()


def _header(header: dict[str, Any]) -> bytes:
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _read_header(file: BinaryIO, size: int, where: str) -> bytes:
    if size < 10:
        raise CheckpointError(
            f"{where} has {size} bytes, too few for a safetensors file: it is truncated or foreign."
        )
    prefix = file.read(8)
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER or length > size - 8:
        raise CheckpointError(
            f"{where} is truncated or not a safetensors file: it announces a header of {length} "
            f"bytes, {size - 8} bytes follow and {MAX_HEADER} are allowed."
        )
    text = file.read(length)
    if len(text) != length or not text.startswith(b"{"):
        raise CheckpointError(
            f"{where} is not a safetensors file: its header is not a JSON object."
        )
    return prefix + text


Entries = dict[str, tuple["np.dtype[Any]", tuple[int, ...], int]]


def _check_header(header: Any, available: int, where: str) -> tuple[Entries, dict[str, str]]:
    """Check every claim of the header against the `available` bytes of data."""
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CheckpointError(f"{where}: __metadata__ does not map strings to strings.")
    if len(header) > MAX_TENSORS:
        raise CheckpointError(f"{where} holds {len(header)} tensors, at most {MAX_TENSORS} can be.")
    checked = {name: _check_entry(name, entry, where) for name, entry in header.items()}
    position, entries = 0, {}
    for name in sorted(checked, key=lambda n: checked[n][3:]):
        dtype, shape, nbytes, begin, end = checked[name]
        if begin != position or end - begin != nbytes:
            raise CheckpointError(
                f"{where}: tensor {name!r} claims bytes {begin} to {end}; its shape "
                f"{list(shape)} of {dtype} needs {nbytes} bytes from {position} on "
                "(tensors follow one another without gaps or overlaps)."
            )
        entries[name], position = (dtype, shape, nbytes), end
    if position != available:
        what = "truncated" if available < position else "followed by foreign data"
        raise CheckpointError(
            f"{where} is {what}: its header describes {position} bytes of tensors, "
            f"it has {available}."
        )
    return entries, metadata


def _check_entry(
    name: str, entry: Any, where: str
) -> tuple[np.dtype[Any], tuple[int, ...], int, int, int]:
    def refuse(problem: str) -> NoReturn:
        raise CheckpointError(f"{where}: tensor {name[:80]!r} {problem}.")

    if problem := _name_problem(name):
        refuse(problem)
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        refuse("is not described by exactly dtype, shape and data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in _DTYPES:
        known = isinstance(code, str) and code in _FOREIGN_DTYPES
        hint = "is not supported: convert it to F32 first" if known else "is unknown"
        refuse(f"has dtype {str(code)[:40]!r}, which {hint}")
    if not _naturals(shape) or len(shape) > MAX_RANK:
        refuse(f"has no valid shape: at most {MAX_RANK} integers >= 0 are expected")
    if not _naturals(offsets) or len(offsets) != 2:
        refuse("has no valid data_offsets: two integers are expected")
    if missing := _DTYPES[code].missing:
        refuse(f"has dtype {code!r}: {missing}")
    dtype = _DTYPES[code].np.newbyteorder("<")
    # A zero among the axes must not hide that the others overflow.
    if prod(max(n, 1) for n in shape) * dtype.itemsize > MAX_BYTES:
        refuse(f"has the impossible shape {shape}")
    return dtype, tuple(shape), prod(shape) * dtype.itemsize, offsets[0], offsets[1]


def _naturals(value: Any) -> bool:
    # `type(n) is int`, because True is an instance of int.
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def _check_digests(
    raw: bytes, entries: Entries, metadata: dict[str, str], where: str
) -> dict[str, str] | None:
    """The hashes of the tensors, once the header's own is verified; None in a file without any."""
    header_digest, text = metadata.pop(_HEADER_KEY, None), metadata.pop(_TENSOR_KEY, None)
    if header_digest is None and text is None:
        return None
    damaged = f"{where} is damaged: its header does not match its hash. Use an earlier copy."
    if header_digest is None or text is None or raw.count(_signature(header_digest)) != 1:
        raise CheckpointError(damaged)
    unsigned = raw.replace(_signature(header_digest), _signature(_NO_DIGEST))
    if hashlib.blake2b(unsigned, digest_size=16).hexdigest() != header_digest:
        raise CheckpointError(damaged)
    digests = strict_json.parse(text, f"{where}: its list of hashes", max_depth=1)
    if not isinstance(digests, dict) or set(digests) != set(entries):
        raise CheckpointError(f"{where}: its list of hashes does not name its tensors.")
    return digests


def _fill(file: BinaryIO, buffer: Array, where: str) -> None:
    view, done = buffer.data, 0
    while done < len(view):
        count = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise CheckpointError(f"{where} became shorter while it was read.")
        done += count
