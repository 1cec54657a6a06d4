"""Keeps OpenVINO from disabling the log of the whole process.

OpenVINO 2026 sets the level and the filters of the root logger for a conversion, and restores them only after one that
succeeds (openvino/tools/ovc/convert.py:113-116). Without this, nothing is logged after the first network that it
cannot convert. If it leaves the root logger alone, this restores what is there.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def preserved_root_logger() -> Iterator[None]:
    """Restore the level and the filters of the root logger after the block."""
    root = logging.getLogger()
    level, filters = root.level, root.filters[:]
    try:
        yield
    finally:
        root.setLevel(level)
        root.filters = filters
