"""The images of a request: bytes, the files of a form, or base64 in JSON as Hugging Face's clients send it."""

import base64
import binascii
import json
import math
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from lineup.config import Limits
from lineup.errors import BusyError, ImageError, LineupError
from lineup.features.rest.problems import RequestError
from lineup.images.image_bytes import ImageBytes

MAX_IMAGES = 16  # in one request
MAX_BYTES, MAX_BODIES = 1 << 28, 4  # of all bodies in memory, or as many of the largest, if that is more
_MAX_FIELDS, _MAX_FIELD_BYTES = 200, 10_000  # of a form
_FORM, _JSON = "multipart/form-data", "application/json"
# curl sends the last one with `--data-binary`, whatever the bytes are
_BYTES = ("", "application/octet-stream", "application/x-www-form-urlencoded")
_SPARE_BYTES = 1 << 16  # for the rest of a body, in addition to its images
ACCEPTED = f"image/*, application/octet-stream, {_FORM}, {_JSON}"


def max_body_bytes(limits: Limits) -> int:
    """Return the largest body: an image as base64, which is a third longer than the image."""
    return _SPARE_BYTES + math.ceil(limits.max_upload_mb * 10**6 * 4 / 3)


class Memory:
    """Bounds the memory of all bodies that are received or wait for their answers; used on the event loop.

    Args:
        limits: returns the config's limits.
    """

    def __init__(self, limits: Callable[[], Limits]) -> None:
        self._limits, self._used_bytes = limits, 0

    @contextmanager
    def account(self, request: Request) -> Iterator[AsyncGenerator[bytes, None]]:
        """Yield the chunks of a body, which count until the block ends.

        Raises:
            BusyError: when the bodies of all requests are too large together.
        """
        own_bytes = 0

        async def chunks() -> AsyncGenerator[bytes, None]:
            nonlocal own_bytes
            async for chunk in request.stream():
                own_bytes += len(chunk)
                self._used_bytes += len(chunk)
                if self._used_bytes > max(MAX_BYTES, MAX_BODIES * max_body_bytes(self._limits())):
                    got = f"{self._used_bytes / 1e6:.0f} MB of images are in memory already"
                    raise BusyError("busy", "", got, "try again in some seconds")
                yield chunk

        try:
            yield chunks()
        finally:
            self._used_bytes -= own_bytes


@dataclass(frozen=True)
class Body:
    """What a body has.

    Attributes:
        images: its images.
        is_list: whether they were sent as a list, and so are their answers.
        texts: the parameters of a form.
        typed: the parameters of JSON.
    """

    images: Sequence[ImageBytes]
    is_list: bool = False
    texts: Sequence[tuple[str, str]] = ()
    typed: dict[str, Any] | None = None


def content_type(request: Request) -> str:
    """Return the type of a body without its parameters.

    Raises:
        RequestError: when bodies of this type, or compressed ones, are not read.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if encoding := request.headers.get("content-encoding", "").strip().lower().replace("identity", ""):
        got = f"got Content-Encoding: {encoding[:40]}"
        raise RequestError(415, LineupError("request", "a body that is not compressed", got, "send it as it is"))
    if kind in (*_BYTES, _FORM, _JSON) or kind.startswith("image/"):
        return kind
    error = LineupError("Content-Type", ACCEPTED, f"got {kind[:60]}", "send the bytes of an image")
    raise RequestError(415, error, {"Accept-Post": ACCEPTED})


class _FormParser(MultiPartParser):
    """Keeps files in memory: their size is limited by that of the body."""

    spool_max_size = 1 << 62


async def read(request: Request, kind: str, chunks: AsyncGenerator[bytes, None]) -> Callable[[], Body]:
    """Read a body of a type; return what parses it, to be called once, on a thread.

    Raises:
        LineupError: when a form is malformed; otherwise what is returned raises it.
    """
    if kind == _FORM:
        form = await _read_form(request, chunks)
        return lambda: form
    content = [b"".join([chunk async for chunk in chunks])]
    return lambda: _parsed(kind, content.pop())  # base64 is not kept beside what it encodes


async def _read_form(request: Request, chunks: AsyncGenerator[bytes, None]) -> Body:
    """Return the body of a form, whose files are images and whose other fields are parameters.

    Raises:
        LineupError: when it is malformed, or has no image or too many.
    """
    arguments = {"max_files": MAX_IMAGES, "max_fields": _MAX_FIELDS, "max_part_size": _MAX_FIELD_BYTES}
    try:
        form = await _FormParser(request.headers, chunks, **arguments).parse()
    except MultiPartException as error:
        got, remedy = str(error.message).rstrip("."), f"send at most {MAX_IMAGES} images, and the boundary"
        raise LineupError("request", _FORM, f"got one that cannot be read ({got[:100]})", remedy) from None
    images, texts = list[ImageBytes](), list[tuple[str, str]]()
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            images.append(ImageBytes(await value.read(), PurePosixPath(value.filename or "").name[:100] or "image"))
            await value.close()
        else:
            texts.append((name, value))
    if not images:
        raise LineupError("request", "a file in the form", "got none", "send one, as curl -F image=@photo.jpg does")
    return Body(images, len(images) > 1, texts)


def _parsed(kind: str, content: bytes) -> Body:
    """Return a body that is no form.

    Raises:
        LineupError: when it is empty, or JSON of another schema.
    """
    if not content:
        raise ImageError("image", "an image", "the body is empty", "send the bytes of the file")
    return _from_json(content) if kind == _JSON else Body([ImageBytes(content)])


def _from_json(content: bytes) -> Body:
    expected, remedy = '{"inputs": …, "parameters": {…}}', "send the image as base64 in inputs"
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise LineupError("request", expected, "got a body that is no JSON", remedy) from None
    if not isinstance(value, dict) or "inputs" not in value:
        raise LineupError("request", expected, "got JSON without inputs", remedy)
    if unknown := value.keys() - {"inputs", "parameters", "options"}:  # options: of former clients, not needed here
        raise LineupError("request", expected, f"got the key {min(unknown)[:60]!r}", "put it into parameters")
    typed = value.get("parameters")
    if typed is not None and not isinstance(typed, dict):
        raise LineupError("parameters", "an object", f"got {repr(typed)[:60]}", "send one, or leave it out")
    inputs = value["inputs"]
    several = inputs if isinstance(inputs, list) else [inputs]
    if not 1 <= len(several) <= MAX_IMAGES:
        raise LineupError("inputs", f"1 to {MAX_IMAGES} images", f"got {len(several)}", "send them one by one")
    return Body([_decoded(each) for each in several], isinstance(inputs, list), (), typed)


def _decoded(value: object) -> ImageBytes:
    expected, remedy = "an image as base64", "encode the bytes of the file"
    if not isinstance(value, str):
        raise LineupError("inputs", expected, f"got {repr(value)[:60]}", remedy)
    if value[:5].lower() == "data:":
        value = value.partition(",")[2]
    elif value[:8].lower().startswith(("http://", "https://")):
        raise LineupError("inputs", expected, "got an address, and none is fetched", remedy)
    try:
        content = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise LineupError("inputs", expected, "got a text that is none", remedy) from None
    if not content:
        raise ImageError("inputs", expected, "got an empty one", remedy)
    return ImageBytes(content)
