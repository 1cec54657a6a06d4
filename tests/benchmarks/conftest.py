"""The modules of benchmarks/ can be imported, as its scripts import one another."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # last: their names are short
