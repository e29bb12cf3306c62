"""A compiled training step gives bitwise the same numbers as an eager one (NumPy backend)."""

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import optim
from tinygrad_rnn.errors import TraceError
from tinygrad_rnn.optim import lr_scheduler

RULES = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01),
    "Nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "plain": lambda p: optim.SGD(p, lr=0.1),
    "RMSprop": lambda p: optim.RMSprop(p, momentum=0.5, centered=True),
    "Adagrad": lambda p: optim.Adagrad(p, lr_decay=0.1),
    "Adam": lambda p: optim.Adam(p, amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p),
}


@pytest.fixture(autouse=True)
def numpy_backend():
    with tg.use_backend("numpy"):
        yield


def problem(make, dtype, compiled):
    """Weights, optimizer and a step on them; `counts[0]` says how often Python ran the step."""
    rng = np.random.default_rng(0)
    w = tg.tensor(rng.normal(size=(4, 3)).astype(dtype), requires_grad=True)
    b = tg.tensor(np.zeros(3, dtype), requires_grad=True)
    optimizer, counts = make([w, b]), [0]

    def step(x, y):
        counts[0] += 1
        optimizer.zero_grad()
        loss = ((tg.tanh(x @ w + b) - y) ** 2).mean()
        loss.backward()
        norm = optim.clip_grad_norm_([w, b], 0.5)
        optimizer.step()
        return loss, norm

    return [w, b], optimizer, tg.jit(step) if compiled else step, counts


def train(make, dtype, compiled, steps=12):
    params, optimizer, step, counts = problem(make, dtype, compiled)
    schedule = lr_scheduler.warmup_cosine(optimizer, 3, steps)
    rng, log = np.random.default_rng(1), []
    for _ in range(steps):
        x, y = rng.normal(size=(5, 4)).astype(dtype), rng.normal(size=(5, 3)).astype(dtype)
        loss, norm = step(tg.tensor(x), tg.tensor(y))
        log += [loss.detach().numpy().tobytes(), norm.numpy().tobytes()]
        schedule.step()
    state = optimizer.state_dict()
    log += [p.detach().numpy().tobytes() for p in params]
    log += [t.numpy().tobytes() for s in state["state"].values() for t in s.values()]
    return [*log, state["param_groups"]], counts[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", RULES.values(), ids=RULES)
def test_compiled_equals_eager_bitwise(make, dtype):
    eager, _ = train(make, dtype, compiled=False)
    compiled, traces = train(make, dtype, compiled=True)
    assert compiled == eager
    assert traces == 1  # a schedule never traces the step again


def test_changed_options_trace_again():
    make = RULES["Adam"]
    results = []
    for compiled in (False, True):
        params, optimizer, step, counts = problem(make, "float64", compiled)
        x, y = tg.tensor(np.ones((5, 4))), tg.tensor(np.ones((5, 3)))
        step(x, y)
        optimizer.param_groups[0]["eps"] = 1e-2
        step(x, y)
        step(x, y)
        results.append([p.detach().numpy().tobytes() for p in params])
    assert results[0] == results[1] and counts[0] == 2


def test_state_loaded_between_compiled_steps_is_used():
    params, optimizer, step, _ = problem(RULES["Adam"], "float64", compiled=True)
    x, y = tg.tensor(np.ones((5, 4))), tg.tensor(np.ones((5, 3)))
    step(x, y)
    state, values = optimizer.state_dict(), [p.detach() for p in params]
    step(x, y)
    expected = [p.detach().numpy().copy() for p in params]
    step(x, y)
    optimizer.load_state_dict(state)
    for p, v in zip(params, values, strict=True):
        p.assign_(v)
    step(x, y)
    assert all((p.detach().numpy() == e).all() for p, e in zip(params, expected, strict=True))


def test_a_rate_set_inside_a_compiled_function_is_refused():
    w = tg.tensor([1.0], requires_grad=True)
    optimizer = optim.SGD([w])
    schedule = lr_scheduler.StepLR(optimizer, 1)

    @tg.jit
    def step(x):
        schedule.step()
        return x

    with pytest.raises(TraceError, match=r"scheduler\.step\(\)"):
        step(tg.tensor([1.0]))
