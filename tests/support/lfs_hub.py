"""Git LFS of the fake Hub: the choice of large files, the batch API, uploads and their verification.

The protocol is https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md with its "basic" transfer, which
the Hub's client uses without Xet (`HF_HUB_DISABLE_XET`). The URL of an upload is signed: like the real one it takes no
token.
"""

import hashlib
import json
from collections.abc import Mapping
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hub import Hub

REGULAR_BYTES = 10_000_000  # larger files are never stored in git itself
SAMPLE_BYTES = 512  # bytes of each file that the client sends for inspection


class LargeFiles:
    """The uploaded objects of all Spaces, by SHA-256."""

    def __init__(self, hub: "Hub") -> None:
        self.hub = hub
        self.objects: dict[str, bytes] = {}

    def batch(self, name: str, body: bytes, fault: str) -> Any:
        """Return the upload URL of each object; none for one that exists already."""
        request = json.loads(body)
        assert (request["operation"], request["hash_algo"]) == ("upload", "sha256")
        assert "basic" in request["transfers"]
        return {"transfer": "basic", "objects": [self._object(name, item, fault) for item in request["objects"]]}

    def _object(self, name: str, item: Mapping[str, Any], fault: str) -> dict[str, Any]:
        known = {"oid": item["oid"], "size": item["size"]}
        if fault == "full":
            return {**known, "error": {"code": 413, "message": "Storage limit reached"}}
        if item["oid"] in self.objects:
            return known
        verify = {"href": f"{self.hub.url}/spaces/{name}.git/info/lfs/verify"}
        upload = {"href": f"{self.hub.url}/lfs/{item['oid']}?size={item['size']}&signature=x"}
        return {**known, "actions": {"upload": upload, "verify": verify}}

    def upload(self, oid: str, body: bytes) -> bool:
        """Store an upload if its hash matches, and return whether it does."""
        matches = hashlib.sha256(body).hexdigest() == oid
        if matches:
            self.objects[oid] = body
        return matches

    def holds(self, oid: str, size: int) -> bool:
        return oid in self.objects and len(self.objects[oid]) == size


def is_large(path: str, sample: bytes, size: int, attributes: bytes) -> bool:
    """Return whether a file is stored in LFS: by the Space's .gitattributes, or because it is large or binary."""
    lines = (line.split() for line in attributes.decode().splitlines() if "filter=lfs" in line)
    if any(fnmatch(path, pattern) or fnmatch(path.rpartition("/")[2], pattern) for pattern, *_ in lines):
        return size > 0  # S3 takes no empty files, and the client sends none
    return size > REGULAR_BYTES or b"\0" in sample
