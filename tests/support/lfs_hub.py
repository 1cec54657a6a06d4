"""The stand-in Hub's storage for large files: which files go there, Git LFS's batch call, the upload, and the check.

The protocol is https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md with its "basic" transfer, which is
what the Hub's client speaks where it has no Xet (`HF_HUB_DISABLE_XET`). The upload's address is signed: like the
real one it takes no token.
"""

import hashlib
import json
from collections.abc import Mapping
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hub import Hub

REGULAR_BYTES = 10_000_000  # what is larger never goes into git itself
SAMPLE = 512  # bytes of each file that the client sends to be looked at


class LargeFiles:
    """What was uploaded, by its SHA-256, for all Spaces together."""

    def __init__(self, hub: "Hub") -> None:
        self.hub = hub
        self.objects: dict[str, bytes] = {}

    def batch(self, name: str, body: bytes, fault: str) -> Any:
        """Say for each object where to upload it; for one that is there already, nothing."""
        asked = json.loads(body)
        assert (asked["operation"], asked["hash_algo"]) == ("upload", "sha256")
        assert "basic" in asked["transfers"]
        return {"transfer": "basic", "objects": [self._object(name, each, fault) for each in asked["objects"]]}

    def _object(self, name: str, asked: Mapping[str, Any], fault: str) -> dict[str, Any]:
        known = {"oid": asked["oid"], "size": asked["size"]}
        if fault == "full":
            return {**known, "error": {"code": 413, "message": "Storage limit reached"}}
        if asked["oid"] in self.objects:
            return known
        verify = {"href": f"{self.hub.url}/spaces/{name}.git/info/lfs/verify"}
        upload = {"href": f"{self.hub.url}/lfs/{asked['oid']}?size={asked['size']}&signature=x"}
        return {**known, "actions": {"upload": upload, "verify": verify}}

    def upload(self, oid: str, body: bytes) -> bool:
        """Keep what was uploaded if it is what was announced, and tell whether it is."""
        right = hashlib.sha256(body).hexdigest() == oid
        if right:
            self.objects[oid] = body
        return right

    def holds(self, oid: str, size: int) -> bool:
        return oid in self.objects and len(self.objects[oid]) == size


def is_large(path: str, sample: bytes, size: int, attributes: bytes) -> bool:
    """Tell whether a file goes to LFS: by the Space's .gitattributes, or because it is large or not text."""
    lines = (line.split() for line in attributes.decode().splitlines() if "filter=lfs" in line)
    if any(fnmatch(path, pattern) or fnmatch(path.rpartition("/")[2], pattern) for pattern, *_ in lines):
        return size > 0  # S3 takes no empty files, and the client sends none
    return size > REGULAR_BYTES or b"\0" in sample
