"""Run the command line in this process, with all features."""

from collections.abc import Sequence

from lineup.cli.main import main
from lineup.features import FEATURES


def run_command(argv: Sequence[str]) -> int:
    return main(argv, FEATURES.values())
