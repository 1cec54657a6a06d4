"""Where uploads lie, and for how long."""

import shutil
from pathlib import Path

from gradio.utils import get_upload_folder

SPARE_DISK_BYTES = 1 << 30  # that uploads leave to others
SWEEP_S, UPLOAD_KEPT_S = 600.0, 4 * 3600.0  # how often old uploads are removed, and how long they are kept


def free_bytes() -> int:
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)  # Gradio makes it for its first upload
    return shutil.disk_usage(folder).free
