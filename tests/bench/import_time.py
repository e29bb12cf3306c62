"""How long `import tinygrad_rnn` takes once NumPy is there: prints milliseconds.

Run as a process: `python import_time.py`. Wall-clock time, with the files in the system's cache;
where Python may not write byte code (PYTHONDONTWRITEBYTECODE), that of compiling the sources too.
"""

from __future__ import annotations

import time

import numpy  # noqa: F401

if __name__ == "__main__":
    start = time.perf_counter()
    import tinygrad_rnn  # noqa: F401

    print((time.perf_counter() - start) * 1e3)
