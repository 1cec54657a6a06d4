"""A fake Hugging Face Hub on 127.0.0.1: an HTTP server with fault injection.

It serves the requests of the Hub's client, ``/{owner}/{name}/resolve/{revision}/{file}``, from memory. The
repository of a data set is named ``datasets/owner/name``, and its files are listed at
``/api/datasets/owner/name/revision/main``::

    hub = Hub()
    commit = hub.put("me/pets", {"config.json": b"…", "model.safetensors": b"…"})
    hub.faults["me/pets"] = "500"

Paths that start with ``/api/``, and those of Git LFS, belong to Spaces, and are handled in space_hub.py.
"""

import hashlib
import json
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from space_hub import Spaces, git_oid

Files = dict[str, bytes]

FAULTS = {  # faults of a repository; a number is the status of every response
    "gated": "access has not been granted",
    "private": "a request without a token is refused",
    "401": "the token is invalid",
    "hung": "connections are accepted, and never get a response",
    "stalled": "no byte is sent after the first half of a file",
    "slow": "a file takes SLOW_S seconds, with steady progress",
    "cut off": "connections end after the first half of a file, and resumed ones at once",
    "too short": "a file is ten bytes shorter than its metadata says",
    "corrupt": "the last ten bytes of a file are wrong",
}
SLOW_S = 2
MAX_HANG_S = 60  # even if a test does not reset the fault
CHUNKS = 20  # per file
SMALL = (".json", ".md", ".txt")  # stored in git itself


@dataclass
class Repo:
    commits: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)  # name → commit

    def commit(self, revision: str) -> str | None:
        commit = self.branches.get(revision, revision)
        return commit if commit in self.commits else None


class Hub:
    """Serves repositories until it is closed.

    `faults` maps the name of a repository to one of FAULTS. `resume` releases hung and stalled requests.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.faults: dict[str, str] = {}
        self.requests: list[tuple[str, str]] = []  # method and path, in order
        self.resume = threading.Event()
        self.spaces = Spaces(self)
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self._open()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def put(self, name: str, files: Files, branch: str = "main") -> str:
        """Replace the files on a branch of a repository, and return the new commit."""
        repo = self.repos.setdefault(name, Repo())
        parts = [name, branch, *(f"{path} {hashlib.sha256(body).hexdigest()}" for path, body in sorted(files.items()))]
        commit = hashlib.sha1("\n".join(parts).encode()).hexdigest()
        repo.commits[commit] = files
        repo.branches[branch] = commit
        return commit

    def requests_to(self, name: str) -> list[tuple[str, str]]:
        """Return the requests to a repository: method, and path from the revision on."""
        prefix = f"/{name}/resolve/"
        return [(method, path.removeprefix(prefix)) for method, path in self.requests if path.startswith(prefix)]

    def reset(self) -> None:
        """Clear faults, requests and Spaces, and release hung requests; repositories remain."""
        self.faults.clear()
        self.spaces.reset()
        self.resume.set()
        self.resume = threading.Event()
        self.requests.clear()

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Refuse connections inside the block, then listen on the same port again."""
        self.close()
        try:
            yield
        finally:
            self._open()

    def close(self) -> None:
        self.resume.set()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _open(self) -> None:
        self.resume = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), _handler_of(self))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="hub", daemon=True).start()


def _handler_of(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):  # HTTP/1.0: one request per connection, so that closing is clean
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            hub.requests.append((self.command, unquote(self.path)))
            listed = re.fullmatch(r"/api/(datasets/[^/]+/[^/]+)/revision/([^/?]+).*", self.path)
            if not listed and (self.path.startswith(("/api/", "/lfs/")) or ".git/info/lfs/" in self.path):
                self._answer()
                return
            owner_and_name, _, rest = self.path.strip("/").partition("/resolve/")
            name, (revision, _, path) = unquote(owner_and_name), rest.partition("/")
            if listed:
                name, revision = listed[1], listed[2]
            fault, repo = hub.faults.get(name, ""), hub.repos.get(name) or hub.repos.get(f"spaces/{name}")
            if name in hub.spaces.all and hub.spaces.all[name].private:  # one that was created
                fault = fault or "private"
            if fault == "hung":
                hub.resume.wait(MAX_HANG_S)
                return
            if fault == "401" or (self.headers.get("Authorization") and hub.spaces.me is None):
                self._refuse(401, message="Invalid credentials in Authorization header")
            elif fault.isdigit():
                self._refuse(int(fault))
            elif fault == "gated":
                self._refuse(403, "GatedRepo")
            elif repo is None or (fault == "private" and not self.headers.get("Authorization")):
                self._refuse(401, "RepoNotFound")  # like the Hub, which does not distinguish private from missing
            elif (commit := repo.commit(unquote(revision))) is None:
                self._refuse(404, "RevisionNotFound")
            elif listed:
                sizes = {each: len(body) for each, body in repo.commits[commit].items()}
                siblings = [{"rfilename": each, "size": sizes[each]} for each in sorted(sizes)]
                is_private = name in hub.spaces.all and hub.spaces.all[name].private
                listing = {"id": name.removeprefix("datasets/"), "sha": commit, "siblings": siblings}
                listing["private"] = is_private
                self._send(json.dumps(listing).encode(), commit, "", "")
            elif (body := repo.commits[commit].get(unquote(path))) is None:
                self._refuse(404, "EntryNotFound", commit)
            else:
                self._send(body, commit, _etag(path, body), fault if self.command == "GET" else "")

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if self.command == "PUT" and hub.spaces.faults.get("upload") == "cut off":
                length //= 2  # the rest is lost when the connection is closed
            body = self.rfile.read(length)
            path, token = unquote(self.path.partition("?")[0]), self.headers.get("Authorization", "")
            response = hub.spaces.answer(self.command, path, body, token)
            if response:
                status, headers, content = response
                self._head(status, len(content), Content_Type="application/json", **headers)
                self.wfile.write(content)

        def _refuse(self, status: int, code: str = "", commit: str = "", message: str = "") -> None:
            self._head(status, 0, X_Error_Code=code, X_Repo_Commit=commit, X_Error_Message=message)

        def _send(self, body: bytes, commit: str, etag: str, fault: str) -> None:
            if fault in ("too short", "corrupt"):
                body, end = body[:-10], body[-10:]
                body += bytes(255 - byte for byte in end) if fault == "corrupt" else b""
            size, start = len(body), int(self.headers.get("Range", "bytes=0-")[len("bytes=") : -1])
            resumed = {"Content_Range": f"bytes {start}-{size - 1}/{size}"} if start else {}
            self._head(206 if start else 200, size - start, ETag=etag, X_Repo_Commit=commit, **resumed)
            if self.command == "GET":
                self._send_slowly(body, start, fault)

        def _send_slowly(self, body: bytes, start: int, fault: str) -> None:
            step = len(body) // CHUNKS + 1
            half, resume = CHUNKS // 2 * step, hub.resume  # a released request does not stall again
            for at in range(start, len(body), step):
                if at >= half and fault == "cut off":
                    return
                if at >= half and fault == "stalled":
                    resume.wait(MAX_HANG_S)
                time.sleep(SLOW_S / CHUNKS if fault == "slow" else 0)
                self.wfile.write(body[at : at + step])

        def _head(self, status: int, length: int, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(length), **headers}.items():
                if value:
                    self.send_header(name.replace("_", "-"), value)
            self.end_headers()

        def handle(self) -> None:
            with suppress(ConnectionError):  # the client has disconnected, as in most tests of faults
                super().handle()

        do_HEAD = do_POST = do_PUT = do_GET

    return Handler


def _etag(path: str, body: bytes) -> str:
    """Return the etag of a file: git's SHA-1 of a small one, the SHA-256 of all others."""
    if path.endswith(SMALL):
        return f'"{git_oid(body)}"'
    return f'"{hashlib.sha256(body).hexdigest()}"'


def timm_repo(model: "object", safe: bool = True, **config: object) -> Files:
    """Return the files of a model in timm's hub format; `config` goes into config.json."""
    from timm.models._hub import save_for_hf

    with tempfile.TemporaryDirectory() as folder:
        save_for_hf(model, folder, model_config=config, safe_serialization=safe)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def with_config(files: Files, **changes: object) -> Files:
    """Return the same files with other values in config.json; None removes a key."""
    config = {**json.loads(files["config.json"]), **changes}
    remaining = {key: value for key, value in config.items() if value is not None}
    return {**files, "config.json": json.dumps(remaining).encode()}
