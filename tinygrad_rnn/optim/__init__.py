"""Optimizers, clipping of gradients and schedules of the learning rate, after PyTorch's."""

from . import lr_scheduler
from .clip import clip_grad_norm_, clip_grad_value_
from .groups import Options, ParamGroup
from .optimizer import Optimizer
from .rules import SGD, Adagrad, Adam, AdamW, RMSprop

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "Options",
    "ParamGroup",
    "RMSprop",
    "clip_grad_norm_",
    "clip_grad_value_",
    "lr_scheduler",
]
