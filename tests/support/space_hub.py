"""The Spaces API of the fake Hub: create Spaces, accept commits, store settings, and simulate builds.

Repositories of models and data sets are created and written in the same way, and named ``models/owner/name`` here. The
files of a Space are a repository of the fake Hub, ``spaces/owner/name``; lfs_hub.py handles large files, which
are uploaded first. Writing needs a token, as on the Hub, and so does reading a private data set::

    hub.spaces.faults["commit"] = "cut off"
    hub.spaces.stages = ["BUILDING", "BUILD_ERROR"]
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml
from lfs_hub import SAMPLE_BYTES, LargeFiles, is_large

if TYPE_CHECKING:
    from hub import Files, Hub

FAULTS = {  # injectable faults of a step; a number is an HTTP status
    "cut off": "the connection is closed without a response, and nothing is done",
    "lost": "the connection is closed without a response, but the request is executed",
    "hung": "the request is never answered",
    "full": "only batch: every object is rejected with its own message",
}
ME = {  # the whoami-v2 response for a free account with a write token
    "type": "user",
    "name": "me",
    "isPro": False,
    "canPay": False,
    "orgs": [],
    "auth": {"type": "access_token", "accessToken": {"displayName": "laptop", "role": "write"}},
}
HANG_S = 60
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
INITIAL_FILES: "Files" = {
    ".gitattributes": b"*.bin filter=lfs\n*.safetensors filter=lfs\n",
    "README.md": b"---\nsdk: gradio\n---\n",
}


class Refusal(Exception):
    def __init__(self, status: int, message: str, code: str = "", **more: Any) -> None:
        super().__init__(message)
        self.status, self.code, self.body = status, code, {"error": message, **more}


@dataclass
class Space:
    hardware: str
    private: bool
    built: str = ""  # the last built commit
    stages: list[str] = field(default_factory=list)  # remaining stages of the build
    variables: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)


class Spaces:
    """The Hub's API for Spaces. `faults` maps a step, the last word of its path, to one of FAULTS."""

    def __init__(self, hub: "Hub") -> None:
        self.hub = hub
        self._committing = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Remove all Spaces and faults."""
        self.retry_after = ""  # seconds, which a refusal with 429 names
        self.before_commit: list[Callable[[], object]] = []  # each is called once, as another writer in between
        self.all: dict[str, Space] = {}
        self.faults: dict[str, str] = {}
        self.me: dict[str, Any] | None = ME  # the owner of every token; None rejects all tokens
        self.storage = ""  # Xet's storage, if not this server
        self.stages = ["BUILDING", "APP_STARTING", "RUNNING"]  # of every build
        self.log: list[str] = []
        self.large = LargeFiles(self.hub)
        self.commits: list[str] = []  # the operations of each commit, as one line
        for name in [name for name in self.hub.repos if name.startswith("spaces/")]:
            del self.hub.repos[name]

    def files(self, name: str) -> "Files":
        """Return the files on the main branch of a Space."""
        repo = self.hub.repos[f"spaces/{name}"]
        return dict(repo.commits[repo.branches["main"]])

    def edit(self, name: str, **changes: bytes | None) -> None:
        """Change files as in the web editor; None deletes a file."""
        self.put(name, {**self.files(name), **changes})

    def put(self, name: str, files: Mapping[str, bytes | None]) -> str:
        return self.hub.put(f"spaces/{name}", {path: body for path, body in files.items() if body is not None})

    def answer(self, method: str, path: str, body: bytes, token: str) -> tuple[int, dict[str, str], bytes] | None:
        """Return status, headers and body; None closes the connection."""
        step, act, arguments = self._route(method, path)
        fault = self.faults.get(step, "")
        try:
            if fault == "hung":
                self.hub.resume.wait(HANG_S)
            if fault in ("hung", "cut off"):
                return None
            if fault.isdigit():
                raise Refusal(int(fault), f"a fault of {step}")
            if token and self.me is None:
                raise Refusal(401, "Invalid credentials in Authorization header")
            if (method == "POST" or step == "whoami") and not token:  # a PUT has a signed URL
                raise Refusal(401, "Invalid username or password.")
            result = act(*arguments, body)
        except Refusal as refusal:
            retry_after = {"Retry_After": self.retry_after} if refusal.status == 429 else {}
            headers = {"X_Error_Code": refusal.code, "X_Error_Message": str(refusal), **retry_after}
            return refusal.status, headers, json.dumps(refusal.body).encode()
        headers = {"X_Xet_Cas_Url": self.storage or self.hub.url} if step == "xet" else {}
        body = result if isinstance(result, bytes) else json.dumps(result).encode()
        return None if fault == "lost" else (200, headers, body)

    def _route(self, method: str, path: str) -> tuple[str, Callable[..., Any], tuple[str, ...]]:
        if match := re.fullmatch(r"/api/(repos/create|validate-yaml)", path):
            step = match[1].removeprefix("repos/")
            return step, getattr(self, f"_{step.replace('-', '_')}"), ()
        if path == "/api/whoami-v2":
            return "whoami", lambda _: self.me, ()
        if re.fullmatch(r"/api/models/[^/]+/[^/]+/xet-read-token/\w+", path):
            return "xet", lambda _: {"accessToken": "xet_token", "casUrl": self.storage or self.hub.url, "exp": 0}, ()
        if match := re.fullmatch(r"/(spaces/|datasets/)?(.+)\.git/info/lfs/(?:objects/)?(batch|verify)", path):
            name = match[2] if match[1] == "spaces/" else f"{match[1] or 'models/'}{match[2]}"
            return match[3], getattr(self, f"_lfs_{match[3]}"), (name,)
        if match := re.fullmatch(r"/lfs/([0-9a-f]{64})", path):
            return "upload", self._upload, (match[1],)
        match = re.fullmatch(r"/api/(spaces|models|datasets)/([^/]+/[^/]+)(?:/(\w+)(?:/\w+)?)?", path)
        assert match, f"the fake Hub has no route {method} {path}"
        step, name = match[3] or "info", match[2] if match[1] == "spaces" else f"{match[1]}/{match[2]}"
        return step, getattr(self, f"_{method.lower()}_{step}"), (name,)

    def _space(self, name: str) -> Space:
        if name not in self.all:
            raise Refusal(401, "Repository not found", "RepoNotFound")  # the same for private and missing Spaces
        return self.all[name]

    def _create(self, body: bytes) -> Any:
        fields = json.loads(body)
        name, kind = f"{fields['organization']}/{fields['name']}", fields.get("type", "model")
        assert fields.get("sdk") == ("gradio" if kind == "space" else None)
        key = name if kind == "space" else f"{kind}s/{name}"
        url = f"{self.hub.url}/{f'spaces/{name}' if kind == 'space' else key.removeprefix('models/')}"
        if key in self.all:
            raise Refusal(409, f"You already created this {kind} repo", url=url)
        self.all[key] = Space(fields.get("hardware", "cpu-basic"), fields.get("visibility") == "private")
        self.put(key, INITIAL_FILES)
        return {"url": url}

    def _validate_yaml(self, body: bytes) -> Any:
        fields = json.loads(body)
        front = yaml.safe_load(fields["content"].split("---")[1])
        if fields["repoType"] != "space":
            return {"errors": [], "warnings": []}
        errors = [
            f'"{key}" is not valid'
            for key, is_valid in (
                ("short_description", len(front.get("short_description", "")) <= 60),
                ("colorFrom", front["colorFrom"] in COLOURS),
                ("emoji", not front["emoji"].isascii()),
            )
            if not is_valid
        ]
        if errors:
            raise Refusal(400, "Invalid", errors=[{"message": error} for error in errors], warnings=[])
        return {"errors": [], "warnings": []}

    def _get_info(self, name: str, _: bytes) -> Any:
        space = self._space(name)
        head, files = self.hub.repos[f"spaces/{name}"].branches["main"], self.files(name)
        attributes = files.get(".gitattributes", b"")
        runtime = {"stage": "RUNNING", "hardware": {"current": space.hardware, "requested": space.hardware}}
        siblings = [
            {"rfilename": path, "size": len(body), **oid(path, body, attributes)} for path, body in files.items()
        ]
        return {"id": name, "sha": head, "private": space.private, "siblings": siblings, "runtime": runtime}

    def _post_preupload(self, name: str, body: bytes) -> Any:
        self._space(name)
        files, modes = self.files(name), []
        attributes = files.get(".gitattributes", b"")
        for file in json.loads(body)["files"]:
            path, sample = file["path"], base64.b64decode(file["sample"])
            large = is_large(path, sample, file["size"], attributes)
            known = {"oid": git_oid(files[path])} if path in files and not large else {}
            modes.append({"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, **known})
        return {"files": modes}

    def _lfs_batch(self, name: str, body: bytes) -> Any:
        self._space(name)
        return self.large.batch(name, body, self.faults.get("batch", ""))

    def _upload(self, oid: str, body: bytes) -> Any:
        if not self.large.upload(oid, body):
            raise Refusal(400, "The SHA-256 you specified did not match what we received")
        return b""

    def _lfs_verify(self, name: str, body: bytes) -> Any:
        self._space(name)
        fields = json.loads(body)
        if not self.large.holds(fields["oid"], fields["size"]):
            raise Refusal(404, "Object not found")
        return {}

    def _post_commit(self, name: str, body: bytes) -> Any:
        while self.before_commit:
            self.before_commit.pop()()
        with self._committing:
            return self._commit(name, body)

    def _commit(self, name: str, body: bytes) -> Any:
        space, files = self._space(name), self.files(name)
        header, *operations = (json.loads(line) for line in body.splitlines())
        head, attributes = self.hub.repos[f"spaces/{name}"].branches["main"], files.get(".gitattributes", b"")
        if header["value"].get("parentCommit", head) != head:
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        for operation in operations:
            kind, value = operation["key"], operation["value"]
            if kind == "file":
                files[value["path"]] = self._regular(value, attributes)
            elif kind == "lfsFile":
                if not self.large.holds(value["oid"], value["size"]):
                    raise Refusal(400, f"LFS object {value['oid']} was never uploaded")
                files[value["path"]] = self.large.objects[value["oid"]]
            elif files.pop(value["path"], None) is None:
                raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")
        commit = self.put(name, files)
        space.built, space.stages = commit, list(self.stages)
        self.commits.append(" ".join(f"{operation['key']}:{operation['value']['path']}" for operation in operations))
        path = name.removeprefix("models/") if name.count("/") > 1 else f"spaces/{name}"
        return {"commitUrl": f"{self.hub.url}/{path}/commit/{commit}", "commitOid": commit}

    def _regular(self, value: Mapping[str, Any], attributes: bytes) -> bytes:
        content = base64.b64decode(value["content"])
        if is_large(value["path"], content[:SAMPLE_BYTES], len(content), attributes):
            raise Refusal(400, f"{value['path']} contains binary files: please use LFS or Xet to store them")
        return content

    def _get_variables(self, name: str, _: bytes) -> Any:
        return {key: {"value": value} for key, value in self._space(name).variables.items()}

    def _post_variables(self, name: str, body: bytes) -> Any:
        variable = json.loads(body)
        self._space(name).variables[variable["key"]] = variable["value"]
        return self._get_variables(name, b"")

    def _post_secrets(self, name: str, body: bytes) -> Any:
        secret = json.loads(body)
        self._space(name).secrets[secret["key"]] = secret["value"]
        return {}

    def _post_hardware(self, name: str, body: bytes) -> Any:
        self._space(name).hardware = json.loads(body)["flavor"]
        return self._get_runtime(name, b"")

    def _get_runtime(self, name: str, _: bytes) -> Any:
        space = self._space(name)
        stage = space.stages.pop(0) if len(space.stages) > 1 else (space.stages or ["NO_APP_FILE"])[0]
        hardware = {"current": space.hardware, "requested": space.hardware}
        return {"stage": stage, "hardware": hardware, "sha": space.built, "gcTimeout": None}

    def _get_logs(self, name: str, _: bytes) -> bytes:
        self._space(name)
        events = [json.dumps({"data": f"{line}\n", "timestamp": "2026-01-01T00:00:00Z"}) for line in self.log]
        return "".join(f"data: {event}\n\n" for event in events).encode()


def oid(path: str, body: bytes, attributes: bytes) -> dict[str, Any]:
    """Return the ids of a file's content; a large file is an LFS pointer in git."""
    if not is_large(path, body[:SAMPLE_BYTES], len(body), attributes):
        return {"blobId": git_oid(body)}
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(body)}\nsize {len(body)}\n".encode()
    lfs = {"sha256": sha256(body), "size": len(body), "pointerSize": len(pointer)}
    return {"blobId": git_oid(pointer), "lfs": lfs}


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def git_oid(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
