"""How a command prints its answer, and says that something is wrong."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `--help` waits for none of these
    pass

EXIT_WRONG = 2
EXIT_INTERRUPTED = 130  # as shells say it


def print_answer(value: Any, as_json: bool, told: Callable[[], list[str]]) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False) if as_json else "\n".join(told()))


def report(problems: Sequence[str]) -> int:
    print(*(f"error: {problem}" for problem in problems), sep="\n", file=sys.stderr)
    return EXIT_WRONG
