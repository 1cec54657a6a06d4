"""Disk space and maximum age of uploads.

`gr.Blocks(delete_cache=…)` would not do: its loop ends, without a message, at the first error other than a missing
file, and at an upload that arrives while it iterates over the set of uploads (gradio 6.31, route_utils.py,
`delete_files_created_by_app` and `delete_files_on_schedule`). Neither does it know files of earlier processes.
"""

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from starlette.routing import BaseRoute

from lineup.server.sessions import Sessions

_log = logging.getLogger(__name__)

SPARE_DISK_BYTES = 1 << 30  # uploads are rejected while less is free
SWEEP_S, UPLOAD_MAX_AGE_S = 600.0, 4 * 3600.0  # how often old uploads are removed, and how long after their last use


def free_bytes() -> int:
    """Return the free space of the disk with the upload folder."""
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)  # Gradio creates it at the first upload
    return shutil.disk_usage(folder).free


def sweep(blocks: gr.Blocks, loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Remove uploads not used for UPLOAD_MAX_AGE_S, also of earlier processes, but not files that the page shows.

    Folders are removed at the same age, once they are empty.

    Args:
        blocks: the page.
        loop: the event loop on which Gradio creates folders and moves uploads into them. Each path is judged again
            there, so that none is removed that is just being used.
    """
    shown = set().union(*(getattr(block, "keep_in_cache", ()) for block in blocks.blocks.values()))
    for path in Path(get_upload_folder()).rglob("*"):
        if str(path) in shown or not _is_old(path):
            continue
        if loop:
            loop.call_soon_threadsafe(_remove_if_old, path)
        else:
            _remove_if_old(path)


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_ctime > UPLOAD_MAX_AGE_S  # `resolve_upload` sets it at each use
    except OSError:  # another process may have removed it
        return False


def _remove_if_old(path: Path) -> None:
    with suppress(OSError):
        if not _is_old(path):
            return
        if path.is_dir() and not path.is_symlink():
            path.rmdir()  # only if it is empty
        else:
            path.unlink()


async def sweep_for_ever(sessions: Sessions, sweeps: Sequence[Callable[[], None]]) -> None:
    """Remove idle sessions, and what each sweep removes on a thread, every SWEEP_S seconds."""
    while True:
        try:
            sessions.remove_idle()
            await asyncio.gather(*map(asyncio.to_thread, sweeps))  # an error in one ends no other
        except Exception:  # a folder was removed during the walk; retried at the next sweep
            _log.exception("old uploads could not be removed")
        await asyncio.sleep(SWEEP_S)


def sweeping(
    blocks: gr.Blocks, sessions: Sessions, routes: Sequence[BaseRoute] = ()
) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """Return an ASGI lifespan during which old uploads and idle sessions are removed.

    Args:
        blocks: the page.
        sessions: its sessions.
        routes: the added routes; one may have files of its own, which its `delete_old` deletes.
    """
    others = [route.delete_old for route in routes if hasattr(route, "delete_old")]

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        sweeps = partial(sweep, blocks, asyncio.get_running_loop()), *others
        task = asyncio.create_task(sweep_for_ever(sessions, sweeps))
        try:
            yield
        finally:
            task.cancel()

    return lifespan
