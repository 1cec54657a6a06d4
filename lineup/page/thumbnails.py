"""Serves small images of a long run, by the id of the run, which cannot be guessed."""

import functools
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lineup.errors import LineupError
from lineup.hub import atomic_write
from lineup.images.image_set import ImageSet
from lineup.images.reading import open_image

SIDE_PX = 480  # of the longer side
_QUALITY = 82
_AT_ONCE = 2  # decoded: a page requests dozens
_HEADERS = {"Cache-Control": "private, max-age=86400, immutable"}


class ThumbnailRoute(Route):
    """The route ``<path>/{run}/thumbnail/{key}``; each thumbnail is made once, and kept in the folder of the run.

    Args:
        path: of the runs, such as ``/evaluation``.
        folder: returns the folder of a run; raises LineupError when there is no such run.
        max_megapixels: the limit of an image.
        find: returns the image of a key, letters and digits, in such a folder, or raises LineupError; by default the
            key is an index into its `ImageSet`.
        delete_old: deletes old folders, in the server's sweep.
    """

    def __init__(
        self,
        path: str,
        folder: Callable[[str], Path],
        max_megapixels: int,
        find: Callable[[Path, str], Path] | None = None,
        delete_old: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder, self._find, self._max_megapixels = folder, find or _of_set, max_megapixels
        self._limiter, self.delete_old = CapacityLimiter(_AT_ONCE), delete_old
        super().__init__(f"{path}/{{run}}/thumbnail/{{key}}", self._send, methods=["GET"])

    async def _send(self, request: Request) -> Response:
        call = functools.partial(self._thumbnail, **request.path_params)
        try:
            return Response(await run_sync(call, limiter=self._limiter), media_type="image/jpeg", headers=_HEADERS)
        except LineupError as error:
            return JSONResponse({"detail": str(error)}, 404)

    def _thumbnail(self, run: str, key: str) -> bytes:
        folder = self._folder(run)
        if not key.isalnum():  # it is part of a path
            raise LineupError("image", "letters and digits", f"got {key[:40]!r}", "open the page again")
        path = folder / "thumbnails" / f"{key}.jpg"
        with suppress(FileNotFoundError):
            return path.read_bytes()
        body = jpeg(self._find(folder, key), self._max_megapixels)
        with suppress(OSError):  # a full disk: it is made again next time
            path.parent.mkdir(exist_ok=True)
            atomic_write.write_bytes(path, body)
        return body


def _of_set(folder: Path, index: str) -> Path:
    """Return the image of an index into the set of a folder."""
    images = _images(folder).images
    if not index.isdecimal() or int(index) >= len(images):
        raise LineupError("image", f"one of {len(images)}", f"got {index[:40]}", "open the page again")
    return Path(images[int(index)].path)


@functools.lru_cache(maxsize=8)
def _images(folder: Path) -> ImageSet:
    return ImageSet.read(folder)


def jpeg(path: Path, max_megapixels: int) -> bytes:
    """Return an image as a JPEG of at most SIDE_PX, without its metadata.

    Raises:
        ImageError: when it cannot be read.
    """
    image = open_image(path, max_megapixels, min_side_px=SIDE_PX)
    image.thumbnail((SIDE_PX, SIDE_PX))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY, exif=b"", comment=b"")
    return buffer.getvalue()
