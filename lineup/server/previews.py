"""Shows what was decoded where a browser cannot show an upload, such as a TIFF, or shows it nearly black.

The upload itself stays the value of the image field, and is what is classified: only the request of an ``<img>`` for
such a file is answered with a JPEG. Chromium, Firefox and Safari state in Accept what they can show.
"""

import logging
import struct
from contextlib import suppress
from pathlib import Path

import anyio
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lineup.config import Limits
from lineup.errors import ImageError
from lineup.images.reading import open_image
from lineup.inference.preprocessing import jpeg
from lineup.page.image_field import resolve_upload
from lineup.server.allowlist import API
from lineup.service import Service

_log = logging.getLogger(__name__)

MAX_SIDE_PX = 1600
_FILE = f"{API}file="
_MAX_DECODED = 1  # at a time: a preview may need as much memory as an answer


class PreviewsMiddleware:
    """Answers the requests of images that the browser cannot show with a JPEG of them, kept beside the upload.

    Args:
        app: the app to pass all other requests on to.
        service: its limits bound what is decoded.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service, self._limiter = app, service, anyio.Semaphore(_MAX_DECODED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a preview, or pass the request on."""
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"].startswith(_FILE):
            accept = Headers(scope=scope).get("accept", "")
            if accept.startswith("image/") and (content := await self._preview(scope["path"].removeprefix(_FILE))):
                await Response(content, media_type="image/jpeg", headers={"Vary": "Accept"})(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _preview(self, name: str) -> bytes | None:
        with suppress(ImageError):  # passed on: Gradio decides who may have the file
            path = resolve_upload(name)
            if await run_in_threadpool(is_needed, path):
                async with self._limiter:
                    return await run_in_threadpool(preview, path, self._service.config.limits)
        return None


def is_needed(path: Path) -> bool:
    """Return whether a browser cannot show a file, or not as it is decoded: TIFF, Netpbm, and PNG of 16 bits."""
    with path.open("rb") as file:
        head = file.read(26)
    if head.startswith(b"\x89PNG") and len(head) == 26:
        return struct.unpack_from("B", head, 24) == (16,)
    return head.startswith((b"II", b"MM")) or (head[:1] == b"P" and head[1:2] in b"1234567fF" and head[2:3].isspace())


def preview(path: Path, limits: Limits) -> bytes:
    """Return a JPEG of an upload, of at most `MAX_SIDE_PX`; it is decoded once, and removed with the upload.

    Raises:
        ImageError: when it cannot be read.
    """
    kept = path.with_name(f"{path.name}.preview.jpg")
    with suppress(OSError):
        return kept.read_bytes()
    image = open_image(path, limits.max_megapixels, max_mb=limits.max_upload_mb)
    image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.BOX)
    content = jpeg(image)
    try:
        kept.write_bytes(content)
    except OSError as error:  # a full disk, or a name that is too long: decoded again the next time
        _log.warning("a preview cannot be kept: %s", error.strerror)
    return content
