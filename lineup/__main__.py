"""Entry point of ``python -m lineup``."""

import os
import sys

from lineup.cli.main import main
from lineup.features import FEATURES

status = main(features=FEATURES.values())
sys.stdout.flush()
sys.stderr.flush()
# skip interpreter finalization: a background thread that is still loading a backbone would crash in it
os._exit(status)
