"""Properties of the rules (E1 to E11): closed forms, symmetries, what must not change."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import optim
from tinygrad_rnn.errors import ArgumentError, DTypeError

RULES = {
    "SGD": lambda p, **kw: optim.SGD(p, **{"lr": 0.1, "momentum": 0.9, **kw}),
    "RMSprop": lambda p, **kw: optim.RMSprop(p, **{"momentum": 0.5, "centered": True, **kw}),
    "Adagrad": lambda p, **kw: optim.Adagrad(p, **{"lr_decay": 0.1, **kw}),
    "Adam": lambda p, **kw: optim.Adam(p, **{"amsgrad": True, **kw}),
    "AdamW": lambda p, **kw: optim.AdamW(p, **kw),
}
RULE = pytest.mark.parametrize("make", RULES.values(), ids=RULES)
SEEDS = st.integers(0, 2**32)
RATES = st.floats(1e-4, 0.5)


def vector(values, dtype="float64"):
    return tg.tensor(np.asarray(values, dtype), requires_grad=True)


def value(p):
    return p.detach().numpy().copy()


def run(optimizer, params, gradients):
    for step in gradients:
        for p, g in zip(params, step, strict=True):
            p.grad = None if g is None else tg.tensor(np.asarray(g, p.dtype.name))
        optimizer.step()
    return [value(p) for p in params]


@given(RATES, st.floats(0.1, 3), st.floats(-5, 5), st.integers(0, 30))
def test_e1_sgd_on_a_quadratic_is_geometric(lr, curvature, x0, steps):
    p = vector([x0])
    optimizer = optim.SGD([p], lr=lr)
    for _ in range(steps):
        p.grad = tg.tensor(curvature * value(p))
        optimizer.step()
    np.testing.assert_allclose(
        value(p), [x0 * (1 - lr * curvature) ** steps], rtol=1e-9, atol=1e-300
    )


@given(RATES, st.floats(0.05, 0.95), st.floats(0.1, 2), st.booleans(), st.integers(1, 25))
def test_e2_momentum_is_a_linear_recurrence(lr, momentum, a, nesterov, steps):
    p = vector([1.0])
    optimizer = optim.SGD([p], lr=lr, momentum=momentum, nesterov=nesterov)
    for _ in range(steps):
        p.grad = tg.tensor(a * value(p))
        optimizer.step()
    # (x, b) -> b' = m b + a x;  x' = x - lr b'  or  x - lr (a x + m b')
    look = lr * a if nesterov else 0.0
    weight = lr * momentum if nesterov else lr
    matrix = np.array([[1 - look - weight * a, -weight * momentum], [a, momentum]])
    expected = np.linalg.matrix_power(matrix, steps) @ [1.0, 0.0]
    np.testing.assert_allclose(value(p), expected[:1], rtol=1e-8, atol=1e-11)


@given(SEEDS, st.floats(1e-3, 1e3))
def test_e3_adam_ignores_the_scale_of_gradients(seed, scale):
    rng = np.random.default_rng(seed)
    gradients = rng.normal(size=(10, 1, 4))
    start = rng.normal(size=4)
    results = []
    for factor in (1.0, scale):
        p = vector(start)
        results += run(optim.Adam([p], lr=0.1, eps=0.0), [p], factor * gradients)
    np.testing.assert_allclose(results[0], results[1], rtol=1e-9, atol=1e-9)


@given(SEEDS, RATES)
def test_e3_adams_first_step_is_the_sign(seed, lr):
    rng = np.random.default_rng(seed)
    g, p = rng.normal(size=5) + 0.01, vector(np.zeros(5))
    [after] = run(optim.Adam([p], lr=lr, eps=0.0), [p], [[g]])
    np.testing.assert_allclose(after, -lr * np.sign(g), rtol=1e-9)


@RULE
def test_e3_zero_gradients_leave_parameters_where_they_are(make):
    p = vector([1.0, -2.0])
    [after] = run(make([p], weight_decay=0.0), [p], [[np.zeros(2)]] * 5)
    assert after.tolist() == [1.0, -2.0]


@given(RATES, st.floats(0, 1), st.integers(1, 10))
def test_e4_adamw_decay_is_decoupled(lr, decay, steps):
    p = vector([2.0, -3.0])
    [after] = run(optim.AdamW([p], lr=lr, weight_decay=decay), [p], [[np.zeros(2)]] * steps)
    np.testing.assert_allclose(after, np.array([2.0, -3.0]) * (1 - lr * decay) ** steps, rtol=1e-12)


@RULE
def test_e6_groups_and_order_of_parameters_do_not_matter(make):
    rng = np.random.default_rng(0)
    starts, gradients = rng.normal(size=(3, 4)), rng.normal(size=(8, 3, 4))

    def train(arrange):
        p = [vector(s) for s in starts]
        return run(make(arrange(p)), p, gradients)

    one = train(lambda p: p)
    for other in (
        train(lambda p: p[::-1]),
        train(lambda p: [{"params": [q]} for q in p]),
        train(lambda p: [{"params": p[1:]}, {"params": p[0]}]),
        train(iter),
    ):
        assert all((a == b).all() for a, b in zip(one, other, strict=True))


@given(SEEDS, st.booleans())
def test_e7_sgd_is_equivariant_under_rotation(seed, nesterov):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    start, gradients = rng.normal(size=4), rng.normal(size=(6, 4))
    a, b = vector(start), vector(q @ start)
    settings = {"lr": 0.1, "momentum": 0.8, "nesterov": nesterov, "weight_decay": 0.1}
    [plain] = run(optim.SGD([a], **settings), [a], gradients[:, None])
    [turned] = run(optim.SGD([b], **settings), [b], (gradients @ q.T)[:, None])
    np.testing.assert_allclose(turned, q @ plain, rtol=1e-9, atol=1e-9)


@RULE
def test_e8_accumulated_micro_batches_equal_the_batch(make):
    rng = np.random.default_rng(1)
    x, start = rng.normal(size=(12, 3)), rng.normal(size=3)

    def train(parts):
        w = vector(start)
        optimizer = make([w])
        for _ in range(5):
            optimizer.zero_grad()
            for part in np.split(x, parts):
                tg.sum((tg.tensor(part) @ w) ** 2 / len(x)).backward()
            optimizer.step()
        return value(w)

    np.testing.assert_allclose(train(1), train(4), rtol=1e-9)


@RULE
def test_e9_frozen_and_unused_parameters_keep_their_bits(make):
    frozen, unused, used = vector([1.0, np.nan]), vector([-0.0]), vector([3.0])
    optimizer = make([frozen, unused, used], weight_decay=0.5)
    frozen.requires_grad = False
    frozen.grad = tg.tensor(np.ones(2))
    used.grad = tg.tensor(np.ones(1))
    before = optimizer.state_dict()
    optimizer.step()
    assert value(frozen).tobytes() == np.array([1.0, np.nan]).tobytes()
    assert value(unused).tobytes() == np.array([-0.0]).tobytes()
    assert value(used) != 3.0 and used.requires_grad and used.is_leaf
    after = optimizer.state_dict()
    for i in (0, 1):
        assert all((before["state"][i][k] == v).all() for k, v in after["state"][i].items())


@RULE
def test_e9_a_tied_parameter_is_refused_when_listed_twice(make):
    p = vector([1.0])
    for arrangement in ([p, p], [{"params": [p]}, {"params": [p]}], [{"params": [p, p]}]):
        with pytest.raises(ArgumentError, match="given twice"):
            make(arrangement)


@RULE
@given(seed=SEEDS, stop=st.integers(0, 6))
def test_e10_state_comes_back_exactly(make, seed, stop):
    rng = np.random.default_rng(seed)
    starts = rng.normal(size=(2, 3))
    gradients = rng.normal(size=(6, 2, 3)).tolist()
    if stop:
        gradients[0][0] = None

    p = [vector(s) for s in starts]
    whole = run(make(p), p, gradients)

    p = [vector(s) for s in starts]
    first = make(p, lr=0.1)
    run(first, p, [])
    first.param_groups[0]["lr"] = make([vector([0.0])]).param_groups[0]["lr"]
    half = run(first, p, gradients[:stop])
    state = first.state_dict()
    run(first, p, gradients[stop:])  # must not change what was saved

    q = [vector(h) for h in half]
    second = make(q, lr=0.7)
    second.load_state_dict(state)
    resumed = run(second, q, gradients[stop:])
    assert all((a == b).all() for a, b in zip(whole, resumed, strict=True))


@RULE
def test_training_minimises(make):
    target = np.array([1.0, -2.0, 0.5])
    w = vector(np.zeros(3))
    optimizer = make([w], lr=0.05, weight_decay=0.0)
    first = None
    for _ in range(300):
        optimizer.zero_grad()
        loss = ((w - tg.tensor(target)) ** 2).sum()
        loss.backward()
        optimizer.step()
        first = first or loss.item()
    assert loss.item() < 0.7 * first


@RULE
def test_closure(make):
    w = vector([2.0])
    optimizer = make([w])

    def closure():
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with tg.no_grad():
        assert optimizer.step(closure).item() == 4.0
    assert value(w) < 2.0


def test_float32_parameters_stay_float32():
    for name, make in RULES.items():
        p = vector([1.0, 2.0], "float32")
        [after] = run(make([p]), [p], [[np.ones(2)]] * 3)
        assert after.dtype == np.float32, name


def test_zero_grad():
    p, q = vector([1.0]), vector([2.0])
    optimizer = optim.SGD([p, q])
    p.grad = tg.tensor(np.ones(1))
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0] and q.grad is None
    optimizer.zero_grad()
    assert p.grad is None


def test_an_option_switched_on_later_gets_its_state():
    p, q = vector([1.0]), vector([1.0])
    late, early = optim.SGD([p], lr=0.1), optim.SGD([q], lr=0.1, momentum=0.5)
    late.param_groups[0]["momentum"] = 0.5
    assert run(late, [p], [[[1.0]]] * 3) == run(early, [q], [[[1.0]]] * 3)


def test_bad_settings_are_refused():
    p = vector([1.0])
    for make, kw, message in [
        (optim.SGD, {"lr": -1.0}, "lr is -1.0"),
        (optim.SGD, {"lr": float("nan")}, "lr is nan"),
        (optim.SGD, {"momentum": -0.1}, "momentum"),
        (optim.SGD, {"nesterov": True}, "nesterov"),
        (optim.SGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "nesterov"),
        (optim.SGD, {"weight_decay": -1}, "weight_decay"),
        (optim.Adam, {"betas": (0.9, 1.0)}, "betas"),
        (optim.Adam, {"betas": (0.9,)}, "betas"),
        (optim.Adam, {"eps": -1e-8}, "eps"),
        (optim.RMSprop, {"alpha": 1.5}, "alpha"),
        (optim.Adagrad, {"lr_decay": -1}, "lr_decay"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            make([p], **kw)
    with pytest.raises(DTypeError, match="lr is a str"):
        optim.SGD([p], lr="0.1")
    group = optim.Adam([p]).param_groups[0]
    with pytest.raises(ArgumentError, match="eps"):
        group["eps"] = -1
    with pytest.raises(ArgumentError, match="no setting 'beta'"):
        group["beta"] = 1
    with pytest.raises(KeyError):
        group["beta"]


def test_bad_parameters_are_refused():
    p = vector([1.0])
    for params, message in [
        ([], "no parameters"),
        ([{"params": []}], "no parameters"),
        ([{"params": [p], "speed": 1}], r"unknown settings \['speed'\]"),
        ([p * 2], "not a floating leaf"),
        ([tg.tensor([1])], "not a floating leaf"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            optim.SGD(params)
    for params in (p, [("name", p)], [np.ones(2)]):
        with pytest.raises(DTypeError, match="Tensor"):
            optim.SGD(params)
    layer = tg.nn.Linear(2, 1)
    for call in (optim.Adam, lambda m: optim.clip_grad_norm_(m, 1.0)):
        with pytest.raises(DTypeError, match=r"params is a Linear.*pass its \.parameters\(\)"):
            call(layer)
    with pytest.raises(DTypeError, match="params is a int, expected several"):
        optim.SGD(3)
    with pytest.raises(ArgumentError, match="lr_lambda is a float, expected a function"):
        optim.lr_scheduler.LambdaLR(optim.SGD([p]), 0.5)


def test_numbers_of_numpy_are_numbers():
    assert optim.SGD([vector([1.0])], lr=np.float32(0.25)).param_groups[0]["lr"] == 0.25

def test_a_state_that_does_not_fit_changes_nothing():
    p = [vector([1.0, 2.0]), vector([3.0])]
    optimizer = optim.Adam(p)
    run(optimizer, p, [[np.ones(2), np.ones(1)]])
    other = [
        optim.Adam([vector([1.0, 2.0])]),
        optim.Adam([vector([1.0, 2.0]), vector([3.0, 4.0])]),
        optim.Adam([vector([1.0, 2.0]), vector([3.0], "float32")]),
        optim.RMSprop([vector([1.0, 2.0]), vector([3.0])]),
        optim.Adam([{"params": [vector([1.0, 2.0])]}, {"params": [vector([3.0])]}]),
    ]
    before = optimizer.state_dict()
    states = [o.state_dict() for o in other]
    broken = optimizer.state_dict()
    del broken["state"][1]["exp_avg"]
    negative = optimizer.state_dict()
    negative["param_groups"][0]["lr"] = -1.0
    for state in [*states, broken, negative, {}]:
        with pytest.raises(ArgumentError):
            optimizer.load_state_dict(state)
        after = optimizer.state_dict()
        assert after["param_groups"] == before["param_groups"]
        for i in (0, 1):
            for name, t in before["state"][i].items():
                assert (after["state"][i][name] == t).all()


def test_reads_like_pytorchs_dict():
    optimizer = optim.Adam([vector([1.0])], lr=0.5)
    group = optimizer.param_groups[0]
    assert group["lr"] == 0.5 and group["betas"] == (0.9, 0.999) and len(group["params"]) == 1
    assert "eps" in group and "momentum" not in group
    assert "lr=0.5" in repr(optimizer) and "Adam(" in repr(optimizer)
