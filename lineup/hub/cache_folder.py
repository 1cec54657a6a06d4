"""The folders in which Lineup caches its own files."""

import os
from contextlib import suppress
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """Return the folder for one kind of cached files: in LINEUP_CACHE, else in the Hub's folder for assets.

    The latter is HF_ASSETS_CACHE, or ``assets`` in HF_HOME. The folder need not exist, and may be read-only.
    """
    if chosen := os.environ.get("LINEUP_CACHE"):
        return Path(chosen, kind)
    from huggingface_hub import cached_assets_path, constants  # a slow import

    with suppress(OSError, ValueError):  # it cannot be created
        return cached_assets_path("lineup", kind)
    return Path(constants.HF_ASSETS_CACHE, "lineup", kind)
