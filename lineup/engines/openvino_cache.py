"""Converts networks to OpenVINO, and keeps them on disk, so that the next start need not convert them again.

Each lies in a folder of its own, named by everything that decides it, and written under another name first:
whoever finds it finds it whole. Its hashes are checked all the same: what is not what was written is removed.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from lineup.config import Config
from lineup.engines import devices, engine, openvino_engine
from lineup.engines.openvino_engine import OpenVINOEngine
from lineup.engines.torch_engine import TorchEngine
from lineup.errors import BackboneError, brief
from lineup.hub import checksums

if TYPE_CHECKING:
    from lineup.registry import Plan

_log = logging.getLogger(__name__)

FORMAT = 1  # what lies in a folder, and how it is converted
UNUSED_DAYS = 30  # what no start has used for so long is removed
_PACKAGES = ("openvino", "torch", "torchvision", "timm")
_MODEL, _WEIGHTS, _HASHES = "model.xml", "model.bin", "sha256.json"


def wanted(config: Config, device: str) -> bool:
    """Tell whether backbones are meant to run on OpenVINO here.

    Raises:
        BackboneError: when the config says so, and that is impossible.
    """
    if config.engine == "torch" or (config.engine == "auto" and device != "cpu"):
        return False
    if device != "cpu":
        raise BackboneError("engine", f"torch on {device}", "got openvino", "write `engine: auto`")
    if config.engine == "openvino" and (missing := openvino_engine.unavailable(config.precision)):
        raise BackboneError("engine", "openvino to run here", missing, "write `engine: auto`")
    return True


def kept(plan: "Plan", path: Path | None, precision: engine.Precision) -> OpenVINOEngine | None:
    """Return an engine that an earlier start converted, or None."""
    if openvino_engine.unavailable(precision) or not (key := _key(plan, path)) or not (file := _find(key)):
        return None
    try:
        return OpenVINOEngine(file, precision, devices.cores())
    except Exception as error:
        _log.warning("%s: the converted network cannot be used, and is made anew: %s", file.parent, error)
        _drop(key)
        return None


def convert(torch_engine: TorchEngine, plan: "Plan", path: Path | None, precision: engine.Precision) -> OpenVINOEngine:
    """Convert a network while it may be answering, and keep it for the next start.

    Raises:
        BackboneError: when it cannot be converted, with the reason.
    """
    if missing := openvino_engine.unavailable(precision):
        raise BackboneError("", "", missing)
    size, settings = plan.transform.input_size, {"precision": precision, "threads": devices.cores()}
    model, file = openvino_engine.convert(torch_engine.network, size), None
    if key := _key(plan, path):
        file = _keep(key, partial(openvino_engine.save, model))
    if file:
        model = None  # run from the file, its memory can be had back; the model shares torch's
    try:
        return openvino_engine.compile_checked(file or model, torch_engine, size, **settings)
    except BackboneError:
        _drop(key)
        raise


def _key(plan: "Plan", path: Path | None) -> str:
    """Name a plan's converted network: by weights, architecture, input size and versions.

    Empty when it cannot be named: its weights are random, or nobody can tell what the network is.
    """
    if not plan.fingerprint or path is None:
        return ""
    versions = {package: _version(package) for package in _PACKAGES}
    parts = [FORMAT, plan.fingerprint, plan.transform.input_size, checksums.sha256(path), versions]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _find(key: str) -> Path | None:
    """Return the ``.xml`` file of a converted network that was kept and is whole, or None."""
    folder = _folder() / key
    try:
        wanted = json.loads((folder / _HASHES).read_text())
        if wanted != _hashes(folder):
            raise ValueError("its files are not those that were written")
        os.utime(folder)
        return folder / _MODEL
    except FileNotFoundError:
        if not folder.exists():
            return None
        reason = "a file is missing"
    except (OSError, ValueError) as error:
        reason = str(error)
    _log.warning("%s: the converted network is damaged (%s) and is made anew", folder, reason)
    _drop(key)
    return None


def _keep(key: str, save: Callable[[Path], None]) -> Path | None:
    """Keep what `save` writes, unless another process was faster, and return its file; without room, only warn."""
    home, draft = _folder(), None
    try:
        home.mkdir(parents=True, exist_ok=True)
        _tidy(home)
        draft = Path(tempfile.mkdtemp(prefix=f"{key}.", suffix=".partial", dir=home))
        save(draft / _MODEL)
        (draft / _HASHES).write_text(json.dumps(_hashes(draft)))
        if not (home / key).exists():
            draft.rename(home / key)
        return _find(key)
    except Exception as error:  # OpenVINO raises a RuntimeError of its own when it cannot write
        _log.warning("%s: a converted network cannot be kept, and is made anew next time: %s", home, brief(error))
        return None
    finally:
        if draft:
            shutil.rmtree(draft, ignore_errors=True)


def _drop(key: str) -> None:
    if key:
        shutil.rmtree(_folder() / key, ignore_errors=True)


def _folder() -> Path:
    if chosen := os.environ.get("LINEUP_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lineup"


def _hashes(folder: Path) -> dict[str, str]:
    return {name: checksums.sha256(folder / name) for name in (_MODEL, _WEIGHTS)}


def _tidy(home: Path) -> None:
    """Remove what no start has used for a while, and what a killed process left behind."""
    oldest = time.time() - UNUSED_DAYS * 24 * 3600
    for folder in home.iterdir():
        try:
            age_s = time.time() - folder.stat().st_mtime
            if folder.stat().st_mtime < oldest or (folder.suffix == ".partial" and age_s > 3600):
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:  # another process was faster
            continue


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
