"""Receives folders of images from browsers: a route that keeps the files' places in the folder.

Gradio's own upload drops the folders of files, which are their labels. A folder arrives in one or several bodies of up
to MAX_FILES files, all with the id of the same upload.
"""

import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Protocol

import gradio as gr
from anyio.to_thread import run_sync
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lineup.config import Config
from lineup.errors import LineupError
from lineup.hub.cache_folder import cache_folder
from lineup.images import archive, image_set
from lineup.images.archive import ArchiveLimits
from lineup.images.image_set import ImageSet
from lineup.page.templates import read_script, render
from lineup.service import Service

PATH = "/folder"
MAX_FILES = 1000  # in one body
KEEP_S = 2 * 3600  # since the last body; an evaluation that was started keeps its images for as long as its results
_ID = re.compile(r"[\w-]{22}")
_COPY_BYTES = 1 << 20
SENDING = read_script("sending")  # the functions of a script that uploads folders


class UploadLimits(Protocol):
    """A section of the config that limits uploads: the number of files, and their size in millions of bytes."""

    max_images: int
    max_mb: int


class Uploads:
    """Folders of uploaded images, by an id that cannot be guessed.

    Args:
        service: for its config.
        folder: holds them.
        limits: returns the section of the config that limits them.
    """

    def __init__(
        self,
        service: Service,
        folder: Path | None = None,
        limits: Callable[[Config], UploadLimits] = lambda config: config.evaluation,
    ) -> None:
        self._service, self._folder, self._section = service, folder or cache_folder("folders"), limits

    @property
    def limits(self) -> UploadLimits:
        """The section of the current config that limits an upload."""
        return self._section(self._service.config)

    def create(self) -> str:
        """Create an upload, delete those that are too old, and return its id."""
        self.delete_old()
        name = secrets.token_urlsafe(16)
        (self._folder / name).mkdir(parents=True)
        return name

    def folder(self, upload: str) -> Path:
        """Return the folder of an upload.

        Raises:
            LineupError: when there is none of this id.
        """
        if not _ID.fullmatch(upload) or not (self._folder / upload).is_dir():
            raise LineupError("upload", "the id of an upload", "there is none any more", "choose the folder again")
        return self._folder / upload

    def add(self, upload: str, files: Iterable[tuple[str, BinaryIO]]) -> None:
        """Add files, each with its path in the folder that was chosen; zip files are unpacked.

        Raises:
            LineupError: when they are over a limit, or a name leads out of the folder.
        """
        folder, settings = self.folder(upload), self.limits
        n_files, n_bytes = _used(folder)
        for name, file in files:
            try:
                if name.lower().endswith(".zip"):
                    target = folder / archive.safe_name(name, Path(name).name[: -len(".zip")])
                    left = settings.max_images - n_files, settings.max_mb * 10**6 - n_bytes
                    image_bytes = self._service.config.limits.max_upload_mb * 10**6
                    _unpack(file, target, ArchiveLimits(*left, image_bytes), name)
                else:
                    target = folder / archive.safe_name(name, name)
                    _write(file, target)
            except FileExistsError as error:
                raise LineupError(name[:80], "each file once", "it is there already", "remove one") from error
            except OSError as error:
                got = f"writing failed ({error.strerror})"
                raise LineupError(name[:80], "to keep it", got, "try again later, or with fewer files") from error
            finally:
                os.utime(folder)  # its age is that of the last file
            added = _used(target)
            n_files, n_bytes = n_files + added[0], n_bytes + added[1]
            if n_files > settings.max_images:
                got, remedy = f"got {n_files:,} so far", "choose fewer, or use the command line, which has no limit"
                raise LineupError("upload", f"at most {settings.max_images:,} files", got, remedy)
            if n_bytes > settings.max_mb * 10**6:
                got, remedy = f"got {n_bytes / 1e6:,.0f} MB so far", "choose fewer, or use the command line"
                raise LineupError("upload", f"at most {settings.max_mb:,} MB", got, remedy)

    def images(self, upload: str) -> ImageSet:
        """Return the images of an upload.

        Raises:
            LineupError: when there are none.
        """
        folder = self.folder(upload)
        return _collected(folder, folder.stat().st_mtime_ns)

    def move(self, upload: str, to: Path) -> ImageSet:
        """Move an upload's files, and return the images in their new place."""
        images, folder = self.images(upload), self.folder(upload)
        moved = images.moved(folder, to)
        shutil.move(folder, to)
        return moved

    def delete_old(self) -> None:
        """Delete the uploads that are too old."""
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > KEEP_S:
                    shutil.rmtree(path, ignore_errors=True)


@lru_cache(maxsize=4)
def _collected(folder: Path, mtime_ns: int) -> ImageSet:
    """Read the images of an upload; `mtime_ns` changes with each file that is added."""
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if len(inside) == 1 and inside[0].is_dir():  # the folder that was chosen
        return image_set.collect(inside[0])
    return image_set.collect(folder, "your images")


def _write(file: BinaryIO, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as written:
        shutil.copyfileobj(file, written, _COPY_BYTES)


def _unpack(file: BinaryIO, folder: Path, limits: ArchiveLimits, name: str) -> None:
    """Unpack a zip file to a folder, which must not exist or be empty."""
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError
    packed = folder.with_name(f".{secrets.token_hex(8)}.zip")
    try:
        _write(file, packed)
        archive.unpack(packed, folder, limits, name)
    finally:
        packed.unlink(missing_ok=True)


def _used(path: Path) -> tuple[int, int]:
    """Return the number of files that a path is or has, and their size."""
    sizes = [each.stat().st_size for each in (path, *path.rglob("*")) if each.is_file()]
    return len(sizes), sum(sizes)


class UploadRoute(Route):
    """The route, with the limit of its body for the server's middleware, and what it deletes for the server's sweep."""

    def __init__(self, uploads: Uploads, path: str = PATH) -> None:
        self._uploads, self.delete_old = uploads, uploads.delete_old
        super().__init__(path, self._receive, methods=["POST"])

    @property
    def max_body_bytes(self) -> int:
        """The limit of a body, with room for the names of its files."""
        return self._uploads.limits.max_mb * 10**6 + MAX_FILES * 1024

    async def _receive(self, request: Request) -> Response:
        """Add the files of a multipart body to the upload `id`, or to a new one; answer with its id."""
        name = request.query_params.get("id", "")
        try:
            upload = name or await run_sync(self._uploads.create)
            async with request.form(max_files=MAX_FILES, max_fields=1) as form:
                # the name of a field is the path of its file
                files = [(path, file.file) for path, file in form.multi_items() if isinstance(file, UploadFile)]
                await run_sync(self._uploads.add, upload, files)
        except LineupError as error:
            return JSONResponse({"detail": str(error)}, 507 if is_disk_full(error.__cause__) else 400)
        return JSONResponse({"id": upload})


def is_disk_full(error: BaseException | None) -> bool:
    """Tell whether an error is that of a full disk."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class ZoneTexts:
    """The texts of a drop zone: its title, a sentence, and the button that opens files instead of a folder."""

    title: str = "Drop a folder of your images here"
    sentence: str = (
        "or a zip file, or many images. Put them into one sub-folder for each class, if you know the classes."
    )
    files: str = "Choose images or a zip"


def folder_zone(limits: UploadLimits, kept: str, path: str = PATH, texts: ZoneTexts = ZoneTexts()) -> gr.HTML:
    """Create the drop zone: its event `upload` has the `id` of the upload.

    Args:
        limits: to be shown.
        kept: a sentence on what is kept, and how long.
        path: of the `UploadRoute`.
        texts: say what to drop.
    """
    template = render("folder_zone.html", limits=limits, kept=kept, path=path.lstrip("/"), texts=texts)
    script = SENDING + read_script("folder_zone")
    return gr.HTML(html_template=template, js_on_load=script, elem_id="zone")
