"""Disk space and maximum age of uploads.

`gr.Blocks(delete_cache=…)` would not do: its loop ends, without a message, at the first error other than a missing
file, and at an upload that arrives while it iterates over the set of uploads (gradio 6.31, route_utils.py,
`delete_files_created_by_app` and `delete_files_on_schedule`). Neither does it know files of earlier processes.
"""

import logging
import shutil
import time
from contextlib import suppress
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from lineup.server.sessions import Sessions

_log = logging.getLogger(__name__)

SPARE_DISK_BYTES = 1 << 30  # uploads are rejected while less is free
SWEEP_S, UPLOAD_MAX_AGE_S = 600.0, 4 * 3600.0  # how often old uploads are removed, and at which age


def free_bytes() -> int:
    """Return the free space of the disk with the upload folder."""
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)  # Gradio creates it at the first upload
    return shutil.disk_usage(folder).free


def sweep(blocks: gr.Blocks) -> None:
    """Remove uploads older than UPLOAD_MAX_AGE_S, also of earlier processes, but not files that the page shows."""
    shown = set().union(*(getattr(block, "keep_in_cache", ()) for block in blocks.blocks.values()))
    for path in Path(get_upload_folder()).rglob("*"):
        with suppress(OSError):  # another process may have removed it
            if path.is_dir() and not path.is_symlink():
                path.rmdir()  # only if it is empty
            elif str(path) not in shown and time.time() - path.lstat().st_ctime > UPLOAD_MAX_AGE_S:
                path.unlink()


def sweep_for_ever(blocks: gr.Blocks, sessions: Sessions) -> None:
    """Remove old uploads and idle sessions every SWEEP_S seconds; runs on a thread of its own."""
    while True:
        try:
            sessions.remove_idle()
            sweep(blocks)
        except Exception:  # a folder was removed during the walk; retried at the next sweep
            _log.exception("old uploads could not be removed")
        time.sleep(SWEEP_S)
