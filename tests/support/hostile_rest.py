"""Generate hostile requests to the routes below /v1, deterministic for a seed.

Most are valid ones of which a part is replaced. `attack.send_request` sends them.
"""

import base64
import json
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from hostile import REMOTE_URLS, STRINGS, Request, Targets, upload, value

ACCEPTS = (
    "*/*",
    "",
    "image/png",
    "application/json",
    "application/vnd.lineup+json",
    "text/html",
    "a/b;q=x",
    ",;,",
    "x" * 9000,
)
TYPES = (
    "",
    "image/jpeg",
    "image/",
    "application/octet-stream",
    "application/json",
    "text/plain",
    "multipart/form-data",
)
TYPES += ("multipart/form-data; boundary=", "application/json; charset=utf-7", "image/svg+xml", "x" * 9000, "\x7f")


def requests(targets: Targets, seed: int) -> Iterator[Request]:
    """Yield requests to every route in turn, indefinitely."""
    chance = random.Random(seed)
    makers: list[Callable[[random.Random, Targets], Request]] = [
        _bytes,
        _json,
        _json,
        _form,
        _compare,
        _get,
        _garbage,
        _bomb,
    ]
    while True:
        for make in makers:
            yield make(chance, targets)


def _path(chance: random.Random, targets: Targets) -> str:
    """Return the path of a route with a name, of the line-up in half of the cases, and a query."""
    names = (*STRINGS, *targets.paths(), "../models", "%2e%2e/%2e%2e", "a/" * 400, "", "/", "embedding", "compare")
    name = chance.choice(targets.names) if chance.random() < 0.75 else chance.choice(names)
    kept = chance.choice(("", "/"))
    suffix = chance.choice(("",) * 9 + ("/embedding", "/", "/embedding/embedding", "//"))
    keys = ("top_k", "top_k", "function_to_apply", "details", "backbones", "image", "url", "__class__")
    pairs = [
        (chance.choice(keys), _parameter(chance, targets))
        for _ in range(chance.choice((0, 0, 0, 0, 0, 0, 1, 1, 2, 300)))
    ]
    query = urlencode([(key, str(text)[:200]) for key, text in pairs], errors="replace")[:8000]
    return f"/v1/models/{quote(name[:3000], safe=kept, errors='replace')}{suffix}" + (f"?{query}" if query else "")


def _parameter(chance: random.Random, targets: Targets) -> Any:
    return chance.choice((1, 3, "softmax", "none", "true", *targets.names, value(chance, targets, 3)))


def _headers(chance: random.Random, kind: str) -> dict[str, str]:
    headers = {"Content-Type": kind if chance.random() < 0.9 else chance.choice(TYPES)}
    for name, values in (
        ("Accept", ACCEPTS),
        ("Authorization", ("Bearer", "Basic YTpi", "Bearer " + "x" * 9000, "\xff")),
        ("X-Forwarded-For", ("127.0.0.1", "::1, " * 500, "a\tb", "[", "1.2.3.4:x")),
        ("Origin", ("null", "https://a.org", "\x80")),
        ("Content-Encoding", ("gzip", "br", "identity", "x")),
        ("Expect", ("100-continue", "200-ok")),
        ("X-Wait-For-Model", ("true",)),
    ):
        if chance.random() < 0.05:
            headers[name] = chance.choice(values)
    return headers


def _image(chance: random.Random, targets: Targets) -> bytes:
    """Return an image, often cut, changed or of another kind."""
    good = Path(targets.image).read_bytes()
    cut = good[: chance.randrange(len(good))]
    changed = bytearray(good)
    for _ in range(20):
        changed[chance.randrange(len(good))] = chance.randrange(256)
    others = (
        b"",
        b"\xff\xd8\xff",
        b"GIF89a",
        png(30_000, 30_000),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"0" * 70_000,
    )
    return chance.choice((good, good, good, cut, bytes(changed), chance.choice(others)))


def png(width: int, height: int) -> bytes:
    """Return a small PNG whose header states a large size."""
    pieces = [b"\x89PNG\r\n\x1a\n"]
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 10_000)), (b"IEND", b"")):
        pieces.append(len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big"))
    return b"".join(pieces)


def _bytes(chance: random.Random, targets: Targets) -> Request:
    return Request("POST", _path(chance, targets), _image(chance, targets), _headers(chance, "image/jpeg"))


def _json(chance: random.Random, targets: Targets) -> Request:
    encoded: Any = base64.b64encode(_image(chance, targets)).decode()
    inputs = chance.choice(
        (encoded, encoded, encoded, [encoded] * chance.choice((0, 1, 2, 17)), *REMOTE_URLS, targets.secret)
    )
    body: Any = {"inputs": inputs if chance.random() < 0.8 else value(chance, targets)}
    if chance.random() < 0.6:
        keys = ("top_k", "function_to_apply", "details", "backbones", "model", "__proto__")
        body["parameters"] = {chance.choice(keys): _parameter(chance, targets) for _ in range(chance.randrange(3))}
    for key in ("parameters", "options", "inputs", "image", "url"):
        if chance.random() < 0.06:
            body[key] = value(chance, targets)
    return Request("POST", _path(chance, targets), json.dumps(body).encode(), _headers(chance, "application/json"))


def _form(chance: random.Random, targets: Targets) -> Request:
    made = upload(chance, targets)  # of Gradio's route
    return Request("POST", _path(chance, targets), made.body, made.headers)


def _compare(chance: random.Random, targets: Targets) -> Request:
    names = [chance.choice((*targets.names, value(chance, targets, 3))) for _ in range(chance.choice((0, 1, 2, 2, 70)))]
    if chance.random() < 0.5:
        query = urlencode([("backbones", str(name)[:100]) for name in names], errors="replace")
        return Request("POST", f"/v1/compare?{query}", _image(chance, targets), _headers(chance, "image/jpeg"))
    body = {"inputs": base64.b64encode(_image(chance, targets)).decode(), "parameters": {"backbones": names}}
    return Request("POST", "/v1/compare", json.dumps(body).encode(), _headers(chance, "application/json"))


def _get(chance: random.Random, targets: Targets) -> Request:
    path = chance.choice(
        ("/v1/models", "/v1/openapi.json", "/v1/docs", "/v1", "/v1/", "/v1//models", _path(chance, targets))
    )
    method = chance.choice(("GET", "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"))
    return Request(method, path, b"", _headers(chance, ""))


def _garbage(chance: random.Random, targets: Targets) -> Request:
    deep = chance.choice(("[", '{"inputs":')) * 50_000
    bodies = (
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe\0",
        deep.encode(),
        b'{"inputs": 3}',
        b"9" * 5000,
        chance.randbytes(1000),
        b"NaN",
    )
    return Request("POST", _path(chance, targets), chance.choice(bodies), _headers(chance, "application/json"))


def _bomb(chance: random.Random, targets: Targets) -> Request:
    """Return base64 that is long, is nearly base64, or has an image that decodes to a large one."""
    texts = (
        "A" * 1_300_000,
        "=" * 300_000,
        "A" * 99_999,
        "data:" * 50_000,
        "data:," + "A" * 400_000,
        "\\u0041" * 50_000,
    )
    text = chance.choice((*texts, base64.b64encode(png(60_000, 60_000)).decode()))
    body = f'{{"inputs": {json.dumps(text) if "u0041" not in text else chr(34) + text + chr(34)}}}'.encode()
    return Request("POST", f"/v1/models/{targets.names[0]}", body, {"Content-Type": "application/json"})
