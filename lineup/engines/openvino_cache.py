"""A content-addressed cache on disk of networks converted to OpenVINO.

Each entry is a folder named by a hash of everything that determines its contents. It is written under a temporary
name and renamed, so that a reader never sees half of one. The hashes of its files are verified at each load, for which
a file is read again only if it has changed, and a damaged entry is deleted.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineup.engines import devices, engine, openvino_engine, versions
from lineup.engines.openvino_engine import OpenVINOEngine
from lineup.engines.torch_engine import TorchEngine
from lineup.errors import BackboneError, brief
from lineup.hub import checksums
from lineup.hub.cache_folder import cache_folder

if TYPE_CHECKING:
    from torch import nn

    from lineup.registry import Plan

_log = logging.getLogger(__name__)

FORMAT = 2  # of an entry; raise it when its files or the conversion change
UNUSED_DAYS = 30  # an entry that was not used for so long is deleted
_PACKAGES = ("openvino", "torch", "torchvision", "timm")
_ENTRY = re.compile(r"[0-9a-f]{32}(\..*\.partial)?")  # names of entries and their drafts
_MODEL, _WEIGHTS, _HASHES = "model.xml", "model.bin", "sha256.json"


def applies(plan: "Plan", device: str) -> bool:
    """Tell whether backbones should run on OpenVINO: on a CPU."""
    return device == "cpu"


def unavailable(precision: engine.Precision) -> str:
    """Return why OpenVINO cannot be used here, or an empty string."""
    return openvino_engine.unavailable(precision)


def cached(plan: "Plan", path: Path | None, precision: engine.Precision) -> OpenVINOEngine | None:
    """Return an engine from the cache, or None."""
    if openvino_engine.unavailable(precision) or not (key := _key(plan, path, precision)) or not (file := _find(key)):
        return None
    try:
        return OpenVINOEngine(file, precision, devices.cores())
    except Exception as error:
        _log.warning("%s: the converted network cannot be loaded, and is converted again: %s", file.parent, error)
        _delete(key)
        return None


def convert(torch_engine: TorchEngine, plan: "Plan", path: Path | None, precision: engine.Precision) -> OpenVINOEngine:
    """Convert a network, which may be computing meanwhile, and write it to the cache.

    Raises:
        BackboneError: when it cannot be converted, with the reason.
    """
    if missing := openvino_engine.unavailable(precision):
        raise BackboneError("", "", missing)
    shape = plan.transform.input_size, plan.transform.channels
    settings: Any = {"precision": precision, "threads": devices.cores()}
    model, file = openvino_engine.convert(torch_engine.network, *shape), None
    if key := _key(plan, path, precision):
        file = _store(key, partial(openvino_engine.save, model))
    if file:
        model = None  # the file is mapped into memory; the model would keep torch's weights alive
    try:
        return openvino_engine.compile_checked(file or model, torch_engine, *shape, plan.activation, **settings)
    except BackboneError:
        _delete(key)
        raise


def build(
    network: "nn.Module", plan: "Plan", path: Path | None, device: str, precision: engine.Precision
) -> OpenVINOEngine:
    """Convert a network as `convert` does."""
    return convert(TorchEngine(network, device, precision), plan, path, precision)


def _key(plan: "Plan", path: Path | None, precision: engine.Precision) -> str:
    """Return the cache key of a plan: a hash of weights, architecture, input size, precision and versions.

    The precision is part of it, because an entry is checked against torch in that precision.

    Empty when there is none: the weights are random, or the plan has no fingerprint.
    """
    if not plan.fingerprint or path is None:
        return ""
    hint = openvino_engine.precision_hint(precision)
    weights, libraries = checksums.sha256(path), versions.installed(_PACKAGES)
    parts = [FORMAT, plan.fingerprint, plan.transform.input_size, hint, weights, libraries]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _find(key: str) -> Path | None:
    """Return the ``.xml`` file of an undamaged cache entry, or None."""
    folder = _cache_dir() / key
    with suppress(OSError):  # there is none, or the cache is read-only
        os.utime(folder)  # first: an entry that is just being read is not evicted
    try:
        expected = json.loads((folder / _HASHES).read_text())
        if expected != _hashes(folder):
            raise ValueError("its hashes do not match")
        return folder / _MODEL
    except FileNotFoundError:
        if not folder.exists():
            return None
        reason = "a file is missing"
    except (OSError, ValueError) as error:
        reason = str(error)
    _log.warning("%s: the converted network is damaged (%s), and is converted again", folder, reason)
    _delete(key)
    return None


def _store(key: str, save: Callable[[Path], None]) -> Path | None:
    """Write a cache entry, unless another process was faster, and return its file; log a failure, and return None."""
    home, draft = _cache_dir(), None
    try:
        home.mkdir(parents=True, exist_ok=True)
        _evict_unused(home)
        draft = Path(tempfile.mkdtemp(prefix=f"{key}.", suffix=".partial", dir=home))
        save(draft / _MODEL)
        (draft / _HASHES).write_text(json.dumps(_hashes(draft)))
        try:
            draft.rename(home / key)
        except OSError:
            if not (home / key).exists():  # else another process was faster
                raise
        return _find(key)
    except Exception as error:  # OpenVINO raises a RuntimeError of its own when it cannot write
        _log.warning("%s: a converted network cannot be cached: %s", home, brief(error))
        return None
    finally:
        if draft:
            shutil.rmtree(draft, ignore_errors=True)


def _delete(key: str) -> None:
    if key:
        shutil.rmtree(_cache_dir() / key, ignore_errors=True)


def _cache_dir() -> Path:
    return cache_folder("openvino")


def _hashes(folder: Path) -> dict[str, str]:
    return {name: checksums.sha256(folder / name) for name in (_MODEL, _WEIGHTS)}


def _evict_unused(home: Path) -> None:
    """Delete entries that have not been used for a while, and drafts of killed processes."""
    oldest = time.time() - UNUSED_DAYS * 24 * 3600
    for folder in home.iterdir():
        if not _ENTRY.fullmatch(folder.name):  # LINEUP_CACHE may be a folder that others use
            continue
        try:
            age_s = time.time() - folder.stat().st_mtime
            if folder.stat().st_mtime < oldest or (folder.suffix == ".partial" and age_s > 3600):
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:  # another process was faster
            continue


ENGINE = engine.EngineType("openvino", build, applies, unavailable, cached, converts=True)
