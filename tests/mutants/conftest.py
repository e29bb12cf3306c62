"""The catalogue's modules are imported by name, and hold no examples to collect."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
collect_ignore = ["catalogue.py", "results.py", "run.py"]
