"""Print results to stdout and problems to stderr; exit statuses."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def print_answer(value: Any, as_json: bool, lines: Callable[[], list[str]]) -> None:
    """Print a value as JSON, or else the lines of text that `lines` returns."""
    print(json.dumps(value, indent=2, ensure_ascii=False) if as_json else "\n".join(lines()))


def report(problems: Sequence[str]) -> int:
    """Print problems to stderr; return the exit status 2."""
    print(*(f"error: {problem}" for problem in problems), sep="\n", file=sys.stderr)
    return EXIT_ERROR
