"""Reads the Dockerfile, and executes it in a folder: COPY, RUN, ENV and CMD, with absolute paths below the folder."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

from serving import ROOT

Instructions = list[tuple[str, str]]


def read(path: Path = ROOT / "Dockerfile") -> Instructions:
    """Return the instructions: their names, and the rest of their lines."""
    text = re.sub(r"(?m)^\s*#.*\n", "", path.read_text(encoding="utf-8"))
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines if line.strip())]


def all_of(name: str) -> list[str]:
    return [rest for instruction, rest in read() if instruction == name]


def environment() -> dict[str, str]:
    """Return the variables that ENV sets."""
    return dict(pair.split("=", 1) for line in all_of("ENV") for pair in shlex.split(line))


def copied() -> list[str]:
    """Return the sources of all COPY instructions."""
    return [source for line in all_of("COPY") for source in shlex.split(line)[:-1]]


def is_ignored(name: str) -> bool:
    """Return whether .dockerignore keeps a file or folder of the project out of the build: the last line counts."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#") and fnmatch(name, line.removeprefix("!")):
            ignored = not line.startswith("!")
    return ignored


class Image:
    """What a build makes in a folder.

    Args:
        folder: stands for the root of the file system; a virtual environment in it stands for the base image.
        port: stands for the port of the Dockerfile.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self._port, self.workdir = folder, port, folder
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        self.env = {**os.environ, "PATH": f"{folder / 'venv' / 'bin'}:{os.environ['PATH']}"}
        self.env.pop("PYTHONPATH", None)
        self.command: list[str] = []
        self.health: list[str] = []
        self.user = 0

    def here(self, text: str) -> str:
        """Move the absolute paths and the port of a text."""
        (port,) = all_of("EXPOSE")
        return re.sub(r"(?<![\w/.])/(?=(app|cache)\b)", f"{self.folder}/", text).replace(port, str(self._port))

    def build(self) -> None:
        """Execute each instruction.

        Raises:
            CalledProcessError: a RUN line failed.
        """
        for name, rest in read():
            if name == "WORKDIR":
                self.workdir = Path(self.here(rest))
                self.workdir.mkdir(parents=True, exist_ok=True)
            elif name == "COPY":
                *sources, target = shlex.split(rest)
                for source in sources:
                    self._copy(ROOT / source, self.workdir / target)
            elif name == "RUN":
                subprocess.run(["sh", "-ec", self.here(rest)], cwd=self.workdir, env=self.env, check=True)
            elif name == "ENV":
                self.env |= dict(self.here(pair).split("=", 1) for pair in shlex.split(rest))
            elif name == "USER":
                self.user = int(rest.partition(":")[0])
            elif name == "HEALTHCHECK":
                self.health = json.loads(self.here(rest.partition("CMD ")[2]))
            elif name == "CMD":
                self.command = json.loads(self.here(rest))
            else:
                assert name in ("FROM", "ARG", "VOLUME", "EXPOSE", "STOPSIGNAL"), name

    def _copy(self, source: Path, target: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / source.name if target.is_dir() else target)
