import hashlib
import json
import os
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_rnn.errors import ArgumentError, CheckpointError, DTypeError
from tinygrad_rnn.storage import safetensors as sf
from tinygrad_rnn.storage.safetensors import read_safetensors, write_safetensors
from tinygrad_rnn.types import as_dtype

DTYPES = ["bool", *(f"{k}{n}" for k in ("int", "uint") for n in (8, 16, 32, 64))]
DTYPES += ["bfloat16", "float16", "float32", "float64"]
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@st.composite
def bit_patterns(draw):
    """Arrays of any bits: NaN payloads, signed zeros, subnormals, axes of length 0."""
    dtype = as_dtype(draw(st.sampled_from(DTYPES))).np
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    nbytes = int(np.prod(shape, dtype=int)) * dtype.itemsize
    raw = draw(st.binary(min_size=nbytes, max_size=nbytes))
    if dtype.kind == "b":
        raw = bytes(b & 1 for b in raw)
    return np.frombuffer(raw, dtype).reshape(shape)


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def by_hand(path, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if length is None else length
    path.write_bytes(size.to_bytes(8, "little") + text + data)
    return path


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.safetensors"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "f"


# --- what is written comes back --------------------------------------------------------------


@given(st.dictionaries(NAMES, bit_patterns(), max_size=4), st.dictionaries(NAMES, NAMES))
def test_bit_exact_round_trip(scratch, tensors, metadata):
    write_safetensors(scratch, tensors, metadata)
    file = read_safetensors(scratch)
    assert set(file.tensors) == set(tensors) and file.metadata == metadata and file.verified
    for name, a in tensors.items():
        assert same_bits(file.tensors[name], a)
        assert file.tensors[name].flags.writeable


@given(st.dictionaries(NAMES, bit_patterns(), max_size=4), st.randoms())
def test_equal_content_gives_equal_bytes(scratch, tensors, random):
    write_safetensors(scratch, tensors)
    first = scratch.read_bytes()
    shuffled = list(tensors.items())
    random.shuffle(shuffled)
    write_safetensors(scratch, dict(shuffled))
    assert scratch.read_bytes() == first


def test_special_floats(path):
    a = np.array([0x7FC00001, 0xFFC12345, 0x80000000, 1, 0x7F800000], np.uint32).view(np.float32)
    write_safetensors(path, {"a": a})
    assert same_bits(read_safetensors(path).tensors["a"], a)


def test_layouts_become_c_order_and_little_endian(path):
    base = np.arange(24.0).reshape(4, 6)
    views = {
        "fortran": np.asfortranarray(base),
        "reversed": base[::-1, ::2],
        "broadcast": np.broadcast_to(np.float32(2), (3, 2)),
        "big": base.astype(">f8"),
        "scalar": np.array(3, ">i2"),
    }
    write_safetensors(path, views)
    for name, a in views.items():
        back = read_safetensors(path).tensors[name]
        assert (back == a).all() and back.shape == a.shape and back.flags.c_contiguous
        assert back.dtype == a.dtype.newbyteorder("=")


def test_tensors_are_aligned(path):
    write_safetensors(path, {"a": np.zeros(3, "int8"), "b": np.zeros(1), "c": np.zeros(1, "f2")})
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    assert (8 + length) % 8 == 0
    header = json.loads(raw[8 : 8 + length])
    assert header["b"]["data_offsets"][0] == 0 and header["c"]["data_offsets"][0] == 8


def test_the_reference_library_reads_ours_and_we_read_its(path):
    library = pytest.importorskip("safetensors.numpy")
    tensors = {d: np.arange(6).reshape(2, 3).astype(as_dtype(d).np) for d in DTYPES}
    tensors["empty"] = np.zeros((0, 3), "float32")
    tensors["scalar"], tensors["é/ü"] = np.array(2.5), np.ones(2)
    write_safetensors(path, tensors, {"who": "we"})
    theirs = library.load_file(path)
    assert set(theirs) == set(tensors)
    assert all(same_bits(theirs[k], v) for k, v in tensors.items())
    library.save_file(tensors, path, {"who": "they"})
    file = read_safetensors(path)
    assert file.metadata == {"who": "they"} and not file.verified
    assert all(same_bits(file.tensors[k], v) for k, v in tensors.items())


@pytest.mark.parametrize(
    "tensors, error",
    [
        ({"": np.ones(1)}, ArgumentError),
        ({"__metadata__": np.ones(1)}, ArgumentError),
        ({"a\nb": np.ones(1)}, ArgumentError),
        ({"\ud800": np.ones(1)}, ArgumentError),
        ({"x" * 1025: np.ones(1)}, ArgumentError),
        ({1: np.ones(1)}, ArgumentError),
        ({"a": np.ones(1, complex)}, DTypeError),
        ({"a": np.array([object()])}, DTypeError),
        ({"a": np.array(["text"])}, DTypeError),
    ],
)
def test_what_cannot_be_read_again_is_not_written(path, tensors, error):
    with pytest.raises(error, match="write_safetensors"):
        write_safetensors(path, tensors)
    assert not path.exists()


def test_metadata_that_cannot_be_written(path):
    for metadata in ({"a": 1}, {"blake2b": "x"}, {"header_blake2b": "x"}):
        with pytest.raises(ArgumentError, match="metadata"):
            write_safetensors(path, {}, metadata)
    with pytest.raises(ArgumentError, match="at most"):
        write_safetensors(path, {}, {"big": "x" * sf.MAX_HEADER})
    assert not path.exists()


# --- damage ----------------------------------------------------------------------------------


def small_file(path):
    tensors = {"a": np.arange(3, dtype="f4"), "ok": np.array([True, False]), "z": np.zeros((0, 2))}
    write_safetensors(path, tensors, {"format": "x"})
    return path.read_bytes()


def test_every_single_bit_flip_is_noticed(path):
    good = small_file(path)
    for position in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            path.write_bytes(bad)
            with pytest.raises(CheckpointError):
                read_safetensors(path)


def test_every_truncation_and_any_appendix_is_noticed(path):
    good = small_file(path)
    for size in range(len(good)):
        path.write_bytes(good[:size])
        with pytest.raises(CheckpointError):
            read_safetensors(path)
    path.write_bytes(good + b"\0")
    with pytest.raises(CheckpointError, match="followed by foreign data"):
        read_safetensors(path)
    path.write_bytes(bytes(len(good)))  # what a crash may leave on some file systems
    with pytest.raises(CheckpointError):
        read_safetensors(path)


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=300)
def test_any_bytes_give_a_checkpoint_error(scratch, data, with_length):
    if with_length:
        data = len(data).to_bytes(8, "little") + data
    scratch.write_bytes(data)
    with pytest.raises(CheckpointError):
        read_safetensors(scratch)
        assert data == b"\2\0\0\0\0\0\0\0{}", "only this one is a valid file"
        raise CheckpointError


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 20) | st.sampled_from(["F32", "BOOL", "U8", "a"]),
    lambda x: (
        st.lists(x, max_size=3)
        | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "a", "b"]), x)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), JSON), st.binary(max_size=12))
@settings(max_examples=300)
def test_any_header_is_read_or_refused(scratch, header, data):
    by_hand(scratch, header, data)
    try:
        file = read_safetensors(scratch)
    except CheckpointError:
        return
    assert sum(a.nbytes for a in file.tensors.values()) == len(data)


@pytest.mark.parametrize(
    "header, data, message",
    [
        ({"a": entry(shape=[2])}, 4, "needs 8 bytes"),
        ({"a": entry(offsets=[0, 8])}, 8, "needs 4 bytes"),
        ({"a": entry(offsets=[4, 8])}, 8, "from 0 on"),
        ({"a": entry(), "b": entry()}, 4, "without gaps or overlaps"),
        ({"a": entry(), "b": entry(offsets=[8, 12])}, 12, "without gaps or overlaps"),
        ({"a": entry(), "b": entry(offsets=[2, 6])}, 6, "without gaps or overlaps"),
        ({"a": entry(offsets=[4, 0])}, 4, "without gaps or overlaps"),
        ({"a": entry()}, 3, "truncated"),
        ({"a": entry()}, 5, "foreign data"),
        ({}, 1, "foreign data"),
        ({"a": entry(shape=[2**40, 2**40], offsets=[0, 0])}, 0, "impossible shape"),
        ({"a": entry(shape=[0, 2**62, 2**62], offsets=[0, 0])}, 0, "impossible shape"),
        ({"a": entry(shape=[2**50], offsets=[0, 2**52])}, 4, "truncated"),
        ({"a": entry(shape=[1] * 33)}, 4, "at most 32"),
        ({"a": entry(shape=[-1])}, 4, "no valid shape"),
        ({"a": entry(shape=[True])}, 4, "no valid shape"),
        ({"a": {**entry(), "shape": "1"}}, 4, "no valid shape"),
        ({"a": entry(offsets=[0])}, 4, "no valid data_offsets"),
        ({"a": entry(offsets=[0, -4])}, 4, "no valid data_offsets"),
        ({"a": entry(offsets=[0, None])}, 4, "no valid data_offsets"),
        ({"a": entry(dtype="F33")}, 4, "'F33', which is unknown"),
        ({"a": entry(dtype=4)}, 4, "unknown"),
        ({"a": entry(dtype="F8_E5M2", offsets=[0, 1])}, 1, "convert it to F32"),
        ({"a": {"dtype": "F32", "shape": [1]}}, 4, "exactly"),
        ({"a": {**entry(), "more": 1}}, 4, "exactly"),
        ({"a": [1]}, 4, "exactly"),
        ({"": entry()}, 4, "empty"),
        ({"a\u0007": entry()}, 4, "control"),
        ({"\ud800": entry()}, 4, "control"),
        ({"n" * 1025: entry()}, 4, "longer than 1024"),
        ({"__metadata__": []}, 0, "strings to strings"),
        ({"__metadata__": {"a": 1}}, 0, "strings to strings"),
        ({"a": entry(dtype="BOOL", offsets=[0, 1])}, b"\2", "other than 0 and 1"),
        (b'{"a":1,"a":2}', 0, "'a' twice"),
        (b'{"a":1,"\\u0061":2}', 0, "'a' twice"),
        (b'{"a":' + b"9" * 5000 + b"}", 0, "5000 digits"),
        (b'{"a":1.5}', 0, "only integers"),
        (b'{"a":NaN}', 0, "not JSON"),
        (b'{"a":[[[[[0]]]]]}', 0, "nested 6 levels"),
        (b'{"a":' + b"[" * 200_000, 0, "nested 200001 levels"),
        (b'{"a":}', 0, "not valid JSON"),
        (b'{"a":"\x01"}', 0, "not valid JSON"),
        (b'{"\xff":1}', 0, "not UTF-8"),
        (b"[1,2,3,4]", 0, "not a JSON object"),
        (b' {"a":1}', 0, "not a JSON object"),
    ],
)
def test_lies_in_the_header(path, header, data, message):
    by_hand(path, header, bytes(data) if isinstance(data, int) else data)
    with pytest.raises(CheckpointError, match=message):
        read_safetensors(path)


def test_header_length_beyond_the_limits(path):
    for length in (2**64 - 1, sf.MAX_HEADER + 1, 100):
        by_hand(path, b"{}", length=length)
        with pytest.raises(CheckpointError, match="announces a header"):
            read_safetensors(path)
    path.write_bytes((sf.MAX_HEADER + 1).to_bytes(8, "little") + b"{" * (sf.MAX_HEADER + 1))
    with pytest.raises(CheckpointError, match="announces a header"):
        read_safetensors(path)


def test_hashes_that_lie(path):
    small_file(path)
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]

    def refused(change, message):
        other = json.loads(json.dumps(header))
        change(other["__metadata__"])
        text = json.dumps(other, separators=(",", ":")).encode()
        by_hand(path, text, data)
        with pytest.raises(CheckpointError, match=message):
            read_safetensors(path)

    refused(lambda m: m.pop("header_blake2b"), "damaged")
    refused(lambda m: m.pop("blake2b"), "damaged")
    refused(lambda m: m.update(blake2b="{}"), "damaged")
    refused(lambda m: m.update(header_blake2b=""), "damaged")
    refused(lambda m: m.update(format="y"), "damaged")


def test_hashes_of_other_tensors(path):
    """The list of hashes names the tensors of the file: all of them, and no other."""
    small_file(path)
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    hashes = json.loads(header["__metadata__"]["blake2b"])

    def signed(hashes):
        meta = {**header["__metadata__"], "blake2b": json.dumps(hashes), "header_blake2b": "0" * 32}
        text = json.dumps({**header, "__metadata__": meta}, separators=(",", ":")).encode()
        digest = hashlib.blake2b(len(text).to_bytes(8, "little") + text, digest_size=16).hexdigest()
        by_hand(path, text.replace(b'"' + b"0" * 32, b'"' + digest.encode()), data)

    signed(hashes)
    assert read_safetensors(path).verified
    for name in hashes:
        fewer = {k: v for k, v in hashes.items() if k != name}
        for lie in (fewer, {**fewer, "b": hashes[name]}, {**hashes, "b": hashes[name]}):
            signed(lie)
            with pytest.raises(CheckpointError, match="does not name its tensors"):
                read_safetensors(path)


@pytest.mark.parametrize(
    "piece",
    [b'\\"', b'"', b"[", b"{}", b"[]", b"\\", b'"a":0,', b'"\\u0061":0,', b" "],
    ids=lambda b: b.decode(),
)
def test_hostile_headers_are_refused_in_linear_time(path, piece):
    def seconds(size):
        by_hand(path, b'{"' + piece * (size // len(piece)))
        start = time.process_time()
        with pytest.raises(CheckpointError):
            read_safetensors(path)
        return time.process_time() - start

    seconds(1000)
    # quadratic work would take minutes here
    assert seconds(2**20) < 5


def test_not_a_regular_file(tmp_path):
    with pytest.raises(CheckpointError, match="not a regular file"):
        read_safetensors(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(CheckpointError, match="not a regular file"):
            read_safetensors(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        read_safetensors(tmp_path / "absent")


def test_a_file_that_shrinks_while_it_is_read(path, monkeypatch):
    write_safetensors(path, {"a": np.zeros(100_000)})
    size = path.stat().st_size
    monkeypatch.setattr(sf, "_check_digests", lambda *a: os.truncate(path, size - 4))
    with pytest.raises(CheckpointError, match="became shorter"):
        read_safetensors(path)
