"""Values of command-line options, checked before anything is run."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path


def positive(text: str) -> int:
    """A whole number of at least one.

    >>> positive("12")
    12
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def natural(text: str) -> int:
    """A whole number of at least zero."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def duration(text: str) -> float:
    """Seconds, more than none."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def new_file(text: str) -> Path:
    """A file that can be written, so that hours of work do not end with nowhere to put them."""
    path = Path(text)
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        why = "is a folder" if path.is_dir() else "cannot be written"
        raise argparse.ArgumentTypeError(f"'{path}' {why}; name a file in a folder of yours")
    return path


def new_folder(text: str) -> Path:
    """A folder that can be written into; made if it is not there."""
    path = Path(text)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"'{path}' is no folder and cannot be made one: {error.strerror}"
        raise argparse.ArgumentTypeError(reason) from None
    if not os.access(path, os.W_OK):
        raise argparse.ArgumentTypeError(f"nothing can be written into '{path}'")
    return path
