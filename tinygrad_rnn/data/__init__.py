"""Text and sequences as batches: vocabulary, padding, streams, loaders. NumPy on the host."""

from .loader import Loader
from .sequences import pad_sequences
from .streams import ContiguousStreams
from .vocabulary import Vocabulary

__all__ = ["ContiguousStreams", "Loader", "Vocabulary", "pad_sequences"]
