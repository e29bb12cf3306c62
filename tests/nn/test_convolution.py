"""Convolution, pooling and batch normalization against PyTorch in float64, to 1e-10."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim
from tinygrad_rnn.nn import functional as F
from tinygrad_rnn.nn.windows import overlap_add, windows

torch = pytest.importorskip("torch")
B = 3

# class, arguments, options, places of the input
LAYERS = {
    "1d": ("Conv1d", (3, 4, 5), {}, (11,)),
    "1d strided": ("Conv1d", (3, 4, 3), {"stride": 3, "padding": 2, "dilation": 2}, (10,)),
    "1d same": ("Conv1d", (2, 3, 4), {"padding": "same", "dilation": 3}, (7,)),
    "1d, all of it": ("Conv1d", (2, 3, 7), {"padding": "valid", "bias": False}, (7,)),
    "2d": ("Conv2d", (2, 3, (3, 2)), {}, (5, 7)),
    "2d strided": (
        "Conv2d",
        (2, 3, (2, 3)),
        {"stride": (2, 3), "padding": (1, 2), "dilation": (2, 1)},
        (7, 8),
    ),
    "2d grouped": ("Conv2d", (4, 6, 3), {"groups": 2, "stride": 2, "padding": 1}, (5, 6)),
    "2d points": ("Conv2d", (3, 2, 1), {"bias": False}, (1, 3)),
    "up 1d": ("ConvTranspose1d", (3, 2, 4), {"stride": 3, "output_padding": 2}, (5,)),
    "up 2d": ("ConvTranspose2d", (3, 2, 4), {"stride": 2, "padding": 1}, (3, 4)),
    "up 2d, uneven": (
        "ConvTranspose2d",
        (2, 3, (2, 3)),
        {"stride": (3, 2), "padding": (0, 2), "output_padding": (2, 1), "dilation": (1, 2)},
        (3, 4),
    ),
    "up 2d grouped": ("ConvTranspose2d", (4, 6, 3), {"groups": 2, "bias": False}, (2, 3)),
    "max 1d": ("MaxPool1d", (3,), {"stride": 2, "padding": 1}, (8,)),
    "max 2d": ("MaxPool2d", (2,), {}, (5, 7)),
    "max 2d, uneven": (
        "MaxPool2d",
        ((3, 2),),
        {"stride": (1, 2), "padding": 1, "dilation": (2, 1)},
        (7, 6),
    ),
    "mean 1d": ("AvgPool1d", (3, 2), {"padding": 1}, (8,)),
    "mean 2d": ("AvgPool2d", ((2, 3),), {}, (5, 7)),
    "mean 2d, inside": (
        "AvgPool2d",
        (3, (1, 2), 1),
        {"count_include_pad": False},
        (5, 6),
    ),
    "norm 1d": ("BatchNorm1d", (5,), {"eps": 0.1}, ()),
    "norm 1d, places": ("BatchNorm1d", (3,), {"momentum": None}, (5,)),
    "norm 2d": ("BatchNorm2d", (3,), {"momentum": 0.3}, (3, 5)),
    "norm 2d, plain": ("BatchNorm2d", (3,), {"affine": False}, (3, 5)),
    "norm 1d, no memory": ("BatchNorm1d", (3,), {"track_running_stats": False}, (5,)),
}  # fmt: skip
BOTH = pytest.mark.parametrize("backend", ["numpy", "numba"])


@pytest.fixture
def on(backend):
    if backend == "numba":
        pytest.importorskip("numba")
    with tg.use_backend(backend):
        yield


def build(case: str, rng):
    """The same layer here and in PyTorch, random weights and buffers, and an input."""
    name, arguments, options, places = LAYERS[case]
    theirs = getattr(torch.nn, name)(*arguments, **options).double()
    parametrized = "Conv" in name or "Norm" in name
    ours = getattr(nn, name)(
        *arguments, **options, **({"dtype": "float64"} if parametrized else {})
    )
    channels = arguments[0] if parametrized else 3
    state = theirs.state_dict()
    for key, value in state.items():
        if value.dtype.is_floating_point:
            value.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, size=tuple(value.shape))))
            value *= 1.0 if "running_var" in key else torch.from_numpy(rng.normal(size=value.shape))
    ours.load_state_dict(state)
    return ours, theirs, rng.normal(size=(B, channels, *places))


def leaves(ours, theirs, x):
    a = [tg.tensor(x, requires_grad=True), *ours.parameters()]
    b = [torch.from_numpy(x.copy()).requires_grad_(), *theirs.parameters()]
    return a, b


@BOTH
@pytest.mark.parametrize("case", LAYERS)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_values_first_and_second_derivatives_are_pytorchs(case, backend, on, rng, close):
    torch.set_num_threads(1)
    ours, theirs, x = build(case, rng)
    a = [tg.tensor(x, requires_grad=True), *ours.parameters()]
    b = [torch.from_numpy(x.copy()).requires_grad_(), *theirs.parameters()]
    y, y2 = ours(a[0]), theirs(b[0])
    close(y, y2, 1e-10, "value")
    c = rng.normal(size=tuple(y2.shape))
    (y * tg.tensor(c)).sum().backward(create_graph=True)
    g = [p.grad for p in a]
    g2 = torch.autograd.grad((y2 * torch.from_numpy(c)).sum(), b, create_graph=True)
    for p, q in zip(g, g2, strict=True):
        close(p, q, 1e-10, "gradient")
    for p in a:
        p.grad = None
    if "max" in case or "mean" in case:
        return  # they are linear: the gradient depends on nothing, in PyTorch's eyes and in ours
    sum((p * tg.sin(p)).sum() for p in g).backward()
    total = sum((q * torch.sin(q)).sum() for q in g2)
    again = torch.autograd.grad(total, b, materialize_grads=True)
    for p, q in zip(a, again, strict=True):
        close(np.zeros(p.shape) if p.grad is None else p.grad, q, 1e-10, "second derivative")


@BOTH
@pytest.mark.parametrize("case", [name for name in LAYERS if "norm" in name])
def test_running_statistics_and_evaluation_are_pytorchs(case, backend, on, rng, close):
    ours, theirs, x = build(case, rng)
    for i in range(3):
        ours(tg.tensor(x * i + i)), theirs(torch.from_numpy(x * i + i))
    state, want = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(want)
    for key in want:
        close(state[key], want[key], 1e-10, key)
    close(ours.eval()(tg.tensor(x)), theirs.eval()(torch.from_numpy(x)), 1e-10, "evaluation")
    for key, value in ours.state_dict().items():
        close(value, state[key], 0, key)


@BOTH
def test_a_compiled_step_of_training_is_pytorchs(backend, on, rng, close):
    """Convolution, norm, pooling, transposed convolution: one jitted step after the other."""
    torch.set_num_threads(1)

    def network(m, **dtype):
        return m.Sequential(
            m.Conv2d(1, 3, 3, padding=1, **dtype), m.BatchNorm2d(3, **dtype), m.Tanh(),
            m.MaxPool2d(2, padding=1), m.Conv2d(3, 4, 2, stride=2, **dtype), m.Sigmoid(),
            m.ConvTranspose2d(4, 1, 3, stride=2, **dtype), m.AvgPool2d(3, 1, 1),
        )  # fmt: skip

    theirs = network(torch.nn).double()
    ours = network(nn, dtype="float64")
    ours.load_state_dict(theirs.state_dict())
    sgd, sgd2 = optim.SGD(ours.parameters(), 0.1), torch.optim.SGD(theirs.parameters(), 0.1)
    x = rng.normal(size=(4, B, 1, 7, 5))

    @tg.jit
    def step(x):
        loss = (ours(x) ** 2).mean()
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        return loss

    for batch in x:
        loss = (theirs(torch.from_numpy(batch)) ** 2).mean()
        sgd2.zero_grad()
        loss.backward()
        sgd2.step()
        close(step(tg.tensor(batch)), loss, 1e-10, "loss")
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        close(ours.state_dict()[key], value, 1e-10, key)


@pytest.mark.parametrize("case", [name for name in LAYERS if "norm" not in name])
def test_a_single_input_is_a_batch_of_one(case, rng, close):
    ours, _, x = build(case, rng)
    close(ours(tg.tensor(x[0])), ours(tg.tensor(x[:1])).detach()[0], 0)


def test_nothing_of_an_empty_batch(rng):
    for case in ("2d strided", "up 2d", "max 2d", "mean 2d"):
        ours, _, x = build(case, rng)
        assert ours(tg.tensor(x[:0])).shape == (0, *ours(tg.tensor(x)).shape[1:])


def test_first_weights_have_pytorchs_distribution():
    for kind in ("Conv1d", "Conv2d", "ConvTranspose2d"):
        for groups in (1, 4):
            ours = getattr(nn, kind)(64, 128, 5, groups=groups, rng=0)
            theirs = getattr(torch.nn, kind)(64, 128, 5, groups=groups)
            for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
                p, q = abs(p.detach().numpy()), abs(q.detach().numpy())
                assert p.shape == q.shape
                assert p.mean() == pytest.approx(q.mean(), rel=0.2)
                assert p.max() == pytest.approx(q.max(), rel=0.05)


@pytest.mark.parametrize("stride,dilation", [(1, 1), (2, 1), (1, 3), (3, 2)])
def test_overlap_add_is_the_adjoint_of_windows(stride, dilation, rng, close):
    options = (2, 3), (stride, 1), (1, dilation)
    x = rng.normal(size=(4, 8, 9))
    y = windows("test", tg.tensor(x), *options)
    c = rng.normal(size=y.shape)
    back = overlap_add(tg.tensor(c), (8, 9), *options[1:])
    close((y * tg.tensor(c)).sum(), (tg.tensor(x) * back).sum(), 1e-12)


def test_a_large_array_in_half_precision(rng):
    """The mean square of 300 would not fit into float16."""
    x = 300 + rng.normal(size=(4000, 2))
    y = nn.BatchNorm1d(2, dtype="float16")(tg.tensor(x.astype("f2"))).detach().numpy()
    assert y.dtype == np.float16 and abs(y.astype(float).std(axis=0) - 1).max() < 0.001


def test_equal_elements_of_a_window_share_the_gradient():
    x = tg.tensor([[1.0, 2.0, 2.0, 0.0]], requires_grad=True)
    F.max_pool1d(x, 4).sum().backward()
    assert x.grad.tolist() == [[0.0, 0.5, 0.5, 0.0]]


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: nn.Conv2d(3, 4, 3)(tg.ones((2, 4, 5, 5))), "in_channels = 3"),
        (lambda: nn.Conv2d(3, 4, 3)(tg.ones((3, 5))), "expected .B,C,"),
        (lambda: nn.Conv2d(3, 4, 3)(tg.ones((2, 3, 2, 5))), "do not fit into an input"),
        (lambda: nn.Conv2d(3, 4, (3, 3, 3)), "kernel_size must be an integer or 2 integers"),
        (lambda: nn.Conv2d(3, 4, 3, stride=0), "stride must be"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "groups=2 must divide"),
        (lambda: nn.Conv1d(3, 4, 3, padding="same", stride=2)(tg.ones((3, 9))), "stride 1"),
        (lambda: nn.Conv1d(3, 4, 3)(tg.ones((3, 9), dtype="float64")), "the parameters are f32"),
        (lambda: F.conv1d(tg.ones((2, 9)), tg.ones((4, 3, 2))), "do not fit"),
        (lambda: F.conv_transpose1d(tg.ones((2, 9)), tg.ones((4, 3, 2))), "do not fit"),
        (lambda: F.conv_transpose1d(tg.ones((2, 3)), tg.ones((2, 3, 2)), padding=2), "nothing"),
        (lambda: nn.ConvTranspose2d(2, 3, 2, output_padding=1)(tg.ones((2, 3, 3))), "smaller"),
        (lambda: nn.MaxPool2d(3, padding=2)(tg.ones((1, 9, 9))), "at most half"),
        (lambda: nn.MaxPool2d(True), "kernel_size must be"),
        (lambda: nn.BatchNorm1d(3)(tg.ones((1, 3))), "more than one value per channel"),
        (lambda: nn.BatchNorm1d(3)(tg.ones((4, 2))), "num_features=3"),
        (lambda: nn.BatchNorm2d(3)(tg.ones((4, 3))), "expected 4 axes"),
    ],
)  # fmt: skip
def test_errors_say_what_was_given_and_what_was_expected(call, message):
    with pytest.raises(tg.TinygradRnnError, match=message):
        call()
