"""Makes ``python -m lineup`` work."""

import os
import sys

from lineup.cli.main import main
from lineup.features import FEATURES

status = main(features=FEATURES.values())
sys.stdout.flush()
sys.stderr.flush()
os._exit(status)  # a backbone may still be loading on a thread of its own: Python's own way out would let it crash
