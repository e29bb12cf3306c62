"""Neural networks: modules, layers, recurrent cells and what runs them over time.

A cell is a function `(carry, x) -> (carry, y)`; `Recurrent(cell)` runs it with `scan`;
`Bidirectional`, `Stack` and `Hierarchical` combine such layers; `RNN`, `LSTM` and `GRU` are stacks
with PyTorch's names and layouts.
"""

from . import functional, init
from .alignment import AdditiveAttention, LuongAttention
from .attention import MultiheadAttention
from .batch_norm import BatchNorm1d, BatchNorm2d
from .cell import Cell
from .cells import GRUCell, LSTMCell, RNNCell
from .cells_gru import JordanCell, LayerNormGRUCell, MinimalGatedUnitCell
from .cells_lstm import CoupledLSTMCell, LayerNormLSTMCell, LSTM1997Cell, PeepholeLSTMCell
from .combinators import Bidirectional, Hierarchical, Stack
from .containers import ModuleList, Sequential
from .convolution import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d
from .functional_call import functional_call
from .layers import (
    GELU,
    Dropout,
    Embedding,
    Flatten,
    LayerNorm,
    Linear,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from .losses import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    CTCLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
    SmoothL1Loss,
)
from .module import Module
from .parameter import Parameter
from .pooling import AvgPool1d, AvgPool2d, MaxPool1d, MaxPool2d
from .recurrent import Recurrent
from .rnn import GRU, LSTM, RNN
from .wrappers import CellWrapper, RecurrentDropout, Residual, Zoneout

__all__ = [
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "AdditiveAttention",
    "AvgPool1d",
    "AvgPool2d",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Bidirectional",
    "CTCLoss",
    "Cell",
    "CellWrapper",
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "CoupledLSTMCell",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "Hierarchical",
    "HuberLoss",
    "JordanCell",
    "L1Loss",
    "LSTM1997Cell",
    "LSTMCell",
    "LayerNorm",
    "LayerNormGRUCell",
    "LayerNormLSTMCell",
    "Linear",
    "LuongAttention",
    "MSELoss",
    "MaxPool1d",
    "MaxPool2d",
    "MinimalGatedUnitCell",
    "Module",
    "ModuleList",
    "MultiheadAttention",
    "Parameter",
    "PeepholeLSTMCell",
    "RNNCell",
    "ReLU",
    "Recurrent",
    "RecurrentDropout",
    "Residual",
    "Sequential",
    "Sigmoid",
    "SmoothL1Loss",
    "Softmax",
    "Stack",
    "Tanh",
    "Zoneout",
    "functional",
    "functional_call",
    "init",
]
