"""Strategies of configurations: recurrent layers and optimizers."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ..configurations import OptimizerConfig, RNNConfig

#: What each rule takes beside `lr` and `weight_decay`; its own defaults come first.
RULES: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "SGD": {"momentum": st.sampled_from((0.0, 0.5, 0.9)), "dampening": st.sampled_from((0.0, 0.3)),
            "nesterov": st.booleans()},
    "RMSprop": {"alpha": st.sampled_from((0.99, 0.5, 0.0)), "momentum": st.sampled_from((0.0, 0.9)),
                "centered": st.booleans(), "eps": st.sampled_from((1e-8, 1e-2))},
    "Adagrad": {"lr_decay": st.sampled_from((0.0, 0.1)), "eps": st.sampled_from((1e-10, 1e-2)),
                "initial_accumulator_value": st.sampled_from((0.0, 0.5))},
    "Adam": {"betas": st.sampled_from(((0.9, 0.999), (0.0, 0.5), (0.5, 0.0))),
             "eps": st.sampled_from((1e-8, 1e-2)), "amsgrad": st.booleans()},
    "AdamW": {"betas": st.sampled_from(((0.9, 0.999), (0.5, 0.9))), "amsgrad": st.booleans()},
}  # fmt: skip


@st.composite
def rnn_configs(
    draw: st.DrawFn,
    *,
    kinds: tuple[str, ...] = ("RNN", "LSTM", "GRU"),
    max_size: int = 5,
    max_layers: int = 3,
    dropout: bool = True,
    dtype: Any = "float64",
) -> RNNConfig:
    """Every combination of the arguments of nn.RNN, nn.LSTM and nn.GRU; plain ones first."""
    kind = draw(st.sampled_from(kinds))
    sizes = st.integers(1, max_size)
    options: dict[str, Any] = {}
    hidden = draw(sizes)

    def choose(name: str, default: Any, values: st.SearchStrategy[Any]) -> None:
        value = draw(values)
        if value != default:
            options[name] = value

    input_size = draw(sizes)
    choose("num_layers", 1, st.integers(1, max_layers))
    choose("bias", True, st.sampled_from((True, False)))
    choose("batch_first", False, st.booleans())
    choose("bidirectional", False, st.booleans())
    if dropout and "num_layers" in options:
        choose("dropout", 0.0, st.sampled_from((0.0, 0.5, 1.0)))
    if kind == "RNN":
        choose("nonlinearity", "tanh", st.sampled_from(("tanh", "relu")))
    if kind == "LSTM":
        choose("proj_size", 0, st.integers(0, hidden - 1))
        choose("forget_bias", None, st.sampled_from((None, 1.0)))
    if kind == "GRU":
        choose("reset_after", True, st.sampled_from((True, False)))
    return RNNConfig(kind, input_size, hidden, {**options, "dtype": dtype})


@st.composite
def optimizer_configs(
    draw: st.DrawFn, *, kinds: tuple[str, ...] = tuple(RULES)
) -> OptimizerConfig:
    """Every rule of `optim` with every kind of setting that it takes."""
    kind = draw(st.sampled_from(kinds))
    options: dict[str, Any] = {"lr": draw(st.sampled_from((0.1, 0.01, 1.0, 0.0)))}
    for name, values in RULES[kind].items():
        options[name] = draw(values)
    if options.get("nesterov") and (not options["momentum"] or options["dampening"]):
        options["nesterov"] = False  # it is defined for undamped momentum only
    options["weight_decay"] = draw(st.sampled_from((0.0, 0.1)))
    options["maximize"] = draw(st.booleans())
    return OptimizerConfig(kind, options)
