"""Runs the command line in this process, with the features that it has for users."""

from collections.abc import Sequence

from lineup.cli.main import main
from lineup.features import FEATURES


def run_command(argv: Sequence[str]) -> int:
    return main(argv, FEATURES.values())
