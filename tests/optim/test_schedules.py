import json
from itertools import pairwise

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import optim
from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.optim import lr_scheduler as ls

SCHEDULES = {
    "step": lambda o: ls.StepLR(o, 7, 0.5),
    "cosine": lambda o: ls.CosineAnnealingLR(o, 30, 0.001),
    "lambda": lambda o: ls.LambdaLR(o, lambda t: 0.95**t),
    "warmup": lambda o: ls.LinearWarmup(o, 0.1, 12),
    "chain": lambda o: ls.warmup_cosine(o, 10, 60),
}


def optimizer(lr=0.3):
    return optim.SGD([tg.tensor([1.0], requires_grad=True)], lr=lr)


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("stop", [0, 1, 9, 10, 25])
def test_e11_resumes_exactly(make, stop):
    o = optimizer()
    s = make(o)
    whole = []
    for _ in range(40):
        whole.append(s.get_last_lr())
        s.step()
    o = optimizer()
    s = make(o)
    for _ in range(stop):
        s.step()
    state = json.loads(json.dumps([o.state_dict()["param_groups"][0]["lr"], s.state_dict()]))
    o = optimizer(lr=9.0)
    t = make(o)
    o.param_groups[0]["lr"] = state[0]
    t.load_state_dict(state[1])
    rest = []
    for _ in range(stop, 40):
        rest.append(t.get_last_lr())
        t.step()
    assert rest == whole[stop:]


def test_e11_plateau_resumes_exactly():
    metrics = [3, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1]
    o = optimizer()
    s = ls.ReduceLROnPlateau(o, patience=1, cooldown=1)
    whole = []
    for m in metrics:
        s.step(tg.tensor(float(m)))
        whole.append(s.get_last_lr())
    for stop in range(len(metrics)):
        o = optimizer()
        s = ls.ReduceLROnPlateau(o, patience=1, cooldown=1)
        for m in metrics[:stop]:
            s.step(m)
        o2 = optimizer()
        o2.load_state_dict(o.state_dict())
        t = ls.ReduceLROnPlateau(o2, patience=1, cooldown=1)
        t.load_state_dict(s.state_dict())
        for m, expected in zip(metrics[stop:], whole[stop:], strict=True):
            t.step(m)
            assert t.get_last_lr() == expected


def test_the_chain_is_continuous():
    o = optimizer(1.0)
    s = ls.warmup_cosine(o, 5, 50, start_factor=0.2)
    rates = []
    for _ in range(51):
        rates += s.get_last_lr()
        s.step()
    assert rates[0] == pytest.approx(0.2) and rates[5] == 1.0 and rates[50] == pytest.approx(0.0)
    assert max(abs(a - b) for a, b in pairwise(rates)) < 0.17


def test_bad_arguments():
    o = optimizer()
    other = ls.StepLR(optimizer(), 1)
    for make in (
        lambda: ls.StepLR(o, 0),
        lambda: ls.CosineAnnealingLR(o, 0),
        lambda: ls.LinearWarmup(o, 0.0),
        lambda: ls.LambdaLR(o, [abs, abs]),
        lambda: ls.warmup_cosine(o, 10, 10),
        lambda: ls.SequentialLR(o, [ls.StepLR(o, 1)], [3]),
        lambda: ls.SequentialLR(o, [ls.StepLR(o, 1)] * 3, [3, 2]),
        lambda: ls.SequentialLR(o, [other], []),
        lambda: ls.ReduceLROnPlateau(o, mode="least"),
        lambda: ls.ReduceLROnPlateau(o, factor=1.0),
        lambda: ls.ReduceLROnPlateau(o, threshold_mode="x"),
        lambda: ls.ReduceLROnPlateau(o, min_lr=[1.0, 2.0]),
        lambda: ls.StepLR(None, 1),
        lambda: ls.StepLR(o, 1).load_state_dict({"last_epoch": 1}),
        lambda: ls.StepLR(o, 1).load_state_dict({"last_epoch": 1, "base_lrs": [1.0, 2.0]}),
        lambda: ls.ReduceLROnPlateau(o).load_state_dict({}),
    ):
        with pytest.raises(ArgumentError):
            make()
