"""Every exception of the library, in one style: what was given, what was expected, what to do."""

from __future__ import annotations


class TinygradRnnError(Exception):
    """Base class: `except TinygradRnnError` catches all that the library raises on purpose."""


class ArgumentError(TinygradRnnError, ValueError):
    """An argument has a value that makes no sense here."""


class ShapeError(ArgumentError):
    """Shapes or ranks do not fit together."""


class DTypeError(TinygradRnnError, TypeError):
    """The data type (or the Python type) of an argument is not supported here."""


class IndexRangeError(TinygradRnnError, IndexError):
    """An index lies outside the axis it indexes."""


class AxisError(ShapeError, IndexRangeError):
    """A tensor has no such axis."""


class LinearAlgebraError(ArgumentError):
    """A matrix is singular or not positive definite, or its decomposition did not converge."""


class GradientError(TinygradRnnError, RuntimeError):
    """A derivative was asked for that does not exist or is no longer available."""


class TraceError(TinygradRnnError, RuntimeError):
    """A function cannot be recorded as a graph, or a recorded value was used outside its graph."""


class GraphError(TinygradRnnError, RuntimeError):
    """A graph is not well formed (a bug in a pass or in a hand-built graph)."""


class BackendError(TinygradRnnError, RuntimeError):
    """A backend is unknown, unusable, or tensors live on different backends."""


class NaNError(TinygradRnnError, FloatingPointError):
    """With TINYGRAD_RNN_CHECK=1: the first operation that produced NaN from clean operands."""


class CheckpointError(TinygradRnnError, ValueError):
    """A checkpoint is corrupted, foreign or does not fit; nothing was loaded."""
