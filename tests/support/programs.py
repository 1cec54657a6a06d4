"""Programs that pip cannot install: tests that need one are skipped by name without it, but fail under CI."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest


def program(*names: str) -> str:
    """Return the path of the first of these programs that is on PATH, or skip the test; fail instead under CI."""
    return next(filter(None, map(shutil.which, names)), None) or unavailable(f"{names[0]} is not installed")


def module(name: str, requirements: str) -> None:
    """Skip the test if a Python package of a requirements file is not installed; fail instead under CI."""
    if importlib.util.find_spec(name) is None:
        unavailable(f"{name} is not installed: pip install -r {requirements}")


def node_modules(folder: Path) -> Path:
    """Return the modules that a folder's package-lock.json pins, installed there unless they are; or skip the test."""
    npm, lock, modules = program("npm"), folder / "package-lock.json", folder / "node_modules"
    installed = modules / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        done = subprocess.run([npm, "ci"], cwd=folder, capture_output=True, text=True, timeout=300)
        if done.returncode:
            unavailable(f"npm cannot install the packages in {lock}: {done.stderr.strip()}")
    return modules


def unavailable(reason: str) -> NoReturn:
    """Skip the test; fail instead under CI.

    `.ci/run` installs all programs, and sets LINEUP_REQUIRE_PROGRAMS.
    """
    if os.environ.get("LINEUP_REQUIRE_PROGRAMS"):
        pytest.fail(reason)
    pytest.skip(reason)
