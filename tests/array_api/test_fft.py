"""tinygrad_rnn.fft: NumPy's values for every size, scale and axis; derivatives by differences."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import BACKENDS, check_smooth, close, random, same, seeded

import tinygrad_rnn as tg

REAL = {"rfft", "ihfft", "rfftn"}
ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
SEVERAL = ("fftn", "ifftn", "rfftn", "irfftn")


def draw(name: str, shape: tuple[int, ...], dtype: str = "complex128") -> np.ndarray:
    kind = {"complex128": "float64", "complex64": "float32"}[dtype] if name in REAL else dtype
    return random(seeded(f"{name}{shape}"), shape, kind)


@pytest.mark.parametrize("name", ONE)
def test_values_along_one_axis(name):
    ours, theirs = getattr(tg.fft, name), getattr(np.fft, name)
    for m in (1, 2, 3, 4, 7):
        for n in (None, 1, 2, 5, 8):
            if n is None and m == 1 and name in ("irfft", "hfft"):
                continue
            for axis, norm in ((-1, "backward"), (0, "ortho"), (1, "forward")):
                a = draw(name, (m, m))
                close(ours(tg.tensor(a), n, axis, norm), theirs(a, n, axis, norm), 1e-13)
    single = draw(name, (3, 4), "complex64")
    want = theirs(single)
    found = ours(tg.tensor(single))
    assert found.dtype == want.dtype
    close(found, want, 1e-6)


@pytest.mark.parametrize("name", SEVERAL)
def test_values_along_several_axes(name):
    ours, theirs = getattr(tg.fft, name), getattr(np.fft, name)
    a = draw(name, (3, 4, 5))
    for s, axes in ((None, None), ((2, 6), (0, 2)), ((6, 3), (2, 0)), (None, (1,))):
        for norm in ("backward", "ortho"):
            found = ours(tg.tensor(a), s=s, axes=axes, norm=norm)
            close(found, theirs(a, s=s, axes=axes, norm=norm), 1e-13)


@pytest.mark.parametrize("name", (*ONE, *SEVERAL))
def test_derivatives(name):
    f = getattr(tg.fft, name)
    check_smooth(f, draw(name, (2, 4)), what=name)
    cut = (lambda x: f(x, n=3, axis=0)) if name in ONE else (lambda x: f(x, s=(3, 5), axes=(0, 1)))
    check_smooth(cut, draw(name, (4, 2)), order=1, what=name)


def test_the_spectrum_of_a_real_signal_has_a_derivative():
    x = seeded("spectrum").normal(size=(2, 6))
    check_smooth(lambda x: tg.abs(tg.fft.rfft(x)) ** 2 + tg.real(tg.fft.fft(x))[:, :4], x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_jit_and_vmap(backend):
    a = draw("fft", (3, 4))
    with tg.use_backend(backend):
        t = tg.tensor(a)
        close(tg.jit(lambda z: tg.fft.ifft(tg.fft.fft(z)))(t), a, 1e-14)
        close(tg.vmap(tg.fft.fft)(t), np.fft.fft(a), 1e-14)
        close(tg.vmap(lambda z: tg.fft.fft(z), 1)(t), np.fft.fft(a.T), 1e-14)


def test_frequencies_and_shifts():
    for n in range(1, 8):
        for name in ("fftfreq", "rfftfreq"):
            close(getattr(tg.fft, name)(n, 0.3, "float64"), getattr(np.fft, name)(n, 0.3), 1e-15)
        a = np.arange(n * 3).reshape(n, 3)
        for name in ("fftshift", "ifftshift"):
            for axes in (None, 0, (1,), (0, 1)):
                found = getattr(tg.fft, name)(tg.tensor(a), axes)
                same(found, getattr(np.fft, name)(a, axes))


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda: tg.fft.fft(tg.ones(3), norm="orto"), ValueError, r"'ortho'.*'orto'"),
        (lambda: tg.fft.rfft(tg.ones(3, "complex64")), TypeError, r"rfft of c64\[3\].*real"),
        (lambda: tg.fft.fft(tg.ones((2, 0))), ValueError, r"fft of c64\[2,0\].*0 elements"),
        (lambda: tg.fft.fftn(tg.ones((2, 2)), s=(2,), axes=(0, 1)), ValueError, r"1 sizes.*2 axes"),
        (lambda: tg.fft.irfft(tg.ones((2, 1))), ValueError, r"would have 0 elements"),
    ],
)
def test_misuse(f, error, message):
    with pytest.raises(error, match=message):
        f()
