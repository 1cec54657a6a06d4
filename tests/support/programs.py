"""Programs that pip cannot install: tests that need one are skipped by name without it, but fail under CI."""

import os
import shutil
from typing import NoReturn

import pytest


def program(*names: str) -> str:
    """Return the path of the first of these programs that is on PATH, or skip the test; fail instead under CI."""
    return next(filter(None, map(shutil.which, names)), None) or unavailable(f"{names[0]} is not installed")


def unavailable(reason: str) -> NoReturn:
    """Skip the test; fail instead under CI.

    `.ci/run` installs all programs, and sets LINEUP_REQUIRE_PROGRAMS.
    """
    if os.environ.get("LINEUP_REQUIRE_PROGRAMS"):
        pytest.fail(reason)
    pytest.skip(reason)
