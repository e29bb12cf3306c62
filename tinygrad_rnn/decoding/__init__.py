"""From scores to sequences: sampling, beam search, and the decoders of CTC.

In: a step `(tokens, state) -> (logits, state)`, or log probabilities of CTC. Out: lists of token
numbers. The choices are made on the host; the step runs where its tensors are.
"""

from .beam import Hypothesis, beam_search
from .ctc import ctc_beam_search, ctc_greedy
from .sampling import greedy, probabilities, sample

__all__ = [
    "Hypothesis",
    "beam_search",
    "ctc_beam_search",
    "ctc_greedy",
    "greedy",
    "probabilities",
    "sample",
]
