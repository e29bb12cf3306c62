"""The device code that is written by hand: products of a block, conversions, row sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tinygrad_rnn_cupy.source import module_source

from . import fake

#: kind of product -> its template, the elements that travel, how exact it is
PRODUCTS = {
    "f32": ("FmaProduct<f32, {}>", "f4", 1e-6),
    "f64": ("FmaProduct<f64, {}>", "f8", 1e-14),
    "f16, 16 lines": ("MmaProduct<HalfKind, true, {}>", "f2", 2e-3),
    "f16, 8 lines": ("MmaProduct<HalfKind, false, {}>", "f2", 2e-3),
    "bf16, 16 lines": ("MmaProduct<BrainKind, true, {}>", "bf16", 2e-2),
    "bf16, 8 lines": ("MmaProduct<BrainKind, false, {}>", "bf16", 2e-2),
    "tf32, 16 lines": ("MmaProduct<Tf32Kind, true, {}>", "tf32", 2e-3),
    "tf32, 8 lines": ("MmaProduct<Tf32Kind, false, {}>", "tf32", 2e-3),
}
#: rows, columns, depth, warps: smaller than any unit, exactly units, several of all, rows in tiles
SIZES = [(1, 1, 1, 1), (8, 16, 32, 2), (9, 21, 77, 3), (70, 9, 40, 2), (33, 24, 130, 1)]

KERNEL = """
extern "C" __global__ void product_{i}(i64 *const out, i64 *const moving, i64 *const weights) {{
    using P = {product};
    DYNAMIC_SHARED(shared);
    P product(shared);
    product.load([&](int n, int k) -> P::Result {{
        return ((const P::Result *)weights)[n * {depth} + k];
    }});
    product.run((const P::Moved *)moving);
    for (int i = threadIdx.x; i < {rows} * {columns}; i += blockDim.x)
        ((P::Result *)out)[i] = product.result(i / {columns}, i % {columns});
}}
extern "C" __global__ void about_{i}(i64 *const out) {{
    using P = {product};
    out[0] = P::BYTES, out[1] = P::PITCH, out[2] = P::PADDED_ROWS;
}}
"""


def launch(module: Any, name: str, threads: int, shared: int, *args: Any) -> None:
    function = module.get_function(name)
    fake.modules.driver.funcSetAttribute(function.ptr, 8, shared)
    values = tuple(np.int64(a.ctypes.data) for a in args)
    function((1,), (threads,), values, shared)


def travelling(x: np.ndarray, kind: str) -> np.ndarray:
    """The bits that blocks exchange for these values."""
    if kind == "bf16":
        bits = x.astype("f4").view("u4")
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("u2")
    if kind == "tf32":
        return (x.astype("f4").view("u4") + 0x1000) & 0xFFFFE000
    return x.astype(kind)


@pytest.mark.parametrize("kind", PRODUCTS)
def test_products(kind: str, rng: np.random.Generator) -> None:
    template, moved, exact = PRODUCTS[kind]
    needs = ["partial_sums", "product_fma" if "Fma" in template else "product_mma"]
    kernels = [
        KERNEL.format(
            i=i, product=template.format(", ".join(map(str, size))), rows=size[0],
            columns=size[1], depth=size[2],
        )
        for i, size in enumerate(SIZES)
    ]  # fmt: skip
    module = fake.compiled(module_source(needs, kernels))
    for i, (rows, columns, depth, warps) in enumerate(SIZES):
        about = np.zeros(3, "i8")
        launch(module, f"about_{i}", 1, 0, about)
        shared, pitch, padded_rows = map(int, about)
        assert pitch >= depth and padded_rows >= rows
        result = "f8" if moved == "f8" else "f4"
        x, w = rng.normal(size=(rows, depth)), rng.normal(size=(columns, depth)).astype(result)
        moving = np.zeros((padded_rows, pitch))
        moving[:rows, :depth] = x
        # blocks read 16 bytes at once
        room = np.zeros(moving.size + 8, travelling(moving, moved).dtype)
        offset = -room.ctypes.data % 16 // room.itemsize
        room[offset : offset + moving.size] = travelling(moving, moved).reshape(-1)
        out = np.full((rows, columns), np.nan, result)
        launch(module, f"product_{i}", 32 * warps, shared, out, room[offset:], w)
        scale = np.abs(x) @ np.abs(w.T)
        assert np.max(np.abs(out - x @ w.T) / scale) <= exact
        if exact > 1e-5:  # it is not done in float32 by mistake
            assert np.max(np.abs(out - x @ w.T) / scale) >= 1e-6


def test_halves_are_rounded_as_numpy_rounds_them() -> None:
    source = """
    extern "C" __global__ void halves(i64 *const x, i64 *const a, i64 *const b, i64 *const c) {
        const f32 v = ((const f32 *)x)[threadIdx.x];
        put((f16 *)a + threadIdx.x, v);
        ((f32 *)b)[threadIdx.x] = as_f16(v);
        ((f32 *)c)[threadIdx.x] = as_bf16(v);
    }"""
    x = "0 -0 1 0.33333334 65504 65520 1e-8 6e-8 inf -inf nan 0.1 3.3895314e38 3.4e38 1e-40 -2.7"
    x = np.array([*map(float, x.split()), 1 + 2**-8, 1 + 3 * 2**-8], "f4")
    a, b, c = np.zeros(x.size, "f2"), np.zeros_like(x), np.zeros_like(x)
    module = fake.compiled(module_source([], [source]))
    launch(module, "halves", x.size, 0, x, a, b, c)
    with np.errstate(over="ignore"):
        half = x.astype("f2")
    assert a.tobytes() == half.tobytes()
    assert np.array_equal(b, half.astype("f4"), equal_nan=True)
    brain = (travelling(x, "bf16").astype("u4") << 16).view("f4")
    assert np.array_equal(c[~np.isnan(x)], brain[~np.isnan(x)]) and np.isnan(c[10])
