"""Fetches weight files from where they are kept, reports the bytes, and gives up in time.

Everything here ends in a path on this machine, or in a `HubError` that says what happened and
what to do. Nothing here knows what a network is.
"""

import logging
import os
import re
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
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
from lineup.hub.checksums import delete_cached, matches_etag, sha256, sha256_of_etag
from lineup.hub.files import HubFile, LocalFile, UrlFile, Weights
from lineup.hub.problems import download_errors

_log = logging.getLogger(__name__)
_COMMIT = re.compile("[0-9a-f]{40}")

ASK_TIMEOUT_S = 10.0
CACHED_TIMEOUT_S = 3.0  # asking whether a cached file is still the newest must not keep anybody waiting
constants.DOWNLOAD_CHUNK_SIZE = 1 << 18  # the client reports once a chunk: its 10 MB look like standing still

_HEADERS = {"User-Agent": "lineup"}
Report = Callable[[int, int | None], None]  # bytes that have come, bytes that will come if known


def cached(weights: Weights) -> Path | None:
    """Return where the file is on this machine, or None; asks nobody."""
    if not isinstance(weights, HubFile):
        return weights.path if weights.path.is_file() else None
    found = (try_to_load_from_cache(weights.repo, name, revision=weights.revision) for name in weights.names)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def download_bytes(weights: HubFile | UrlFile) -> int | None:
    """Return the file's size in bytes, asking the server if it is not on this machine.

    Raises:
        HubError: when the server was asked and cannot give the file.
    """
    path = cached(weights)
    return path.stat().st_size if path else ask(weights)[1]


def kept_sha256(weights: HubFile) -> str:
    """Return a cached file's SHA-256, asking nobody and reading nothing; empty if it is not known."""
    path = cached(weights)
    # the cache of the Hub's client names what it keeps by its etag
    return sha256_of_etag(path.readlink().name) if path and path.is_symlink() else ""


def ask(weights: HubFile | UrlFile) -> tuple[str, int | None]:
    """Return what a server says of a file: its SHA-256, empty if it does not say, and its size in bytes.

    Raises:
        HubError: when it cannot give the file.
    """
    with download_errors(str(weights), server(weights)):
        if isinstance(weights, HubFile):
            said = _ask(weights, ASK_TIMEOUT_S)[1]
            return sha256_of_etag(said.etag or ""), said.size
        request = urllib.request.Request(weights.url, method="HEAD", headers=_HEADERS)
        with urllib.request.urlopen(request, timeout=ASK_TIMEOUT_S) as response:
            return "", int(response.headers.get("Content-Length") or 0) or None


def fetch(weights: Weights, timeout_s: float, report: Report = lambda done, total: None) -> Path:
    """Bring a file to this machine, unless it is there.

    Of a Hub file that is there, a newer version is brought if it comes at once, and is whole.

    Args:
        weights: which file.
        timeout_s: seconds without a new byte after which it is given up.
        report: called with the bytes that have come and the total, from another thread.

    Raises:
        HubError: with what went wrong and what to do.
    """
    if isinstance(weights, LocalFile):
        return weights.path
    with download_errors(str(weights), server(weights)):
        kept = _kept(weights)
    if kept and (isinstance(weights, UrlFile) or _COMMIT.fullmatch(weights.revision or "") or constants.HF_HUB_OFFLINE):
        return kept
    try:
        return _bring(weights, kept, min(timeout_s, CACHED_TIMEOUT_S) if kept else timeout_s, report)
    except HubError as error:
        if not kept:
            raise
        _log.warning("%s; meanwhile what was downloaded before is used", error)
        return kept


def _kept(weights: HubFile | UrlFile) -> Path | None:
    """Return the file if it is on this machine; one of the Hub that is not what it was is deleted."""
    path = cached(weights)
    # the cache of the Hub's client names what it keeps by its etag
    if path and isinstance(weights, HubFile) and path.is_symlink() and not matches_etag(path, path.readlink().name):
        _log.warning("%s: its bytes are not those that were downloaded; it is fetched anew", path)
        delete_cached(path)
        return None
    return path


def _bring(weights: HubFile | UrlFile, kept: Path | None, timeout_s: float, report: Report) -> Path:
    """Download on a thread of its own, because a hung server holds the Hub's client for minutes."""
    got: Future[Path] = Future()
    advanced_at, come = time.monotonic(), 0

    def advance(done: int, total: int | None) -> None:
        nonlocal advanced_at, come
        advanced_at, come = time.monotonic(), done
        report(done, total)

    def work() -> None:
        try:
            with download_errors(str(weights), server(weights)):
                if isinstance(weights, HubFile):
                    got.set_result(_download_hub(weights, kept, advance))
                else:
                    got.set_result(_download_url(weights, advance))
        except BaseException as error:  # handed to the thread that waits
            got.set_exception(error)

    threading.Thread(target=work, name=f"download {weights}", daemon=True).start()
    while not got.done():
        if time.monotonic() - advanced_at > timeout_s:
            stopped = f"it stopped after {come} bytes, and " if come else ""
            raise UnreachableError(
                str(weights),
                f"a download from {server(weights)}",
                f"{stopped}nothing has arrived for {timeout_s:g} s",
                "try again later, or raise limits.hub_timeout_s if the connection is slow",
            )
        time.sleep(0.02)
    return got.result()


def _ask(weights: HubFile, timeout_s: float) -> tuple[str, HfFileMetadata]:
    """Ask the Hub, once, which of the names is there, and what it says of that file."""
    *optional, last = weights.names
    for name in optional:
        try:
            return name, _metadata(weights, name, timeout_s)
        except hub.RemoteEntryNotFoundError:
            continue
    return last, _metadata(weights, last, timeout_s)


def _metadata(weights: HubFile, name: str, timeout_s: float) -> HfFileMetadata:
    found = get_hf_file_metadata(hf_hub_url(weights.repo, name, revision=weights.revision), timeout=timeout_s)
    if not found.commit_hash or not found.etag:
        raise hub.FileMetadataError
    return found


def _download_hub(weights: HubFile, kept: Path | None, report: Report) -> Path:
    # Asked for a file that is not in its cache, the Hub's client tries a dead address for half a
    # minute; asking once ourselves tells a dead one in a moment.
    timeout_s = CACHED_TIMEOUT_S if kept else ASK_TIMEOUT_S
    name, said = _ask(weights, timeout_s)
    commit = said.commit_hash or ""
    if kept and kept.parts[-2:] == (commit, name):
        return kept
    path = _download_whole(weights, name, said, report)
    if kept and cached(HubFile(weights.repo, weights.beside, kept.parent.name)):
        beside = replace(weights, names=weights.beside, revision=commit)
        _download_whole(beside, *_ask(beside, timeout_s), report)
    # Asked for a branch, the client would let it stand for the new commit before anything of it has come.
    if weights.revision != commit:
        reference = path.parents[2 + name.count("/")] / "refs" / (weights.revision or "main")
        reference.parent.mkdir(parents=True, exist_ok=True)
        draft = reference.with_name(f"{reference.name}.{os.getpid()}-{threading.get_ident()}")
        draft.write_text(commit)
        draft.replace(reference)
    return path


def _download_whole(weights: HubFile, name: str, said: HfFileMetadata, report: Report) -> Path:
    """Download one commit's file with the Hub's client, which compares lengths alone; wrong bytes are fetched again."""
    settings: dict[str, Any] = {"revision": said.commit_hash, "tqdm_class": _reporting_bar(report)}
    for _ in range(2):
        path = Path(hf_hub_download(weights.repo, name, etag_timeout=CACHED_TIMEOUT_S, **settings))
        if matches_etag(path, said.etag or ""):
            return path
        delete_cached(path)
    raise _wrong(weights)


def _wrong(weights: HubFile | UrlFile) -> HubError:
    return HubError(
        str(weights),
        f"the file that {server(weights)} publishes",
        "other bytes came, twice",
        "try again later, or look for a proxy that changes downloads",
    )


def _reporting_bar(report: Report) -> type:
    """Make the kind of progress bar that the Hub's client takes, without the bar."""

    class Bar:
        def __init__(self, *args: Any, initial: int = 0, total: int | None = None, **kwargs: Any) -> None:
            self._done = self._furthest = initial
            self._total = total

        def update(self, n: float | None = 1) -> None:
            self._done += int(n or 0)
            if self._done > self._furthest:  # a download that starts over brings nothing new for a while
                self._furthest = self._done
                report(self._done, self._total)

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *_: object) -> None: ...

        def __getattr__(self, name: str) -> Callable[..., None]:  # close, refresh, set_description, …
            return lambda *args, **kwargs: None

    return Bar


def _download_url(weights: UrlFile, report: Report) -> Path:
    """Download as torch.hub does, which has neither a time-out nor a way to report; wrong bytes are fetched again."""
    weights.path.parent.mkdir(parents=True, exist_ok=True)
    partial = weights.path.with_name(f"{weights.path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        for _ in range(2):
            _write(weights.url, partial, report)
            if sha256(partial).startswith(weights.sha256):
                return partial.replace(weights.path)
    finally:
        partial.unlink(missing_ok=True)
    raise _wrong(weights)


def _write(url: str, path: Path, report: Report) -> None:
    request, done = urllib.request.Request(url, headers=_HEADERS), 0
    with urllib.request.urlopen(request, timeout=ASK_TIMEOUT_S) as response, path.open("wb") as file:
        total = int(response.headers.get("Content-Length") or 0) or None
        while chunk := response.read(1 << 18):
            file.write(chunk)
            done += len(chunk)
            report(done, total)
    if done != (total or done):
        raise httpx2.RemoteProtocolError(f"{done} of {total} bytes")


def server(weights: Weights) -> str:
    """Return the server that a file comes from, in words."""
    if isinstance(weights, HubFile):
        return "the Hub" if "huggingface.co" in constants.ENDPOINT else constants.ENDPOINT
    return (urlparse(weights.url).hostname or "") if isinstance(weights, UrlFile) else "this machine"
