"""Downloads weight files to the local cache, with progress, timeouts and hash verification.

Every function returns, or raises a `HubError` that says what happened and how to fix it.
"""

import logging
import re
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import httpx2
from huggingface_hub import (
    HfFileMetadata,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub import errors as hub

from lineup.errors import HubError, UnreachableError
from lineup.hub import atomic_write, etags
from lineup.hub.checksums import delete_cached, matches_etag, matches_sha256, sha256_of_etag
from lineup.hub.files import HubFile, LocalFile, UrlFile, Weights
from lineup.hub.problems import download_errors
from lineup.hub.progress import CHUNK_BYTES, Report, reporting_bar

_log = logging.getLogger(__name__)
_COMMIT = re.compile("[0-9a-f]{40}")

METADATA_TIMEOUT_S = 10.0
CACHED_TIMEOUT_S = 3.0  # of the check for a newer version, which delays the use of a cached file

_HEADERS = {"User-Agent": "lineup"}


def cached(weights: Weights) -> Path | None:
    """Return the path of the cached or local file, None if there is none; sends no request."""
    if not isinstance(weights, HubFile):
        return weights.path if weights.path.is_file() else None
    where: dict[str, Any] = {"revision": weights.revision, "repo_type": weights.repo_type}
    paths = (try_to_load_from_cache(weights.repo, name, **where) for name in weights.names)
    return next((Path(path) for path in paths if isinstance(path, str)), None)


def download_bytes(weights: HubFile | UrlFile) -> int | None:
    """Return the size of the file in bytes; a file that is not cached takes a request to its server.

    Raises:
        HubError: the request failed.
    """
    path = cached(weights)
    if not path:
        return remote_metadata(weights)[1]
    if is_intact(weights, path):
        return path.stat().st_size
    with _replacing(weights, path):
        return remote_metadata(weights)[1]


def is_intact(weights: Weights, path: Path) -> bool:
    """Return whether a cached file has the hash that its server publishes, as far as that is known."""
    if isinstance(weights, UrlFile):
        return matches_sha256(path, weights.sha256) if weights.sha256 else True
    return not isinstance(weights, HubFile) or matches_etag(path, etags.etag_of(path))


def damaged(weights: HubFile | UrlFile, path: Path, error: HubError) -> HubError:
    """Return the error that a cached file has another hash, and that a download to replace it fails with an error."""
    expected = weights.sha256 if isinstance(weights, UrlFile) else etags.etag_of(path)
    return type(error)(
        str(weights),
        f"the file that {server(weights)} publishes, whose hash starts with {expected[:8]}",
        f"{path} is cut off or has other contents, and it cannot be replaced: {error.got}",
        f"{error.remedy}; a file of your own belongs elsewhere, with its path as `checkpoint`",
    )


def cached_sha256(weights: HubFile) -> str:
    """Return the SHA-256 of a cached file without reading it or sending a request; empty if unknown."""
    path = cached(weights)
    return sha256_of_etag(etags.etag_of(path)) if path else ""


def remote_metadata(weights: HubFile | UrlFile) -> tuple[str, int | None]:
    """Request a file's SHA-256, empty if the server does not publish it, and its size in bytes.

    Raises:
        HubError: the request failed.
    """
    with download_errors(str(weights), server(weights)):
        if isinstance(weights, HubFile):
            metadata = _first_available(weights, METADATA_TIMEOUT_S)[1]
            return sha256_of_etag(metadata.etag or ""), metadata.size
        request = urllib.request.Request(weights.url, method="HEAD", headers=_HEADERS)
        with urllib.request.urlopen(request, timeout=METADATA_TIMEOUT_S) as response:
            return "", int(response.headers.get("Content-Length") or 0) or None


def fetch(weights: Weights, timeout_s: float, report: Report = lambda done, total: None) -> Path:
    """Return the local path of a file, after downloading it if it is not cached.

    A cached Hub file is updated to the newest version of its branch. If that fails, or the server does not respond
    within CACHED_TIMEOUT_S, the cached version is returned. A cached file whose hash is not the published one is never
    returned: it is downloaded again.

    Args:
        weights: the file.
        timeout_s: the download fails after this many seconds without a new byte.
        report: progress callback, called from another thread with the bytes downloaded and the total.

    Raises:
        HubError: the download failed, and no version is cached.
    """
    if isinstance(weights, LocalFile):
        return weights.path
    with download_errors(str(weights), server(weights)):
        path = cached(weights)
        intact = path is None or is_intact(weights, path)
    if path and not intact:
        _log.warning("%s: the cached file does not match its hash; downloading it again", path)
        with _replacing(weights, path):
            return _download(weights, path, timeout_s, report, replace_cached=True)
    if path and (isinstance(weights, UrlFile) or _is_final(weights, path) or constants.HF_HUB_OFFLINE):
        return path
    try:
        return _download(weights, path, min(timeout_s, CACHED_TIMEOUT_S) if path else timeout_s, report)
    except HubError as error:
        if not path:
            raise
        _log.warning("%s; using the cached file", error)
        return path


@contextmanager
def _replacing(weights: HubFile | UrlFile, path: Path) -> Iterator[None]:
    """Say in an error that the file is needed because the cached one is damaged."""
    try:
        yield
    except HubError as error:
        raise damaged(weights, path, error) from error


def _is_final(weights: HubFile, path: Path) -> bool:
    """Return whether a cached file is of a fixed commit, and has been verified against a known hash."""
    return bool(_COMMIT.fullmatch(weights.revision or "") and etags.etag_of(path))


def _download(
    weights: HubFile | UrlFile,
    cached_path: Path | None,
    timeout_s: float,
    report: Report,
    replace_cached: bool = False,
) -> Path:
    """Download in a separate thread, because a hung server blocks the Hub's client for minutes."""
    result: Future[Path] = Future()
    progress_at, done_bytes = time.monotonic(), 0

    def advance(done: int, total: int | None) -> None:
        nonlocal progress_at, done_bytes
        progress_at, done_bytes = time.monotonic(), done
        report(done, total)

    def run() -> None:
        try:
            with download_errors(str(weights), server(weights)):
                if isinstance(weights, HubFile):
                    result.set_result(_download_hub(weights, cached_path, advance, replace_cached))
                else:
                    result.set_result(_download_url(weights, timeout_s, advance))
        except BaseException as error:  # raised in the waiting thread
            result.set_exception(error)

    threading.Thread(target=run, name=f"download {weights}", daemon=True).start()
    while not result.done():
        if time.monotonic() - progress_at > timeout_s:
            stopped = f"it stopped after {done_bytes} bytes, and " if done_bytes else ""
            raise UnreachableError(
                str(weights),
                f"a download from {server(weights)}",
                f"{stopped}no data was received for {timeout_s:g} s",
                "try again later, or raise limits.hub_timeout_s if the connection is slow",
            )
        time.sleep(0.02)
    return result.result()


def _first_available(weights: HubFile, timeout_s: float) -> tuple[str, HfFileMetadata]:
    """Return the first of the names that exists on the Hub, and its metadata."""
    *optional, last = weights.names
    for name in optional:
        try:
            return name, _metadata(weights, name, timeout_s)
        except hub.RemoteEntryNotFoundError:
            continue
    return last, _metadata(weights, last, timeout_s)


def _metadata(weights: HubFile, name: str, timeout_s: float) -> HfFileMetadata:
    url = hf_hub_url(weights.repo, name, revision=weights.revision, repo_type=weights.repo_type)
    metadata = get_hf_file_metadata(url, timeout=timeout_s)
    if not metadata.commit_hash or not metadata.etag:
        raise hub.FileMetadataError
    return metadata


def _download_hub(weights: HubFile, cached_path: Path | None, report: Report, replace_cached: bool) -> Path:
    # For a file that is not cached, the Hub's client retries an unreachable server for half a minute; one metadata
    # request without retries fails at once.
    timeout_s = CACHED_TIMEOUT_S if cached_path and not replace_cached else METADATA_TIMEOUT_S
    name, metadata = _first_available(weights, timeout_s)
    commit = metadata.commit_hash or ""
    if cached_path and cached_path.parts[-2:] == (commit, name):
        if not replace_cached and matches_etag(cached_path, metadata.etag or ""):
            etags.record(cached_path, metadata.etag or "")
            return cached_path
        replace_cached = True
    path = _download_verified(weights, name, metadata, report, replace_cached)
    if cached_path and cached(HubFile(weights.repo, weights.companions, cached_path.parent.name)):
        companion = replace(weights, names=weights.companions, revision=commit)
        _download_verified(companion, *_first_available(companion, timeout_s), report)
    # Given a branch, the client would point its reference at the new commit before any file is downloaded: the
    # commit is requested, and the reference updated afterwards, by an atomic rename.
    if weights.revision != commit:
        reference = path.parents[2 + name.count("/")] / "refs" / (weights.revision or "main")
        reference.parent.mkdir(parents=True, exist_ok=True)
        atomic_write.write_text(reference, commit)
    return path


def _download_verified(
    weights: HubFile, name: str, metadata: HfFileMetadata, report: Report, replace_cached: bool = False
) -> Path:
    """Download a file of one commit, verify its hash, and retry once; the Hub's client compares only the length."""
    settings: dict[str, Any] = {"revision": metadata.commit_hash, "repo_type": weights.repo_type}
    settings["tqdm_class"] = reporting_bar(report)
    for _ in range(2):
        path = Path(
            hf_hub_download(
                weights.repo, name, etag_timeout=CACHED_TIMEOUT_S, force_download=replace_cached, **settings
            )
        )
        if matches_etag(path, metadata.etag or ""):
            etags.record(path, metadata.etag or "")
            return path
        delete_cached(path)
    raise _hash_mismatch(weights)


def _hash_mismatch(weights: HubFile | UrlFile) -> HubError:
    return HubError(
        str(weights),
        f"the file that {server(weights)} publishes",
        "its hash did not match, twice",
        "try again later, or check for a proxy that changes downloads",
    )


def _download_url(weights: UrlFile, timeout_s: float, report: Report) -> Path:
    """Download as torch.hub does, which has no timeout and no callback; verify the hash, and retry once."""
    weights.path.parent.mkdir(parents=True, exist_ok=True)
    partial = atomic_write.draft_of(weights.path)
    try:
        for _ in range(2):
            _write(weights.url, partial, timeout_s, report)
            if matches_sha256(partial, weights.sha256):
                return partial.replace(weights.path)
    finally:
        partial.unlink(missing_ok=True)
    raise _hash_mismatch(weights)


def _write(url: str, path: Path, timeout_s: float, report: Report) -> None:
    request, done = urllib.request.Request(url, headers=_HEADERS), 0
    with urllib.request.urlopen(request, timeout=timeout_s + METADATA_TIMEOUT_S) as response, path.open("wb") as file:
        total = int(response.headers.get("Content-Length") or 0) or None
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
            done += len(chunk)
            report(done, total)
    if done != (total or done):
        raise httpx2.RemoteProtocolError(f"{done} of {total} bytes")


def server(weights: Weights) -> str:
    """Return the name of the server that hosts a file, for messages."""
    if isinstance(weights, HubFile):
        return "the Hub" if "huggingface.co" in constants.ENDPOINT else constants.ENDPOINT
    return (urlparse(weights.url).hostname or "") if isinstance(weights, UrlFile) else "this machine"
