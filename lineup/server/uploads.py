"""Disk space and maximum age of uploads."""

import shutil
from pathlib import Path

from gradio.utils import get_upload_folder

SPARE_DISK_BYTES = 1 << 30  # uploads are rejected while less is free
SWEEP_S, UPLOAD_MAX_AGE_S = 600.0, 4 * 3600.0  # how often old uploads are removed, and at which age


def free_bytes() -> int:
    """Return the free space of the disk with the upload folder."""
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)  # Gradio creates it at the first upload
    return shutil.disk_usage(folder).free
