"""Fetches weight files from where they are kept, reports the bytes, and gives up in time.

Everything here ends in a path on this machine, or in a `HubError` that says what happened and
what to do. Nothing here knows what a network is.
"""

import hashlib
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import httpx2
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub import errors as hub_errors
from huggingface_hub.utils import silent_tqdm

from lineup.errors import HubError, UnreachableError

ASK_TIMEOUT_S = 10.0
CACHED_TIMEOUT_S = 3.0  # asking whether a cached file is still the newest must not keep anybody waiting

Report = Callable[[int, int | None], None]  # bytes that have come, bytes that will come if known


@dataclass(frozen=True)
class HubFile:
    """A file in a Hub repository; the first of `names` that is there counts."""

    repo: str
    names: tuple[str, ...]
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.repo}/{self.names[0]}"


@dataclass(frozen=True)
class UrlFile:
    """A file at an address, kept at `path`; its SHA-256 starts with `sha256`."""

    url: str
    path: Path
    sha256: str = ""

    def __str__(self) -> str:
        return os.path.basename(urlparse(self.url).path)


@dataclass(frozen=True)
class LocalFile:
    """A file that is on this machine already."""

    path: Path

    def __str__(self) -> str:
        return self.path.name


Weights = HubFile | UrlFile | LocalFile


def torch_hub_file(url: str, torch_hub: str) -> UrlFile:
    """Name a file by its address, kept where torch.hub keeps it, checked by the hash in its name."""
    name = os.path.basename(urlparse(url).path)
    digest = re.search(r"-([a-f0-9]{8,})\.", name)
    return UrlFile(url, Path(torch_hub) / "checkpoints" / name, digest[1] if digest else "")


def cached(weights: Weights) -> Path | None:
    """Return where the file is on this machine, or None; asks nobody."""
    if isinstance(weights, HubFile):
        for name in weights.names:
            path = try_to_load_from_cache(weights.repo, name, revision=weights.revision)
            if isinstance(path, str):
                return Path(path)
        return None
    return weights.path if weights.path.is_file() else None


def download_bytes(weights: Weights) -> int | None:
    """Return the file's size in bytes, asking the Hub if it is not on this machine; None when unknown.

    Raises:
        HubError: when the Hub was asked and cannot give the file.
    """
    path = cached(weights)
    if path:
        return path.stat().st_size
    if not isinstance(weights, HubFile):
        return None
    with _told(weights):
        return _ask(weights)[1]


def fetch(weights: Weights, timeout_s: float, report: Report = lambda done, total: None) -> Path:
    """Bring a file to this machine, unless it is there.

    The work runs on a thread of its own, because a hung server holds the Hub's client for minutes.

    Args:
        weights: which file.
        timeout_s: seconds without a new byte after which it is given up.
        report: called with the bytes that have come and the total, from another thread.

    Raises:
        HubError: with what went wrong and what to do.
    """
    if isinstance(weights, LocalFile):
        return weights.path
    download = _Download(weights, report)
    download.start()
    while not download.done.wait(0.05):
        if time.monotonic() - download.advanced_at > timeout_s:
            raise UnreachableError(
                f"{weights}: expected a download from {_host(weights)}; nothing has arrived for {timeout_s:g} s; "
                "try again later, or raise limits.hub_timeout_s if the connection is slow"
            )
    if download.error:
        raise download.error
    assert download.path
    return download.path


class _Download(threading.Thread):
    """Downloads one file, and remembers when it last got on."""

    def __init__(self, weights: HubFile | UrlFile, report: Report) -> None:
        super().__init__(name=f"download {weights}", daemon=True)
        self._weights, self._report = weights, report
        self.advanced_at = time.monotonic()
        self.done = threading.Event()
        self.path: Path | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with _told(self._weights):
                weights = self._weights
                if isinstance(weights, HubFile):
                    self.path = _download_hub(weights, self.advance)
                else:
                    self.path = _download_url(weights, self.advance)
        except BaseException as error:  # handed to the thread that waits
            self.error = error
        finally:
            self.done.set()

    def advance(self, done: int, total: int | None) -> None:
        self.advanced_at = time.monotonic()
        self._report(done, total)


def _ask(weights: HubFile) -> tuple[str, int | None]:
    """Ask the Hub, once, which of the names is there, and how many bytes it has."""
    for name in weights.names:
        url = hf_hub_url(weights.repo, name, revision=weights.revision)
        try:
            return name, get_hf_file_metadata(url, timeout=ASK_TIMEOUT_S).size
        except hub_errors.RemoteEntryNotFoundError:
            if name == weights.names[-1]:
                raise
    raise AssertionError("names is never empty")


def _download_hub(weights: HubFile, report: Report) -> Path:
    there = cached(weights)
    # Asked for a file that is not in its cache, the Hub's client tries a dead address for half a
    # minute; asking once ourselves tells a dead one in a moment.
    name = there.name if there else _ask(weights)[0]
    return Path(
        hf_hub_download(
            weights.repo,
            name,
            revision=weights.revision,
            etag_timeout=CACHED_TIMEOUT_S,
            tqdm_class=_reporting_bar(report),
        )
    )


def _reporting_bar(report: Report) -> type[silent_tqdm]:
    """Make the kind of progress bar that the Hub's client takes, without the bar."""

    class Bar(silent_tqdm):
        def __init__(self, *args: Any, initial: int = 0, total: int | None = None, **kwargs: Any) -> None:
            self._done, self._total = initial, total
            report(self._done, self._total)

        def update(self, n: float | None = 1) -> None:
            self._done += int(n or 0)
            report(self._done, self._total)

        def __getattr__(self, name: str) -> Callable[..., None]:  # close, refresh, set_description, …
            return lambda *args, **kwargs: None

    return Bar


def _download_url(weights: UrlFile, report: Report) -> Path:
    """Download as torch.hub does, which has neither a time-out nor a way to report."""
    if weights.path.is_file():
        return weights.path
    weights.path.parent.mkdir(parents=True, exist_ok=True)
    partial = weights.path.with_name(f"{weights.path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    digest = hashlib.sha256()
    request = urllib.request.Request(weights.url, headers={"User-Agent": "lineup"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response, partial.open("wb") as file:
            length = response.headers.get("Content-Length")
            total = int(length) if length else None
            done = 0
            while chunk := response.read(1 << 18):
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                report(done, total)
        if total is not None and done != total or not digest.hexdigest().startswith(weights.sha256):
            raise HubError(f"{weights}: expected the published file; got {done} bytes of another; try again later")
        partial.replace(weights.path)
    finally:
        partial.unlink(missing_ok=True)
    return weights.path


class _told:
    """Turns whatever a download can raise into a `HubError`."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, HubError):
            kind, what, remedy = _explain(error, _host(self._weights))
            raise kind(f"{self._weights}: expected a download from {_host(self._weights)}; {what}; {remedy}") from error


def _explain(error: Exception, host: str) -> tuple[type[HubError], str, str]:
    """Say what happened and what to do, from the error that is at the bottom of it."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) and isinstance(cause, Exception):
        chain.append(cause)
    for each in chain:
        match each:
            case hub_errors.GatedRepoError():
                return HubError, "its owner lets in only those who asked", "accept the terms on its page and set HF_TOKEN"
            case hub_errors.RevisionNotFoundError():
                return HubError, "it has no such revision", "check what stands after the @"
            case hub_errors.RepositoryNotFoundError():
                return HubError, "there is no such public repository", "check the name; for a private one set HF_TOKEN"
            case hub_errors.RemoteEntryNotFoundError():
                return HubError, "the repository has no such file", "check that it is in timm's format"
            case hub_errors.OfflineModeIsEnabled():
                return HubError, "HF_HUB_OFFLINE is set and the file is not in the cache", "unset it, or fetch the file once"
            case hub_errors.HfHubHTTPError() | urllib.error.HTTPError():
                return _explain_status(_status(each))
            case httpx2.TimeoutException() | TimeoutError():
                return UnreachableError, "no answer came in time", "try again later"
            case httpx2.ConnectError() | urllib.error.URLError() | ConnectionError():
                return UnreachableError, f"{host} cannot be reached", "check this machine's network; what was downloaded before still works"
            case httpx2.TransportError():
                return HubError, "the connection broke off", "try again later"
            case OSError() if each.errno == 28:
                return HubError, "the disk is full", "make room where downloads are kept (HF_HOME, TORCH_HOME)"
    first_line = (str(error).splitlines() or [type(error).__name__])[0]
    return HubError, first_line[:200], "try again later"


def _status(error: hub_errors.HfHubHTTPError | urllib.error.HTTPError) -> int:
    return error.code if isinstance(error, urllib.error.HTTPError) else error.response.status_code


def _explain_status(status: int) -> tuple[type[HubError], str, str]:
    if status in (401, 403):
        return HubError, f"access was refused ({status})", "set HF_TOKEN to a token that may read it"
    if status == 404:
        return HubError, "there is no such file (404)", "check the name"
    if status == 429:
        return HubError, "too many requests (429)", "try again in some minutes"
    return HubError, f"the server failed ({status})", "try again later"


def _host(weights: Weights) -> str:
    if isinstance(weights, HubFile):
        return "the Hub" if "huggingface.co" in constants.ENDPOINT else constants.ENDPOINT
    return (urlparse(weights.url).hostname or "") if isinstance(weights, UrlFile) else "this machine"
